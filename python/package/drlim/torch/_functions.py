"""Calls on tensors: each makes a `Call` of the call on arrays, which is a node of PyTorch's graph."""

from __future__ import annotations

from typing import Any, Callable, Literal

import numpy as np
import torch
from torch import Tensor

import drlim
from drlim import Graph, PairList, PairLoss, Reduction, TripletLoss
from drlim._arrays import Array
from drlim._distances import Distance
from drlim._triplets import Mining

from ._autograd import Call, Gradients, Needs
from ._calls import embeddings as _embeddings, node
from ._operators import Made

Constant = Any
"""A tensor, an array or a list that has no gradient."""

WithNone = Reduction | Literal["none"]


def _constant(value: Constant) -> Any:
    if not isinstance(value, Tensor):
        return value
    # Arrays have no type for these halves.
    return (value.float() if value.dtype is torch.bfloat16 else value).numpy(force=True)


def _weights(weights: Constant) -> Any:
    """Weights as an array. Refused if they require a gradient, which they would not get."""
    if isinstance(weights, Tensor) and weights.requires_grad:
        raise ValueError("weights require a gradient, expected constants: use weights.detach()")
    return _constant(weights)


def _own(inputs: list[Tensor], *constants: Any) -> tuple[Any, ...]:
    """Constants that a backward pass may read again: copies, so that nobody refills them before it does."""
    if torch.is_grad_enabled():
        for tensor in inputs:
            if tensor.requires_grad:
                return tuple([None if constant is None else np.array(constant) for constant in constants])
    return constants


def _weighted(
    name: str,
    inputs: list[Tensor],
    weights: Array | None,
    reduction: WithNone,
    run: Callable[..., Any],
    hvp: Callable[..., Any],
    fields: tuple[str, ...],
) -> Made:
    """One value of pairs or triplets that may have weights, or with "none" one for each.

    `run(arrays, grads, weights=, reduction=, ...)` is the call on arrays, whose outcome has the gradients `fields`;
    `hvp(arrays, along, weights=, ...)` gives its products.
    """

    def grads(outcome: Any) -> Gradients:
        return tuple(getattr(outcome, "grad" + field) for field in fields)

    def products(found: Any) -> Gradients:
        return tuple(getattr(found, "hvp" + field) for field in fields)

    if reduction == "none":
        # The upstream gradient of each value is a weight beside the given one.
        def times(upstream: Array) -> Array:
            return upstream if weights is None else upstream * weights

        def of_each(arrays: list[Array], upstream: Array, along: list[Array], wanted: bool) -> Any:
            change = None
            if wanted:
                change = hvp(arrays, along, weights=weights, reduction="sum", derivatives=True).derivatives
            return change, products(hvp(arrays, along, weights=times(upstream), reduction="sum"))

        each = Call(
            name,
            lambda arrays, needs: (run(arrays, False, weights=weights, reduction="sum", values=True).values, None),
            lambda arrays, upstream, needs: grads(run(arrays, True, weights=times(upstream), reduction="sum")),
            of_each,
        )
        return Made(each, inputs)

    def value(arrays: list[Array], needs: Needs) -> tuple[float, Gradients]:
        outcome = run(arrays, any(needs), weights=weights, reduction=reduction)
        return outcome.value, grads(outcome)

    def gradients(arrays: list[Array], upstream: Any, needs: Needs) -> Gradients:
        return grads(run(arrays, True, weights=weights, reduction=reduction, scale=float(upstream)))

    def of_one(arrays: list[Array], upstream: Any, along: list[Array], wanted: bool) -> Any:
        change = _change(gradients(arrays, 1.0, [True] * len(arrays)), along) if wanted else None
        return change, products(hvp(arrays, along, weights=weights, reduction=reduction, scale=float(upstream)))

    return Made(Call(name, value, gradients, of_one), inputs)


def _batch(
    name: str,
    inputs: list[Tensor],
    run: Callable[[list[Array], Needs, float], tuple[float, Gradients]],
    hvp: Callable[[list[Array], list[Array], float], Gradients] | None,
) -> Made:
    """The value of a whole batch: `run(arrays, needs, scale)` gives it with its gradients, `hvp(arrays, along, scale)`
    its products, unless it has no second derivatives.
    """

    def gradients(arrays: list[Array], upstream: Any, needs: Needs) -> Gradients:
        return run(arrays, needs, float(upstream))[1]

    def products(arrays: list[Array], upstream: Any, along: list[Array], wanted: bool) -> Any:
        assert hvp is not None
        change = _change(gradients(arrays, 1.0, [True] * len(arrays)), along) if wanted else None
        return change, hvp(arrays, along, float(upstream))

    call = Call(name, lambda arrays, needs: run(arrays, needs, 1.0), gradients, None if hvp is None else products)
    return Made(call, inputs)


