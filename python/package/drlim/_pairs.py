"""Losses of pairs: by rows, of a list, of a batch, of two batches."""

from __future__ import annotations

import numpy as np

from . import _drlim
from ._arrays import (
    Array,
    ArrayLike,
    Reduction,
    embeddings,
    flags,
    label,
    number,
    reduction_parts,
    truth,
    weights as weight_array,
)
from ._drlim import Graph, PairList
from ._gradients import check_apart, delivered, gradient, gradients, in_type_of, in_types_of, output, overwrite, room
from ._losses import PairLoss, Sigmoid, pair_parts
from ._outcome import BatchOutcome, CrossOutcome, IndexedOutcome, RowsOutcome, fields
from ._similar import across, similar_rows

Task = tuple[tuple[str, float, float], tuple[str, float, float], float]


def task(loss: PairLoss, reduction: Reduction, scale: float) -> Task:
    """Loss, reduction and scale as the compiled part takes them."""
    return pair_parts(loss), reduction_parts(reduction), number("scale", scale)


def rows(
    loss: PairLoss,
    a: ArrayLike,
    b: ArrayLike,
    similar: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    ignored: ArrayLike | None = None,
    reduction: Reduction = "mean",
    scale: float = 1.0,
    grads: bool = True,
    distances: bool = False,
    values: bool = False,
    slopes: bool = False,
    out: tuple[Array, Array] | None = None,
) -> RowsOutcome:
    """Loss and gradients of N pairs, row i of `a` with row i of `b`, both N x D, in one pass over memory.

    `similar` says which of the N pairs are similar; `weights` are factors of their values; pairs
    that are `ignored` are left out. `scale` multiplies gradients and slopes alone. Gradients go to `out`, two
    arrays that are overwritten, or to new ones. With `distances`, `values` (before they are reduced) or `slopes`
    (the factors of a_i - b_i in the gradient of a_i) these come back, too.

    TypeError or ValueError: shapes that differ, `out` that overlaps anything, and what every call of `drlim` refuses.

    >>> a, b = np.float32([[0, 0], [0, 0]]), np.float32([[1, 2], [3, 4]])
    >>> outcome = drlim.rows(drlim.Contrastive(10.0), a, b, [True, False], reduction="sum", values=True)
    >>> outcome.value, outcome.values.tolist(), outcome.grad_a.tolist()
    (15.0, [2.5, 12.5], [[-1.0, -2.0], [3.0, 4.0]])
    """
    wanted = task(loss, reduction, scale)
    a, given_a = embeddings("a", a)
    b, given_b = embeddings("b", b, a.dtype)
    if b.shape != a.shape:
        raise ValueError(f"b has shape {b.shape}, expected {a.shape} as a")
    count, dtype = len(a), a.dtype
    pairing = (
        flags("similar", similar, count),
        weight_array("weights", weights, count, dtype),
        None if ignored is None else flags("ignored", ignored, count),
    )
    to = None
    if out is not None:
        if not isinstance(out, tuple) or len(out) != 2:
            raise TypeError(f"out is {out!r}, expected two arrays")
        out = output("out[0]", out[0], a, given_a), output("out[1]", out[1], b, given_b)
        inputs = {"a": given_a, "b": given_b, "weights": pairing[1]}
        clear = check_apart({"out[0]": out[0], "out[1]": out[1]}, inputs)
        to = out if clear and out[0].dtype == out[1].dtype == dtype else None
    if to is None and (out is not None or truth("grads", grads)):
        to = np.empty(a.shape, dtype), np.empty(a.shape, dtype)
    lists = (
        room("distances", distances, count, dtype),
        room("values", values, count, dtype),
        room("slopes", slopes, count, dtype),
    )
    raw = _drlim.rows(wanted, a, b, pairing, to, lists, out is not None and to is out)
    if to is None:
        return RowsOutcome(*fields(raw), None, None, *lists)
    if out is None:
        return RowsOutcome(*fields(raw), in_type_of(given_a, to[0]), in_type_of(given_b, to[1]), *lists)
    if to is not out:
        overwrite(out, to)
    return RowsOutcome(*fields(raw), *out, *lists)


