"""Losses of pairs: by rows, of a list, of a batch, of two batches."""

from __future__ import annotations

from collections import deque
from itertools import repeat
from operator import setitem
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _drlim
from ._arrays import (
    Array,
    Reduction,
    check_apart,
    flags,
    index_pairs,
    label,
    labels as label_array,
    matrix,
    number,
    output,
    reduction_parts,
    size,
    truth,
    weights as weight_array,
)
from ._drlim import Graph, PairList
from ._losses import PairLoss, Sigmoid, pair_parts
from ._outcome import BatchOutcome, CrossOutcome, IndexedOutcome, RowsOutcome, fields

Task = tuple[tuple[str, float, float], tuple[str, float, float], float]


def task(loss: PairLoss, reduction: Reduction, scale: float) -> Task:
    return pair_parts(loss), reduction_parts(reduction), number("scale", scale)


def room(name: str, wanted: bool, count: int, dtype: np.dtype[Any]) -> Array | None:
    return np.empty(count, dtype) if truth(name, wanted) else None


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

    Arrays are of float32 or of float64, all of one type. Refused: shapes that differ, and what
    every call of `drlim` refuses.
    """
    wanted = task(loss, reduction, scale)
    a = matrix("a", a)
    b = matrix("b", b, a.dtype)
    if b.shape != a.shape:
        raise ValueError(f"b has shape {b.shape}, expected {a.shape} as a")
    count = len(a)
    pairing = (
        flags("similar", similar, count),
        weight_array("weights", weights, count, a.dtype),
        None if ignored is None else flags("ignored", ignored, count),
    )
    to = None
    if out is not None:
        if not isinstance(out, tuple) or len(out) != 2:
            raise TypeError(f"out is {out!r}, expected two arrays")
        to = output("out[0]", out[0], a), output("out[1]", out[1], a)
        clear = check_apart({"out[0]": to[0], "out[1]": to[1]}, {"a": a, "b": b, "weights": pairing[1]})
        out, to = to, to if clear else (np.empty(a.shape, a.dtype), np.empty(a.shape, a.dtype))
    elif truth("grads", grads):
        to = np.empty(a.shape, a.dtype), np.empty(a.shape, a.dtype)
    lists = (
        room("distances", distances, count, a.dtype),
        room("values", values, count, a.dtype),
        room("slopes", slopes, count, a.dtype),
    )
    raw = _drlim.rows(wanted, a, b, pairing, to, lists, out is not None and to is out)
    if out is not None and to is not None and to is not out:
        overwrite(out, to)
    grad_a, grad_b = out or to or (None, None)
    return RowsOutcome(*fields(raw), grad_a, grad_b, *lists)


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
    """Loss and gradient of pairs of the rows of `z`, B x D: `pairs` is P x 2 indices, in any order and with any repeats.

    Lists that are used again are checked and sorted once as `PairList(B, pairs)`. The other arguments are those of
    `rows`, with an element for each of the P pairs; the gradient is B x D.
    """
    wanted = task(loss, reduction, scale)
    z = matrix("z", z)
    if not isinstance(pairs, PairList):
        pairs = PairList(len(z), index_pairs("pairs", pairs))
    if pairs.rows != len(z):
        raise ValueError(f"pairs are of {pairs.rows} rows, expected {len(z)} as z has")
    count = len(pairs)
    pairing = (
        flags("similar", similar, count),
        weight_array("weights", weights, count, z.dtype),
        None if ignored is None else flags("ignored", ignored, count),
    )
    to = gradient(z, grad, out, count)
    lists = (
        room("distances", distances, count, z.dtype),
        room("values", values, count, z.dtype),
        room("slopes", slopes, count, z.dtype),
    )
    raw = _drlim.indexed(wanted, z, pairs, pairing, to, lists, out is not None and to is out)
    return IndexedOutcome(*fields(raw), delivered(to, out), *lists)


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
    `rows`.
    """
    wanted = task(loss, reduction, scale)
    z = matrix("z", z)
    of_rows = similar_rows(labels, graph, len(z))
    to = gradient(z, grad, out, len(z) ** 2)
    whole = out is not None and to is out
    ignored = label("ignore_label", ignore_label)
    raw = _drlim.all_pairs(wanted, z, of_rows, ignored, graph, truth("normalize", normalize), to, whole)
    return BatchOutcome(*fields(raw), delivered(to, out))


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
    those of `all_pairs`.
    """
    wanted = task(loss, reduction, scale)
    call = across(queries, keys, query_labels, key_labels, graph, first_query, first_key, ignore_label, own, position)
    by_parameters = truth("grad_parameters", grad_parameters)
    if by_parameters and not isinstance(loss, Sigmoid):
        raise TypeError(f"grad_parameters is given with {loss!r}, expected a Sigmoid")
    to = gradients_across(call, grads)
    raw, by = _drlim.cross(
        wanted, call.queries, call.keys, call.labels, call.graph, call.position, call.own, to, by_parameters
    )
    by_scale, by_bias = by or (None, None)
    return CrossOutcome(*fields(raw), *to, by_scale, by_bias)


class Across(NamedTuple):
    """The checked arguments of `cross`: two batches, labels, a graph or a position, and the place of the queries among
    the keys.
    """

    queries: Array
    keys: Array
    labels: tuple[Array, Array, int | None] | None
    graph: tuple[Graph, int, int] | None
    position: int | None
    own: int | None


def gradients_across(call: Across, grads: bool | tuple[bool, bool]) -> tuple[Array | None, Array | None]:
    """Room for the gradients of queries and of keys, as far as they are wanted."""
    if isinstance(grads, tuple) and len(grads) != 2:
        raise TypeError(f"grads is {grads!r}, expected one truth, or two")
    both = grads if isinstance(grads, tuple) else (grads, grads)
    of_queries, of_keys = (truth("grads", wanted) for wanted in both)
    to_queries = np.empty_like(call.queries, order="C", subok=False) if of_queries else None
    to_keys = np.empty_like(call.keys, order="C", subok=False) if of_keys else None
    return to_queries, to_keys


def across(
    queries: ArrayLike,
    keys: ArrayLike,
    query_labels: ArrayLike | None,
    key_labels: ArrayLike | None,
    graph: Graph | None,
    first_query: int,
    first_key: int,
    ignore_label: int | None,
    own: int | None,
    position: int | None,
) -> Across:
    """The arguments of `cross`, checked."""
    queries = matrix("queries", queries)
    keys = matrix("keys", keys, queries.dtype)
    if keys.shape[1] != queries.shape[1]:
        raise ValueError(f"keys have {keys.shape[1]} columns, expected {queries.shape[1]} as queries")
    given = [name for name, value in (("query_labels", query_labels), ("key_labels", key_labels)) if value is None]
    of_labels = None
    if position is not None:
        if graph is not None or len(given) < 2:
            raise TypeError("position is given with labels or a graph, expected one of them")
    elif graph is None:
        if query_labels is None or key_labels is None:
            raise TypeError(f"{given[0]} is None, expected labels of both sides, a graph or a position")
        of_labels = (
            label_array("query_labels", query_labels, len(queries)),
            label_array("key_labels", key_labels, len(keys)),
            label("ignore_label", ignore_label),
        )
    elif len(given) < 2:
        raise TypeError("graph is given with labels, expected one of them")
    of_graph = None
    if graph is not None:
        if not isinstance(graph, Graph):
            raise TypeError(f"graph is a {type(graph).__name__}, expected a Graph")
        of_graph = graph, size("first_query", first_query), size("first_key", first_key)
        for name, first, rows in (("query", of_graph[1], queries), ("key", of_graph[2], keys)):
            if first + len(rows) > graph.samples:
                raise ValueError(
                    f"first_{name} is {first}, expected at most {graph.samples - len(rows)}: "
                    f"graph is of {graph.samples} samples, and there are {len(rows)} rows"
                )
    if own is not None and not size("own", own) <= len(keys) - len(queries):
        raise IndexError(f"own is {own}, expected that each of {len(queries)} queries is among {len(keys)} keys from there")
    if position is not None and not size("position", position) <= len(keys) - len(queries):
        raise IndexError(
            f"position is {position}, expected that each of {len(queries)} queries has one of {len(keys)} keys from there"
        )
    positions = (None if of is None else size(name, of) for name, of in (("position", position), ("own", own)))
    return Across(queries, keys, of_labels, of_graph, *positions)


def gradient(z: Array, wanted: bool, out: Array | None, pairs: int) -> Array | None:
    """The array to which a call on `pairs` pairs of rows of `z` writes the gradient, if any.

    `delivered` brings it to `out`. Signals are heard during a long call, and `out` keeps its content if one of them
    ends it.
    """
    if out is None:
        return np.empty(z.shape, z.dtype) if truth("grad", wanted) else None
    to = output("out", out, z)
    if not check_apart({"out": to}, {"z": z}):
        raise ValueError("out lies between the elements of z")
    # Another array is little beside the work on several pairs of each row.
    long = pairs >= 4 * len(z) and pairs * z.shape[1] >= LONG
    return np.empty(z.shape, z.dtype) if long else to


def delivered(to: Array | None, out: Array | None) -> Array | None:
    """The gradient, in `out` where that is given."""
    if to is None or out is None or to is out:
        return to
    overwrite((out,), (to,))
    return out


LONG = 2**26
"""A call is long from this many products of elements on: they take a hundredth of a second."""


def overwrite(arrays: tuple[Array, ...], values: tuple[Array, ...]) -> None:
    """Writes all of the arrays, or none: no signal is handled in between, as no line of Python is run."""
    write: Any = setitem
    deque(map(write, arrays, repeat(...), values), maxlen=0)


def similar_rows(labels: ArrayLike | None, graph: Graph | None, count: int) -> Array | None:
    """Labels, or none where there is a graph of as many samples."""
    if graph is None:
        if labels is None:
            raise TypeError("labels is None, expected labels or a graph")
        return label_array("labels", labels, count)
    if labels is not None:
        raise TypeError("graph is given with labels, expected one of them")
    if not isinstance(graph, Graph):
        raise TypeError(f"graph is a {type(graph).__name__}, expected a Graph")
    if graph.samples != count:
        raise ValueError(f"graph is of {graph.samples} samples, expected {count}, one for each row of z")
    return None
