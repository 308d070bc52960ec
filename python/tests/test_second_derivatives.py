"""Gradients of tensors can be differentiated, or raise: they are never silently constant. And nothing that a caller
changes between two passes makes a gradient wrong.
"""

import numpy as np
import pytest

import drlim
import oracles

torch = pytest.importorskip("torch")
import drlim.torch as dt  # noqa: E402

COUNT, COLS = 12, 4
LABELS = torch.tensor([0, 1, 2] * 4)
SIMILAR = torch.tensor([True, False, False, True, False, True])
IGNORED = torch.tensor([False, False, True, False, False, False])
PAIRS = [(0, 1), (1, 0), (2, 5), (3, 11), (7, 2), (0, 3)]
WEIGHTS = torch.linspace(0.5, 2.0, 6, dtype=torch.float64)
GRAPH = drlim.Graph(COUNT, [(0, 1), (1, 5), (7, 3), (2, 11)])


@pytest.fixture
def z():
    generator = torch.Generator().manual_seed(7)
    return torch.randn(COUNT, COLS, dtype=torch.float64, generator=generator, requires_grad=True)


def gradgradcheck(function, *inputs):
    assert torch.autograd.gradgradcheck(function, inputs, eps=1e-6, atol=1e-5, rtol=1e-4)


def parts(z, at):
    return [part.detach().clone().requires_grad_() for part in (z[:at], z[at:])]


@pytest.mark.parametrize("loss", oracles.PAIR_LOSSES, ids=str)
@pytest.mark.parametrize("reduction", [*oracles.REDUCTIONS, "none"], ids=str)
def test_gradgradcheck_of_pairs(loss, reduction, z):
    how = {"weights": WEIGHTS, "ignored": IGNORED, "reduction": reduction}
    gradgradcheck(lambda a, b: dt.rows(loss, a, b, SIMILAR, **how), *parts(z, 6))
    gradgradcheck(lambda z: dt.indexed(loss, z, PAIRS, SIMILAR, **how), z)
    if reduction != "none":
        for normalize in (False, True):
            gradgradcheck(lambda z: dt.all_pairs(loss, z, LABELS, normalize=normalize, reduction=reduction), z)
        gradgradcheck(lambda z: dt.all_pairs(loss, z, LABELS, ignore_label=1, reduction=reduction), z)
        gradgradcheck(lambda z: dt.all_pairs(loss, z, graph=GRAPH, reduction=reduction), z)
        gradgradcheck(lambda q, k: dt.cross(loss, q, k, LABELS[:5], LABELS[5:], reduction=reduction), *parts(z, 5))
        gradgradcheck(lambda q, k: dt.cross(loss, q, k, LABELS[:5], LABELS[5:], own=1, reduction=reduction), *parts(z, 5))
        gradgradcheck(
            lambda q, k: dt.cross(loss, q, k, graph=GRAPH, first_query=2, first_key=0, reduction=reduction), *parts(z, 6)
        )


@pytest.mark.parametrize("loss", oracles.TRIPLET_LOSSES, ids=str)
@pytest.mark.parametrize("reduction", [*oracles.TRIPLET_REDUCTIONS, "none"])
def test_gradgradcheck_of_triplets(loss, reduction, z):
    how = {"weights": WEIGHTS[:4], "ignored": IGNORED[:4], "reduction": reduction}
    three = [part.detach().clone().requires_grad_() for part in (z[:4], z[4:8], z[8:])]
    gradgradcheck(lambda a, p, n: dt.triplet_rows(loss, a, p, n, **how), *three)


@pytest.mark.parametrize("distance", ["euclidean", "squared", "dot", "cosine"])
def test_gradgradcheck_of_distances(distance, z):
    gradgradcheck(lambda a, b: dt.row_distances(a, b, distance), *parts(z, 6))


def test_gradgradcheck_of_modules(z):
    for module in (
        dt.ContrastiveLoss(0.1, 1.2),
        dt.ContrastiveLoss(0.1, 1.2, normalize=False),
        dt.BatchLoss(drlim.Contrastive(2.0)),
        dt.BatchLoss(drlim.Contrastive(2.0), normalize=True),
    ):
        gradgradcheck(lambda z: module(z, LABELS), z)
    gradgradcheck(lambda a, b: dt.RowsLoss(drlim.Contrastive(2.0))(a, b, SIMILAR), *parts(z, 6))
    gradgradcheck(lambda z: dt.TripletRowsLoss(drlim.TripletMargin(0.3))(z[:4], z[4:8], z[8:]), z)
    triplets = (torch.tensor([0, 1]), torch.tensor([3, 4]), torch.tensor([1, 2]))
    gradgradcheck(lambda z: dt.TripletMarginLoss(5.0)(z, LABELS, triplets), z)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gradient_penalty_is_felt(dtype, z):
    z = z.detach().to(dtype).requires_grad_()
    value = dt.all_pairs(drlim.Contrastive(2.0), z, LABELS)
    (grad,) = torch.autograd.grad(value, z, create_graph=True)
    assert grad.requires_grad
    (value + 0.1 * grad.pow(2).sum()).backward()

    def number(x):
        outcome = drlim.all_pairs(drlim.Contrastive(2.0), x, LABELS.numpy())
        return outcome.value + 0.1 * (outcome.grad**2).sum()

    step = np.random.default_rng(1).normal(size=(COUNT, COLS))
    x = z.detach().double().numpy()
    right = (number(x + 1e-5 * step) - number(x - 1e-5 * step)) / 2e-5
    assert abs((z.grad.double().numpy() * step).sum() - right) < 1e-4 * abs(right)


