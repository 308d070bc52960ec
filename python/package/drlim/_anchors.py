"""Losses of rows as anchors, each against all its candidates at once: of a batch, of two batches."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from . import _drlim
from ._anchor_losses import AnchorLoss, anchor_parts
from ._anchor_sums import ANCHOR_SUMS, bits
from ._arrays import (
    F64,
    AnchorReduction,
    Array,
    ArrayLike,
    anchor_reduction,
    choice,
    embeddings,
    label,
    number,
    truth,
    weights as weight_array,
)
from ._drlim import Graph
from ._gradients import delivered, gradient, gradients, in_types_of, room
from ._outcome import AnchorsOutcome, AnchorTotals, CrossAnchorsOutcome
from ._similar import across, similar_rows

Measure = Literal["cosine", "dot", "distance", "student"]

MEASURES = ("cosine", "dot", "distance", "student")

Anchors = Literal["queries", "keys", "both"]

ANCHORS = ("queries", "keys", "both")

AnchorTask = tuple[tuple[str, float, float, float], str, tuple[str, float], float]

PerAnchor = tuple["Array | None", "Array | None", "Array | None", "Array | None", "Array | None", bool]

Lists = tuple["Array | None", "Array | None", "Array | None"]
"""Values, log-sums and sums of anchors."""


def anchor_task(loss: AnchorLoss, measure: Measure | None, reduction: AnchorReduction, scale: float) -> AnchorTask:
    parts = anchor_parts(loss)
    how = loss._measure if measure is None else choice("measure", measure, MEASURES)
    return parts, how, anchor_reduction(reduction), number("scale", scale)


def per_anchor(
    weights: ArrayLike | None,
    known: Array | None,
    wanted: tuple[bool, bool, bool],
    grad_scale: bool,
    count: int,
    dtype: np.dtype[Any],
) -> tuple[PerAnchor, Lists]:
    """Weights and known sums of so many anchors, room for those lists that are wanted, and whether the derivative by
    the scale is; the lists.
    """
    values, log_sums, sums = wanted
    lists = (
        room("values", values, count, dtype),
        room("log_sums", log_sums, count, F64),
        room("sums", sums, count, ANCHOR_SUMS),
    )
    given = (
        weight_array("weights", weights, count, dtype),
        None if known is None else bits("known", known, count),
        *lists[:2],
        None if lists[2] is None else lists[2].view(np.uint64),
        truth("grad_scale", grad_scale),
    )
    return given, lists


def all_anchors(
    loss: AnchorLoss,
    z: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    graph: Graph | None = None,
    ignore_label: int | None = None,
    normalize: bool = False,
    measure: Measure | None = None,
    weights: ArrayLike | None = None,
    known: Array | None = None,
    reduction: AnchorReduction = "mean",
    scale: float = 1.0,
    grad: bool = True,
    values: bool = False,
    log_sums: bool = False,
    sums: bool = False,
    grad_scale: bool = False,
    out: Array | None = None,
) -> AnchorsOutcome:
    """Loss and gradient of the rows of `z`, B x D, as anchors, each against all others, in memory proportional to `z`.

    Labels, graph, `normalize`, `out` and `scale`, the factor of gradients, are those of `all_pairs`; a row that is left
    out is neither an anchor nor a candidate. `measure` is the similarity u of two rows: "cosine", which is 1 - d²/2,
    the cosine of rows of length 1; "dot", their product; "distance", which is -d; "student", which is -ln(1 + d²), so
    that a softmax of scale 1 is over 1/(1 + d²). Without it the two lifted losses take distances, the others cosines.
    `weights` are factors of the B values.

    Values are added up by `reduction`: "sum", "mean", "mean-with-similar" (over anchors that have a similar pair),
    "mean-nonzero" (over those whose value is not 0), "mean-of-pairs" (the sum by the number of similar pairs), or a
    factor of the sum.

    With `values` (B, times their weights), `log_sums` (B, in float64: the logarithm of the sum of e^x over all
    candidates, -inf for rows that are left out), `sums` (B, of `drlim.ANCHOR_SUMS`: what log-sums are made of) or
    `grad_scale` (the derivative by the scale of the loss, which must have one) these come back, too. `known` are the
    sums of each anchor over more candidates than the call has: see `cross_anchors`.

    >>> z = np.float32([[2, 0], [3, 0], [0, 5]])
    >>> loss = drlim.Softmax(temperature=0.5)
    >>> outcome = drlim.all_anchors(loss, z, labels=[7, 7, 3], normalize=True, reduction="mean-with-similar")
    >>> round(outcome.value, 6), outcome.totals.with_similar, outcome.grad.shape
    (0.126928, 2, (3, 2))
    """
    wanted = anchor_task(loss, measure, reduction, scale)
    z, given = embeddings("z", z)
    of_rows = similar_rows(labels, graph, len(z))
    parts, lists = per_anchor(weights, known, (values, log_sums, sums), grad_scale, len(z), z.dtype)
    to = gradient(z, given, grad, out, len(z) ** 2)
    whole = out is not None and to is out
    ignored, unit = label("ignore_label", ignore_label), truth("normalize", normalize)
    value, totals, _, by_scale = _drlim.all_anchors(wanted, z, of_rows, ignored, graph, unit, parts, to, whole)
    return AnchorsOutcome(value, AnchorTotals(*totals), delivered(to, out, given), *lists, by_scale)


def cross_anchors(
    loss: AnchorLoss,
    queries: ArrayLike,
    keys: ArrayLike,
    query_labels: ArrayLike | None = None,
    key_labels: ArrayLike | None = None,
    *,
    graph: Graph | None = None,
    first_query: int = 0,
    first_key: int = 0,
    position: int | None = None,
    ignore_label: int | None = None,
    own: int | None = None,
    anchors: Anchors = "queries",
    normalize: bool = False,
    measure: Measure | None = None,
    weights: ArrayLike | None = None,
    known: Array | None = None,
    reduction: AnchorReduction = "mean",
    scale: float = 1.0,
    grads: bool | tuple[bool, bool] = True,
    values: bool = False,
    log_sums: bool = False,
    sums: bool = False,
    grad_scale: bool = False,
) -> CrossAnchorsOutcome:
    """Loss and gradients of the rows of `queries`, N x D, of `keys`, M x D, or of both, as anchors of each other.

    `anchors` are "queries", each against all keys (InfoNCE, or rows against class vectors); "keys", each against all
    queries; or "both", whose value is the mean of both directions, each reduced by itself (CLIP). Which pairs are
    similar, and `grads`, is said as for `cross`: in InfoNCE and CLIP by `position` 0. Weights, values and sums have an
    element for each anchor: N, M, or N and then M. The other arguments are those of `all_anchors`.

    Parts. Where keys are in parts, on several machines, say, calls on the queries and each part with `sums`, and
    without gradients, give sums that `merge_sums` makes those of the whole. The same calls with these `known` give the
    value of the whole, and the part's share of its gradients: those of the queries are added up.
    (`Softmax(positives="each")` takes a round in between: see `merge_each`.) Where queries are in parts, too, the
    totals of all of them, added up, say by `factor` what `reduction` each takes. Refused as `known`: sums that are NaN
    or negative, or of more than 2**32 - 1 pairs.

    >>> image, text = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    >>> outcome = drlim.cross_anchors(drlim.Softmax(scale=10.0), image, text, position=0, anchors="both")
    >>> outcome.queries.correct, outcome.keys.correct, outcome.grad_queries.shape
    (3, 3, (3, 3))
    """
    wanted = anchor_task(loss, measure, reduction, scale)
    call = across(queries, keys, query_labels, key_labels, graph, first_query, first_key, ignore_label, own, position)
    sides = choice("anchors", anchors, ANCHORS)
    n, m = len(call.queries), len(call.keys)
    count = {"queries": n, "keys": m, "both": n + m}[sides]
    parts, lists = per_anchor(weights, known, (values, log_sums, sums), grad_scale, count, call.queries.dtype)
    to = gradients("grads", grads, call.queries, call.keys)
    value, of_queries, of_keys, by_scale = _drlim.cross_anchors(
        wanted,
        call.queries,
        call.keys,
        call.labels,
        call.graph,
        call.position,
        call.own,
        sides,
        truth("normalize", normalize),
        parts,
        to,
    )
    totals = AnchorTotals(*of_queries), AnchorTotals(*of_keys)
    return CrossAnchorsOutcome(value, *totals, *in_types_of(call.given, to), *lists, by_scale)