def _change(grads: Gradients, along: list[Array]) -> Array:
    """By how much a value with these gradients changes along directions."""
    return np.asarray(sum(np.vdot(grad, of) for grad, of in zip(grads, along) if grad is not None))


def _one(given: dict[str, Any]) -> None:
    """The number of values of a whole batch: it has one for all."""


def _each(name: str) -> Callable[[dict[str, Any]], int | None]:
    """The number of values of pairs or triplets: with "none", that of the rows of an argument."""
    return lambda given: given[name].shape[0] if given.get("reduction") == "none" else None


@node("a", "b", values=_each("a"))
def rows(
    loss: PairLoss,
    a: Tensor,
    b: Tensor,
    similar: Constant,
    *,
    weights: Constant = None,
    ignored: Constant = None,
    reduction: WithNone = "mean",
) -> Made:
    """`drlim.rows` of tensors, N x D: a scalar, or with `reduction="none"` N values."""
    inputs = _embeddings(a=a, b=b)
    similar, weights, ignored = _own(inputs, _constant(similar), _weights(weights), _constant(ignored))

    def run(arrays: list[Array], grads: bool, **how: Any) -> Any:
        return drlim.rows(loss, arrays[0], arrays[1], similar, ignored=ignored, grads=grads, **how)

    def hvp(arrays: list[Array], along: list[Array], **how: Any) -> Any:
        return drlim.rows_hvp(loss, arrays[0], arrays[1], along[0], along[1], similar, ignored=ignored, **how)

    return _weighted("rows", inputs, weights, reduction, run, hvp, ("_a", "_b"))


@node("z", values=_each("similar"))
def indexed(
    loss: PairLoss,
    z: Tensor,
    pairs: Constant | PairList,
    similar: Constant,
    *,
    weights: Constant = None,
    ignored: Constant = None,
    reduction: WithNone = "mean",
) -> Made:
    """`drlim.indexed` of a tensor, B x D: a scalar, or with `reduction="none"` a value for each of the P pairs."""
    inputs = _embeddings(z=z)
    similar, weights, ignored = _own(inputs, _constant(similar), _weights(weights), _constant(ignored))
    of_rows = pairs if isinstance(pairs, PairList) else PairList(len(z), _constant(pairs))

    def run(arrays: list[Array], grads: bool, **how: Any) -> Any:
        return drlim.indexed(loss, arrays[0], of_rows, similar, ignored=ignored, grad=grads, **how)

    def hvp(arrays: list[Array], along: list[Array], **how: Any) -> Any:
        return drlim.indexed_hvp(loss, arrays[0], along[0], of_rows, similar, ignored=ignored, **how)

    return _weighted("indexed", inputs, weights, reduction, run, hvp, ("",))


@node("z", values=_one)
def all_pairs(
    loss: PairLoss,
    z: Tensor,
    labels: Constant = None,
    *,
    graph: Graph | None = None,
    ignore_label: int | None = None,
    normalize: bool = False,
    reduction: Reduction = "mean",
) -> Made:
    """`drlim.all_pairs` of a tensor, B x D: a scalar."""
    inputs = _embeddings(z=z)
    (labels,) = _own(inputs, _constant(labels))
    how: dict[str, Any] = {
        "graph": graph,
        "ignore_label": ignore_label,
        "normalize": normalize,
        "reduction": reduction,
    }

    def run(arrays: list[Array], needs: Needs, scale: float) -> tuple[float, Gradients]:
        outcome = drlim.all_pairs(loss, arrays[0], labels, scale=scale, grad=any(needs), **how)
        return outcome.value, (outcome.grad,)

    def hvp(arrays: list[Array], along: list[Array], scale: float) -> Gradients:
        return (drlim.all_pairs_hvp(loss, arrays[0], along[0], labels, scale=scale, **how),)

    return _batch("all_pairs", inputs, run, hvp)


