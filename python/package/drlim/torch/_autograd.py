"""Calls on arrays as nodes of PyTorch's graph: the value, its gradient, and the gradient of that.

A call gives its value and the gradients by its inputs at once (`_Value`). Its backward pass hands these out, or where
the gradient itself is to be differentiated (`create_graph=True`) makes it a node of its own (`_Gradient`), whose
backward pass is a Hessian-vector product: one more call of the same layout. There are no third derivatives.

Nothing that a caller can write to is read again later unchecked: the functions that make a `Call` copy constants,
inputs are held with their versions, and a gradient that is handed out is not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from drlim._arrays import Array

Needs = Sequence[bool]
"""Which inputs want a gradient."""

Gradients = Sequence["Array | None"]


@dataclass(frozen=True)
class Call:
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


class _Kept:
    """Tensors that are read again later, unless they have been changed by then."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tuple(tensors)
        self._versions = [_version(tensor) for tensor in tensors]

    def get(self, name: str) -> tuple[Tensor, ...]:
        if [_version(tensor) for tensor in self._tensors] != self._versions:
            raise RuntimeError(
                f"drlim.torch.{name}: an input was changed in place after the value was computed, "
                "so the gradient cannot be computed again: change a clone"
            )
        return self._tensors


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _arrays(tensors: Sequence[Tensor]) -> list[Array]:
    return [tensor.detach().numpy() for tensor in tensors]


def _tensor(grad: Array | None) -> Tensor | None:
    # A product of an array without dimensions is none.
    return None if grad is None else torch.from_numpy(np.asarray(grad))


class _Value(torch.autograd.Function):
    """The value of a call."""

    @staticmethod
    def forward(ctx: Any, call: Call, *inputs: Tensor) -> Tensor:
        needs = ctx.needs_input_grad[1:]
        value, grads = call.value(_arrays(inputs), needs)
        ctx.call = call
        if grads is None:
            ctx.save_for_backward(*inputs)
            ctx.kept = None
            return torch.from_numpy(value)
        # Not saved: the gradient of a number is at hand, so its inputs may change before it is asked for. They live as
        # long as the value does, for a second pass.
        ctx.kept = _Kept(inputs) if any(needs) else None
        ctx.grads = [grads]
        return inputs[0].new_tensor(value)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        call: Call = ctx.call
        needs = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():
            if call.products is None:
                raise RuntimeError(f"drlim.torch.{call.name} has no second derivatives: backward with create_graph=False")
            inputs = ctx.saved_tensors if ctx.kept is None else ctx.kept.get(call.name)
            return None, *_gradient(call, needs, upstream, *inputs)
        if ctx.kept is None:
            arrays = _arrays(ctx.saved_tensors)
            grads = call.gradients(arrays, upstream.contiguous().numpy(), needs)
            return None, *(_tensor(grad) if need else None for grad, need in zip(grads, needs))
        # The upstream gradient nearly always is 1. The arrays are handed out then and belong to the receiver, who may
        # change them; so where a graph is walked twice, the second gradient is computed again.
        try:
            grads = ctx.grads.pop()
        except IndexError:
            grads = call.value(_arrays(ctx.kept.get(call.name)), needs)[1] or ()
        if upstream.item() != 1:
            ctx.grads.append(grads)
            grads = [None if grad is None else grad * upstream.item() for grad in grads]
        return None, *(_tensor(grad) if need else None for grad, need in zip(grads, needs))


class _Gradient(torch.autograd.Function):
    """The gradients of a call's value times the upstream gradient."""

    @staticmethod
    def forward(ctx: Any, call: Call, wanted: Needs, upstream: Tensor, *inputs: Tensor) -> Any:
        ctx.call = call
        ctx.save_for_backward(upstream, *inputs)
        grads = call.gradients(_arrays(inputs), upstream.contiguous().numpy(), wanted)
        return tuple(_tensor(grad) if need else None for grad, need in zip(grads, wanted))

    @staticmethod
    def backward(ctx: Any, *along: Tensor | None) -> Any:
        call: Call = ctx.call
        if torch.is_grad_enabled() or call.products is None:
            raise RuntimeError(f"drlim.torch.{call.name} has no third derivatives: backward with create_graph=False")
        upstream, *inputs = ctx.saved_tensors
        arrays = _arrays(inputs)
        directions = [
            np.zeros(array.shape, array.dtype) if of is None else of.contiguous().numpy()
            for of, array in zip(along, arrays)
        ]
        _, _, by_upstream, *needs = ctx.needs_input_grad
        change, products = call.products(arrays, upstream.contiguous().numpy(), directions, by_upstream)
        of_upstream = None if change is None else torch.from_numpy(np.asarray(change)).to(upstream.dtype)
        return None, None, of_upstream, *(_tensor(of) if need else None for of, need in zip(products, needs))


# A compiler of graphs cannot look into them: it calls them as they are.
value_of: Callable[..., Tensor] = torch.compiler.disable(_Value.apply)  # type: ignore[no-untyped-call]
_gradient: Callable[..., tuple[Tensor | None, ...]] = torch.compiler.disable(
    _Gradient.apply  # type: ignore[no-untyped-call]
)
