"""Derivatives of the operators.

The gradient of a value is at hand, or comes from `drlim::gradients`; that of a gradient comes from `drlim::products`.
There are no third derivatives, and none in forward mode. Compilers differentiate operators by these formulas;
`torch.func`, which cannot, is given a function (`torch.autograd.Function`) with the same formula.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from ._autograd import no_derivatives, refuse_forward_mode
from ._operators import GRADIENTS, PRODUCTS, VALUE, Bools
from ._words import Spec

Formula = Callable[..., Any]


class Layout:
    """How the arguments and the results of an operator are taken apart into tensors and others."""

    def __init__(self, args: TreeSpec) -> None:
        self.args = args
        self.results: Any = None


def run(operator: Any, *args: Any) -> Any:
    """The results of an operator, with gradients."""
    if torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active():
        return operator(*args)
    flat, of_args = tree_flatten(args)
    layout = Layout(of_args)
    found = TRANSFORMED[operator].apply(layout, *flat)
    return tree_unflatten(found, layout.results)


def set_value(ctx: Any, inputs: Any, output: Any) -> None:
    *spec, tensors, constants, needs = inputs
    at_hand = output[1]
    ctx.mark_non_differentiable(*at_hand)
    ctx.spec, ctx.needs = Spec(*spec), needs
    ctx.parts = len(tensors), len(constants), len(at_hand)
    ctx.save_for_backward(*tensors, *constants, *at_hand)


def of_value(ctx: Any, wanted: Any, upstream: Tensor, _: Any) -> tuple[Any, ...]:
    inputs, constants, at_hand = parts_of(ctx)
    needs = wanted[len(ctx.spec)]
    if at_hand:
        found = spread(at_hand, ctx.needs)
        at_hand = [grad for grad, need in zip(found, needs) if need and grad is not None]
    if len(at_hand) < sum(needs):
        at_hand = []
    if at_hand and not torch.is_grad_enabled():
        grads = [grad * upstream for grad in at_hand]
    else:
        grads = run(GRADIENTS, *ctx.spec, inputs, constants, upstream, at_hand, needs)
    return *none_of(ctx.spec), spread(grads, needs), none_of(constants), None


def set_gradients(ctx: Any, inputs: Any, output: Any) -> None:
    *spec, tensors, constants, upstream, at_hand, needs = inputs
    ctx.spec, ctx.needs, ctx.at_hand = Spec(*spec), needs, len(at_hand)
    ctx.parts = len(tensors), len(constants), 1
    ctx.save_for_backward(*tensors, *constants, upstream)


def of_gradients(ctx: Any, wanted: Any, along: Any) -> tuple[Any, ...]:
    inputs, constants, (upstream,) = parts_of(ctx)
    of_inputs, by_upstream = wanted[len(ctx.spec)], wanted[len(ctx.spec) + 2]
    directions = [
        torch.zeros_like(of) if move is None else move for of, move in zip(inputs, spread(along, ctx.needs))
    ]
    found = run(PRODUCTS, *ctx.spec, inputs, constants, upstream, directions, by_upstream)
    change = found[0] if by_upstream else None
    products = [of if need else None for of, need in zip(found[int(by_upstream) :], of_inputs)]
    return *none_of(ctx.spec), products, none_of(constants), change, [None] * ctx.at_hand, None


def set_products(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.name = inputs[0]


def of_products(ctx: Any, wanted: Any, _: Any) -> tuple[Any, ...]:
    raise no_derivatives(ctx.name, "third")


def parts_of(ctx: Any) -> list[list[Tensor]]:
    """The tensors that were saved: the inputs, the constants, and others."""
    rest = iter(ctx.saved_tensors)
    return [[next(rest) for _ in range(count)] for count in ctx.parts]


def spread(grads: Sequence[Any], needs: Bools) -> list[Any]:
    """The gradients in the places of the inputs that need them."""
    rest = iter(grads)
    return [next(rest) if need else None for need in needs]


def none_of(args: Sequence[Any]) -> list[Any]:
    """No gradients of arguments: none for each tensor of a list, and one for all of a list of others."""
    return [[] if isinstance(arg, list) and not arg else None for arg in args]


def function_of(operator: Any, setup: Formula, formula: Formula) -> Any:
    """An operator as a function that `torch.func` differentiates, of a `Layout` and the operator's arguments one by
    one. It writes down the layout of results.
    """

    class Transformed(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(layout: Layout, *flat: Any) -> Any:
            found, layout.results = tree_flatten(operator(*tree_unflatten(flat, layout.args)))
            return tuple(found)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            layout, *flat = inputs
            ctx.layout = layout
            setup(ctx, tree_unflatten(flat, layout.args), tree_unflatten(output, layout.results))

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            wanted = tree_unflatten(ctx.needs_input_grad[1:], ctx.layout.args)
            of_results = tree_unflatten(grads, ctx.layout.results)
            found = formula(ctx, wanted, *(of_results if isinstance(of_results, tuple) else [of_results]))
            flat: list[Any] = []
            for arg, grad in zip(wanted, found):
                flat += (grad or [None] * len(arg)) if isinstance(arg, list) else [grad]
            return None, *flat

        @staticmethod
        def jvp(ctx: Any, *along: Any) -> Any:
            refuse_forward_mode()

    return Transformed


FORMULAS: dict[Any, tuple[Formula, Formula]] = {
    VALUE: (set_value, of_value),
    GRADIENTS: (set_gradients, of_gradients),
    PRODUCTS: (set_products, of_products),
}

TRANSFORMED = {operator: function_of(operator, *parts) for operator, parts in FORMULAS.items()}


def register(operator: Any, setup: Formula, formula: Formula) -> None:
    """Gives an operator its derivative."""

    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        found: tuple[Any, ...] = formula(ctx, ctx.needs_input_grad, *grads)
        return found

    torch.library.register_autograd(operator, backward, setup_context=setup)


for _operator, _parts in FORMULAS.items():
    register(_operator, *_parts)
