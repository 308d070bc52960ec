"""Losses of anchors are those of their definitions, and refuse what they cannot take."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import drlim
from oracles import close, hinge

COUNT, COLS, QUERIES = 11, 4, 5

LOSSES = [
    *(drlim.Softmax(4.0, positives, of) for positives in ("mean", "sum", "each") for of in (False, True)),
    drlim.CosFace(4.0, 0.25),
    drlim.ArcFace(4.0, 0.5),
    drlim.MultiSimilarity(2.0, 5.0, 0.5),
    drlim.Circle(0.25, 4.0),
    drlim.Lifted(0.125, 1.0),
    drlim.GeneralizedLifted(0.125, 1.0),
]
REDUCTIONS = ["sum", "mean", "mean-with-similar", "mean_nonzero", "mean-of-pairs", 0.25]


@pytest.fixture
def z(rng, dtype):
    return rng.normal(size=(COUNT, COLS)).astype(dtype) / 2


LABELS = np.array([0, 1, 2, 0, 1, 0, 3, 1, 2, 0, 1])


def log_sum(x):
    return np.logaddexp.reduce(x) if len(x) else -np.inf


def similarity(a, b, measure):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if measure == "dot":
        return a @ b.T
    d2 = ((a[:, None] - b) ** 2).sum(axis=2)
    return 1 - d2 / 2 if measure == "cosine" else -np.sqrt(d2)


def softmax(s, similar, positives, decoupled):
    p, g = s[similar], s[~similar]
    if not len(p) or (decoupled and not len(g)):
        return 0.0
    if positives == "each":
        over = log_sum(g) - p
        return (over if decoupled else np.logaddexp(0, over)).sum()
    return log_sum(g if decoupled else s) - (p.mean() if positives == "mean" else log_sum(p))


def anchor_value(loss, u, similar):
    """What an anchor costs whose candidates have these similarities."""
    match loss:
        case drlim.Softmax(a, positives, decoupled):
            return softmax(a * u, similar, positives, decoupled)
        case drlim.CosFace(a, m):
            return softmax(a * (u - m * similar), similar, "mean", False)
        case drlim.ArcFace(a, m):
            turned = np.where(u < -np.cos(m), u - m * np.sin(m), np.cos(np.arccos(np.clip(u, -1, 1)) + m))
            return softmax(a * np.where(similar, turned, u), similar, "mean", False)
        case drlim.MultiSimilarity(a, b, base):
            of_p, of_g = log_sum(-a * (u[similar] - base)), log_sum(b * (u[~similar] - base))
            return np.logaddexp(0, of_p) / a + np.logaddexp(0, of_g) / b
        case drlim.Circle(m, c):
            if similar.all() or not similar.any():
                return 0.0
            p, g = u[similar], u[~similar]
            of_p = log_sum(-c * hinge(1 + m - p) * (p - 1 + m))
            return np.logaddexp(0, of_p + log_sum(c * hinge(g + m) * (g - m)))
        case drlim.GeneralizedLifted(p, m):
            kinds = -u[similar] - p, u[~similar] + m
            return max(sum(log_sum(kind) for kind in kinds if len(kind)), 0.0)


def lifted(loss, u, similar, pairs):
    """Values of rows and of columns as anchors."""
    dissimilar = pairs & ~similar
    x = u + loss.margin
    of_rows = np.array([log_sum(row[of]) for row, of in zip(x, dissimilar)])
    of_columns = np.array([log_sum(column[of]) for column, of in zip(x.T, dissimilar.T)])
    j = hinge(np.logaddexp(of_rows[:, None], of_columns) - u - loss.positive_margin)
    values = np.where(pairs & similar, j**2 / 2, 0)
    return values.sum(axis=1), values.sum(axis=0)


def anchor_values(loss, u, similar, pairs):
    """Values of rows and of columns as anchors, of these similarities; only pairs count."""
    if isinstance(loss, drlim.Lifted):
        return lifted(loss, u, similar, pairs)
    sides = (u, similar, pairs), (u.T, similar.T, pairs.T)
    return [np.array([anchor_value(loss, u[of], alike[of]) for u, alike, of in zip(*side)]) for side in sides]


def reduced(reduction, values, alike):
    """The value of anchors with so many similar pairs each."""
    if not isinstance(reduction, str):
        return reduction * values.sum()
    count = {
        "sum": 1,
        "mean": len(values),
        "mean-with-similar": (alike > 0).sum(),
        "mean-nonzero": (values != 0).sum(),
        "mean-of-pairs": alike.sum(),
    }[reduction.replace("_", "-")]
    return values.sum() / max(count, 1)


def slopes_of(function, x):
    """The gradient of a function, by differences."""
    grad, step = np.zeros_like(x), 1e-6
    for at in np.ndindex(x.shape):
        moved = x.copy()
        moved[at] += step
        above = function(moved)
        moved[at] -= 2 * step
        grad[at] = (above - function(moved)) / (2 * step)
    return grad


def of_batch(loss, z, reduction, measure, weights):
    similar, pairs = LABELS[:, None] == LABELS, ~np.eye(len(z), dtype=bool)
    values = weights * anchor_values(loss, similarity(z, z, measure), similar & pairs, pairs)[0]
    return reduced(reduction, values, (similar & pairs).sum(axis=1)), values


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
def test_all_anchors(loss, reduction, z, rng, tier):
    weights, wide = rng.random(COUNT).astype(z.dtype), z.astype(np.float64)
    measure = loss._measure
    given = {"weights": weights}
    if isinstance(loss, drlim.Lifted):
        with pytest.raises(ValueError, match="no weights"):
            drlim.all_anchors(loss, z, LABELS, **given)
        weights, given = np.ones(COUNT), {}
    found = drlim.all_anchors(loss, z, LABELS, reduction=reduction, values=True, **given)
    value, values = of_batch(loss, wide, reduction, measure, weights)
    close(found.value, value, z.dtype, 10)
    close(found.values, values, z.dtype, 10)
    alike = (LABELS[:, None] == LABELS).sum() - COUNT
    totals = found.totals
    assert (totals.anchors, totals.similar, totals.pairs) == (COUNT, alike, COUNT * (COUNT - 1))
    assert (totals.with_similar, totals.active) == (COUNT - 1, (values != 0).sum())
    # The factors of the circle loss are constants in its gradient: see the tests of tensors.
    if not isinstance(loss, drlim.Circle):
        grad = slopes_of(lambda z: of_batch(loss, z, reduction, measure, weights)[0], wide)
        close(found.grad, grad, z.dtype, 20)
    again = np.empty_like(z)
    scaled = drlim.all_anchors(loss, z, LABELS, reduction=reduction, scale=2.0, out=again, **given)
    assert scaled.grad is again and scaled.value == found.value
    close(again, 2 * found.grad, z.dtype)


@pytest.mark.parametrize("loss", [drlim.Softmax(4.0), drlim.CosFace(4.0, 0.25), drlim.ArcFace(4.0, 0.5)], ids=str)
def test_the_derivative_by_the_scale_and_log_sums(loss, z):
    found = drlim.all_anchors(loss, z, LABELS, grad_scale=True, log_sums=True, grad=False)
    assert found.grad is None and found.values is None and found.log_sums.dtype == np.float64
    wide, ones = z.astype(np.float64), np.ones(COUNT)
    above, below = (of_batch(replace(loss, scale=4 + step), wide, "mean", "cosine", ones)[0] for step in (1e-6, -1e-6))
    close(found.grad_scale, (above - below) / 2e-6, z.dtype, 20)
    if isinstance(loss, drlim.Softmax):
        u = 4 * similarity(z, z, "cosine")
        close(found.log_sums, [log_sum(np.delete(row, i)) for i, row in enumerate(u)], z.dtype, 10)


@pytest.mark.parametrize("measure", ["cosine", "dot", "distance"])
def test_measures_and_unit_rows(measure, z):
    loss, ones = drlim.Softmax(temperature=0.25), np.ones(COUNT)
    found = drlim.all_anchors(loss, z, LABELS, measure=measure)
    close(found.value, of_batch(loss, z.astype(np.float64), "mean", measure, ones)[0], z.dtype, 10)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    found = drlim.all_anchors(loss, z, LABELS, measure=measure, normalize=True)
    by_unit = drlim.all_anchors(loss, unit, LABELS, measure=measure)
    close(found.value, by_unit.value, z.dtype)
    # The part along a row changes its length alone.
    rest = by_unit.grad - (by_unit.grad * unit).sum(axis=1, keepdims=True) * unit
    close(found.grad, rest / np.linalg.norm(z, axis=1, keepdims=True), z.dtype, 10)


def of_two(loss, queries, keys, similar, reduction, anchors):
    u, pairs = similarity(queries, keys, loss._measure), np.ones(similar.shape, bool)
    both = anchor_values(loss, u, similar, pairs)
    values = [reduced(reduction, of, similar.sum(axis=1 - side)) for side, of in enumerate(both)]
    return {"queries": values[0], "keys": values[1], "both": sum(values) / 2}[anchors]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("anchors", ["queries", "keys", "both"])
@pytest.mark.parametrize("by", ["labels", "position", "graph"])
def test_cross_anchors(loss, anchors, by, z):
    if isinstance(loss, drlim.Lifted):
        with pytest.raises(ValueError, match="both ends"):
            drlim.cross_anchors(loss, z, z, position=0, anchors=anchors)
        return
    queries, keys = z[:QUERIES], z[QUERIES:]
    if by == "position":
        how = {"position": 1}
        similar = np.arange(QUERIES)[:, None] + 1 == np.arange(len(keys))
    else:
        similar = LABELS[:QUERIES, None] == LABELS[QUERIES:]
        how = {"query_labels": LABELS[:QUERIES], "key_labels": LABELS[QUERIES:]}
        if by == "graph":
            i, j = np.nonzero(similar)
            how = {"graph": drlim.Graph(COUNT, np.stack([i, QUERIES + j], axis=1)), "first_key": QUERIES}
    found = drlim.cross_anchors(loss, queries, keys, anchors=anchors, reduction="mean", values=True, **how)
    wide = z.astype(np.float64)

    def value(z):
        return of_two(loss, z[:QUERIES], z[QUERIES:], similar, "mean", anchors)

    close(found.value, value(wide), z.dtype, 10)
    counts = {"queries": (QUERIES, 0), "keys": (0, len(keys)), "both": (QUERIES, len(keys))}[anchors]
    assert (found.queries.anchors, found.keys.anchors) == counts and len(found.values) == sum(counts)
    if not isinstance(loss, drlim.Circle):
        close(np.concatenate([found.grad_queries, found.grad_keys]), slopes_of(value, wide), z.dtype, 20)
    alone = drlim.cross_anchors(loss, queries, keys, anchors=anchors, grads=(False, True), **how)
    assert alone.grad_queries is None and np.array_equal(alone.grad_keys, found.grad_keys)


def test_pairs_by_position(z):
    queries, keys = z[:QUERIES], z[QUERIES:]
    loss = drlim.Sigmoid(2.0, -1.0)
    found = drlim.cross(loss, queries, keys, position=1, reduction=(0.5, 0.25), grad_parameters=True, scale=3.0)
    labels = np.arange(QUERIES), np.arange(len(keys)) - 1
    by_labels = drlim.cross(loss, queries, keys, *labels, reduction=(0.5, 0.25), scale=3.0)
    assert found.value == by_labels.value and np.array_equal(found.grad_keys, by_labels.grad_keys)
    assert by_labels.grad_scale is None

    def value(scale, bias):
        s = scale * similarity(queries, keys, "cosine") + bias
        similar = labels[0][:, None] == labels[1]
        return (np.where(similar, 0.5, 0.25) * np.logaddexp(0, np.where(similar, -s, s))).sum()

    close(found.value, value(2.0, -1.0), z.dtype)
    close(found.grad_scale, 3 * (value(2 + 1e-6, -1) - value(2 - 1e-6, -1)) / 2e-6, z.dtype, 20)
    close(found.grad_bias, 3 * (value(2, -1 + 1e-6) - value(2, -1 - 1e-6)) / 2e-6, z.dtype, 20)


def test_rows_that_are_left_out(z):
    found = drlim.all_anchors(drlim.Softmax(4.0), z, LABELS, ignore_label=1, log_sums=True, values=True)
    left = LABELS != 1
    kept = drlim.all_anchors(drlim.Softmax(4.0), z[left], LABELS[left])
    close(found.value, kept.value, z.dtype)
    assert found.totals.anchors == left.sum() and (found.grad[~left] == 0).all() and (found.values[~left] == 0).all()
    assert (np.isfinite(found.log_sums) == left).all()


def test_nothing_costs_nothing(dtype):
    empty = np.empty((0, 3), dtype)
    assert drlim.all_anchors(drlim.Softmax(), empty, [], grad_scale=True).grad_scale == 0
    assert drlim.cross_anchors(drlim.Softmax(), empty, empty, position=0, anchors="both").value == 0


def test_losses_are_values():
    loss = drlim.Softmax(temperature=0.5, positives="each", decoupled=1)
    assert loss == drlim.Softmax(2, "each", True) != drlim.Softmax(2.0)
    assert repr(loss) == "Softmax(scale=2.0, positives='each', decoupled=True)"
    assert pickle.loads(pickle.dumps(loss)) == loss == replace(loss, scale=2.0)
    assert drlim.Softmax().scale == 10 and len({loss, drlim.Softmax(2.0, "each", True)}) == 1
    with pytest.raises(AttributeError):
        loss.scale = 1.0


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf, "1", [1.0]])
def test_numbers_out_of_their_domain(wrong):
    for name in ("scale", "temperature"):
        with pytest.raises((TypeError, ValueError), match=f"^{name} is "):
            drlim.Softmax(**{name: wrong})
    for loss, names in [
        (drlim.CosFace, ["scale"]),
        (drlim.ArcFace, ["scale"]),
        (drlim.MultiSimilarity, ["alpha", "beta"]),
        (drlim.Circle, ["gamma"]),
        (drlim.Sigmoid, ["scale"]),
    ]:
        for name in names:
            with pytest.raises((TypeError, ValueError), match=f"^{name} is "):
                loss(**{name: wrong})


@pytest.mark.parametrize("wrong", [np.nan, np.inf, "1", None])
def test_numbers_that_are_not_finite(wrong):
    for loss, name in [
        (drlim.CosFace, "margin"),
        (drlim.ArcFace, "margin"),
        (drlim.MultiSimilarity, "base"),
        (drlim.Circle, "margin"),
        (drlim.Lifted, "positive_margin"),
        (drlim.GeneralizedLifted, "positive_margin"),
        (drlim.Sigmoid, "bias"),
    ]:
        with pytest.raises((TypeError, ValueError), match=f"^{name} is "):
            loss(**{name: wrong})


def test_what_is_refused(z):
    loss = drlim.Softmax(4.0)
    batch, two, pairs = (loss, z, LABELS), (loss, z, z), (drlim.Contrastive(), z, z)
    for error, words, call, arguments, named in [
        (TypeError, "^temperature is given with scale", drlim.Softmax, (1.0,), {"temperature": 1.0}),
        (ValueError, "^positives is", drlim.Softmax, (1.0, "some"), {}),
        (TypeError, "^decoupled is", drlim.Softmax, (1.0, "sum", "no"), {}),
        (ValueError, "^measure is", drlim.all_anchors, batch, {"measure": "euclidean"}),
        (ValueError, "^reduction is", drlim.all_anchors, batch, {"reduction": "balanced"}),
        (TypeError, "^reduction is", drlim.all_anchors, batch, {"reduction": (1.0, 2.0)}),
        (ValueError, "^weights has shape", drlim.all_anchors, batch, {"weights": np.ones(3)}),
        (TypeError, "^values is", drlim.all_anchors, batch, {"values": "no"}),
        (ValueError, "grad_scale", drlim.all_anchors, (drlim.Circle(), z, LABELS), {"grad_scale": True}),
        (ValueError, "^anchors is", drlim.cross_anchors, two, {"position": 0, "anchors": "all"}),
        (TypeError, "^position is given with labels", drlim.cross_anchors, (*two, LABELS, LABELS), {"position": 0}),
        (TypeError, "^query_labels is None", drlim.cross_anchors, two, {}),
        (ValueError, "^weights has shape", drlim.cross_anchors, two, {"position": 0, "weights": np.ones(3)}),
        (TypeError, "^grad_parameters is given", drlim.cross, pairs, {"position": 0, "grad_parameters": True}),
        (TypeError, "^loss is", drlim.all_pairs, batch, {}),
        (TypeError, "^loss is", drlim.all_anchors, (drlim.Contrastive(), z, LABELS), {}),
    ]:
        with pytest.raises(error, match=words):
            call(*arguments, **named)
