"""Hessian-vector products: how the gradients of calls change as their rows move along given directions.

Second derivatives are made of them, in `drlim.torch` for instance. Arguments are those of the call whose gradient is
differentiated, and a direction for each matrix, of the same shape; `scale` multiplies products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from . import _drlim
from ._arrays import Array, Reduction, flags, index_pairs, label, matrix, number, reduction_parts, weights as weight_array
from ._distances import Distance, pair_of_matrices
from ._drlim import Graph, PairList
from ._losses import LinearHinge, PairLoss, SquaredHinge, TripletLoss, triplet_parts
from ._pairs import across, all_pairs, room, similar_rows, task


@dataclass(frozen=True, eq=False)
class RowsHvp:
    """The result of `rows_hvp`: products, N x D, and by how much each value changes; None where not asked for."""

    hvp_a: Array
    hvp_b: Array
    derivatives: Array | None = None


@dataclass(frozen=True, eq=False)
class IndexedHvp:
    """The result of `indexed_hvp`: the product, B x D, and by how much each value changes; None where not asked for."""

    hvp: Array
    derivatives: Array | None = None


@dataclass(frozen=True, eq=False)
class TripletRowsHvp:
    """The result of `triplet_rows_hvp`: products, N x D, and by how much each value changes; None if not asked for."""

    hvp_anchor: Array
    hvp_positive: Array
    hvp_negative: Array
    derivatives: Array | None = None


def direction(name: str, value: ArrayLike, like: Array) -> Array:
    """A direction of the rows of a matrix, of its shape and type."""
    array = matrix(name, value, like.dtype)
    if array.shape != like.shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {like.shape} as what moves along it")
    return array


def rows_hvp(
    loss: PairLoss,
    a: ArrayLike,
    b: ArrayLike,
    along_a: ArrayLike,
    along_b: ArrayLike,
    similar: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    ignored: ArrayLike | None = None,
    reduction: Reduction = "mean",
    scale: float = 1.0,
    derivatives: bool = False,
) -> RowsHvp:
    """How the gradients of `rows` change. With `derivatives` also how the value of each pair does, reduced."""
    wanted = task(loss, reduction, scale)
    a, b = pair_of_matrices(a, b)
    count, dtype = len(a), a.dtype
    pairing = (
        flags("similar", similar, count),
        weight_array("weights", weights, count, dtype),
        None if ignored is None else flags("ignored", ignored, count),
    )
    to = np.empty(a.shape, dtype), np.empty(a.shape, dtype)
    changes = room("derivatives", derivatives, count, dtype)
    rays = (a, direction("along_a", along_a, a)), (b, direction("along_b", along_b, b))
    _drlim.rows_hvp(wanted, *rays, pairing, to, changes)
    return RowsHvp(*to, changes)


def indexed_hvp(
    loss: PairLoss,
    z: ArrayLike,
    along: ArrayLike,
    pairs: ArrayLike | PairList,
    similar: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    ignored: ArrayLike | None = None,
    reduction: Reduction = "mean",
    scale: float = 1.0,
    derivatives: bool = False,
) -> IndexedHvp:
    """How the gradient of `indexed` changes. With `derivatives` also how the value of each pair does, reduced."""
    wanted = task(loss, reduction, scale)
    z = matrix("z", z)
    if not isinstance(pairs, PairList):
        pairs = PairList(len(z), index_pairs("pairs", pairs))
    count = len(pairs)
    pairing = (
        flags("similar", similar, count),
        weight_array("weights", weights, count, z.dtype),
        None if ignored is None else flags("ignored", ignored, count),
    )
    to, changes = np.empty(z.shape, z.dtype), room("derivatives", derivatives, count, z.dtype)
    _drlim.indexed_hvp(wanted, (z, direction("along", along, z)), pairs, pairing, to, changes)
    return IndexedHvp(to, changes)


def all_pairs_hvp(
    loss: PairLoss,
    z: ArrayLike,
    along: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    graph: Graph | None = None,
    ignore_label: int | None = None,
    normalize: bool = False,
    reduction: Reduction = "mean",
    scale: float = 1.0,
) -> Array:
    """How the gradient of `all_pairs` changes as the rows of `z` move `along`, B x D: the product, B x D."""
    wanted = task(loss, reduction, scale)
    z = matrix("z", z)
    v = direction("along", along, z)
    of_rows, none = similar_rows(labels, graph, len(z)), label("ignore_label", ignore_label)

    def product(z: Array, v: Array) -> Array:
        to = np.empty(z.shape, z.dtype)
        _drlim.all_pairs_hvp(wanted, (z, v), of_rows, none, graph, to)
        return to

    if not normalize:
        return product(z, v)
    # G(z) = P g(u)/n with n = |z|, u = z/n and P = 1 - u u'; along v, n moves by u·v and u by w = P v/n:
    # P H w/n - ((u·g) P v + (u·v) P g + (g·P v) u)/n²
    inverse = inverse_lengths(z)
    u = z * inverse
    gradient = all_pairs(
        loss, u, of_rows, graph=graph, ignore_label=ignore_label, reduction=reduction, scale=scale
    ).grad
    assert gradient is not None
    across_u = less_along(v, u)
    h = product(u, across_u * inverse)
    bend = dots(u, gradient) * across_u + dots(u, v) * less_along(gradient, u) + dots(gradient, across_u) * u
    turned: Array = less_along(h, u) * inverse - bend * inverse * inverse
    return turned


def inverse_lengths(z: Array) -> Array:
    """1/|z| of each row, 0 where it has no direction: N x 1."""
    largest = np.abs(z).max(axis=1, initial=0.0, keepdims=True)
    shares = np.divide(z, largest, out=np.zeros_like(z), where=largest != 0)  # whose squares are in range
    lengths = largest * np.sqrt(dots(shares, shares))
    has_direction = ~(lengths < np.finfo(z.dtype).tiny)
    inverse: Array = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=has_direction)
    return inverse


def dots(a: Array, b: Array) -> Array:
    """a_i·b_i: N x 1."""
    products: Array = np.einsum("ij,ij->i", a, b)
    return products[:, None]


def less_along(a: Array, u: Array) -> Array:
    """The rows of `a` without their parts along the unit rows `u`."""
    rest: Array = a - dots(a, u) * u
    return rest


def cross_hvp(
    loss: PairLoss,
    queries: ArrayLike,
    keys: ArrayLike,
    along_queries: ArrayLike,
    along_keys: ArrayLike,
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
    products: tuple[bool, bool] = (True, True),
) -> tuple[Array | None, Array | None]:
    """How the gradients of `cross` change: the products of queries and keys, as far as they are wanted."""
    wanted = task(loss, reduction, scale)
    call = across(queries, keys, query_labels, key_labels, graph, first_query, first_key, ignore_label, own, position)
    of_queries = call.queries, direction("along_queries", along_queries, call.queries)
    of_keys = call.keys, direction("along_keys", along_keys, call.keys)
    to_queries = np.empty(call.queries.shape, call.queries.dtype) if products[0] else None
    to_keys = np.empty(call.keys.shape, call.keys.dtype) if products[1] else None
    to = to_queries, to_keys
    _drlim.cross_hvp(wanted, of_queries, of_keys, call.labels, call.graph, call.position, call.own, to)
    return to_queries, to_keys


def triplet_rows_hvp(
    loss: TripletLoss,
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    along: tuple[ArrayLike, ArrayLike, ArrayLike],
    *,
    weights: ArrayLike | None = None,
    ignored: ArrayLike | None = None,
    reduction: Reduction = "mean",
    scale: float = 1.0,
    derivatives: bool = False,
) -> TripletRowsHvp:
    """How the gradients of `triplet_rows` change. With `derivatives` also how the value of each triplet does, reduced."""
    wanted = triplet_parts(loss), reduction_parts(reduction), number("scale", scale)
    anchor = matrix("anchor", anchor)
    positive = matrix("positive", positive, anchor.dtype)
    negative = matrix("negative", negative, anchor.dtype)
    for name, other in (("positive", positive), ("negative", negative)):
        if other.shape != anchor.shape:
            raise ValueError(f"{name} has shape {other.shape}, expected {anchor.shape} as anchor")
    moves = [direction(f"along[{k}]", of, anchor) for k, of in enumerate(along)]
    if len(moves) != 3:
        raise ValueError(f"along holds {len(moves)} arrays, expected 3")
    count, dtype = len(anchor), anchor.dtype
    of_weights = weight_array("weights", weights, count, dtype)
    of_ignored = None if ignored is None else flags("ignored", ignored, count)
    to = np.empty(anchor.shape, dtype), np.empty(anchor.shape, dtype), np.empty(anchor.shape, dtype)
    changes = room("derivatives", derivatives, count, dtype)
    inputs = anchor, positive, negative
    _drlim.triplet_rows_hvp(wanted, inputs, (moves[0], moves[1], moves[2]), of_weights, of_ignored, to, changes)
    return TripletRowsHvp(*to, changes)


def row_distances_hvp(
    a: ArrayLike,
    b: ArrayLike,
    along_a: ArrayLike,
    along_b: ArrayLike,
    upstream: ArrayLike,
    distance: Distance = "euclidean",
) -> RowsHvp:
    """How the gradients of `row_distances_backward` change; `derivatives` are of the distances, without upstream."""
    a, b = pair_of_matrices(a, b)
    va, vb = direction("along_a", along_a, a), direction("along_b", along_b, b)
    factors = weight_array("upstream", upstream, len(a), a.dtype)
    if factors is None:
        raise TypeError("upstream is None, expected an array")
    by_row = factors[:, None]
    if distance == "dot":
        return RowsHvp(by_row * vb, by_row * va, (dots(a, vb) + dots(b, va))[:, 0])
    if distance == "cosine":
        return cosine_hvp(a, b, by_row, va, vb)
    # The losses of similar pairs are d and d²/2.
    loss: PairLoss = LinearHinge(0.0, 1.0) if distance == "euclidean" else SquaredHinge(1.0)
    scale = 1.0 if distance == "euclidean" else 2.0
    similar = np.ones(len(a), bool)
    plain = rows_hvp(loss, a, b, va, vb, similar, reduction="sum", scale=scale, derivatives=True)
    weighted = rows_hvp(loss, a, b, va, vb, similar, weights=factors, reduction="sum", scale=scale)
    return RowsHvp(weighted.hvp_a, weighted.hvp_b, plain.derivatives)


def cosine_hvp(a: Array, b: Array, upstream: Array, va: Array, vb: Array) -> RowsHvp:
    """The products of 1 - cos, where cos = u·w, u = a/|a| and w = b/|b|. Its gradient by a is -P_u w/|a|
    with P_u = 1 - u u'.

    Along va and vb, u moves by du = P_u va/|a| and w by dw = P_w vb/|b|:

        h_a = -(P_u dw/|a| - ((u·va) P_u w + cos P_u va + (P_u va·w) u)/|a|²)
    """
    of_a, of_b = inverse_lengths(a), inverse_lengths(b)
    u, w = a * of_a, b * of_b
    cos = dots(u, w)
    # As in the gradient: a row has a direction where its squared length is a normal number.
    tiny = np.finfo(a.dtype).tiny
    angled = ~((dots(a, a) < tiny) | (dots(b, b) < tiny))

    def by(u: Array, w: Array, of_u: Array, of_w: Array, vu: Array, vw: Array) -> Array:
        moved, dw = less_along(vu, u), less_along(vw, w) * of_w
        turn = dots(u, vu) * less_along(w, u) + cos * moved + dots(moved, w) * u
        return np.where(angled, upstream * (turn * of_u * of_u - less_along(dw, u) * of_u), 0.0).astype(u.dtype)

    change = -(dots(less_along(w, u) * of_a, va) + dots(less_along(u, w) * of_b, vb))
    derivatives = np.where(angled, change, 0.0).astype(a.dtype)[:, 0]
    return RowsHvp(by(u, w, of_a, of_b, va, vb), by(w, u, of_b, of_a, vb, va), derivatives)
