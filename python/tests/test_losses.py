"""Values and gradients of `drlim.torch.losses` are those of pytorch-metric-learning, whatever is asked for, and what is
named here is fused.
"""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_metric_learning")
import pytorch_metric_learning.losses as theirs  # noqa: E402
from beside import (  # noqa: E402
    BATCH, CLASSES, DISTANCES, LOSSES, PROXIES, REDUCERS, WITH_DISTANCES, data, maker, same,
)
from pytorch_metric_learning import miners, reducers, regularizers  # noqa: E402

from drlim.torch import losses  # noqa: E402

Z, LABELS = data()
REF, REF_LABELS = data(8, rows=17, classes=CLASSES + 1)

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def plain(loss, z):
    return loss(z, LABELS)


def with_reference(loss, z, ref):
    return loss(z, LABELS, ref_emb=ref, ref_labels=REF_LABELS)


def with_own_reference(loss, z):
    """Labels of another object: each row has a pair with its own copy."""
    return loss(z, LABELS, ref_emb=z, ref_labels=LABELS.clone())


def with_same_labels(loss, z, ref):
    """Row i is row i where both labels are one object, whatever the rows are."""
    return loss(z, LABELS, ref_emb=ref, ref_labels=LABELS)


def without_reference_labels(loss, z, ref):
    return loss(z, LABELS, ref_emb=ref)


CALLS = {
    "plain": (plain, Z),
    "reference": (with_reference, Z, REF),
    "own reference": (with_own_reference, Z),
    "same labels": (with_same_labels, Z, Z.flip(0)),
    "no reference labels": (without_reference_labels, Z, Z.flip(0)),
}


def of_any_length(distance):
    return distance.endswith("of any length")


NOT_FUSED = [
    ("ContrastiveLoss", ("cosine", "dot", "dot of any length"), REDUCERS, CALLS),
    ("ContrastiveLoss", DISTANCES, ("threshold", "per anchor", "by class"), CALLS),
    ("LiftedStructureLoss", DISTANCES, REDUCERS, [call for call in CALLS if call != "plain"]),
    ("ProxyAnchorLoss", [name for name in DISTANCES if name not in ("default", "cosine", "dot")], REDUCERS, CALLS),
    ("ProxyAnchorLoss", DISTANCES, ("non-zero", "threshold"), CALLS),
]
"""Classes with distances, reducers and calls that are left to pytorch-metric-learning."""


@pytest.mark.parametrize("name, distance", WITH_DISTANCES)
def test_every_distance_and_reducer(name, distance):
    beside_with_all_reducers(name, distance, "plain")
    if name in BATCH:
        beside_with_all_reducers(name, distance, "reference")


@pytest.mark.parametrize("call", ["own reference", "same labels", "no reference labels"])
@pytest.mark.parametrize("name", BATCH)
def test_what_a_row_itself_is(name, call):
    beside_with_all_reducers(name, "default", call)


def beside_with_all_reducers(name, distance, call):
    run, *tensors = CALLS[call]
    for reducer, make_reducer in REDUCERS.items():
        make = maker(name, DISTANCES[distance], make_reducer)
        left = any(name == of and distance in d and reducer in r and call in c for of, d, r, c in NOT_FUSED)
        reasons = same(make, run, *tensors)
        assert bool(reasons) == left, (reducer, reasons)
        # Of rows of any length values in float32 are clipped there, and some are rounded to 0.
        if not of_any_length(distance):
            rounded = reducer == "non-zero" and name in ("MultiSimilarityLoss", *PROXIES)
            reference = torch.float32 if rounded else torch.float64
            same(make, run, *tensors, dtype=torch.float32, tolerance=4, reference=reference)


@both
@pytest.mark.parametrize("name", ["ContrastiveLoss", "TripletMarginLoss"])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("reducer", ["default", "mean", "threshold", "per anchor"])
def test_indices_of_miners(name, distance, reducer, dtype):
    make = maker(name, DISTANCES[distance], REDUCERS[reducer])
    for miner in (
        miners.BatchHardMiner(),
        miners.MultiSimilarityMiner(),
        miners.TripletMarginMiner(0.3),
        miners.PairMarginMiner(0.2, 1.0),
    ):
        indices = miner(Z, LABELS)
        assert len(indices[0])
        assert not same(make, lambda loss, z: loss(z, LABELS, indices), Z, dtype=dtype, tolerance=4)
        assert not same(make, lambda loss, z: loss(z, indices_tuple=indices), Z, dtype=dtype, tolerance=4)
        crossed = miner(Z, LABELS, REF, REF_LABELS)
        if reducer != "per anchor":  # has no room for a reference there
            across = lambda loss, z, ref: loss(z, LABELS, crossed, ref, REF_LABELS)  # noqa: E731
            assert not same(make, across, Z, REF, dtype=dtype, tolerance=4)