def test_the_hessian_of_springs_is_their_laplacian(z):
    loss = drlim.Contrastive(1e-3)  # all dissimilar pairs are out of reach
    hessian = torch.autograd.functional.hessian(lambda z: dt.all_pairs(loss, z, LABELS, reduction="sum"), z)
    alike = (LABELS[:, None] == LABELS).double()
    laplacian = torch.diag(alike.sum(1)) - alike
    torch.testing.assert_close(hessian[:, 0, :, 0], laplacian)
    assert not hessian[:, 0, :, 1].any()


def test_a_step_of_learning_to_learn(z):
    target = z.detach().flip(0)
    rate = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def after(rate):
        (grad,) = torch.autograd.grad(dt.all_pairs(drlim.Contrastive(2.0), z, LABELS), z, create_graph=True)
        return dt.rows(drlim.Contrastive(1.0), z - rate * grad, target, [True] * COUNT)

    assert torch.autograd.gradcheck(after, (rate,))
    (by_z,) = torch.autograd.grad(after(rate), z)
    assert torch.isfinite(by_z).all()


@pytest.mark.parametrize("mining", ["all", "hardest", "semi-hard"])
def test_mined_triplets_raise_in_every_case(mining, z):
    for scale in (1, 3):
        value = scale * dt.triplets(drlim.TripletMargin(0.3), z, LABELS, mining=mining)
        with pytest.raises(RuntimeError, match="triplets has no second derivatives"):
            torch.autograd.grad(value, z, create_graph=True)
    value = dt.BatchTripletLoss(drlim.TripletMargin(0.3), mining=mining)(z, LABELS)
    with pytest.raises(RuntimeError, match="triplets has no second derivatives"):
        torch.autograd.functional.hessian(lambda z: dt.triplets(drlim.TripletMargin(0.3), z, LABELS, mining=mining), z)
    value.backward()
    assert z.grad is not None


def test_third_derivatives_raise(z):
    for value in (
        dt.all_pairs(drlim.Contrastive(2.0), z, LABELS),
        dt.rows(drlim.Contrastive(2.0), z[:6], z[6:], SIMILAR, reduction="none").sum(),
        dt.row_distances(z[:6], z[6:]).sum(),
    ):
        (grad,) = torch.autograd.grad(value, z, create_graph=True)
        with pytest.raises(RuntimeError, match="no third derivatives"):
            torch.autograd.grad(grad.pow(2).sum(), z, create_graph=True)


