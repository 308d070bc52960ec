"""The modules give the values and gradients of those of pytorch-metric-learning, to 1e-5."""

import pytest

torch = pytest.importorskip("torch")
pml = pytest.importorskip("pytorch_metric_learning")
from pytorch_metric_learning import distances, losses, miners, reducers  # noqa: E402

import drlim.torch as dt  # noqa: E402


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def batch(request):
    generator = torch.Generator().manual_seed(7)
    z = torch.randn(60, 16, generator=generator).to(request.param)
    return z, torch.randint(6, (60,), generator=generator)


def same(ours, theirs, z, *rest):
    results = []
    for loss in (ours, theirs):
        own = z.clone().requires_grad_()
        value = loss(own, *rest)
        value.backward()
        results.append((value.detach(), own.grad))
    of_value, of_gradient = (1e-5, 1e-4) if z.dtype == torch.float32 else (1e-12, 1e-11)
    torch.testing.assert_close(results[0][0], results[1][0], rtol=of_value, atol=0.1 * of_value)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=of_gradient, atol=0.01 * of_gradient)


@pytest.mark.parametrize("margins", [(0.0, 1.0), (0.3, 1.3), (0.1, 0.5)])
def test_contrastive(margins, batch):
    same(dt.ContrastiveLoss(*margins), losses.ContrastiveLoss(*margins), *batch)


def test_other_reducers(batch):
    theirs = losses.ContrastiveLoss(reducer=reducers.MeanReducer())
    same(dt.ContrastiveLoss(reduction="balanced"), theirs, *batch)


def test_rows_of_any_length(batch):
    theirs = losses.ContrastiveLoss(0.5, 6.0, distance=distances.LpDistance(normalize_embeddings=False))
    same(dt.ContrastiveLoss(0.5, 6.0, normalize=False), theirs, *batch)


def test_pairs_of_a_miner(batch):
    z, labels = batch
    indices = miners.PairMarginMiner(0.2, 1.2)(z, labels)
    same(dt.ContrastiveLoss(), losses.ContrastiveLoss(), z, labels, indices)


def test_triplets_of_a_miner(batch):
    z, labels = batch
    indices = miners.TripletMarginMiner(0.2)(z, labels)
    same(dt.ContrastiveLoss(), losses.ContrastiveLoss(), z, labels, indices)
    same(dt.TripletMarginLoss(0.2), losses.TripletMarginLoss(0.2), z, labels, indices)


def test_reference_embeddings(batch):
    z, labels = batch
    rest = labels[:25], None, z[25:], labels[25:]
    same(dt.ContrastiveLoss(), losses.ContrastiveLoss(), z[:25], *rest)
    indices = torch.tensor([0, 1, 5]), torch.tensor([3, 4, 9]), torch.tensor([2, 2]), torch.tensor([30, 31])
    same(dt.ContrastiveLoss(), losses.ContrastiveLoss(), z[:25], labels[:25], indices, z[25:], labels[25:])


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("margin", [0.05, 0.4])
def test_triplet_margin(margin, swap, batch):
    same(dt.TripletMarginLoss(margin, swap), losses.TripletMarginLoss(margin, swap), *batch)
