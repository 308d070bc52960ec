"""Hessian-vector products: how the gradients of calls change as their rows move along given directions.

Second derivatives are made of them, in `drlim.torch` for instance. Arguments are those of the call whose gradient is
differentiated, and a direction for each matrix, of the same shape; `scale` multiplies products.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    matrix,
    number,
    reduction_parts,
    truth,
    weights as weight_array,
)
from ._distances import DISTANCES, Distance, pair_of_matrices
from ._drlim import Graph, PairList
from ._gradients import gradients, in_type_of, in_types_of, room
from ._hvp_formulas import cosine_hvp, dots, of_unit_rows
from ._losses import LinearHinge, PairLoss, SquaredHinge, TripletLoss, triplet_parts
from ._pairs import all_pairs, task
from ._similar import across, similar_rows
from ._triplets import three_matrices


@dataclass(frozen=True, eq=False)
class RowsHvp:
    """The result of `rows_hvp`: products, N x D, and by how much each value changes, N; None where not asked for.

    >>> z, along = np.float32([[0], [3]]), np.float32([[1], [0]])
    >>> found = drlim.rows_hvp(drlim.Contrastive(), z[:1], z[1:], along[:1], along[1:], [True], derivatives=True)
    >>> found.hvp_a.tolist(), found.hvp_b.tolist(), found.derivatives.tolist()
    ([[1.0]], [[-1.0]], [-3.0])
    """

    hvp_a: Array
    hvp_b: Array
    derivatives: Array | None = None


@dataclass(frozen=True, eq=False)
class IndexedHvp:
    """The result of `indexed_hvp`: the product, B x D, and by how much each value changes, P; None where not asked for.

    >>> z, along = np.float32([[0], [3]]), np.float32([[1], [0]])
    >>> drlim.indexed_hvp(drlim.Contrastive(), z, along, [(0, 1)], [True], derivatives=True).derivatives.tolist()
    [-3.0]
    """

    hvp: Array
    derivatives: Array | None = None


@dataclass(frozen=True, eq=False)
class TripletRowsHvp:
    """The result of `triplet_rows_hvp`: products, N x D, and by how much each value changes, N; None if not asked for.

    >>> rows, along = np.float32([[[0]], [[3]], [[0.5]]]), np.float32([[[0]], [[1]], [[0]]])
    >>> drlim.triplet_rows_hvp(drlim.SquaredTriplet(), *rows, along, derivatives=True).derivatives.tolist()
    [6.0]
    """

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
    """How the gradients of `rows` change. With `derivatives` also how the value of each pair does, reduced.

    >>> a, b, along = np.float32([[0, 0]]), np.float32([[3, 4]]), np.float32([[1, 2]])
    >>> drlim.rows_hvp(drlim.Contrastive(), a, b, along, np.zeros_like(b), [True]).hvp_a.tolist()
    [[1.0, 2.0]]
    """
    wanted = task(loss, reduction, scale)
    (a, b), (given_a, given_b) = pair_of_matrices(a, b)
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
    return RowsHvp(in_type_of(given_a, to[0]), in_type_of(given_b, to[1]), changes)


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
    """How the gradient of `indexed` changes. With `derivatives` also how the value of each pair does, reduced.

    >>> z, along = np.float32([[0, 0], [3, 4]]), np.float32([[1, 2], [0, 0]])
    >>> drlim.indexed_hvp(drlim.Contrastive(), z, along, [(0, 1)], [True]).hvp.tolist()
    [[1.0, 2.0], [-1.0, -2.0]]
    """
    wanted = task(loss, reduction, scale)
    z, given = embeddings("z", z)
    if not isinstance(pairs, PairList):
        pairs = PairList(len(z), pairs)
    if pairs.rows != len(z):
        raise ValueError(f"pairs are of {pairs.rows} rows, expected {len(z)} as z has")
    count = len(pairs)
    pairing = (
        flags("similar", similar, count),
        weight_array("weights", weights, count, z.dtype),
        None if ignored is None else flags("ignored", ignored, count),
    )
    to, changes = np.empty(z.shape, z.dtype), room("derivatives", derivatives, count, z.dtype)
    _drlim.indexed_hvp(wanted, (z, direction("along", along, z)), pairs, pairing, to, changes)
    return IndexedHvp(in_type_of(given, to), changes)


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
    """How the gradient of `all_pairs` changes as the rows of `z` move `along`, B x D: the product, B x D.

    >>> z, along = np.float32([[0, 0], [3, 4]]), np.float32([[1, 2], [0, 0]])
    >>> drlim.all_pairs_hvp(drlim.Contrastive(), z, along, labels=[7, 7]).tolist()
    [[1.0, 2.0], [-1.0, -2.0]]
    """
    wanted = task(loss, reduction, scale)
    z, given = embeddings("z", z)
    v = direction("along", along, z)
    of_rows, none = similar_rows(labels, graph, len(z)), label("ignore_label", ignore_label)

    def gradient(u: Array) -> Array:
        found = all_pairs(
            loss, u, of_rows, graph=graph, ignore_label=ignore_label, reduction=reduction, scale=scale
        ).grad
        assert found is not None
        return found

    def product(z: Array, v: Array) -> Array:
        to = np.empty(z.shape, z.dtype)
        _drlim.all_pairs_hvp(wanted, (z, v), of_rows, none, graph, to)
        return to

    return in_type_of(given, of_unit_rows(z, v, gradient, product) if truth("normalize", normalize) else product(z, v))


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
    """How the gradients of `cross` change: the products of queries, N x D, and keys, M x D, as far as they are wanted.

    >>> queries, keys, along = np.float32([[0, 0]]), np.float32([[3, 4]]), np.float32([[1, 2]])
    >>> of_queries, _ = drlim.cross_hvp(drlim.Contrastive(), queries, keys, along, np.zeros_like(keys), [7], [7])
    >>> of_queries.tolist()
    [[1.0, 2.0]]
    """
    wanted = task(loss, reduction, scale)
    call = across(queries, keys, query_labels, key_labels, graph, first_query, first_key, ignore_label, own, position)
    of_queries = call.queries, direction("along_queries", along_queries, call.queries)
    of_keys = call.keys, direction("along_keys", along_keys, call.keys)
    to = gradients("products", products, call.queries, call.keys)
    _drlim.cross_hvp(wanted, of_queries, of_keys, call.labels, call.graph, call.position, call.own, to)
    return in_types_of(call.given, to)


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
    """How the gradients of `triplet_rows` change. With `derivatives` also how the value of each triplet does, reduced.

    >>> rows = np.float32([[[0, 0]], [[3, 4]], [[0, 1]]])
    >>> along = np.zeros_like(rows)
    >>> along[2] = [1, 0]  # negative alone
    >>> drlim.triplet_rows_hvp(drlim.TripletMargin(0.5), *rows, along).hvp_negative.tolist()
    [[-1.0, 0.0]]
    """
    wanted = triplet_parts(loss), reduction_parts(reduction), number("scale", scale)
    inputs, given = three_matrices(anchor, positive, negative)
    moves = [direction(f"along[{k}]", of, inputs[0]) for k, of in enumerate(along)]
    if len(moves) != 3:
        raise ValueError(f"along holds {len(moves)} arrays, expected 3")
    (count, _), dtype = inputs[0].shape, inputs[0].dtype
    of_weights = weight_array("weights", weights, count, dtype)
    of_ignored = None if ignored is None else flags("ignored", ignored, count)
    shape = inputs[0].shape
    to = np.empty(shape, dtype), np.empty(shape, dtype), np.empty(shape, dtype)
    changes = room("derivatives", derivatives, count, dtype)
    _drlim.triplet_rows_hvp(wanted, inputs, (moves[0], moves[1], moves[2]), of_weights, of_ignored, to, changes)
    of_a, of_p, of_n = map(in_type_of, given, to)
    return TripletRowsHvp(of_a, of_p, of_n, changes)


def row_distances_hvp(
    a: ArrayLike,
    b: ArrayLike,
    along_a: ArrayLike,
    along_b: ArrayLike,
    upstream: ArrayLike,
    distance: Distance = "euclidean",
) -> RowsHvp:
    """How the gradients of `row_distances_backward` change; `derivatives` are of the distances, without upstream.

    >>> a, b, along = np.float32([[0, 0]]), np.float32([[3, 4]]), np.float32([[1, 2]])
    >>> found = drlim.row_distances_hvp(a, b, along, np.zeros_like(b), upstream=[1.0], distance="squared")
    >>> found.hvp_a.tolist(), found.derivatives.tolist()
    ([[2.0, 4.0]], [-22.0])
    """
    choice("distance", distance, DISTANCES)
    (a, b), given = pair_of_matrices(a, b)
    va, vb = direction("along_a", along_a, a), direction("along_b", along_b, b)
    factors = weight_array("upstream", upstream, len(a), a.dtype)
    if factors is None:
        raise TypeError("upstream is None, expected an array")
    of_a, of_b, derivatives = distance_products(a, b, factors, va, vb, distance)
    return RowsHvp(in_type_of(given[0], of_a), in_type_of(given[1], of_b), derivatives)


OF_DISTANCE: PairLoss = LinearHinge(0.0, 1.0)
"""A loss that is d of similar pairs."""

OF_HALF_ITS_SQUARE: PairLoss = SquaredHinge(1.0)
"""A loss that is d²/2 of similar pairs."""


def distance_products(
    a: Array, b: Array, factors: Array, va: Array, vb: Array, distance: Distance
) -> tuple[Array, Array, Array]:
    """The products by `a` and `b`, and the changes of distances."""
    by_row = factors[:, None]
    if distance == "dot":
        return by_row * vb, by_row * va, (dots(a, vb) + dots(b, va))[:, 0]
    if distance == "cosine":
        return cosine_hvp(a, b, by_row, va, vb)
    loss, scale = (OF_DISTANCE, 1.0) if distance == "euclidean" else (OF_HALF_ITS_SQUARE, 2.0)
    wanted, rays, similar = task(loss, "sum", scale), ((a, va), (b, vb)), np.ones(len(a), np.uint8)
    to, changes = (np.empty(a.shape, a.dtype), np.empty(a.shape, a.dtype)), np.empty(len(a), a.dtype)
    _drlim.rows_hvp(wanted, *rays, (similar, factors, None), to, None)
    _drlim.rows_hvp(wanted, *rays, (similar, None, None), None, changes)
    return *to, changes
