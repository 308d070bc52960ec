"""Losses of triplets: by rows, of a batch."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from . import _drlim
from ._arrays import Array, Reduction, flags, label, matrix, reduction_parts, weights as weight_array
from ._drlim import Graph
from ._losses import TripletLoss, triplet_parts
from ._outcome import BatchOutcome, TripletRowsOutcome, fields
from ._pairs import gradient, similar_rows

Mining = Literal["all", "hardest", "semi-hard"]


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

    `reduction` is "sum", "mean" or "mean-nonzero"; the other arguments are those of `rows`.
    """
    wanted = triplet_parts(loss), reduction_parts(reduction), float(scale)
    anchor = matrix("anchor", anchor)
    positive = matrix("positive", positive, anchor.dtype)
    negative = matrix("negative", negative, anchor.dtype)
    for name, other in (("positive", positive), ("negative", negative)):
        if other.shape != anchor.shape:
            raise ValueError(f"{name} has shape {other.shape}, expected {anchor.shape} as anchor")
    count, dtype = len(anchor), anchor.dtype
    of_weights = weight_array("weights", weights, count, dtype)
    of_ignored = None if ignored is None else flags("ignored", ignored, count)

    def three(wanted: bool, shape: tuple[int, ...]) -> tuple[Array, Array, Array] | None:
        return (np.empty(shape, dtype), np.empty(shape, dtype), np.empty(shape, dtype)) if wanted else None

    to = three(grads, anchor.shape)
    of_distances, of_slopes = three(distances, (count,)), three(slopes, (count,))
    of_values = np.empty(count, dtype) if values else None
    inputs = anchor, positive, negative
    raw = _drlim.triplet_rows(wanted, inputs, of_weights, of_ignored, to, of_distances, of_values, of_slopes)
    of_a, of_p, of_n = to or (None, None, None)
    return TripletRowsOutcome(*fields(raw), of_a, of_p, of_n, of_distances, of_values, of_slopes)


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
    farther, or else the farthest. `reduction` is "sum", "mean" or "mean-nonzero"; the other arguments are those of
    `all_pairs`.
    """
    wanted = triplet_parts(loss), reduction_parts(reduction), float(scale)
    z = matrix("z", z)
    of_rows = similar_rows(labels, graph, len(z))
    to = gradient(z, grad, out)
    raw = _drlim.triplets(wanted, z, of_rows, label("ignore_label", ignore_label), graph, mining, bool(normalize), to)
    return BatchOutcome(*fields(raw), to)
