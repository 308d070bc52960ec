"""Checks of arguments: arrays as the compiled part takes them, or an exception that names the argument."""

from __future__ import annotations

import operator
import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
"""A float32 or float64 array."""


def matrix(name: str, value: ArrayLike, dtype: np.dtype[Any] | None = None) -> Array:
    """A two-dimensional array of float32 or float64 whose rows are contiguous.

    Arrays that are so already come back as they are, with gaps between their rows or without. Others (of
    transposed, reversed, byte-swapped or unaligned elements) are copied.
    """
    array = as_array(name, value)
    if array.dtype.type not in (np.float32, np.float64):
        raise TypeError(f"{name} is of {array.dtype}, expected float32 or float64")
    if dtype is not None and array.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{name} is of {array.dtype}, expected {dtype} as the first argument is")
    if array.ndim != 2:
        raise ValueError(f"{name} has {array.ndim} dimensions, expected 2")
    return array if rows_lie_ready(array) else np.array(array, array.dtype.newbyteorder("="), order="C")


def rows_lie_ready(array: Array) -> bool:
    """Whether elements of a row are next to each other, and rows come one after another."""
    if not array.dtype.isnative or not array.flags.aligned:
        return False
    (rows, cols), (down, across), size = array.shape, array.strides, array.itemsize
    if rows == 0 or cols == 0:
        return True
    in_rows = cols == 1 or across == size
    return in_rows and (rows == 1 or (down >= cols * size and down % size == 0))


def output(name: str, value: Any, like: Array) -> Array:
    """An array to write a gradient to, of the shape and type of `like`."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is a {type(value).__name__}, expected an array")
    if value.dtype != like.dtype:
        raise TypeError(f"{name} is of {value.dtype}, expected {like.dtype}")
    if value.shape != like.shape:
        raise ValueError(f"{name} has shape {value.shape}, expected {like.shape}")
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


def flags(name: str, value: ArrayLike, count: int) -> NDArray[np.uint8]:
    """`count` booleans, or numbers that are 0 or 1."""
    array = as_array(name, value)
    if array.size == 0:
        array = array.astype(np.bool_)
    if array.dtype != np.bool_:
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{name} is of {array.dtype}, expected bool")
        if not ((array == 0) | (array == 1)).all():
            raise ValueError(f"{name} holds numbers other than 0 and 1")
        array = array != 0
    return np.ascontiguousarray(one_dimension(name, array, count)).view(np.uint8)


def weights(name: str, value: ArrayLike | None, count: int, dtype: np.dtype[Any]) -> Array | None:
    """`count` numbers of the type of the embeddings, or none."""
    if value is None:
        return None
    array = as_array(name, value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} is of {array.dtype}, expected {dtype}")
    return np.ascontiguousarray(one_dimension(name, array, count), dtype=dtype)


def labels(name: str, value: ArrayLike, count: int) -> NDArray[np.int64]:
    """`count` integers that fit in int64, or numbers that are whole and were not rounded to be so."""
    array = as_array(name, value)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind == "f":
        array = whole(name, array)
    if array.dtype.kind not in "iub":
        advice = f": use numpy.unique({name}, return_inverse=True)[1]" if array.dtype.kind in "USO" else ""
        raise TypeError(f"{name} is of {array.dtype}, expected integers{advice}")
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds numbers that do not fit in int64")
    return np.ascontiguousarray(one_dimension(name, array, count), dtype=np.int64)


def whole(name: str, array: Array) -> NDArray[np.int64]:
    """Integers from floats that are whole numbers. Refused where floats are sparser than integers: different numbers
    may have become the same float there.
    """
    finite = np.isfinite(array).all()
    if not finite or (np.rint(array) != array).any():
        raise TypeError(f"{name} is of {array.dtype} and holds numbers that are not whole, expected integers: use .long()")
    if (np.abs(array) > 2.0 ** (np.finfo(array.dtype).nmant + 1)).any():
        raise TypeError(f"{name} is of {array.dtype} and holds numbers that are too large for it, expected integers: use .long()")
    return array.astype(np.int64)


def index_pairs(name: str, value: ArrayLike) -> NDArray[np.uint32]:
    """P x 2 indices."""
    array = as_array(name, value)
    if array.size == 0:
        array = np.empty((0, 2), np.uint32)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} is of {array.dtype}, expected integers")
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"{name} has shape {array.shape}, expected two columns")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < 2**32 - 1:
        raise IndexError(f"{name} holds indices outside of 0 to 2**32 - 2")
    return np.ascontiguousarray(array, dtype=np.uint32)


def as_array(name: str, value: Any) -> Array:
    """An argument as an array of NumPy. A tensor of PyTorch must be one that needs no gradient."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be lost: use {name}.filled(...)")
    if getattr(value, "requires_grad", False) is True:
        raise TypeError(f"{name} requires a gradient, which it would not get: use {name}.detach()")
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        # Rows of several lengths, tensors on another device.
        raise type(error)(f"{name}: {error}") from error


