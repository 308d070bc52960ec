"""Which rows are similar: checks of labels, graphs and positions, of one batch and of two."""

from __future__ import annotations

from typing import NamedTuple

from ._arrays import Array, ArrayLike, embeddings, label, labels as label_array, size
from ._drlim import Graph


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


class Across(NamedTuple):
    """The checked arguments of `cross`: two batches, as calls compute on them and as they were given; labels, a graph
    or a position; and the place of the queries among the keys.
    """

    queries: Array
    keys: Array
    given: tuple[Array, Array]
    labels: tuple[Array, Array, int | None] | None
    graph: tuple[Graph, int, int] | None
    position: int | None
    own: int | None


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
    queries, given_queries = embeddings("queries", queries)
    keys, given_keys = embeddings("keys", keys, queries.dtype)
    if keys.shape[1] != queries.shape[1]:
        raise ValueError(f"keys have {keys.shape[1]} columns, expected {queries.shape[1]} as queries")
    some = query_labels is not None or key_labels is not None
    of_labels = of_graph = None
    if position is not None:
        if graph is not None or some:
            raise TypeError("position is given with labels or a graph, expected one of them")
        position = place("position", position, queries, keys)
    elif graph is not None:
        if some:
            raise TypeError("graph is given with labels, expected one of them")
        of_graph = samples_of(graph, first_query, first_key, queries, keys)
    else:
        if query_labels is None or key_labels is None:
            name = "query_labels" if query_labels is None else "key_labels"
            raise TypeError(f"{name} is None, expected labels of both sides, a graph or a position")
        of_labels = (
            label_array("query_labels", query_labels, len(queries)),
            label_array("key_labels", key_labels, len(keys)),
            label("ignore_label", ignore_label),
        )
    if own is not None:
        own = place("own", own, queries, keys)
    return Across(queries, keys, (given_queries, given_keys), of_labels, of_graph, position, own)


def samples_of(
    graph: Graph, first_query: int, first_key: int, queries: Array, keys: Array
) -> tuple[Graph, int, int]:
    """A graph, and the samples in it at which queries and keys begin."""
    if not isinstance(graph, Graph):
        raise TypeError(f"graph is a {type(graph).__name__}, expected a Graph")
    begins = size("first_query", first_query), size("first_key", first_key)
    for name, first, rows in (("query", begins[0], queries), ("key", begins[1], keys)):
        if first + len(rows) > graph.samples:
            raise ValueError(
                f"first_{name} is {first}, expected at most {graph.samples - len(rows)}: "
                f"graph is of {graph.samples} samples, and there are {len(rows)} rows"
            )
    return graph, *begins


def place(name: str, value: int, queries: Array, keys: Array) -> int:
    """The key at which as many keys as there are queries begin."""
    first = size(name, value)
    if first > len(keys) - len(queries):
        raise IndexError(
            f"{name} is {value}, expected that each of {len(queries)} queries has one of {len(keys)} keys from there"
        )
    return first
