"""Losses written out in float64, a pair or a triplet at a time where that says it best."""

from __future__ import annotations

import numpy as np

import drlim

PAIR_LOSSES = [
    drlim.Contrastive(1.5),
    drlim.SquaredHinge(2.5),
    drlim.LinearHinge(0.4, 1.5),
    drlim.DoubleMargin(0.4, 1.5),
    drlim.Exponential(2.0),
    drlim.CosineContrastive(1.2),
    drlim.Sigmoid(2.0, -1.0),
]
TRIPLET_LOSSES = [drlim.TripletMargin(0.7), drlim.TripletMargin(0.7, swap=True), drlim.SquaredTriplet(0.7)]
REDUCTIONS = ["sum", "mean", "mean-nonzero", "balanced", "balanced_nonzero", (0.5, 3.0)]
TRIPLET_REDUCTIONS = ["sum", "mean", "mean-nonzero"]


def hinge(x):
    return np.maximum(x, 0)


def pair_values(loss, d, similar):
    """What pairs with these distances cost."""
    match loss:
        case drlim.Contrastive(m):
            return np.where(similar, d**2 / 2, hinge(m - d) ** 2 / 2)
        case drlim.SquaredHinge(m):
            return np.where(similar, d**2 / 2, hinge(m - d**2) / 2)
        case drlim.LinearHinge(p, m):
            return np.where(similar, hinge(d - p), hinge(m - d))
        case drlim.DoubleMargin(p, m):
            return np.where(similar, hinge(d - p) ** 2 / 2, hinge(m - d) ** 2 / 2)
        case drlim.Exponential(q):
            return np.where(similar, 2 * d**2 / q, 2 * q * np.exp(-2.77 * d / q))
        case drlim.CosineContrastive(m):
            c = d**2 / 2
            return np.where(similar, c**2 / 2, hinge(m - c) ** 2 / 2)
        case drlim.Sigmoid(a, b):
            s = a * (1 - d**2 / 2) + b
            return np.logaddexp(0, np.where(similar, -s, s))


def derivative(values, d):
    """By distance, as a central difference: tests stay away from kinks."""
    step = 1e-6
    return (values(d + step) - values(d - step)) / (2 * step)


def reduced(reduction, values, similar):
    """The value of a batch, and what each pair's value is multiplied by in it."""
    if isinstance(reduction, tuple):
        factors = np.where(similar, *reduction)
    else:
        name = reduction.replace("_", "-")
        counted = values != 0 if name.endswith("nonzero") else np.ones_like(values, bool)
        if name == "sum":
            factors = np.ones_like(values)
        elif name.startswith("mean"):
            factors = np.full_like(values, 1 / max(counted.sum(), 1))
        else:
            of = [1 / max((counted & kind).sum(), 1) for kind in (similar, ~similar)]
            factors = np.where(similar, *of)
    return (factors * values).sum(), factors


def pairs(loss, z, indices, similar, reduction, weights=None):
    """Value, gradient, distances and values of pairs (i, j) of the rows of z."""
    z = np.asarray(z, np.float64)
    i, j = np.asarray(indices).reshape(-1, 2).T
    difference = z[i] - z[j]
    d = np.sqrt((difference**2).sum(axis=1))
    weights = np.ones_like(d) if weights is None else np.asarray(weights, np.float64)
    values = weights * pair_values(loss, d, similar)
    value, factors = reduced(reduction, values, similar)
    slopes = factors * weights * derivative(lambda d: pair_values(loss, d, similar), d)
    force = np.where(d > 0, slopes / np.where(d > 0, d, 1), 0)[:, None] * difference
    grad = np.zeros_like(z)
    np.add.at(grad, i, force)
    np.add.at(grad, j, -force)
    return value, grad, d, values


def triplets(loss, z, indices, reduction, weights=None):
    """Value and gradient of triplets (a, p, n) of the rows of z, the latter by differences of the former."""
    z = np.asarray(z, np.float64)
    a, p, n = np.asarray(indices).reshape(-1, 3).T
    weights = np.ones(len(a)) if weights is None else np.asarray(weights, np.float64)

    def values(z):
        ap, an, pn = (np.sqrt(((z[i] - z[j]) ** 2).sum(axis=1)) for i, j in ((a, p), (a, n), (p, n)))
        match loss:
            case drlim.TripletMargin(m, swap):
                return weights * hinge(ap - (np.minimum(an, pn) if swap else an) + m)
            case drlim.SquaredTriplet(m):
                return weights * hinge(ap**2 - an**2 + m)

    at = values(z)
    value, factors = reduced(reduction, at, np.zeros(len(a), bool))
    grad = np.zeros_like(z)
    step = 1e-6
    for i in np.ndindex(z.shape):
        moved = z.copy()
        moved[i] += step
        above = values(moved)
        moved[i] -= 2 * step
        grad[i] = (factors * (above - values(moved))).sum() / (2 * step)
    return value, grad, at


def unordered(count):
    """All pairs of so many rows."""
    return np.stack(np.triu_indices(count, 1), axis=1)


def close(found, expected, dtype, scale=1.0):
    """Whether numbers are equal up to the rounding of their type."""
    tolerance = {np.float32: 2e-5, np.float64: 2e-8}[np.dtype(dtype).type] * scale
    expected = np.asarray(expected)
    largest = max(np.abs(expected).max(initial=0), 1e-3)
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=0, atol=tolerance * largest)
