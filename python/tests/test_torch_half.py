"""Halves and autocast: computed in float32, with values and gradients of the types that PyTorch's own losses give."""

import pytest

import drlim

torch = pytest.importorskip("torch")
import drlim.torch as dt  # noqa: E402
from torch.nn.functional import cross_entropy, mse_loss  # noqa: E402

COUNT, COLS = 12, 4
LABELS = torch.arange(COUNT) % 3
PAIR, TRIPLET = drlim.Contrastive(2.0), drlim.TripletMargin(0.75)
PICKED = tuple(torch.tensor(part) for part in ([0, 1, 2], [3, 4, 5], [0, 1, 1], [2, 3, 5]))

FUNCTIONS = {
    "rows": lambda z, k, s: dt.rows(PAIR, z, k, LABELS == 0, weights=torch.ones(COUNT, dtype=z.dtype)),
    "indexed": lambda z, k, s: dt.indexed(PAIR, z, [(0, 1), (2, 5)], [True, False], reduction="none"),
    "all_pairs": lambda z, k, s: dt.all_pairs(PAIR, z=z, labels=LABELS),
    "cross": lambda z, k, s: dt.cross(PAIR, z, k, LABELS, LABELS),
    "triplet_rows": lambda z, k, s: dt.triplet_rows(TRIPLET, z, k, z.flip(0)),
    "triplets": lambda z, k, s: dt.triplets(TRIPLET, z, LABELS),
    "row_distances": lambda z, k, s: dt.row_distances(z, k),
    "all_anchors": lambda z, k, s: dt.all_anchors(drlim.Softmax(), z, LABELS, scale=s, reduction="none"),
    "info_nce": lambda z, k, s: dt.info_nce(z, k, scale=s, normalize=True),
    "clip_loss": lambda z, k, s: dt.clip_loss(z, k, s, normalize=True),
    "siglip_loss": lambda z, k, s: dt.siglip_loss(z, k, s, -s, normalize=True),
    "ContrastiveLoss": lambda z, k, s: dt.ContrastiveLoss()(z, LABELS),
    "ContrastiveLoss, picked": lambda z, k, s: dt.ContrastiveLoss()(z, LABELS, PICKED, k, LABELS),
    "ContrastiveLoss, itself": lambda z, k, s: dt.ContrastiveLoss(reduction="mean")(z, LABELS, None, z, LABELS.clone()),
    "TripletMarginLoss": lambda z, k, s: dt.TripletMarginLoss(0.5)(z, LABELS),
    "TripletMarginLoss, picked": lambda z, k, s: dt.TripletMarginLoss(0.5, True)(z, LABELS, PICKED),
    "BatchLoss": lambda z, k, s: dt.BatchLoss(PAIR)(z, LABELS),
    "BatchTripletLoss": lambda z, k, s: dt.BatchTripletLoss(TRIPLET)(z, LABELS),
    "RowsLoss": lambda z, k, s: dt.RowsLoss(PAIR)(z, k, LABELS == 0),
    "TripletRowsLoss": lambda z, k, s: dt.TripletRowsLoss(TRIPLET)(z, k, z.flip(0)),
}


def inputs(dtype):
    z, k = torch.randn(2, COUNT, COLS, generator=torch.Generator().manual_seed(7)).to(dtype)
    return [tensor.requires_grad_() for tensor in (z, k, torch.tensor(3.0, dtype=dtype))]


def gradients(value, given):
    return [grad for grad in torch.autograd.grad(value.sum(), given, allow_unused=True) if grad is not None]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_halves(name, dtype):
    """Values and gradients are those of float32, rounded once."""
    given = inputs(dtype)
    whole = [tensor.detach().float().requires_grad_() for tensor in given]
    value, expected = FUNCTIONS[name](*given), FUNCTIONS[name](*whole)
    assert value.dtype == dtype
    assert torch.equal(value, expected.to(dtype))
    for ours, theirs in zip(gradients(value, given), gradients(expected, whole), strict=True):
        assert ours.dtype == dtype
        # Gradients of rows that are used twice are added up in halves.
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(ours, theirs.to(dtype), rtol=2 * eps, atol=eps / 10)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_autocast(name):
    """Halves give the values of float32, as with PyTorch's losses."""
    given = inputs(torch.bfloat16)
    whole = [tensor.detach().float().requires_grad_() for tensor in given]
    expected = FUNCTIONS[name](*whole)
    with torch.autocast("cpu"):
        value = FUNCTIONS[name](*given)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    for ours, theirs in zip(gradients(value, given), gradients(expected, whole), strict=True):
        torch.testing.assert_close(ours, theirs.bfloat16())


def test_types_are_those_of_pytorch():
    z = inputs(torch.bfloat16)[0].detach()
    at = torch.zeros(COUNT, dtype=torch.long)
    theirs = (mse_loss(z, z), cross_entropy(z, at))
    assert {value.dtype for value in theirs} == {dt.all_pairs(PAIR, z, LABELS).dtype}
    with torch.autocast("cpu"):
        theirs = (mse_loss(z, z), cross_entropy(z, at), mse_loss(z, z.float()))
        assert {value.dtype for value in theirs} == {dt.all_pairs(PAIR, z, LABELS).dtype}


def test_several_types():
    z, k, _ = inputs(torch.bfloat16)
    with torch.autocast("cpu"):
        value = dt.cross(PAIR, z, k.float(), LABELS, LABELS)
        assert torch.equal(value, dt.cross(PAIR, z.float(), k.float(), LABELS, LABELS))
        assert dt.cross(PAIR, z, k.double(), LABELS, LABELS).dtype == torch.float64
    for other in (k.float(), k.half()):
        with pytest.raises(TypeError, match=f"^keys is of {other.dtype}, expected torch.bfloat16 as queries"):
            dt.cross(PAIR, z, other, LABELS, LABELS)
    with pytest.raises(TypeError, match="^keys is of torch.bfloat16, expected"):
        dt.cross(PAIR, z.float(), k, LABELS, LABELS)
    with pytest.raises(TypeError, match=r"^z is of torch.int64, expected .*float\(\)"):
        dt.all_pairs(PAIR, torch.ones(COUNT, COLS, dtype=torch.int64), LABELS)


def test_a_layer_under_autocast_learns():
    torch.manual_seed(7)
    model, x = torch.nn.Linear(5, COLS), torch.randn(COUNT, 5)
    scale = torch.nn.Parameter(torch.tensor(1.0))
    loss = dt.ContrastiveLoss()

    def step(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = model(x)
            assert z.dtype == torch.bfloat16
            return loss(z, LABELS) + dt.clip_loss(z, z.flip(0), scale.exp(), normalize=True)

    def gradients_of(value):
        model.zero_grad()
        value.backward()
        assert value.dtype == model.weight.grad.dtype == torch.float32
        return model.weight.grad.clone()

    expected = gradients_of(step(x))
    assert expected.abs().max() > 0
    torch.testing.assert_close(gradients_of(torch.compile(step, fullgraph=True, backend="aot_eager")(x)), expected)
    torch.compiler.reset()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_compiled_halves(dtype):
    names = ["rows", "all_pairs", "clip_loss", "ContrastiveLoss", "TripletMarginLoss"]
    given = inputs(dtype)

    def run(*given):
        return [FUNCTIONS[name](*given) for name in names]

    for ours, theirs in zip(torch.compile(run, fullgraph=True, backend="aot_eager")(*given), run(*given), strict=True):
        assert ours.dtype == theirs.dtype == dtype
        assert torch.equal(ours, theirs)
    torch.compiler.reset()
