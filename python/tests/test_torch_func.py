"""Transforms of `torch.func`: gradients are those of backward passes, and mapped calls those of a loop."""

import pytest

import drlim

torch = pytest.importorskip("torch")
import drlim.torch as dt  # noqa: E402
from torch.func import functional_call, grad, hessian, jacrev, jvp, vjp, vmap  # noqa: E402

COUNT, COLS, BATCHES = 12, 4, 3
LABELS = torch.arange(COUNT) % 3
OF_BATCHES = torch.stack([LABELS, LABELS.flip(0), torch.arange(COUNT) % 2])
PAIR, TRIPLET = drlim.Contrastive(2.0), drlim.TripletMargin(0.75)
GRAPH = drlim.Graph(COUNT, [(0, 1), (2, 3), (3, 7)])
PICKED = tuple(torch.tensor(part) for part in ([0, 1, 2], [3, 4, 5], [0, 1, 1], [2, 3, 5]))
TRIPLETS = tuple(torch.tensor(part) for part in ([0, 1, 2], [3, 4, 5], [1, 2, 3]))

FUNCTIONS = {
    "all_pairs": lambda z, y: dt.all_pairs(PAIR, z, y, normalize=True),
    "cross": lambda z, y: dt.cross(PAIR, z[:5], z[5:], y[:5], y[5:], reduction=(1.0, 2.0)),
    "rows": lambda z, y: dt.rows(PAIR, z[:6], z[6:], y[:6] == 0, reduction="none"),
    "indexed": lambda z, y: dt.indexed(PAIR, z, y.reshape(6, 2) + torch.tensor([0, 3]), [True, False] * 3),
    "triplet_rows": lambda z, y: dt.triplet_rows(TRIPLET, z[:4], z[4:8], z[8:], reduction="none"),
    "triplets": lambda z, y: dt.triplets(TRIPLET, z, y),
    "row_distances": lambda z, y: dt.row_distances(z[:6], z[6:], "cosine"),
    "sup_con_loss": lambda z, y: dt.sup_con_loss(z, y, reduction="none"),
    "clip_loss": lambda z, y: dt.clip_loss(z[:6], z[6:], 3.0, normalize=True),
    "siglip_loss": lambda z, y: dt.siglip_loss(z[:6], z[6:], 3.0, -2.0, normalize=True),
    "ContrastiveLoss": lambda z, y, loss=dt.ContrastiveLoss(): loss(z, y) + loss(z, y, PICKED),
    "ContrastiveLoss, reference": lambda z, y, loss=dt.ContrastiveLoss(): loss(z, y, ref_emb=z.flip(0)),
    "TripletMarginLoss": lambda z, y, loss=dt.TripletMarginLoss(0.5): loss(z, y) + loss(z, y, TRIPLETS),
    "BatchTripletLoss": lambda z, y, loss=dt.BatchTripletLoss(TRIPLET): loss(z, y),
}
TWICE = ["all_pairs", "cross", "rows", "triplet_rows", "row_distances", "ContrastiveLoss"]


