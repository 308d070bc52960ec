"""Miners by the kernels, beside pytorch-metric-learning's own: the same pairs and triplets, in any order."""

import copy
import itertools
import pickle

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_metric_learning")
from pytorch_metric_learning import distances, miners as theirs  # noqa: E402

from drlim.torch import miners as ours  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("error::drlim.torch._fused.NotFusedWarning"),
    pytest.mark.usefixtures("one_thread"),
]

DISTANCES = {
    "euclidean": distances.LpDistance,
    "not normalized": lambda: distances.LpDistance(normalize_embeddings=False),
    "squared": lambda: distances.LpDistance(power=2),
    "cosine": distances.CosineSimilarity,
}
EXACT = [name for name in ours.__all__ if name not in ("NotFusedWarning", "DistanceWeightedMiner")]
TYPES = ["all", "easy", "hard", "semihard"]
KINDS = ["easy", "hard", "semihard", "all"]


@pytest.fixture(params=DISTANCES.values(), ids=DISTANCES)
def distance(request):
    return request.param()


@pytest.fixture(params=[(1 << 20, torch.float32), (300, torch.float64)], ids=["one block, float32", "blocks, float64"])
def batch(request, monkeypatch):
    """Rows of six classes, with one alone in its class, of any length."""
    monkeypatch.setattr(ours, "BLOCK", request.param[0])
    generator = torch.Generator().manual_seed(7)
    labels = torch.randint(6, (40,), generator=generator)
    labels[13] = 50
    z = torch.randn(40, 12, generator=generator) + 0.4 * torch.randn(51, 12, generator=generator)[labels]
    return z.to(request.param[1]), labels


def both(name, **options):
    return getattr(ours, name)(**options), getattr(theirs, name)(**options)


def sets(indices):
    """The pairs or triplets of a result, which has none twice."""
    parts = (indices,) if len(indices) == 3 else (indices[:2], indices[2:])
    found = []
    for part in parts:
        assert all(column.dtype == torch.int64 for column in part)
        rows = list(zip(*(column.tolist() for column in part)))
        assert len(rows) == len(set(rows))
        found.append(set(rows))
    return found


def same(pair, z, labels, some=True):
    """In the batch, with a reference, and with odd batches."""
    calls = [
        (z, labels),
        (z[:20], labels[:20], z[20:], labels[20:]),
        (z, labels, z, labels.clone()),
        (z[:1], labels[:1]),
        (z, torch.zeros_like(labels)),
        (z, torch.arange(len(z))),
        (z[:30], torch.zeros(30), z[30:], torch.ones(len(z) - 30)),
    ]
    for place, call in enumerate(calls):
        found, expected = (sets(miner(*call)) for miner in pair)
        assert found == expected, place
        assert not some or place or all(expected), "nothing is compared"
    for found, expected in zip(*(miner(z.clone().requires_grad_(), labels) for miner in pair)):
        assert not found.requires_grad and len(found) == len(expected)


def test_hardest(distance, batch):
    same(both("BatchHardMiner", distance=distance), *batch)


@pytest.mark.parametrize("ranges", [None, (0.3, 1.1)], ids=["", "ranges"])
def test_easy_and_hard(ranges, distance, batch):
    for positive, negative in itertools.product(KINDS, KINDS):
        if "semihard" in (positive, negative) and ("all" in (positive, negative) or positive == negative):
            continue
        options = {"pos_strategy": positive, "neg_strategy": negative, "distance": distance}
        of_range = {"allowed_pos_range": ranges, "allowed_neg_range": ranges}
        same(both("BatchEasyHardMiner", **options, **of_range), *batch, some=ranges is None)


@pytest.mark.parametrize("epsilon", [0.1, 0.0, -0.2])
def test_multi_similarity(epsilon, distance, batch):
    same(both("MultiSimilarityMiner", epsilon=epsilon, distance=distance), *batch)


def test_default_distances(batch):
    for name in ours.__all__:
        if name in EXACT:
            same(both(name), *batch)


@pytest.mark.parametrize("margins", [(0.2, 0.8), (0.9, 1.2), (-0.5, 0.1)])
def test_pairs_beyond_margins(margins, distance, batch):
    same(both("PairMarginMiner", pos_margin=margins[0], neg_margin=margins[1], distance=distance), *batch, some=False)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("margin", [0.2, -0.1])
def test_triplets_beyond_margins(margin, kind, distance, batch):
    same(both("TripletMarginMiner", margin=margin, type_of_triplets=kind, distance=distance), *batch, some=margin > 0)


def test_labels_that_are_one_object_with_other_rows(batch):
    """Row i is no positive of row i of the reference, as there."""
    z, labels = batch
    other = z.flip(1)
    for name in ("BatchHardMiner", "BatchEasyHardMiner", "PairMarginMiner", "TripletMarginMiner"):
        found, expected = (sets(miner(z, labels, other, labels)) for miner in both(name))
        assert found == expected
    ours_, theirs_ = both("MultiSimilarityMiner")
    with pytest.warns(ours.NotFusedWarning, match="row i is row i"):
        assert sets(ours_(z, labels, other, labels)) == sets(theirs_(z, labels, other, labels))


