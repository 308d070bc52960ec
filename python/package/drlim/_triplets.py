"""Losses of triplets: by rows, of a batch."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from . import _drlim
from ._arrays import (
    Array,
    ArrayLike,
    Reduction,
    choice,
    embeddings,
    flags,
    label,
    number,
    reduction_parts,
    truth,
    weights as weight_array,
)
from ._drlim import Graph
from ._gradients import delivered, gradient, in_type_of, room
from ._losses import TripletLoss, triplet_parts
from ._outcome import BatchOutcome, TripletRowsOutcome, fields
from ._similar import similar_rows

Mining = Literal["all", "hardest", "semi-hard"]

MINING = ("all", "hardest", "semi-hard")


def most_of_all(dtype: np.dtype[Any]) -> int:
    """The most rows with mining="all": two matrices of distances have to fit in 16 MiB."""
    return math.isqrt(2**23 // dtype.itemsize)


def too_many(name: str, rows: int, dtype: np.dtype[Any]) -> str:
    """The error message for more rows than that."""
    return (
        f'{name} has {rows} rows, expected at most {most_of_all(dtype)} of {dtype} with mining="all": '
        'use mining="hardest" or mining="semi-hard"'
    )


def triplet_rows(
    loss: TripletLoss,
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    ignored: ArrayLike | None = None,
    reduction: Reduction = "mean",
    scale: float = 1.0,
    grads: bool = True,
    distances: bool = False,
    values: bool = False,
    slopes: bool = False,
) -> TripletRowsOutcome:
    """Loss and gradients of N triplets, row i of three N x D matrices, in one pass over memory.

    `reduction` is "sum", "mean" or "mean-nonzero"; the other arguments are those of `rows`. `distances` and `slopes`
    are of anchor and positive, of anchor and negative, of positive and negative: three times N.

    >>> anchor, positive, negative = np.float32([[[0, 0]], [[3, 4]], [[0, 1]]])
    >>> outcome = drlim.triplet_rows(drlim.TripletMargin(0.5), anchor, positive, negative)
    >>> outcome.value, outcome.grad_negative.tolist()
    (4.5, [[0.0, -1.0]])
    """
    wanted = triplet_parts(loss), reduction_parts(reduction), number("scale", scale)
    inputs, given = three_matrices(anchor, positive, negative)
    shape, dtype = inputs[0].shape, inputs[0].dtype
    count = shape[0]
    of_weights = weight_array("weights", weights, count, dtype)
    of_ignored = None if ignored is None else flags("ignored", ignored, count)

    def three(name: str, wanted: bool, shape: tuple[int, ...]) -> Three | None:
        if not truth(name, wanted):
            return None
        return np.empty(shape, dtype), np.empty(shape, dtype), np.empty(shape, dtype)

    to = three("grads", grads, shape)
    of_distances, of_slopes = three("distances", distances, (count,)), three("slopes", slopes, (count,))
    of_values = room("values", values, count, dtype)
    raw = _drlim.triplet_rows(wanted, inputs, of_weights, of_ignored, to, of_distances, of_values, of_slopes)
    of_a, of_p, of_n = (None, None, None) if to is None else map(in_type_of, given, to)
    return TripletRowsOutcome(*fields(raw), of_a, of_p, of_n, of_distances, of_values, of_slopes)


Three = tuple[Array, Array, Array]


def three_matrices(anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike) -> tuple[Three, Three]:
    """Matrices of one shape, as calls compute on them and as they were given."""
    anchor, given_anchor = embeddings("anchor", anchor)
    positive, given_positive = embeddings("positive", positive, anchor.dtype)
    negative, given_negative = embeddings("negative", negative, anchor.dtype)
    for name, other in (("positive", positive), ("negative", negative)):
        if other.shape != anchor.shape:
            raise ValueError(f"{name} has shape {other.shape}, expected {anchor.shape} as anchor")
    return (anchor, positive, negative), (given_anchor, given_positive, given_negative)


def triplets(
    loss: TripletLoss,
    z: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    graph: Graph | None = None,
    ignore_label: int | None = None,
    mining: Mining = "hardest",
    normalize: bool = False,
    reduction: Reduction = "mean",
    scale: float = 1.0,
    grad: bool = True,
    out: Array | None = None,
) -> BatchOutcome:
    """Loss and gradient of triplets of the rows of `z`, B x D, that are found in it.

    `mining`: "all" triplets (of at most 1448 rows in float32, 1024 in float64); "hardest", each anchor with its
    farthest positive and nearest negative; "semi-hard", each anchor and positive with the nearest negative that is
    farther, or else the farthest (FaceNet: Schroff, Kalenichenko, Philbin 2015). `reduction` is "sum", "mean" or
    "mean-nonzero"; the other arguments are those of `all_pairs`. ValueError: more rows than "all" takes.

    >>> z = np.float32([[0, 0], [3, 4], [0, 1]])
    >>> outcome = drlim.triplets(drlim.TripletMargin(0.5), z, labels=[7, 7, 3], mining="hardest")
    >>> round(outcome.value, 6), outcome.pairs, outcome.grad.shape
    (2.87868, 2, (3, 2))
    """
    wanted = triplet_parts(loss), reduction_parts(reduction), number("scale", scale)
    z, given = embeddings("z", z)
    of_rows = similar_rows(labels, graph, len(z))
    to = gradient(z, given, grad, out, len(z) ** 2)
    whole = out is not None and to is out
    ignored = label("ignore_label", ignore_label)
    how = choice("mining", mining, MINING)
    if how == "all" and len(z) > most_of_all(z.dtype):
        raise ValueError(too_many("z", len(z), z.dtype))
    raw = _drlim.triplets(wanted, z, of_rows, ignored, graph, how, truth("normalize", normalize), to, whole)
    return BatchOutcome(*fields(raw), delivered(to, out, given))