@both
@pytest.mark.parametrize("arguments", [
    {"swap": True}, {"smooth_loss": True}, {"margin": 0.5}, {"margin": 0}, {"margin": -0.1}, {"triplets_per_anchor": 3},
    {"swap": True, "smooth_loss": True, "margin": 0.4},
], ids=str)
@pytest.mark.parametrize("distance", ["Lp", "Lp squared", "cosine", "dot of any length"])
def test_triplets(arguments, distance, dtype):
    make = maker("TripletMarginLoss", DISTANCES[distance], **arguments)
    assert not same(make, plain, Z, dtype=dtype, tolerance=4)
    assert not same(make, with_reference, Z, REF, dtype=dtype, tolerance=4)
    many = miners.TripletMarginMiner(3.0)(Z, LABELS)
    assert len(many[0]) > len(Z) ** 2
    assert not same(make, lambda loss, z: loss(z, LABELS, many), Z, dtype=dtype, tolerance=4)
    # Distances of positives and negatives are those of rows of the embeddings there, even with a reference.
    within = (LABELS[:6] * 0, LABELS[:6], LABELS[6:12])
    across = lambda loss, z, ref: loss(z, LABELS, within, ref, REF_LABELS)  # noqa: E731
    assert not same(make, across, Z, REF, dtype=dtype, tolerance=4)


CONTRASTIVE = [
    ({"pos_margin": 0.2, "neg_margin": 1.3}, "Lp", True),
    ({"pos_margin": 0.0, "neg_margin": 1.2}, "Lp squared", True),
    ({"pos_margin": 0.1, "neg_margin": 1.2}, "Lp squared", False),
    ({"pos_margin": 1.0, "neg_margin": 0.2}, "cosine", True),
    ({"pos_margin": 1.0, "neg_margin": 0.2}, "dot", True),
    ({"pos_margin": 0.8, "neg_margin": 0.2}, "cosine", False),
    ({"pos_margin": -0.1, "neg_margin": 0.2}, "Lp", False),
]


@both
@pytest.mark.parametrize("reducer", ["default", "mean", "sum"])
@pytest.mark.parametrize("arguments, distance, fused", CONTRASTIVE, ids=str)
def test_margins_of_pairs(arguments, distance, fused, reducer, dtype):
    make = maker("ContrastiveLoss", DISTANCES[distance], REDUCERS[reducer], **arguments)
    assert bool(same(make, plain, Z, dtype=dtype, tolerance=4)) != fused
    assert bool(same(make, with_reference, Z, REF, dtype=dtype, tolerance=4)) != fused


PARAMETERS = {
    "NTXentLoss": {"temperature": 0.5},
    "SupConLoss": {"temperature": 0.5},
    "MultiSimilarityLoss": {"alpha": 1, "beta": 10, "base": 0.1},
    "CircleLoss": {"m": 0.25, "gamma": 8},
    "LiftedStructureLoss": {"neg_margin": 0.7, "pos_margin": 0.2},
    "GeneralizedLiftedStructureLoss": {"neg_margin": 0.7, "pos_margin": 0.2},
    "NormalizedSoftmaxLoss": {"temperature": 0.5},
    "CosFaceLoss": {"margin": 0.1, "scale": 8},
    "ArcFaceLoss": {"margin": 57.3, "scale": 8},
    "ProxyAnchorLoss": {"margin": 0.3, "alpha": 8},
}


@both
@pytest.mark.parametrize("name, distance", [of for of in WITH_DISTANCES if of[0] in PARAMETERS])
def test_parameters(name, distance, dtype):
    same(maker(name, DISTANCES[distance], **PARAMETERS[name]), plain, Z, dtype=dtype, tolerance=4)


@both
@pytest.mark.parametrize("reducer", ["default", "threshold"])
@pytest.mark.parametrize("name", LOSSES)
def test_regularizers(name, reducer, dtype):
    arguments = {"embedding_regularizer": regularizers.LpRegularizer(), "embedding_reg_weight": 0.3}
    if name in PROXIES:
        arguments |= {"weight_regularizer": regularizers.RegularFaceRegularizer(), "weight_reg_weight": 0.2}
    reasons = same(maker(name, None, REDUCERS[reducer], **arguments), plain, Z, dtype=dtype, tolerance=4)
    assert bool(reasons) == (reducer == "threshold" and name in ("ContrastiveLoss", "ProxyAnchorLoss"))


@pytest.mark.parametrize("name", LOSSES)
def test_reducers_that_hand_values_on(name):
    """Each value by itself, with its indices, where they are the values of anchors or were picked."""
    indices = miners.MultiSimilarityMiner()(Z, LABELS)
    picked = (indices,) if name in ("ContrastiveLoss", "TripletMarginLoss") else (None,)
    make = maker(name, None, reducers.DoNothingReducer)
    for given in (None, *picked) if name != "ContrastiveLoss" else picked:
        found, expected = (make(library).double()(Z.double(), LABELS, given) for library in (losses, theirs))
        assert found.keys() == expected.keys()
        for part, other in ((found[key], expected[key]) for key in found):
            assert part.keys() == other.keys() and part["reduction_type"] == other["reduction_type"]
            torch.testing.assert_close(part["losses"], other["losses"], rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(part["indices"], other["indices"])
            assert part.get("divisor") == other.get("divisor")
