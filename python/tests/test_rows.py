"""Losses by rows are those of the oracle: every loss, reduction, type, tier and layout."""

import numpy as np
import pytest

import drlim
import oracles
from oracles import close

LAYOUTS = {
    "gapless": lambda x: np.ascontiguousarray(x),
    "columns of a wider array": lambda x: np.concatenate([x, x], axis=1)[:, : x.shape[1]],
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "columns in reverse": lambda x: x[:, ::-1].copy()[:, ::-1],
    "rows in reverse": lambda x: x[::-1].copy()[::-1],
    "transposed": lambda x: np.asfortranarray(x),
    "of the other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "unaligned": lambda x: np.frombuffer(b"x" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
}


def batch(rng, dtype, count=37, cols=5):
    a, b = rng.normal(size=(2, count, cols)).astype(dtype) / 2
    return a, b, rng.random(count) < 0.4


def expected(loss, a, b, similar, reduction, weights=None):
    indices = np.stack([np.arange(len(a)), len(a) + np.arange(len(a))], axis=1)
    value, grad, distances, values = oracles.pairs(loss, np.concatenate([a, b]), indices, similar, reduction, weights)
    return value, grad[: len(a)], grad[len(a) :], distances, values


@pytest.mark.parametrize("loss", oracles.PAIR_LOSSES, ids=str)
@pytest.mark.parametrize("reduction", oracles.REDUCTIONS, ids=str)
def test_value_and_gradients(loss, reduction, dtype, tier, rng):
    a, b, similar = batch(rng, dtype)
    weights = rng.random(len(a)).astype(dtype)
    found = drlim.rows(
        loss, a, b, similar, weights=weights, reduction=reduction, distances=True, values=True, slopes=True
    )
    value, grad_a, grad_b, distances, values = expected(loss, a, b, similar, reduction, weights)
    close(found.value, value, dtype)
    for name, exact in [("grad_a", grad_a), ("grad_b", grad_b), ("distances", distances), ("values", values)]:
        array = getattr(found, name)
        assert array.dtype == dtype
        close(array, exact, dtype)
    close(found.slopes[:, None] * (a - b), grad_a, dtype)
    assert (found.pairs, found.similar.pairs) == (len(a), similar.sum())
    assert found.active == (values != 0).sum()
    close(found.mean, values.mean(), dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cols", [1, 2, 3, 8, 100])
def test_any_layout_gives_the_same(layout, cols, dtype, tier, rng):
    a, b, similar = batch(rng, dtype, cols=cols)
    loss = drlim.Contrastive(1.5)
    plain = drlim.rows(loss, a, b, similar)
    found = drlim.rows(loss, LAYOUTS[layout](a), LAYOUTS[layout](b), similar)
    if cols == 3:  # without gaps, rows of three have a kernel of their own
        close(found.value, plain.value, dtype)
        close(found.grad_a, plain.grad_a, dtype)
        close(found.grad_b, plain.grad_b, dtype)
    else:
        assert found.value == plain.value
        assert np.array_equal(found.grad_a, plain.grad_a) and np.array_equal(found.grad_b, plain.grad_b)


def test_ignored_pairs_are_left_out(dtype, rng):
    a, b, similar = batch(rng, dtype)
    ignored = rng.random(len(a)) < 0.3
    a[ignored] = np.nan
    found = drlim.contrastive(a, b, similar, 1.5, ignored=ignored)
    kept = drlim.contrastive(a[~ignored], b[~ignored], similar[~ignored], 1.5)
    assert found.pairs == kept.pairs
    close(found.value, kept.value, dtype)
    assert (found.grad_a[ignored] == 0).all()
    close(found.grad_a[~ignored], kept.grad_a, dtype)


def test_scale_multiplies_gradients_alone(dtype, rng):
    a, b, similar = batch(rng, dtype)
    once, twice = (drlim.contrastive(a, b, similar, 1.5, scale=scale) for scale in (1.0, 2.0))
    assert twice.value == once.value
    assert np.array_equal(twice.grad_a, 2 * once.grad_a)


def test_what_is_not_asked_for_is_none(rng):
    found = drlim.contrastive(*batch(rng, np.float32), grads=False)
    assert found.grad_a is None and found.grad_b is None
    assert found.distances is None and found.values is None and found.slopes is None


def test_out_is_overwritten(dtype, rng):
    a, b, similar = batch(rng, dtype)
    both = np.full((len(a), 2 * a.shape[1]), np.nan, dtype)
    halves = both[:, : a.shape[1]], both[:, a.shape[1] :]
    found = drlim.contrastive(a, b, similar, 1.5, out=halves)
    fresh = drlim.contrastive(a, b, similar, 1.5)
    assert found.grad_a is halves[0] and found.grad_b is halves[1]
    assert np.array_equal(both, np.concatenate([fresh.grad_a, fresh.grad_b], axis=1))


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (0, 0)])
def test_nothing_costs_nothing(shape, dtype):
    empty = np.empty(shape, dtype)
    found = drlim.contrastive(empty, empty, [True] * shape[0], 1.5)
    assert found.value == 0 and found.pairs == shape[0]
    assert found.grad_a.shape == shape


def test_shortcuts_are_rows_with_that_loss(rng):
    a, b, similar = batch(rng, np.float64)
    for shortcut, loss, numbers in [
        (drlim.contrastive, drlim.Contrastive(1.5), (1.5,)),
        (drlim.squared_hinge, drlim.SquaredHinge(1.5), (1.5,)),
        (drlim.linear_hinge, drlim.LinearHinge(0.2, 1.5), (0.2, 1.5)),
        (drlim.double_margin, drlim.DoubleMargin(0.2, 1.5), (0.2, 1.5)),
        (drlim.exponential, drlim.Exponential(1.5), (1.5,)),
        (drlim.cosine_contrastive, drlim.CosineContrastive(0.7), (0.7,)),
    ]:
        found = shortcut(a, b, similar, *numbers, reduction="balanced")
        assert found.value == drlim.rows(loss, a, b, similar, reduction="balanced").value
    for shortcut, loss, numbers in [
        (drlim.triplet_margin, drlim.TripletMargin(0.3, True), (0.3, True)),
        (drlim.squared_triplet, drlim.SquaredTriplet(0.3), (0.3,)),
    ]:
        found = shortcut(a, b, a[::-1], *numbers)
        assert found.value == drlim.triplet_rows(loss, a, b, a[::-1]).value