CALLS = {
    "rows": lambda z: dt.rows(drlim.Contrastive(2.0), z[:6], z[6:], SIMILAR),
    "indexed": lambda z: dt.indexed(drlim.Contrastive(2.0), z, PAIRS, SIMILAR),
    "all_pairs": lambda z: dt.all_pairs(drlim.Contrastive(2.0), z, LABELS),
    "cross": lambda z: dt.cross(drlim.Contrastive(2.0), z, z.detach().clone(), LABELS, LABELS),
    "triplets": lambda z: dt.triplets(drlim.TripletMargin(0.7), z, LABELS),
    "triplet_rows": lambda z: dt.triplet_rows(drlim.TripletMargin(0.7), z[:4], z[4:8], z[8:]),
    "none": lambda z: dt.rows(drlim.Contrastive(2.0), z[:6], z[6:], SIMILAR, reduction="none").sum(),
    "distances": lambda z: dt.row_distances(z[:6], z[6:]).sum(),
    "ContrastiveLoss": lambda z: dt.ContrastiveLoss()(z, LABELS),
    "TripletMarginLoss": lambda z: dt.TripletMarginLoss()(z, LABELS),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("factor", [1, 3])
def test_a_gradient_that_is_changed_is_not_that_of_the_graph(name, factor, z):
    value = CALLS[name](z)
    upstream = torch.tensor(float(factor), dtype=torch.float64)
    found = []
    for change in (lambda g: g.data.mul_(100), lambda g: g.numpy().fill(7), lambda g: g.zero_(), lambda g: None):
        (grad,) = torch.autograd.grad(value, z, upstream, retain_graph=True)
        found.append(grad.clone())
        change(grad)
    hook = z.register_hook(lambda g: g.mul_(5))
    (grad,) = torch.autograd.grad(value, z, upstream, retain_graph=True)
    found.append(grad / 5)
    hook.remove()
    for grad in found[1:]:
        torch.testing.assert_close(grad, found[0], rtol=1e-12, atol=1e-15)
    assert found[0].any()


@pytest.mark.parametrize("how", ["torch", "numpy"])
def test_constants_may_be_refilled_between_the_passes(how, z):
    keep = (lambda t: t.clone()) if how == "torch" else (lambda t: t.numpy().copy())

    def empty(constants):
        for constant in constants:
            constant[...] = 1 if constant.dtype in (torch.bool, np.bool_) else 0

    for reduction in ("none", "mean", "balanced-nonzero"):
        for call in (
            lambda c: dt.rows(drlim.Contrastive(2.0), z[:6], z[6:], c[0], weights=c[1], ignored=c[2], reduction=reduction),
            lambda c: dt.indexed(drlim.Contrastive(2.0), z, PAIRS, c[0], weights=c[1], ignored=c[2], reduction=reduction),
            lambda c: dt.all_pairs(drlim.Contrastive(2.0), z, c[3]),
            lambda c: dt.cross(drlim.Contrastive(2.0), z, z.detach().clone(), c[3], c[3]),
            lambda c: dt.triplets(drlim.TripletMargin(0.7), z, c[3]),
        ):
            expected = torch.autograd.grad(call([keep(c) for c in (SIMILAR, WEIGHTS, IGNORED, LABELS)]).sum(), z)
            for passes in (1, 2):
                constants = [keep(c) for c in (SIMILAR, WEIGHTS, IGNORED, LABELS)]
                value = call(constants).sum()
                empty(constants)
                for _ in range(passes):
                    found = torch.autograd.grad(value, z, retain_graph=True)
                torch.testing.assert_close(found, expected)


def test_inputs_may_be_changed_once_a_number_is_there_but_not_silently(z):
    keys = z.detach().clone()
    value = dt.cross(drlim.Contrastive(2.0), z, keys, LABELS, LABELS)
    expected = drlim.cross(drlim.Contrastive(2.0), z.detach().numpy(), keys.numpy().copy(), LABELS, LABELS)
    keys.zero_()  # a memory bank that takes new rows
    (grad,) = torch.autograd.grad(value, z, retain_graph=True)
    oracles.close(grad.numpy(), expected.grad_queries, np.float64)
    for again in ({"retain_graph": True}, {"create_graph": True}):
        with pytest.raises(RuntimeError, match="cross: an input was changed in place"):
            torch.autograd.grad(value, z, **again)
    a, b = z[:6].detach().clone().requires_grad_(), z[6:].detach().clone()
    values = dt.rows(drlim.Contrastive(2.0), a, b, SIMILAR, reduction="none")
    b.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        values.sum().backward()


def test_rows_without_direction_have_a_product_of_zero():
    z = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    value = dt.all_pairs(drlim.Contrastive(3.0), z, [0, 0, 1], normalize=True)
    (grad,) = torch.autograd.grad(value, z, create_graph=True)
    (product,) = torch.autograd.grad((grad * torch.ones_like(grad)).sum(), z)
    assert torch.isfinite(product).all() and not product[0].any() and product[1:].any()
    zeros = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    for distance in ("euclidean", "cosine"):
        values = dt.row_distances(zeros, z.detach() * 0, distance)
        (grad,) = torch.autograd.grad(values.sum(), zeros, create_graph=True)
        (product,) = torch.autograd.grad(grad.sum(), zeros)
        assert not product.any()


def test_products_of_arrays():
    rng = np.random.default_rng(5)
    z, v = rng.normal(size=(2, COUNT, COLS))
    loss, labels = drlim.Contrastive(2.0), LABELS.numpy()
    step = 1e-6

    def change(gradient):
        return (gradient(z + step * v) - gradient(z - step * v)) / (2 * step)

    for normalize in (False, True):
        expected = change(lambda z: drlim.all_pairs(loss, z, labels, normalize=normalize, scale=2.0).grad)
        found = drlim.all_pairs_hvp(loss, z, v, labels, normalize=normalize, scale=2.0)
        oracles.close(found, expected, np.float64)
    expected = change(lambda z: drlim.indexed(loss, z, PAIRS, SIMILAR).grad)
    found = drlim.indexed_hvp(loss, z, v, PAIRS, SIMILAR, derivatives=True)
    oracles.close(found.hvp, expected, np.float64)
    value = drlim.indexed(loss, z, PAIRS, SIMILAR)
    assert found.derivatives.sum() == pytest.approx((value.grad * v).sum())
    with pytest.raises(ValueError, match="along has shape"):
        drlim.all_pairs_hvp(loss, z, v[:3], labels)
    with pytest.raises(TypeError, match="along_b is of float32"):
        drlim.rows_hvp(loss, z, z, v, v.astype("f4"), [True] * COUNT)
    with pytest.raises(ValueError, match="along holds 2 arrays"):
        drlim.triplet_rows_hvp(drlim.TripletMargin(1.0), z, z, z, (v, v))
