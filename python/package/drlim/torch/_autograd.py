"""Calls on arrays as nodes of PyTorch's graph: the value, its gradient, and the gradient of that.

A call gives its value and the gradients by its inputs at once (`_Value`). Its backward pass hands these out, or where
the gradient itself is to be differentiated (`create_graph=True`) makes it a node of its own (`_Gradient`), whose
backward pass is a Hessian-vector product: one more call of the same layout. There are no third derivatives.

Nothing that a caller can write to is read again later unchecked: the functions that make a `Call` copy constants,
inputs are held with their versions, and a gradient that is handed out is not kept.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, NoReturn, Sequence

import numpy as np
import torch
from torch import Tensor

from drlim._arrays import Array

Needs = Sequence[bool]
"""Which inputs want a gradient."""

Gradients = Sequence["Array | None"]


class Call(NamedTuple):
    """The parts of a call on arrays that autograd needs."""

    name: str
    """The name of the call in errors."""

    value: Callable[[list[Array], Needs], tuple[Any, Gradients | None]]
    """Gives the value, a number or an array, and the gradients of a number by the inputs that need one. For an array it
    gives None: its gradients need the upstream gradient."""

    gradients: Callable[[list[Array], Array, Needs], Gradients]
    """Gives the gradients, by the inputs, of the value times the upstream gradient: a number, or one for each value."""

    products: Callable[[list[Array], Array, list[Array], bool], tuple[Array | None, Gradients]] | None
    """Gives the derivatives of the sum of the gradients' products with directions: that by the upstream gradient, where
    it is wanted, and those by the inputs. None where the call has no second derivatives."""


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def arrays_of(tensors: Sequence[Tensor]) -> list[Array]:
    return [tensor.numpy(force=True) for tensor in tensors]


def tensor_of(array: Array) -> Tensor:
    # A product of an array without dimensions is none.
    return torch.from_numpy(np.asarray(array))


def _tensors(grads: Gradients, needs: Needs) -> list[Tensor | None]:
    return [tensor_of(grad) if need and grad is not None else None for grad, need in zip(grads, needs)]


def refuse_forward_mode() -> NoReturn:
    """Raises where derivatives are wanted along tangents of the inputs."""
    raise NotImplementedError(
        "drlim.torch has no derivatives in forward mode (jvp, jacfwd, hessian): use backward() or torch.func.grad"
    )


def no_derivatives(name: str, which: str) -> RuntimeError:
    """The error where a graph of gradients ends."""
    return RuntimeError(f"drlim.torch.{name} has no {which} derivatives: backward with create_graph=False")


class _Value(torch.autograd.Function):
    """The value of a call."""

    @staticmethod
    def forward(ctx: Any, call: Call, *inputs: Tensor) -> Tensor:
        needs = ctx.needs_input_grad[1:]
        arrays = arrays_of(inputs)
        value, grads = call.value(arrays, needs)
        ctx.call = call
        if grads is None:
            ctx.save_for_backward(*inputs)
            ctx.kept = None
            return torch.from_numpy(value)
        # Not saved: the gradient of a number is at hand, so its inputs may change before it is asked for. They live as
        # long as the value does, for a second pass.
        if True in needs:
            ctx.kept = inputs
            ctx.versions = [_version(tensor) for tensor in inputs]
            ctx.grads = [grads]
        return torch.from_numpy(np.array(value, arrays[0].dtype))

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        call: Call = ctx.call
        needs = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():
            if call.products is None:
                raise no_derivatives(call.name, "second")
            inputs = ctx.saved_tensors if ctx.kept is None else _unchanged(ctx)
            return None, *_Gradient.apply(call, needs, upstream, *inputs)
        if ctx.kept is None:
            arrays = arrays_of(ctx.saved_tensors)
            return None, *_tensors(call.gradients(arrays, upstream.contiguous().numpy(), needs), needs)
        # The upstream gradient nearly always is 1. The arrays are handed out then and belong to the receiver, who may
        # change them; so where a graph is walked twice, the second gradient is computed again.
        try:
            grads = ctx.grads.pop()
        except IndexError:
            grads = call.value(arrays_of(_unchanged(ctx)), needs)[1] or ()
        factor = upstream.item()
        if factor != 1:
            ctx.grads.append(grads)
            grads = [None if grad is None else grad * factor for grad in grads]
        return None, *_tensors(grads, needs)

    @staticmethod
    def jvp(ctx: Any, *along: Any) -> Any:
        refuse_forward_mode()


def _unchanged(ctx: Any) -> tuple[Tensor, ...]:
    """Inputs that are read again later, unless they have been changed by then."""
    kept: tuple[Tensor, ...] = ctx.kept
    if [_version(tensor) for tensor in kept] != ctx.versions:
        raise RuntimeError(
            f"drlim.torch.{ctx.call.name}: an input was changed in place after the value was computed, "
            "so the gradient cannot be computed again: change a clone"
        )
    return kept


class _Gradient(torch.autograd.Function):
    """The gradients of a call's value times the upstream gradient."""

    @staticmethod
    def forward(ctx: Any, call: Call, wanted: Needs, upstream: Tensor, *inputs: Tensor) -> Any:
        ctx.call = call
        ctx.save_for_backward(upstream, *inputs)
        return tuple(_tensors(call.gradients(arrays_of(inputs), upstream.contiguous().numpy(), wanted), wanted))

    @staticmethod
    def backward(ctx: Any, *along: Tensor | None) -> Any:
        call: Call = ctx.call
        if torch.is_grad_enabled() or call.products is None:
            raise no_derivatives(call.name, "third")
        upstream, *inputs = ctx.saved_tensors
        arrays = arrays_of(inputs)
        directions = [
            np.zeros(array.shape, array.dtype) if of is None else of.contiguous().numpy()
            for of, array in zip(along, arrays)
        ]
        _, _, by_upstream, *needs = ctx.needs_input_grad
        change, products = call.products(arrays, upstream.contiguous().numpy(), directions, by_upstream)
        of_upstream = None if change is None else tensor_of(change).to(upstream.dtype)
        return None, None, of_upstream, *_tensors(products, needs)

    @staticmethod
    def jvp(ctx: Any, *along: Any) -> Any:
        refuse_forward_mode()


def value_of(call: Call, inputs: list[Tensor]) -> Tensor:
    """The value of a call, as a node of the graph."""
    value: Tensor = _Value.apply(call, *inputs)
    return value
