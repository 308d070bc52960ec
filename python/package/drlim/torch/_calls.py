"""Functions of tensors, made of calls on arrays, and the ways in which PyTorch runs them.

A function that is marked as a `node` makes a `Call` and the tensors that it is called with. As a rule this becomes a
node of the graph of gradients (`_autograd`). Tensors of a compiler, of an export or of a transform of `torch.func` have
no memory to read: there the function becomes an operator (`_operators`). Halves become float32 first.
"""

from __future__ import annotations

from functools import wraps
from inspect import signature
from typing import Any, Callable, ParamSpec

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ._autograd import refuse_forward_mode, value_of
from ._derivatives import run
from ._operators import FUNCTIONS, VALUE, Function, Made
from ._words import Spec, put

P = ParamSpec("P")

HALVES = (torch.float16, torch.bfloat16)

TYPES = (torch.float32, torch.float64)

Count = Callable[[dict[str, Any]], int | None]


def node(*inputs: str, values: Count) -> Callable[[Callable[P, Made]], Callable[P, Tensor]]:
    """Makes a function of tensors of one that makes a call. `inputs` are the arguments that may get a gradient, in the
    order of `Made.inputs`; `values` is that of `Function`.
    """

    def decorate(make: Callable[P, Made]) -> Callable[P, Tensor]:
        name = make.__name__
        FUNCTIONS[name] = Function(make, values)
        names = tuple(signature(make).parameters)
        first = names.index(inputs[0])

        @wraps(make)
        def function(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            rows = args[first] if len(args) > first else kwargs.get(inputs[0])
            if in_graph() or is_converted(rows):
                given: dict[str, Any] = dict(zip(names, args))
                if len(args) > len(given) or any(key in given for key in kwargs):
                    make(*args, **kwargs)  # This raises a TypeError that says so.
                return prepared(name, inputs, {**given, **kwargs})
            return value_of(*make(*args, **kwargs))

        setattr(function, "__signature__", signature(make).replace(return_annotation="Tensor"))
        function.__annotations__ = {**make.__annotations__, "return": "Tensor"}
        return function

    return decorate


def in_graph() -> bool:
    """Whether tensors may be without memory to read: those of a compiler, of an export, of a transform."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def is_converted(rows: Any) -> bool:
    """Whether embeddings have to be converted first. Those of one call are of one type, but under autocast."""
    return getattr(rows, "dtype", None) in HALVES or torch.is_autocast_enabled("cpu")


def prepared(name: str, inputs: tuple[str, ...], given: dict[str, Any]) -> Tensor:
    """A function's value where tensors are to be converted, or are such that an operator is needed."""
    tensors, rounded = computed(**{key: given[key] for key in inputs if isinstance(given.get(key), Tensor)})
    if in_graph():
        value = traced(name, tensors, given)
    else:
        value = value_of(*FUNCTIONS[name].make(**{**given, **tensors}))
    return rounded_to(rounded, value)


def traced(name: str, tensors: dict[str, Tensor], given: dict[str, Any]) -> Tensor:
    """The value of a function as an operator: `tensors` are those of its arguments that may get a gradient."""
    embeddings(**{key: tensor for key, tensor in tensors.items() if tensor.dim() > 1})
    if torch.compiler.is_compiling() and forward_ad._current_level >= 0:
        refuse_forward_mode()  # An operator would lose tangents in silence.
    spec = Spec(name, [], [], [])
    constants: list[Tensor] = []
    for key, value in given.items():
        if key not in tensors:
            put(spec, constants, key, value)
    spec.words.extend([f"{key}=input" for key in tensors])
    parts = list(tensors.values())
    needs = [torch.is_grad_enabled() and tensor.requires_grad for tensor in parts]
    result: Tensor = run(VALUE, *spec, parts, constants, needs)[0]
    return result


def computed(**inputs: Any) -> tuple[dict[str, Any], torch.dtype | None]:
    """Inputs of the type that a loss is computed in, and the type that its value is rounded to, if any.

    As with PyTorch's own losses, values of halves are halves, but float32 under autocast, which takes several types at
    once. Only rows say so: numbers beside them are taken as they need.
    """
    if not is_converted(next(iter(inputs.values()), None)):
        return inputs, None
    tensors = {name: value for name, value in inputs.items() if isinstance(value, Tensor) and value.is_floating_point()}
    rows = {name: tensor.dtype for name, tensor in tensors.items() if tensor.dim() > 1}
    types = list(rows.values())
    if torch.is_autocast_enabled("cpu"):
        wide = torch.float64 if torch.float64 in types else torch.float32
        wider = {name: tensor.to(wide if name in rows else whole(tensor.dtype)) for name, tensor in tensors.items()}
        return {**inputs, **wider}, None
    for name, dtype in rows.items():
        if dtype != types[0]:
            raise TypeError(f"{name} is of {dtype}, expected {types[0]} as {list(rows)[0]}")
    if not types or types[0] not in HALVES:
        return inputs, None
    return {**inputs, **{name: tensor.to(whole(tensor.dtype)) for name, tensor in tensors.items()}}, types[0]


def whole(dtype: torch.dtype) -> torch.dtype:
    """The type that tensors of a type are computed in."""
    return torch.float32 if dtype in HALVES else dtype


def rounded_to(dtype: torch.dtype | None, value: Tensor) -> Tensor:
    return value if dtype is None else value.to(dtype)


def taken(**tensors: Tensor) -> tuple[list[Tensor], torch.dtype | None]:
    """Embeddings as `computed` gives them, checked."""
    found, rounded = computed(**tensors)
    return embeddings(**found), rounded


def embeddings(**tensors: Tensor) -> list[Tensor]:
    """Tensors that can be taken as arrays, or an error that says what to do."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} is a {type(tensor).__name__}, expected a tensor")
        if not tensor.is_cpu:
            raise ValueError(f"{name} is on {tensor.device}, expected the CPU: use {name}.cpu()")
        if tensor.layout is not torch.strided:
            raise ValueError(f"{name} is {tensor.layout}, expected a dense tensor: use {name}.to_dense()")
        if tensor.dtype not in TYPES:
            raise TypeError(f"{name} is of {tensor.dtype}, expected float32 or float64: use {name}.float()")
        if tensor.dim() != 2:
            raise ValueError(f"{name} has {tensor.dim()} dimensions, expected 2")
    return list(tensors.values())
