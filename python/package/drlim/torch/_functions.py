"""Calls on tensors: each an `autograd.Function` around the call on arrays."""

from __future__ import annotations

from typing import Any, Callable, Literal, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

import drlim
from drlim import Graph, PairList, PairLoss, Reduction, TripletLoss
from drlim._arrays import Array
from drlim._distances import Distance
from drlim._triplets import Mining

Constant = Any
"""A tensor, an array or a list that has no gradient."""

WithNone = Reduction | Literal["none"]

Needs = tuple[bool, ...]
Gradients = Sequence[Array | None]


class _Scalar(torch.autograd.Function):
    """A value and the gradients by its inputs, from one call."""

    @staticmethod
    def forward(ctx: Any, call: Callable[[list[Array], Needs], tuple[float, Gradients]], *inputs: Tensor) -> Tensor:
        needs = ctx.needs_input_grad[1:]
        value, grads = call([tensor.numpy() for tensor in inputs], needs)
        ctx.save_for_backward(*(torch.from_numpy(grad) for grad, need in zip(grads, needs) if need and grad is not None))
        return inputs[0].new_tensor(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Any:
        # Nearly always 1: then what was saved is the gradient.
        scaled = ctx.saved_tensors if upstream.item() == 1 else [upstream * grad for grad in ctx.saved_tensors]
        grads = iter(scaled)
        return None, *(next(grads) if need else None for need in ctx.needs_input_grad[1:])


class _PerPair(torch.autograd.Function):
    """A value for each pair; its backward pass is another call, in which what comes from above are weights."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Callable[[list[Array]], Array],
        grads: Callable[[list[Array], Array], Gradients],
        *inputs: Tensor,
    ) -> Tensor:
        ctx.grads = grads
        ctx.save_for_backward(*inputs)
        return torch.from_numpy(values([tensor.numpy() for tensor in inputs]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Any:
        inputs = [tensor.detach().numpy() for tensor in ctx.saved_tensors]
        grads = ctx.grads(inputs, upstream.contiguous().numpy())
        needs = ctx.needs_input_grad[2:]
        return None, None, *(torch.from_numpy(grad) if need else None for grad, need in zip(grads, needs))


# A compiler of graphs cannot look into them: it calls them as they are.
_scalar: Callable[..., Tensor] = torch.compiler.disable(_Scalar.apply)  # type: ignore[no-untyped-call]
_per_pair: Callable[..., Tensor] = torch.compiler.disable(_PerPair.apply)  # type: ignore[no-untyped-call]


def _embeddings(**tensors: Tensor) -> list[Tensor]:
    """Tensors that can be taken as arrays, or an error that says what to do."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} is a {type(tensor).__name__}, expected a tensor")
        if tensor.device.type != "cpu":
            raise ValueError(f"{name} is on {tensor.device}, expected the CPU: use {name}.cpu()")
        if tensor.layout != torch.strided:
            raise ValueError(f"{name} is {tensor.layout}, expected a dense tensor: use {name}.to_dense()")
        if tensor.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{name} is of {tensor.dtype}, expected float32 or float64: use {name}.float()")
        if tensor.dim() != 2:
            raise ValueError(f"{name} has {tensor.dim()} dimensions, expected 2")
    return list(tensors.values())


def _constant(value: Constant) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def _weights(weights: Constant) -> Any:
    """Weights as an array. Refused where a gradient is wanted that they would not get."""
    if isinstance(weights, Tensor) and weights.requires_grad:
        raise ValueError("weights require a gradient, expected constants: use weights.detach()")
    return _constant(weights)


def rows(
    loss: PairLoss,
    a: Tensor,
    b: Tensor,
    similar: Constant,
    *,
    weights: Constant = None,
    ignored: Constant = None,
    reduction: WithNone = "mean",
) -> Tensor:
    """`drlim.rows` of tensors, N x D: a scalar, or with `reduction="none"` N values."""
    inputs = _embeddings(a=a, b=b)
    similar, ignored = _constant(similar), _constant(ignored)
    weights = _weights(weights)
    if reduction != "none":

        def call(arrays: list[Array], needs: Needs) -> tuple[float, Gradients]:
            outcome = drlim.rows(
                loss, arrays[0], arrays[1], similar, weights=weights, ignored=ignored, reduction=reduction, grads=any(needs)
            )
            return outcome.value, (outcome.grad_a, outcome.grad_b)

        return _scalar(call, *inputs)

    def values(arrays: list[Array]) -> Array:
        outcome = drlim.rows(
            loss, arrays[0], arrays[1], similar, weights=weights, ignored=ignored, reduction="sum", grads=False, values=True
        )
        assert outcome.values is not None
        return outcome.values

    def grads(arrays: list[Array], upstream: Array) -> Gradients:
        weighted = upstream if weights is None else upstream * np.asarray(weights)
        outcome = drlim.rows(loss, arrays[0], arrays[1], similar, weights=weighted, ignored=ignored, reduction="sum")
        return outcome.grad_a, outcome.grad_b

    return _per_pair(values, grads, *inputs)


