"""The arguments of a function as the operators of `_operators` take them: words, numbers and tensors.

A word is "normalize=True", say, or "loss=Contrastive()" with its fields behind it, "loss.margin=float". "int", "float"
and "tensor" stand for the next of the numbers or tensors, "input" for the next tensor that may get a gradient.
"""

from __future__ import annotations

from ast import literal_eval
from functools import partial
from typing import Any, NamedTuple, Sequence

import torch
from torch import Tensor

import drlim
from drlim import AnchorLoss, Graph, PairList, PairLoss, TripletLoss

ARGUMENTS = "str name, str[] words, SymInt[] ints, float[] floats, Tensor[] inputs, Tensor[] constants"
"""The arguments that all operators have, in their schema."""

LOSSES = (PairLoss, TripletLoss, AnchorLoss)


class Spec(NamedTuple):
    """A function's name, and its arguments that are no tensors."""

    name: str
    words: list[str]
    ints: list[int]
    floats: list[float]


def put(spec: Spec, constants: list[Tensor], key: str, value: Any) -> None:
    """Appends an argument. This is traced by compilers, so it is plain."""
    if value is None or value is True or value is False or isinstance(value, str):
        spec.words.append(f"{key}={value!r}")
    elif isinstance(value, int):
        spec.words.append(f"{key}=int")
        spec.ints.append(value)
    elif isinstance(value, float):
        spec.words.append(f"{key}=float")
        spec.floats.append(value)
    elif isinstance(value, LOSSES):
        spec.words.append(f"{key}={type(value).__name__}()")
        for field in value.__match_args__:  # type: ignore[union-attr]
            put(spec, constants, f"{key}.{field}", getattr(value, field))
    elif isinstance(value, (Graph, PairList)):
        spec.words.append(f"{key}={type(value).__name__}(int, tensor)")
        spec.ints.append(value.samples if isinstance(value, Graph) else value.rows)
        constants.append(pairs_of(value))
    elif key == "known":
        raise TypeError("known is given in a graph of PyTorch, expected none: sums of anchors are no tensor")
    elif key == "reduction" and isinstance(value, (tuple, list)):
        spec.words.append(f"{key}=({'float, ' * len(value)})")
        spec.floats.extend(value)
    else:
        constant = torch.as_tensor(value)
        if constant.requires_grad:
            raise ValueError(f"{key} requires a gradient, which it would not get: use {key}.detach()")
        spec.words.append(f"{key}=tensor")
        constants.append(constant)


def pairs_of(pairs: Graph | PairList) -> Tensor:
    """The pairs of a graph or of a list: a constant in a compiled graph."""
    return torch.from_numpy(pairs.pairs())


# What torch.compiler.assume_constant_result does, without the seconds that it takes to import the compiler.
pairs_of._dynamo_marked_constant = True  # type: ignore[attr-defined]


def arguments(spec: Spec, inputs: Sequence[Tensor], constants: Sequence[Tensor]) -> dict[str, Any]:
    """The arguments by name, of what `put` has made of them: losses and graphs as functions that make them."""
    parts: dict[str, Any] = {"int": iter(spec.ints), "float": iter(spec.floats)}
    parts.update(tensor=iter(constants), input=iter(inputs))
    given: dict[str, Any] = {}
    for word in spec.words:
        key, text = word.split("=", 1)
        of, _, field = key.partition(".")
        if text in parts:
            value = next(parts[text])
        elif text.endswith("()"):
            value = partial(loss_of(text[:-2]))
        elif text.endswith("(int, tensor)"):
            value = partial(of_pairs, text.partition("(")[0], next(parts["int"]), next(parts["tensor"]))
        elif text.startswith("("):
            value = tuple(next(parts["float"]) for _ in range(text.count("float")))
        else:
            value = literal_eval(text)
        if field:
            given[of].keywords[field] = value
        else:
            given[key] = value
    return given


def loss_of(name: str) -> Any:
    kind = getattr(drlim, name, None)
    if not isinstance(kind, type) or not issubclass(kind, LOSSES):
        raise TypeError(f"loss is a {name}, expected one of the losses of drlim in a graph of PyTorch")
    return kind


def of_pairs(kind: str, rows: int, pairs: Tensor) -> Graph | PairList:
    return (Graph if kind == "Graph" else PairList)(rows, pairs.numpy())


def complete(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments, with losses and graphs made, and so checked."""
    return {key: value() if isinstance(value, partial) else value for key, value in given.items()}
