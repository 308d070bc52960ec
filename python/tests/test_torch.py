"""Losses of tensors: gradients reach the graph and are right, modules are what their libraries' are."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import drlim
import oracles

torch = pytest.importorskip("torch")
import drlim.torch as dt  # noqa: E402

COUNT, COLS = 12, 4


@pytest.fixture
def z():
    generator = torch.Generator().manual_seed(7)
    return torch.randn(COUNT, COLS, dtype=torch.float64, generator=generator, requires_grad=True)


LABELS = torch.tensor([0, 1, 2] * 4)
SIMILAR = torch.tensor([True, False, False, True, False, True])
PAIRS = [(0, 1), (1, 0), (2, 5), (3, 11), (7, 2), (0, 3)]
WEIGHTS = torch.linspace(0.5, 2.0, 6, dtype=torch.float64)


def gradcheck(function, *inputs):
    assert torch.autograd.gradcheck(function, inputs, eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("loss", oracles.PAIR_LOSSES, ids=str)
@pytest.mark.parametrize("reduction", [*oracles.REDUCTIONS, "none"], ids=str)
def test_gradcheck_of_pairs(loss, reduction, z):
    gradcheck(lambda z: dt.rows(loss, z[:6], z[6:], SIMILAR, weights=WEIGHTS, reduction=reduction), z)
    gradcheck(lambda z: dt.indexed(loss, z, PAIRS, SIMILAR, weights=WEIGHTS, reduction=reduction), z)
    if reduction != "none":
        gradcheck(lambda z: dt.all_pairs(loss, z, LABELS, reduction=reduction), z)
        gradcheck(lambda q, k: dt.cross(loss, q, k, LABELS[:5], LABELS[5:], reduction=reduction), *parts(z, 5))


def parts(z, at):
    return [part.detach().clone().requires_grad_() for part in (z[:at], z[at:])]


@pytest.mark.parametrize("loss", oracles.TRIPLET_LOSSES, ids=str)
@pytest.mark.parametrize("reduction", [*oracles.TRIPLET_REDUCTIONS, "none"])
def test_gradcheck_of_triplets(loss, reduction, z):
    gradcheck(lambda z: dt.triplet_rows(loss, z[:4], z[4:8], z[8:], weights=WEIGHTS[:4], reduction=reduction), z)
    if reduction != "none":
        for mining in ("all", "hardest", "semi-hard"):
            gradcheck(lambda z: dt.triplets(loss, z, LABELS, mining=mining, reduction=reduction), z)


@pytest.mark.parametrize("distance", ["euclidean", "squared", "dot", "cosine"])
def test_gradcheck_of_distances(distance, z):
    gradcheck(lambda z: dt.row_distances(z[:6], z[6:], distance), z)


def test_gradcheck_of_modules(z):
    for module in (
        dt.ContrastiveLoss(0.1, 1.2),
        dt.TripletMarginLoss(0.3, swap=True),
        dt.BatchLoss(drlim.Contrastive(2.0)),
        dt.BatchTripletLoss(drlim.TripletMargin(0.3)),
    ):
        gradcheck(lambda z: module(z, LABELS), z)
    gradcheck(lambda z: dt.RowsLoss(drlim.Contrastive(2.0))(z[:6], z[6:], SIMILAR), z)
    gradcheck(lambda z: dt.TripletRowsLoss(drlim.TripletMargin(0.3))(z[:4], z[4:8], z[8:]), z)


def test_backward_is_the_gradient_of_arrays(z):
    dt.all_pairs(drlim.Contrastive(2.0), z, LABELS).backward()
    expected = drlim.all_pairs(drlim.Contrastive(2.0), z.detach().numpy(), LABELS.numpy())
    assert np.array_equal(z.grad.numpy(), expected.grad)


def test_upstream_and_twice(z):
    value = 3 * dt.all_pairs(drlim.Contrastive(2.0), z, LABELS) + z.sum()
    value.backward(retain_graph=True)
    once = z.grad.clone()
    value.backward()
    assert torch.equal(z.grad, 2 * once)
    expected = drlim.all_pairs(drlim.Contrastive(2.0), z.detach().numpy(), LABELS.numpy())
    oracles.close(once.numpy(), 3 * expected.grad + 1, np.float64)


def test_only_what_needs_a_gradient_gets_one(z):
    queries, keys = parts(z, 5)
    keys.requires_grad_(False)
    dt.cross(drlim.Contrastive(2.0), queries, keys, LABELS[:5], LABELS[5:]).backward()
    assert queries.grad is not None and keys.grad is None
    with torch.no_grad():
        assert not dt.all_pairs(drlim.Contrastive(2.0), z, LABELS).requires_grad


def test_tensors_are_not_copied_or_changed(z):
    kept = z.detach().clone()
    dt.ContrastiveLoss()(z, LABELS).backward()
    assert torch.equal(z, kept)
    wide = torch.randn(COUNT, 2 * COLS)
    half = wide[:, COLS:].requires_grad_()
    assert dt.all_pairs(drlim.Contrastive(2.0), half, LABELS).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_are_of_the_embeddings_type(dtype, z):
    z = z.detach().to(dtype).requires_grad_()
    value = dt.ContrastiveLoss()(z, LABELS)
    value.backward()
    assert value.dtype == z.grad.dtype == dtype and value.shape == ()


def test_tensors_that_cannot_be_taken(z):
    loss = drlim.Contrastive(1.0)
    for tensor, words in [
        (z.detach().long(), r"float\(\)"),
        (z.to("meta"), r"cpu\(\)"),
        (z.detach().to_sparse(), r"to_dense\(\)"),
        (z[0], "dimensions"),
        (z.detach().numpy(), "ndarray"),
        (None, "NoneType"),
    ]:
        with pytest.raises((TypeError, ValueError), match=words):
            dt.all_pairs(loss, tensor, LABELS)
    with pytest.raises(ValueError, match="labels"):
        dt.all_pairs(loss, z, LABELS[:3])
    with pytest.raises(TypeError, match="labels"):
        dt.ContrastiveLoss()(z)
    with pytest.raises(ValueError, match="indices_tuple"):
        dt.ContrastiveLoss()(z, LABELS, (LABELS,))
    row, past, before = (torch.tensor([index]) for index in (0, COUNT, -1))
    for indices in [(past, row, row), (row, past, row), (row, row, before)]:
        for module in (dt.ContrastiveLoss(), dt.TripletMarginLoss()):
            for others in (None, z.detach()):
                with pytest.raises(IndexError, match="indices_tuple"):
                    module(z, LABELS, indices, others)
    with pytest.raises(ValueError, match="weights"):
        dt.rows(loss, z[:6], z[6:], SIMILAR, weights=WEIGHTS.clone().requires_grad_())


def test_rows_of_any_length_can_be_scaled(z):
    scaled = dt.BatchLoss(drlim.LinearHinge(0.0, 1.0), reduction="balanced-nonzero", normalize=True)(z, LABELS)
    assert torch.equal(scaled, dt.ContrastiveLoss()(z, LABELS))


def test_modules_are_modules(z):
    for module in (dt.ContrastiveLoss(0.1, 0.9), dt.TripletMarginLoss(0.2, True), dt.BatchLoss(drlim.Contrastive(1.0))):
        expected = module(z, LABELS)
        for other in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
            assert torch.equal(other(z, LABELS), expected)
        assert "normalize" in repr(module) or "Contrastive(margin=1.0)" in repr(module)


MODULES = [
    dt.ContrastiveLoss(0.1, 0.9, normalize=False, reduction="mean"),
    dt.TripletMarginLoss(0.2, True, mining="hardest", normalize=False, reduction="sum"),
    dt.BatchLoss(drlim.Contrastive(1.0), reduction=(1.0, 2.0), normalize=True, ignore_label=2),
    dt.BatchTripletLoss(drlim.SquaredTriplet(0.5), mining="semi-hard", reduction="sum"),
    dt.RowsLoss(drlim.Exponential(2.0), reduction="none"),
    dt.TripletRowsLoss(drlim.TripletMargin(0.5, True), reduction="sum"),
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
def test_modules_have_no_state_but_their_settings(module):
    """These are in copies and in what is printed; state_dict has none of them."""
    assert module.state_dict() == {} and list(module.parameters()) == []
    settings = {name: value for name, value in vars(module).items() if name not in vars(torch.nn.Module())}
    for other in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert {name: getattr(other, name) for name in settings} == settings
    for name, value in settings.items():
        assert (repr(value) if name == "loss" else f"{name}={value!r}") in repr(module)
    assert module.to(torch.float64) is module and module.half() is module


def test_margins_are_not_learned():
    margin = torch.nn.Parameter(torch.tensor(1.0))
    for make in (drlim.Contrastive, dt.TripletMarginLoss, lambda m: dt.ContrastiveLoss(neg_margin=m)):
        with pytest.raises(TypeError, match=r"margin is to be learned.*expected a number: use float\("):
            make(margin)


def test_without_gradients(z):
    """In inference mode as well, with tensors that are made there."""
    expected = dt.all_pairs(drlim.Contrastive(2.0), z, LABELS)
    with torch.inference_mode():
        for tensor in (z, z.clone()):
            value = dt.all_pairs(drlim.Contrastive(2.0), tensor, LABELS.clone())
            assert torch.equal(value, expected) and not value.requires_grad
            assert not dt.clip_loss(tensor, tensor, torch.tensor(3.0)).requires_grad
        frozen = z.detach().clone()
    other = parts(z, 6)[0]
    dt.rows(drlim.Contrastive(2.0), frozen[:6], other, SIMILAR).backward()
    assert other.grad is not None


def test_compiled_models_give_the_same():
    torch.manual_seed(7)
    model = torch.nn.Linear(5, COLS)
    loss, x = dt.ContrastiveLoss(), torch.randn(COUNT, 5)

    def step(x):
        return loss(model(x), LABELS)

    expected = step(x)
    expected.backward()
    grad = model.weight.grad.clone()
    model.zero_grad()
    found = torch.compile(step, backend="aot_eager")(x)
    found.backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(model.weight.grad, grad)


def test_a_model_learns():
    torch.manual_seed(7)
    x = torch.randn(200, 10)
    labels = (x[:, 0] > 0).long()
    model = torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss = dt.ContrastiveLoss()
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(model(x), labels)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0] / 2


def test_as_torch_has_it(z):
    ours = dt.TripletRowsLoss(drlim.TripletMargin(0.7))(z[:4], z[4:8], z[8:])
    theirs = torch.nn.TripletMarginLoss(0.7, eps=0)(z[:4], z[4:8], z[8:])
    torch.testing.assert_close(ours, theirs)
    d = dt.row_distances(z[:6], z[6:])
    torch.testing.assert_close(d, torch.nn.functional.pairwise_distance(z[:6], z[6:], eps=0))
    signs = torch.where(SIMILAR, 1.0, -1.0).double()
    theirs = torch.nn.HingeEmbeddingLoss(2.0)(d, signs)
    torch.testing.assert_close(dt.rows(drlim.LinearHinge(0.0, 2.0), z[:6], z[6:], SIMILAR), theirs)


def test_without_torch():
    script = """
import sys
sys.modules["torch"] = None
import drlim
try:
    import drlim.torch
except ImportError as error:
    assert "pip install" in str(error), error
else:
    raise SystemExit("drlim.torch was imported")
"""
    subprocess.run([sys.executable, "-c", script], check=True)