def indexed(
    loss: PairLoss,
    z: ArrayLike,
    pairs: ArrayLike | PairList,
    similar: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    ignored: ArrayLike | None = None,
    reduction: Reduction = "mean",
    scale: float = 1.0,
    grad: bool = True,
    distances: bool = False,
    values: bool = False,
    slopes: bool = False,
    out: Array | None = None,
) -> IndexedOutcome:
    """Loss and gradient of pairs of the rows of `z`, B x D: `pairs` is P x 2 indices, in any order, with any repeats.

    Lists that are used again are checked and sorted once as `PairList(B, pairs)`. The other arguments are those of
    `rows`, with an element for each of the P pairs; the gradient is B x D. IndexError: indices outside of 0 to B - 1.

    >>> z, pairs = np.float32([[0, 0], [3, 4], [1, 0]]), [(0, 1), (0, 2)]
    >>> drlim.indexed(drlim.Contrastive(2.0), z, pairs, [True, False]).grad.tolist()
    [[-1.0, -2.0], [1.5, 2.0], [-0.5, 0.0]]
    """
    wanted = task(loss, reduction, scale)
    z, given = embeddings("z", z)
    if not isinstance(pairs, PairList):
        pairs = PairList(len(z), pairs)
    if pairs.rows != len(z):
        raise ValueError(f"pairs are of {pairs.rows} rows, expected {len(z)} as z has")
    count, dtype = len(pairs), z.dtype
    pairing = (
        flags("similar", similar, count),
        weight_array("weights", weights, count, dtype),
        None if ignored is None else flags("ignored", ignored, count),
    )
    to = gradient(z, given, grad, out, count)
    lists = (
        room("distances", distances, count, dtype),
        room("values", values, count, dtype),
        room("slopes", slopes, count, dtype),
    )
    raw = _drlim.indexed(wanted, z, pairs, pairing, to, lists, out is not None and to is out)
    return IndexedOutcome(*fields(raw), delivered(to, out, given), *lists)


def all_pairs(
    loss: PairLoss,
    z: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    graph: Graph | None = None,
    ignore_label: int | None = None,
    normalize: bool = False,
    reduction: Reduction = "mean",
    scale: float = 1.0,
    grad: bool = True,
    out: Array | None = None,
) -> BatchOutcome:
    """Loss and gradient of all B (B - 1) / 2 pairs of the rows of `z`, B x D, each once, in memory proportional to `z`.

    Rows are similar if they have the same of B `labels`, or are neighbours in a `graph` of B samples; all others are
    dissimilar. Rows whose label is `ignore_label` are in no pair. With `normalize`, rows are scaled to unit length
    first, and the gradient is by the rows as they were given (0 where a row is 0). The other arguments are those of
    `rows`. TypeError: labels beside a graph, or neither; ValueError: labels or a graph of other than B samples.

    >>> z = np.float32([[0, 0], [3, 4], [0, 1]])
    >>> outcome = drlim.all_pairs(drlim.Contrastive(2.0), z, labels=[7, 7, 3])
    >>> outcome.value, outcome.pairs, outcome.similar.pairs, outcome.grad.shape
    (4.333333333333333, 3, 1, (3, 2))
    """
    wanted = task(loss, reduction, scale)
    z, given = embeddings("z", z)
    of_rows = similar_rows(labels, graph, len(z))
    to = gradient(z, given, grad, out, len(z) ** 2)
    whole = out is not None and to is out
    ignored = label("ignore_label", ignore_label)
    raw = _drlim.all_pairs(wanted, z, of_rows, ignored, graph, truth("normalize", normalize), to, whole)
    return BatchOutcome(*fields(raw), delivered(to, out, given))


def cross(
    loss: PairLoss,
    queries: ArrayLike,
    keys: ArrayLike,
    query_labels: ArrayLike | None = None,
    key_labels: ArrayLike | None = None,
    *,
    graph: Graph | None = None,
    first_query: int = 0,
    first_key: int = 0,
    ignore_label: int | None = None,
    own: int | None = None,
    position: int | None = None,
    reduction: Reduction = "mean",
    scale: float = 1.0,
    grads: bool | tuple[bool, bool] = True,
    grad_parameters: bool = False,
) -> CrossOutcome:
    """Loss and gradients of all N M pairs of a row of `queries`, N x D, with a row of `keys`, M x D.

    Rows are similar if they have the same label, or are neighbours in a `graph` in which query i is sample
    `first_query` + i and key j sample `first_key` + j; with `position`, key `position` + i alone is similar to query i.
    With `own`, key `own` + i is query i itself, and the two make no pair: say so where the queries are rows of the
    keys, otherwise each is paired with itself. `grads` says whether the gradients of queries and of keys are wanted,
    `grad_parameters` whether the derivatives by the scale and the bias of a `Sigmoid` are. The other arguments are
    those of `all_pairs`. IndexError: `own` or `position` from which there are fewer than N keys.

    >>> image, text = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    >>> outcome = drlim.cross(drlim.Sigmoid(scale=10.0, bias=-10.0), image, text, position=0, grad_parameters=True)
    >>> outcome.pairs, outcome.similar.pairs, outcome.grad_keys.shape, round(outcome.grad_bias, 6)
    (9, 3, (3, 3), -0.166636)
    """
    wanted = task(loss, reduction, scale)
    call = across(queries, keys, query_labels, key_labels, graph, first_query, first_key, ignore_label, own, position)
    by_parameters = truth("grad_parameters", grad_parameters)
    if by_parameters and not isinstance(loss, Sigmoid):
        raise TypeError(f"grad_parameters is given with {loss!r}, expected a Sigmoid")
    to = gradients("grads", grads, call.queries, call.keys)
    raw, by = _drlim.cross(
        wanted, call.queries, call.keys, call.labels, call.graph, call.position, call.own, to, by_parameters
    )
    return CrossOutcome(*fields(raw), *in_types_of(call.given, to), *(by or (None, None)))
