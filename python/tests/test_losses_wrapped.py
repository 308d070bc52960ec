"""`drlim.torch.losses` in the wrappers of pytorch-metric-learning, with weights of miners, with learned scales."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_metric_learning")
import pytorch_metric_learning.losses as theirs  # noqa: E402
from beside import BATCH, COLS, PROXIES, REDUCERS, data, maker, same  # noqa: E402
from pytorch_metric_learning import distances, miners  # noqa: E402


Z, LABELS = data()

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def plain(loss, z):
    return loss(z, LABELS)


@both
@pytest.mark.parametrize("name", PROXIES[:3])
@pytest.mark.parametrize("reducer", ["default", "non-zero", "sum", "threshold"])
def test_weights_of_miners(name, reducer, dtype):
    indices = miners.MultiSimilarityMiner()(Z, LABELS)
    make = maker(name, None, REDUCERS[reducer])
    assert not same(make, lambda loss, z: loss(z, LABELS, indices), Z, dtype=dtype, tolerance=4)
    triplets = miners.BatchHardMiner()(Z, LABELS)
    assert not same(maker("NPairsLoss"), lambda loss, z: loss(z, LABELS, triplets), Z, dtype=dtype, tolerance=4)


@both
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("name", BATCH)
def test_self_supervised(name, symmetric, dtype):
    def make(library):
        return theirs.SelfSupervisedLoss(maker(name)(library), symmetric=symmetric)

    reasons = same(make, lambda loss, z, ref: loss(z, ref), Z, data(9)[0], dtype=dtype, tolerance=4)
    assert bool(reasons) == (name == "LiftedStructureLoss" and not symmetric)


@both
@pytest.mark.parametrize("memory", [24, 37, 100])
@pytest.mark.parametrize("name", BATCH)
def test_cross_batch_memory(name, memory, dtype):
    """Steps of unequal size, before the queue is full and after, where a batch stands at its end and its beginning."""

    def make(library):
        return library.CrossBatchMemory(maker(name)(library), COLS, memory)

    def steps(loss, *batches):
        return sum((at + 1) * loss(z, labels) for at, (z, labels) in enumerate(zip(batches, of_labels)))

    given = [data(at, rows) for at, rows in enumerate([9, 10, 24, 3, 1, 17, 20])]
    of_labels = [labels for _, labels in given]
    reasons = same(make, steps, *(z for z, _ in given), dtype=dtype, tolerance=4)
    assert bool(reasons) == (name == "LiftedStructureLoss")


def test_cross_batch_memory_with_a_miner_and_a_mask():
    def mined(library):
        miner = miners.PairMarginMiner(0.2, 1.0)
        return library.CrossBatchMemory(maker("ContrastiveLoss")(library), COLS, 50, miner=miner)

    def masked(loss, z):
        mask = torch.arange(len(z)) % 3 == 0
        return loss(z, LABELS, enqueue_mask=mask) + loss(z + 0.1, LABELS, enqueue_mask=mask)

    assert not same(mined, lambda loss, z: loss(z, LABELS) + loss(z + 0.1, LABELS), Z)
    for name in ("ContrastiveLoss", "SupConLoss"):
        assert not same(lambda library: library.CrossBatchMemory(maker(name)(library), COLS, 50), masked, Z)


def test_several_losses_at_once():
    def make(library):
        pair = {"a": maker("ContrastiveLoss")(library), "b": maker("SupConLoss")(library)}
        return library.MultipleLosses(pair, weights={"a": 0.3, "b": 2.0})

    assert not same(make, plain, Z)


def test_a_temperature_that_is_learned():
    for name, distance in (("NTXentLoss", None), ("SupConLoss", None), ("NormalizedSoftmaxLoss", None),
                           ("SupConLoss", distances.LpDistance), ("NTXentLoss", distances.LpDistance)):
        for reducer in ("default", "threshold"):
            def make(library):
                loss = maker(name, distance, REDUCERS[reducer])(library)
                loss.temperature = torch.nn.Parameter(torch.tensor(0.3))
                return loss

            assert not same(make, plain, Z)