@node("queries", "keys", values=_one)
def cross(
    loss: PairLoss,
    queries: Tensor,
    keys: Tensor,
    query_labels: Constant = None,
    key_labels: Constant = None,
    *,
    graph: Graph | None = None,
    first_query: int = 0,
    first_key: int = 0,
    ignore_label: int | None = None,
    own: int | None = None,
    position: int | None = None,
    reduction: Reduction = "mean",
) -> Made:
    """`drlim.cross` of tensors, N x D and M x D: a scalar. Only the gradients that are needed are computed."""
    inputs = _embeddings(queries=queries, keys=keys)
    labels = _own(inputs, _constant(query_labels), _constant(key_labels))
    how: dict[str, Any] = {
        "graph": graph,
        "first_query": first_query,
        "first_key": first_key,
        "ignore_label": ignore_label,
        "own": own,
        "position": position,
        "reduction": reduction,
    }

    def run(arrays: list[Array], needs: Needs, scale: float) -> tuple[float, Gradients]:
        outcome = drlim.cross(loss, arrays[0], arrays[1], *labels, scale=scale, grads=(needs[0], needs[1]), **how)
        return outcome.value, (outcome.grad_queries, outcome.grad_keys)

    def hvp(arrays: list[Array], along: list[Array], scale: float) -> Gradients:
        return drlim.cross_hvp(loss, arrays[0], arrays[1], along[0], along[1], *labels, scale=scale, **how)

    return _batch("cross", inputs, run, hvp)


@node("anchor", "positive", "negative", values=_each("anchor"))
def triplet_rows(
    loss: TripletLoss,
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    weights: Constant = None,
    ignored: Constant = None,
    reduction: WithNone = "mean",
) -> Made:
    """`drlim.triplet_rows` of tensors, N x D: a scalar, or with `reduction="none"` N values."""
    inputs = _embeddings(anchor=anchor, positive=positive, negative=negative)
    weights, ignored = _own(inputs, _weights(weights), _constant(ignored))

    def run(arrays: list[Array], grads: bool, **how: Any) -> Any:
        return drlim.triplet_rows(loss, arrays[0], arrays[1], arrays[2], ignored=ignored, grads=grads, **how)

    def hvp(arrays: list[Array], along: list[Array], **how: Any) -> Any:
        moves = along[0], along[1], along[2]
        return drlim.triplet_rows_hvp(loss, arrays[0], arrays[1], arrays[2], moves, ignored=ignored, **how)

    fields = ("_anchor", "_positive", "_negative")
    return _weighted("triplet_rows", inputs, weights, reduction, run, hvp, fields)


@node("z", values=_one)
def triplets(
    loss: TripletLoss,
    z: Tensor,
    labels: Constant = None,
    *,
    graph: Graph | None = None,
    ignore_label: int | None = None,
    mining: Mining = "hardest",
    normalize: bool = False,
    reduction: Reduction = "mean",
) -> Made:
    """`drlim.triplets` of a tensor, B x D: a scalar. It has no second derivatives: `triplet_rows` has."""
    inputs = _embeddings(z=z)
    (labels,) = _own(inputs, _constant(labels))

    def run(arrays: list[Array], needs: Needs, scale: float) -> tuple[float, Gradients]:
        outcome = drlim.triplets(
            loss,
            arrays[0],
            labels,
            graph=graph,
            ignore_label=ignore_label,
            mining=mining,
            normalize=normalize,
            reduction=reduction,
            scale=scale,
            grad=any(needs),
        )
        return outcome.value, (outcome.grad,)

    return _batch("triplets", inputs, run, None)


@node("a", "b", values=lambda given: given["a"].shape[0])
def row_distances(a: Tensor, b: Tensor, distance: Distance = "euclidean") -> Made:
    """`drlim.row_distances` of tensors, N x D: N distances."""
    inputs = _embeddings(a=a, b=b)

    def products(arrays: list[Array], upstream: Array, along: list[Array], wanted: bool) -> Any:
        a, b = arrays
        found = drlim.row_distances_hvp(a, b, along[0], along[1], upstream, distance)
        return found.derivatives, (found.hvp_a, found.hvp_b)

    call = Call(
        "row_distances",
        lambda arrays, needs: (drlim.row_distances(arrays[0], arrays[1], distance), None),
        lambda arrays, upstream, needs: drlim.row_distances_backward(arrays[0], arrays[1], upstream, distance),
        products,
    )
    return Made(call, inputs)
