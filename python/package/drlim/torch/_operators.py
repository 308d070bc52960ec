"""Operators of PyTorch that stand for calls in graphs: of `torch.compile`, `torch.export`, `torch.func`.

There are three for all functions: `drlim::value`, a value and its gradients by the inputs that need one;
`drlim::gradients`, those times an upstream gradient; `drlim::products`, the derivatives of that. Each makes the call
that the function itself makes, from its name, words and numbers (`_words`): graphs hold nothing else, so they can be
saved. Tensors hold no numbers while a graph is made: results have shapes alone then.

`_derivatives` says how they are differentiated.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Sequence

import numpy as np
import torch
from torch import Tensor

from drlim._arrays import Array

from ._autograd import Call, arrays_of, no_derivatives, tensor_of
from ._words import ARGUMENTS, Spec, arguments, complete

Tensors = Sequence[Tensor]

Words = list[str]

Bools = Sequence[bool]


class Made(NamedTuple):
    """A call on arrays, and the tensors whose arrays it takes."""

    call: Call
    inputs: list[Tensor]


class Function(NamedTuple):
    """A function of tensors as operators know it."""

    make: Callable[..., Made]

    values: Callable[[dict[str, Any]], int | None]
    """Says how many values the function gives for these arguments, by name; None if it gives one number."""


FUNCTIONS: dict[str, Function] = {}
"""The functions of tensors by name."""


def made(spec: Spec, inputs: Tensors, constants: Tensors) -> tuple[Call, list[Array]]:
    """The call that a function makes, and the arrays that it is made with."""
    with torch.no_grad():
        call, tensors = FUNCTIONS[spec.name].make(**complete(arguments(spec, inputs, constants)))
    return call, arrays_of(tensors)


def needed(grads: Sequence[Array | None], needs: Bools) -> list[Tensor]:
    return [tensor_of(grad) for grad, need in zip(grads, needs) if need and grad is not None]


def alike(tensors: Tensors, needs: Bools) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor, need in zip(tensors, needs) if need]


def array_of(tensor: Tensor) -> Array:
    array: Array = tensor.detach().contiguous().numpy()
    return array


# The operators, each with the shapes of its results. The first four arguments are those of a `Spec`.


def value(
    name: str, words: Words, ints: Any, floats: Any, inputs: Tensors, constants: Tensors, needs: Bools
) -> tuple[Tensor, list[Tensor]]:
    call, arrays = made(Spec(name, words, ints, floats), inputs, constants)
    found, grads = call.value(arrays, needs)
    return torch.from_numpy(np.asarray(found, arrays[0].dtype)), needed(grads or (), needs)


def value_shapes(
    name: str, words: Words, ints: Any, floats: Any, inputs: Tensors, constants: Tensors, needs: Bools
) -> tuple[Tensor, list[Tensor]]:
    count = FUNCTIONS[name].values(arguments(Spec(name, words, ints, floats), inputs, constants))
    if count is None:
        return inputs[0].new_empty(()), alike(inputs, needs)
    return inputs[0].new_empty(count), []


def gradients(
    name: str, words: Words, ints: Any, floats: Any, inputs: Tensors, constants: Tensors, upstream: Tensor,
    at_hand: Tensors, needs: Bools,
) -> list[Tensor]:
    if at_hand:
        return [grad * upstream for grad in at_hand]
    call, arrays = made(Spec(name, words, ints, floats), inputs, constants)
    return needed(call.gradients(arrays, array_of(upstream), needs), needs)


def gradients_shapes(
    name: str, words: Words, ints: Any, floats: Any, inputs: Tensors, constants: Tensors, upstream: Tensor,
    at_hand: Tensors, needs: Bools,
) -> list[Tensor]:
    return alike(inputs, needs)


def products(
    name: str, words: Words, ints: Any, floats: Any, inputs: Tensors, constants: Tensors, upstream: Tensor,
    along: Tensors, by_upstream: bool,
) -> list[Tensor]:
    call, arrays = made(Spec(name, words, ints, floats), inputs, constants)
    if call.products is None:
        raise no_derivatives(call.name, "second")
    change, found = call.products(arrays, array_of(upstream), [array_of(of) for of in along], by_upstream)
    changes = [] if change is None else [tensor_of(change).to(upstream.dtype)]
    return changes + needed(found, [True] * len(arrays))


def products_shapes(
    name: str, words: Words, ints: Any, floats: Any, inputs: Tensors, constants: Tensors, upstream: Tensor,
    along: Tensors, by_upstream: bool,
) -> list[Tensor]:
    changes = [upstream.new_empty(upstream.shape)] if by_upstream else []
    return changes + alike(inputs, [True] * len(inputs))


def over_batch(operator: Any) -> Any:
    """The rule of `torch.func.vmap`: one after another, as each is a batch that the kernels are made for."""

    def rule(info: Any, dims: Any, *args: Any) -> Any:
        if info.batch_size == 0:
            raise ValueError("vmap is over 0 batches, expected at least 1")
        results = [operator(*(one_of(arg, dim, k) for arg, dim in zip(args, dims))) for k in range(info.batch_size)]
        if isinstance(results[0], list):
            return stacked(results), [0] * len(results[0])
        values, grads = zip(*results)
        return (torch.stack(values), stacked(grads)), (0, [0] * len(grads[0]))

    return rule


def one_of(arg: Any, dim: Any, k: int) -> Any:
    """The argument of a batch, of arguments for all of them."""
    if isinstance(dim, (list, tuple)):
        return [one_of(part, of, k) for part, of in zip(arg, dim)]
    return arg if dim is None else arg.select(dim, k)


def stacked(results: Any) -> list[Tensor]:
    return [torch.stack(parts) for parts in zip(*results)]


def define(name: str, schema: str, run: Any, shapes: Any) -> Any:
    """Registers an operator. It serves tensors of any device, as the call itself says which ones it takes."""
    full = f"drlim::{name}"
    torch.library.define(full, schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(full, "CompositeExplicitAutograd")(run)
    torch.library.register_fake(full)(shapes)
    operator = getattr(torch.ops.drlim, name).default
    torch.library.register_vmap(full, over_batch(operator))
    return operator


VALUE = define("value", f"({ARGUMENTS}, bool[] needs) -> (Tensor, Tensor[])", value, value_shapes)
GRADIENTS = define(
    "gradients",
    f"({ARGUMENTS}, Tensor upstream, Tensor[] at_hand, bool[] needs) -> Tensor[]",
    gradients,
    gradients_shapes,
)
PRODUCTS = define(
    "products",
    f"({ARGUMENTS}, Tensor upstream, Tensor[] along, bool by_upstream) -> Tensor[]",
    products,
    products_shapes,
)