def indexed(
    loss: PairLoss,
    z: Tensor,
    pairs: Constant | PairList,
    similar: Constant,
    *,
    weights: Constant = None,
    ignored: Constant = None,
    reduction: WithNone = "mean",
) -> Tensor:
    """`drlim.indexed` of a tensor, B x D: a scalar, or with `reduction="none"` a value for each of the P pairs."""
    (z,) = _embeddings(z=z)
    similar, ignored = _constant(similar), _constant(ignored)
    weights = _weights(weights)
    if not isinstance(pairs, PairList):
        pairs = PairList(len(z), _constant(pairs))
    if reduction != "none":

        def call(arrays: list[Array], needs: Needs) -> tuple[float, Gradients]:
            outcome = drlim.indexed(
                loss, arrays[0], pairs, similar, weights=weights, ignored=ignored, reduction=reduction, grad=any(needs)
            )
            return outcome.value, (outcome.grad,)

        return _scalar(call, z)

    def values(arrays: list[Array]) -> Array:
        outcome = drlim.indexed(
            loss, arrays[0], pairs, similar, weights=weights, ignored=ignored, reduction="sum", grad=False, values=True
        )
        assert outcome.values is not None
        return outcome.values

    def grads(arrays: list[Array], upstream: Array) -> Gradients:
        weighted = upstream if weights is None else upstream * np.asarray(weights)
        outcome = drlim.indexed(loss, arrays[0], pairs, similar, weights=weighted, ignored=ignored, reduction="sum")
        return (outcome.grad,)

    return _per_pair(values, grads, z)


def all_pairs(
    loss: PairLoss,
    z: Tensor,
    labels: Constant = None,
    *,
    graph: Graph | None = None,
    ignore_label: int | None = None,
    normalize: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """`drlim.all_pairs` of a tensor, B x D: a scalar."""
    inputs = _embeddings(z=z)
    labels = _constant(labels)

    def call(arrays: list[Array], needs: Needs) -> tuple[float, Gradients]:
        outcome = drlim.all_pairs(
            loss,
            arrays[0],
            labels,
            graph=graph,
            ignore_label=ignore_label,
            normalize=normalize,
            reduction=reduction,
            grad=any(needs),
        )
        return outcome.value, (outcome.grad,)

    return _scalar(call, *inputs)


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
    reduction: Reduction = "mean",
) -> Tensor:
    """`drlim.cross` of tensors, N x D and M x D: a scalar. Only the gradients that are needed are computed."""
    inputs = _embeddings(queries=queries, keys=keys)
    query_labels, key_labels = _constant(query_labels), _constant(key_labels)

    def call(arrays: list[Array], needs: Needs) -> tuple[float, Gradients]:
        outcome = drlim.cross(
            loss,
            arrays[0], arrays[1],
            query_labels,
            key_labels,
            graph=graph,
            first_query=first_query,
            first_key=first_key,
            ignore_label=ignore_label,
            own=own,
            reduction=reduction,
            grads=(needs[0], needs[1]),
        )
        return outcome.value, (outcome.grad_queries, outcome.grad_keys)

    return _scalar(call, *inputs)


def triplet_rows(
    loss: TripletLoss,
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    weights: Constant = None,
    ignored: Constant = None,
    reduction: WithNone = "mean",
) -> Tensor:
    """`drlim.triplet_rows` of tensors, N x D: a scalar, or with `reduction="none"` N values."""
    inputs = _embeddings(anchor=anchor, positive=positive, negative=negative)
    weights, ignored = _weights(weights), _constant(ignored)
    if reduction != "none":

        def call(arrays: list[Array], needs: Needs) -> tuple[float, Gradients]:
            outcome = drlim.triplet_rows(
                loss, arrays[0], arrays[1], arrays[2], weights=weights, ignored=ignored, reduction=reduction, grads=any(needs)
            )
            return outcome.value, (outcome.grad_anchor, outcome.grad_positive, outcome.grad_negative)

        return _scalar(call, *inputs)

    def values(arrays: list[Array]) -> Array:
        outcome = drlim.triplet_rows(
            loss, arrays[0], arrays[1], arrays[2], weights=weights, ignored=ignored, reduction="sum", grads=False, values=True
        )
        assert outcome.values is not None
        return outcome.values

    def grads(arrays: list[Array], upstream: Array) -> Gradients:
        weighted = upstream if weights is None else upstream * np.asarray(weights)
        outcome = drlim.triplet_rows(loss, arrays[0], arrays[1], arrays[2], weights=weighted, ignored=ignored, reduction="sum")
        return outcome.grad_anchor, outcome.grad_positive, outcome.grad_negative

    return _per_pair(values, grads, *inputs)


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
) -> Tensor:
    """`drlim.triplets` of a tensor, B x D: a scalar."""
    inputs = _embeddings(z=z)
    labels = _constant(labels)

    def call(arrays: list[Array], needs: Needs) -> tuple[float, Gradients]:
        outcome = drlim.triplets(
            loss,
            arrays[0],
            labels,
            graph=graph,
            ignore_label=ignore_label,
            mining=mining,
            normalize=normalize,
            reduction=reduction,
            grad=any(needs),
        )
        return outcome.value, (outcome.grad,)

    return _scalar(call, *inputs)


def row_distances(a: Tensor, b: Tensor, distance: Distance = "euclidean") -> Tensor:
    """`drlim.row_distances` of tensors, N x D: N distances."""
    inputs = _embeddings(a=a, b=b)

    def values(arrays: list[Array]) -> Array:
        return drlim.row_distances(arrays[0], arrays[1], distance)

    def grads(arrays: list[Array], upstream: Array) -> Gradients:
        return drlim.row_distances_backward(arrays[0], arrays[1], upstream, distance)

    return _per_pair(values, grads, *inputs)
