"""`drlim.torch.losses` where batches are odd, and numbers at the ends of their range."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_metric_learning")
from beside import (  # noqa: E402
    BATCH, CLASSES, DISTANCES, LOSSES, PROXIES, REDUCERS, WITH_DISTANCES, data, maker, same,
)
from pytorch_metric_learning import reducers  # noqa: E402

from drlim.torch import losses  # noqa: E402

Z, LABELS = data()
both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
T = torch.tensor

ODD = {
    "one row": [0],
    "two alike": [1, 1],
    "two of their own": [0, 1],
    "three": [0, 0, 1],
    "one class": [2] * 8,
    "all different": None,
    "no positives but one": [0, 1, 2, 3, 4, 0],
    "one row of its own": [0, 0, 0, 1, 1, 1, 2],
    "large labels": [10**12, -(10**12), 10**12, 7, 7, -1, -1],
}


@both
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", LOSSES)
def test_odd_batches(name, odd, dtype):
    labels = torch.arange(9 if name not in PROXIES else CLASSES) if ODD[odd] is None else T(ODD[odd])
    z = Z[: len(labels)]
    for reducer in ("default", "mean", "sum", "threshold"):
        make = maker(name, None, REDUCERS[reducer])
        same(make, lambda loss, z: loss(z, labels), z, dtype=dtype, tolerance=8)


@both
@pytest.mark.parametrize("name", BATCH)
def test_odd_references(name, dtype):
    for labels, ref_labels in (
        [[0], [0]], [[0], [1]], [[0], [0, 1]], [[0], [0, 0]], [[0, 1], [0]],
        [[0, 1, 2], [3, 3, 4]], [[0, 1, 1], [1, 1, 1, 1]], [[0, 0], [0, 0, 0]],
    ):
        labels, ref_labels = T(labels), T(ref_labels)

        def call(loss, z, ref):
            return loss(z, labels, ref_emb=ref, ref_labels=ref_labels)

        for reducer in ("default", "non-zero", "threshold"):
            make = maker(name, None, REDUCERS[reducer])
            same(make, call, Z[: len(labels)], Z[10 : 10 + len(ref_labels)], dtype=dtype, tolerance=4)


@pytest.mark.parametrize("name, distance", [of for of in WITH_DISTANCES if of[1] in ("default", "Lp", "Lp squared")])
def test_rows_without_direction_and_twice(name, distance):
    """Rows of zeros have no direction: their cosines are 0, and their gradient there is that of `normalize`. Equal rows
    are at distance 0, where there is no gradient.
    """
    distance, z = DISTANCES[distance], Z.clone()
    z[3] = 0
    z[7] = 1e-13  # shorter than what it is divided by
    # Zeros are at distance 1 from rows of unit length, which is the margin by default.
    given = {"neg_margin": 1.1} if name == "ContrastiveLoss" else {}
    for reducer in ("default", "mean", "threshold"):
        same(maker(name, distance, REDUCERS[reducer], **given), lambda loss, z: loss(z, LABELS), z)
    z = Z.clone()
    z[5], z[9] = z[4], 2 * z[8]
    # A loss that is not smooth in a distance of 0 would count roundings of unit rows.
    for reducer in ("default", "mean"):
        same(maker(name, distance, REDUCERS[reducer]), lambda loss, z: loss(torch.round(4 * z) / 4, LABELS), z)


EMPTY = torch.zeros(0, dtype=torch.int64)


@both
@pytest.mark.parametrize("name", ["ContrastiveLoss", "TripletMarginLoss"])
def test_empty_parts(name, dtype):
    for indices in [
        4 * (EMPTY,),
        3 * (EMPTY,),
        (T([0, 1]), T([2, 3]), EMPTY, EMPTY),
        (EMPTY, EMPTY, T([0, 1]), T([2, 3])),
        (T([0]), T([1]), T([2]), T([3])),
        (T([0]), T([1]), T([2])),
        (T([0]), T([1]), T([0]), T([3])),
        (T([0, 0]), T([1, 1]), T([0, 0]), T([3, 3])),
    ]:
        assert not same(maker(name), lambda loss, z: loss(z, LABELS, indices), Z, dtype=dtype, tolerance=4)


def in_order(rows, others, row, other):
    """Pairs of which the last is another one, in their order."""
    places = torch.cat([100 * rows[:-1] + others[:-1], (100 * row + other)[None]]).sort().values
    return places // 100, places % 100


@pytest.mark.parametrize("name", ["NTXentLoss", "SupConLoss", "ContrastiveLoss", "TripletMarginLoss"])
def test_indices_that_look_like_all_pairs(name):
    """As many pairs as there are of each kind, and not those; all pairs in another order; all but a row's own."""
    ref, ref_labels = torch.cat([Z[12:20], Z[:12] + 0.1]), torch.cat([LABELS[12:20], LABELS[:12]])
    alike = LABELS[:12, None] == ref_labels
    a1, p = torch.where(alike)
    a2, n = torch.where(~alike)
    order = torch.randperm(len(a2))
    twice = a2.clone(), n.clone()
    twice[0][1], twice[1][1] = a2[0], n[0]
    cases = {
        "all": (a1, p, a2, n),
        "another order": (a1, p, a2[order], n[order]),
        "one twice": (a1, p, *twice),
        "kinds exchanged": (*in_order(a1, p, a2[-1], n[-1]), *in_order(a2, n, a1[-1], p[-1])),
        "as many fewer as rows": (a1[12:], p[12:], a2, n),
        "a wrong own": tuple(part[(a1 != 0) | (p != p[0])] for part in (a1, p)) + (a2, n),
    }
    own = [int(torch.where(alike[row])[0][-1]) for row in range(12)]
    keep = torch.stack([(a1 == row) & (p == own[row]) for row in range(12)]).any(0)
    cases["some of its class for each row"] = (a1[~keep], p[~keep], a2, n)
    keep = p != a1 + 8
    cases["its own and another of a row"] = (a1[keep][:-1], p[keep][:-1], a2, n)
    for indices in cases.values():
        same(maker(name), lambda loss, z, ref: loss(z, LABELS[:12], indices, ref, ref_labels), Z[:12], ref)