def one_dimension(name: str, array: Array, count: int) -> Array:
    if array.shape != (count,):
        raise ValueError(f"{name} has shape {array.shape}, expected ({count},)")
    return array


def integer(name: str, value: Any) -> int:
    """An integer, of whatever type."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value}, expected an integer")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, expected an integer") from None


def size(name: str, value: Any) -> int:
    """A number of rows, samples, neighbours or threads."""
    number = integer(name, value)
    if not 0 <= number < 2**63:
        raise ValueError(f"{name} is {value}, expected a number from 0 to 2**63 - 1")
    return number


def neighbours(name: str, value: Any) -> int:
    """A number of neighbours. The compiled part refuses it where there are fewer."""
    number = integer(name, value)
    if not 1 <= number < 2**63:
        raise ValueError(f"{name} is {value}, expected a number from 1")
    return number


def label(name: str, value: Any) -> int | None:
    """A label that fits in int64, or none."""
    if value is None:
        return None
    number = integer(name, value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} is {value}, expected a number that fits in int64")
    return number


def number(name: str, value: Any) -> float:
    """A constant number. A tensor that requires a gradient is refused, as it would get none."""
    if type(value) is float:
        return value
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor) and (
        value.requires_grad or isinstance(value, torch.nn.Parameter)
    ):
        raise TypeError(f"{name} is to be learned, which it would not be, expected a number: use float({name})")
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    if not is_number and (getattr(value, "ndim", None) != 0 or kind not in "fiu"):
        raise TypeError(f"{name} is {value!r}, expected a number")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} is {value!r}, expected a number") from None


def truth(name: str, value: Any) -> bool:
    """True or False, or 1 or 0."""
    if value is True or value is False:
        return value
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, np.integer)) and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{name} is {value!r}, expected True or False")


def choice(name: str, value: Any, names: tuple[str, ...]) -> str:
    """One of some names."""
    if isinstance(value, str) and value.replace("_", "-") in names:
        return value.replace("_", "-")
    raise (ValueError if isinstance(value, str) else TypeError)(f"{name} is {value!r}, expected one of {names}")


Reduction = str | tuple[float, float]
"""A name, or factors of similar and of dissimilar pairs."""

REDUCTIONS = ("sum", "mean", "mean-nonzero", "balanced", "balanced-nonzero")


def reduction_parts(value: Reduction) -> tuple[str, float, float]:
    """A reduction as the compiled part takes it."""
    if isinstance(value, str):
        name = value.replace("_", "-")
        if name in REDUCTIONS:
            return name, 1.0, 1.0
    elif isinstance(value, (tuple, list)) and len(value) == 2:
        return "factors", number("reduction[0]", value[0]), number("reduction[1]", value[1])
    raise ValueError(f"reduction is {value!r}, expected one of {REDUCTIONS} or two factors")


AnchorReduction = str | float
"""A name, or a factor of the sum."""

ANCHOR_REDUCTIONS = ("sum", "mean", "mean-with-similar", "mean-nonzero", "mean-of-pairs")


def anchor_reduction(value: AnchorReduction) -> tuple[str, float]:
    """A reduction of anchors as the compiled part takes it."""
    if not isinstance(value, str):
        return "factor", number("reduction", value)
    name = value.replace("_", "-")
    if name not in ANCHOR_REDUCTIONS:
        raise ValueError(f"reduction is {value!r}, expected one of {ANCHOR_REDUCTIONS} or a factor")
    return name, 1.0
