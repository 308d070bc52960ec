"""Room for what calls give back, and the way of gradients to the caller: into the type of the rows, or into `out`."""

from __future__ import annotations

from collections import deque
from itertools import repeat
from operator import setitem
from typing import Any

import numpy as np

from ._arrays import Array, is_half, rows_lie_ready, truth


def room(name: str, wanted: bool, count: int, dtype: np.dtype[Any]) -> Array | None:
    """So many numbers, if they are wanted."""
    return np.empty(count, dtype) if truth(name, wanted) else None


def output(name: str, value: Any, array: Array, given: Array) -> Array:
    """The caller's array for the gradient of rows that were `given`, and are computed on as `array`.

    It has their shape and type; where that is half precision it may be of float32, to which nothing is rounded.
    """
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is a {type(value).__name__}, expected an array")
    if value.dtype != array.dtype and not (is_half(given.dtype) and value.dtype == given.dtype):
        more = f" or {given.dtype}" if is_half(given.dtype) else ""
        raise TypeError(f"{name} is of {value.dtype}, expected {array.dtype}{more}")
    if value.shape != array.shape:
        raise ValueError(f"{name} has shape {value.shape}, expected {array.shape}")
    if not value.flags.writeable:
        raise ValueError(f"{name} is read-only")
    if not rows_lie_ready(value):
        raise ValueError(f"{name} has strides {value.strides}, expected contiguous rows")
    return value


def check_apart(outputs: dict[str, Array], inputs: dict[str, Array | None]) -> bool:
    """Refuses outputs that share memory with each other or with an input. Returns whether they also lie clear of these,
    rather than between their elements, as column halves of one array do.
    """
    seen: list[tuple[str, Array]] = [(name, array) for name, array in inputs.items() if array is not None]
    clear = True
    for name, array in outputs.items():
        for other_name, other in seen:
            if np.may_share_memory(array, other):
                if np.shares_memory(array, other):
                    raise ValueError(f"{name} and {other_name} overlap")
                clear = False
        seen.append((name, array))
    return clear


def gradient(z: Array, given: Array, wanted: bool, out: Array | None, pairs: int) -> Array | None:
    """The array to which a call on `pairs` pairs of rows of `z` writes the gradient, if any.

    `delivered` brings it to `out`. Signals are heard during a long call, and `out` keeps its content if one of them
    ends it.
    """
    if out is None:
        return np.empty(z.shape, z.dtype) if truth("grad", wanted) else None
    to = output("out", out, z, given)
    if not check_apart({"out": to}, {"z": given}) and z is given:
        raise ValueError("out lies between the elements of z")
    # Another array is little beside the work on several pairs of each row.
    long = pairs >= 4 * len(z) and pairs * z.shape[1] >= LONG
    return np.empty(z.shape, z.dtype) if long or to.dtype != z.dtype else to


LONG = 2**26
"""A call is long from this many products of elements on: they take a hundredth of a second."""


def gradients(
    name: str, wanted: bool | tuple[bool, bool], queries: Array, keys: Array
) -> tuple[Array | None, Array | None]:
    """Room for the gradients of queries and of keys, as far as they are wanted."""
    both = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    if len(both) != 2:
        raise TypeError(f"{name} is {wanted!r}, expected one truth, or two")
    to_queries = np.empty(queries.shape, queries.dtype) if truth(name, both[0]) else None
    to_keys = np.empty(keys.shape, keys.dtype) if truth(name, both[1]) else None
    return to_queries, to_keys


def delivered(to: Array | None, out: Array | None, given: Array) -> Array | None:
    """The gradient, in `out` where that is given, otherwise in the type of the rows."""
    if to is None or to is out:
        return to
    if out is None:
        return in_type_of(given, to)
    overwrite((out,), (to,))
    return out


def in_type_of(given: Array, array: Array) -> Array:
    """What was computed on rows, rounded where these were given in half precision."""
    return array if given.itemsize > 2 else array.astype(given.dtype)


def in_types_of(
    given: tuple[Array, Array], to: tuple[Array | None, Array | None]
) -> tuple[Array | None, Array | None]:
    """The gradients of queries and of keys, each in the type of its rows."""
    queries, keys = to
    return (
        None if queries is None else in_type_of(given[0], queries),
        None if keys is None else in_type_of(given[1], keys),
    )


def overwrite(arrays: tuple[Array, ...], values: tuple[Array, ...]) -> None:
    """Writes all of the arrays, or none: no signal is handled in between, as no line of Python is run."""
    rounded = [value.astype(array.dtype, copy=False) for array, value in zip(arrays, values)]
    write: Any = setitem
    deque(map(write, arrays, repeat(...), rounded), maxlen=0)