def test_empty_batches():
    for name in BATCH:
        same(maker(name), lambda loss, z: loss(z, LABELS[:0]), Z[:0])


def test_what_a_pair_costs_at_most():
    """NT-Xent adds the smallest normal number to the share of a pair."""
    for temperature in (0.005, 0.02, 0.05):
        for reducer in ("default", "non-zero", "sum"):
            make = maker("NTXentLoss", None, REDUCERS[reducer], temperature=temperature)
            call = lambda loss, z: loss(z, LABELS)  # noqa: E731
            assert not same(make, call, Z, dtype=torch.float32, reference=torch.float32, tolerance=100)
    clipped = losses.NTXentLoss(0.005, reducer=reducers.DoNothingReducer())(Z, LABELS)["loss"]["losses"]
    assert clipped.max().item() == pytest.approx(87.3365, rel=1e-5)


def test_softplus_is_linear_above_20():
    rows = T([[1.0, 0.0], [0.1, 1.0], [1.0, 0.4]])
    for gamma in torch.linspace(12, 22, 21).tolist():
        for reducer in ("mean", "threshold"):
            make = maker("CircleLoss", None, REDUCERS[reducer], gamma=gamma)
            assert not same(make, lambda loss, z: loss(z, LABELS[:3] * 0 + T([0, 0, 1])), rows)


@pytest.mark.parametrize("name, arguments", [
    ("MultiSimilarityLoss", {"base": 1.5}), ("NormalizedSoftmaxLoss", {"temperature": 0.01}), ("CosFaceLoss", {"margin": 0}),
])
def test_values_that_are_rounded_to_0_are_not_counted(name, arguments):
    for labels in (LABELS, torch.arange(CLASSES)):
        make = maker(name, None, REDUCERS["non-zero"], **arguments)
        assert not same(make, lambda loss, z: loss(z, labels), Z[: len(labels)])
        make = maker(name, None, lambda: reducers.ThresholdReducer(low=0), **arguments)
        assert not same(make, lambda loss, z: loss(z, labels), Z[: len(labels)])