def batches():
    return torch.randn(BATCHES, COUNT, COLS, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


def looped(function, z, y):
    return torch.stack([function(*of) for of in zip(z, y)])


def by_backward(function, z):
    z = z.detach().requires_grad_()
    return torch.autograd.grad(function(z).sum(), z)[0]


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_and_batches(name):
    function, z = FUNCTIONS[name], batches()
    of_one = grad(lambda z, y: function(z, y).sum())
    same(of_one(z[0], LABELS), by_backward(lambda z: function(z, LABELS), z[0]))
    value, back = vjp(lambda z: function(z, LABELS), z[0])
    same(value, function(z[0], LABELS))
    same(back(2 * torch.ones_like(value))[0], 2 * of_one(z[0], LABELS))
    same(vmap(function)(z, OF_BATCHES), looped(function, z, OF_BATCHES))
    same(vmap(lambda z: function(z, LABELS), 1)(z.movedim(0, 1)), looped(function, z, [LABELS] * BATCHES))
    expected = looped(lambda z, y: by_backward(lambda z: function(z, y), z), z, OF_BATCHES)
    same(vmap(of_one)(z, OF_BATCHES), expected)
    same(grad(lambda z: vmap(function)(z, OF_BATCHES).sum())(z), expected)
    same(by_backward(lambda z: vmap(function)(z, OF_BATCHES), z), expected)


def penalty(function, z, gradient):
    return gradient(lambda z: function(z, LABELS).exp().sum(), z).square().sum()


def of_graph(function, z):
    return torch.autograd.grad(function(z), z, create_graph=True)[0]


@pytest.mark.parametrize("name", TWICE)
def test_second_derivatives(name):
    function, z = FUNCTIONS[name], batches()[0]
    found = grad(lambda z: penalty(function, z, lambda f, z: grad(f)(z)))(z)
    same(found, by_backward(lambda z: penalty(function, z, of_graph), z))
    mapped = vmap(grad(lambda z: penalty(function, z, lambda f, z: grad(f)(z))))(torch.stack([z, z]))
    same(mapped, torch.stack([found, found]))


def test_jacobians():
    z = batches()[0]
    rows = jacrev(lambda z: FUNCTIONS["rows"](z, LABELS))(z)
    same(rows, torch.stack([by_backward(lambda z: FUNCTIONS["rows"](z, LABELS)[k], z) for k in range(6)]))
    curvature = jacrev(jacrev(lambda z: FUNCTIONS["all_pairs"](z, LABELS)))(z)
    same(curvature, torch.autograd.functional.hessian(lambda z: FUNCTIONS["all_pairs"](z, LABELS), z))


def test_scales_and_graphs():
    z, scale, bias = batches()[0], torch.tensor(3.0, dtype=torch.float64), torch.tensor(-2.0, dtype=torch.float64)
    found = grad(lambda s, b: dt.siglip_loss(z, z.flip(0), s, b), (0, 1))(scale, bias)
    leaves = scale.clone().requires_grad_(), bias.clone().requires_grad_()
    same(found, torch.autograd.grad(dt.siglip_loss(z, z.flip(0), *leaves), leaves))
    scales = torch.tensor([2.0, 3.0], dtype=torch.float64)
    same(vmap(lambda s: dt.sup_con_loss(z, LABELS, scale=s))(scales)[1], dt.sup_con_loss(z, LABELS, scale=3.0))
    same(vmap(lambda z: dt.all_pairs(PAIR, z, graph=GRAPH))(z[None])[0], dt.all_pairs(PAIR, z, graph=GRAPH))


def test_ensembles():
    """Gradients by the parameters of several models at once."""
    torch.manual_seed(7)
    model, x = torch.nn.Linear(5, COLS), torch.randn(COUNT, 5)
    weights = torch.randn(2, COLS, 5)

    def value(weight):
        return dt.ContrastiveLoss()(functional_call(model, {"weight": weight, "bias": model.bias.detach()}, x), LABELS)

    torch.testing.assert_close(vmap(grad(value))(weights), torch.stack([by_backward(value, of) for of in weights]))


def test_what_is_refused():
    z = batches()[0]
    for transform in (lambda f: jvp(f, (z,), (z,)), lambda f: hessian(f)(z)):
        with pytest.raises(NotImplementedError, match="no derivatives in forward mode"):
            transform(lambda z: dt.all_pairs(PAIR, z, LABELS))
    with torch.autograd.forward_ad.dual_level():
        with pytest.raises(NotImplementedError, match="no derivatives in forward mode"):
            dt.all_pairs(PAIR, torch.autograd.forward_ad.make_dual(z, z), LABELS)
    with pytest.raises(RuntimeError, match="all_anchors has no second derivatives"):
        grad(lambda z: grad(lambda z: dt.sup_con_loss(z, LABELS))(z).square().sum())(z)
    with pytest.raises(RuntimeError, match="all_pairs has no third derivatives"):
        grad(lambda z: grad(lambda z: penalty(FUNCTIONS["all_pairs"], z, lambda f, z: grad(f)(z)))(z).sum())(z)
    with pytest.raises(RuntimeError, match="seen in memory, not in a graph: give indices_tuple"):
        grad(lambda z: dt.ContrastiveLoss()(z, LABELS, ref_emb=z[:5], ref_labels=LABELS[:5]))(z)
    with pytest.raises(ValueError, match=r"^labels has shape \(3,\)"):
        grad(lambda z: dt.all_pairs(PAIR, z, LABELS[:3]))(z)
    with pytest.raises(ValueError, match="^z has 3 dimensions, expected 2"):
        grad(lambda z: dt.all_pairs(PAIR, z, LABELS))(z[None])
    with pytest.raises(ValueError, match="vmap is over 0 batches"):
        vmap(lambda z: dt.all_pairs(PAIR, z, LABELS))(z[None][:0])