def test_equal_rows_and_rows_of_zeros():
    """Of equally far rows the first is taken."""
    z = torch.tensor([[1.0, 0], [0, 1], [0, 1], [-1, 0], [-1, 0], [0, 0]])
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    a, p, n = ours.BatchHardMiner()(z, labels)
    assert list(zip(a.tolist(), p.tolist(), n.tolist()))[:1] == [(0, 1, 5)]
    for name in ("BatchHardMiner", "MultiSimilarityMiner", "PairMarginMiner"):
        for distance in (distances.CosineSimilarity(), distances.LpDistance(normalize_embeddings=False)):
            found, expected = (sets(miner(z, labels)) for miner in both(name, distance=distance))
            assert found == expected


def test_weights_by_distance(batch):
    """Anchors, their numbers, and how often each positive and negative comes; never what has no weight."""
    z, labels = batch
    for call in ((z, labels), (z[:15], labels[:15], z[15:], labels[15:])):
        counts = []
        for miner in both("DistanceWeightedMiner", cutoff=0.9, nonzero_loss_cutoff=1.5):
            torch.manual_seed(3)
            drawn = [miner(*call) for _ in range(60)]
            assert drawn[0][0].dtype == torch.int64
            of_one = [torch.bincount(part, minlength=40) for part in drawn[0]]
            # Anchors are the same in every draw.
            assert all(torch.equal(torch.bincount(one[0], minlength=40), of_one[0]) for one in drawn)
            of_pairs = [torch.zeros(40, 40), torch.zeros(40, 40)]
            for a, p, n in drawn:
                for place, others in enumerate((p, n)):
                    of_pairs[place] += torch.bincount(40 * a + others, minlength=1600).view(40, 40)
            counts.append((of_one[0], *of_pairs))
        assert torch.equal(counts[0][0], counts[1][0])
        for found, expected in zip(counts[0][1:], counts[1][1:]):
            total = found + expected
            often = total >= 10
            # The difference of two counts of one rate has their sum as its variance: chi-squared over many pairs.
            assert often.sum() > 40
            assert ((found - expected) ** 2 / total)[often].mean() < 1.25
            assert ((found == 0) == (expected == 0))[total > 40].all()


def test_no_weights():
    z, labels = torch.randn(8, 5), torch.arange(8)
    for call in ((z, labels), (z, torch.zeros(8, dtype=torch.long)), (z, torch.arange(8) % 2)):
        for miner in both("DistanceWeightedMiner", nonzero_loss_cutoff=1e-3):
            assert [len(part) for part in miner(*call)] == [0, 0, 0]


NOT_FUSED = {
    "distance is DotProductSimilarity": {"distance": distances.DotProductSimilarity()},
    "distance is LpDistance": {"distance": distances.LpDistance(p=1)},
    "collect_stats": {"collect_stats": True},
}


@pytest.mark.parametrize("reason", NOT_FUSED)
@pytest.mark.parametrize("name", EXACT)
def test_what_is_not_fused_is_theirs_and_said_once(name, reason, batch):
    found, expected = both(name, **NOT_FUSED[reason])
    with pytest.warns(ours.NotFusedWarning, match=f"{name} is not fused: {reason}"):
        result = found(*batch)
    assert sets(result) == sets(expected(*batch))
    assert sets(found(*batch)) == sets(result)  # a second warning would raise
    with pytest.warns(ours.NotFusedWarning):
        copy.deepcopy(found)(*batch)


def test_half_precision_is_theirs(batch):
    z, labels = batch
    found, expected = both("PairMarginMiner", pos_margin=1.0)
    with pytest.warns(ours.NotFusedWarning, match="float16"):
        assert sets(found(z.half(), labels)) == sets(expected(z.half(), labels))


def test_copies_files_and_the_rest_of_the_library(batch):
    assert ours.AngularMiner is theirs.AngularMiner
    with pytest.raises(AttributeError):
        ours.NoMiner
    for name in ours.__all__:
        if name == "NotFusedWarning":
            continue
        miner, other = both(name)
        assert isinstance(miner, type(other))
        for copied in (copy.deepcopy(miner), pickle.loads(pickle.dumps(miner))):
            torch.manual_seed(1)
            expected = miner(*batch)
            torch.manual_seed(1)
            assert all(torch.equal(one, two) for one, two in zip(copied(*batch), expected))
        if len(expected) == 3:
            assert miner.num_triplets == len(expected[0])
        else:
            assert (miner.num_pos_pairs, miner.num_neg_pairs) == (len(expected[0]), len(expected[2]))


def test_errors_are_theirs(batch):
    z, labels = batch
    with pytest.raises(ValueError, match="must equal number of labels"):
        ours.BatchHardMiner()(z, labels[:5])
    with pytest.raises(ValueError, match="pos_strategy"):
        ours.BatchEasyHardMiner(pos_strategy="hardest")
