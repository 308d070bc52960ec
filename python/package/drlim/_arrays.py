"""Checks of arguments: arrays as the compiled part takes them, or an exception that names the argument."""

from __future__ import annotations

import operator
import sys
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

Array = NDArray[Any]
"""An array of embeddings or of what calls make of them."""


class SupportsDLPack(Protocol):
    """An array of another library that is handed over by DLPack."""

    def __dlpack__(self) -> Any: ...


ArrayLike = npt.ArrayLike | SupportsDLPack
"""What calls take as an array."""

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)

BOOL, U8, U32, I64 = np.dtype(np.bool_), np.dtype(np.uint8), np.dtype(np.uint32), np.dtype(np.int64)


def embeddings(name: str, value: ArrayLike, dtype: np.dtype[Any] | None = None) -> tuple[Array, Array]:
    """A two-dimensional argument twice: as calls compute on it, and as it was given.

    The first is of float32 or float64, of `dtype` if that is given, and has contiguous rows: elements of a row are next
    to each other, and rows come one after another, with or without gaps. Where the argument is so already it is the
    argument itself, otherwise (half precision; transposed, reversed, byte-swapped or unaligned elements) a copy.
    """
    given = value if type(value) is np.ndarray else as_array(name, value)
    array = in_full(name, given)
    if dtype is not None and array.dtype is not dtype and array.dtype.newbyteorder("=") != dtype:
        same = "float64" if dtype == F64 else "float32 or half precision"
        raise TypeError(f"{name} is of {given.dtype}, expected {same} as the first argument is")
    if array.ndim != 2:
        raise ValueError(f"{name} has {array.ndim} dimensions, expected 2")
    return array if rows_lie_ready(array) else np.array(array, array.dtype.newbyteorder("="), order="C"), given


def matrix(name: str, value: ArrayLike, dtype: np.dtype[Any] | None = None) -> Array:
    """An argument as calls compute on it, where they give nothing back in its own type."""
    return embeddings(name, value, dtype)[0]


def in_full(name: str, array: Array) -> Array:
    """An array of float32 or float64: half precision becomes float32, all else is refused."""
    if array.dtype is F32 or array.dtype is F64 or array.dtype.type in (np.float32, np.float64):
        return array
    if is_half(array.dtype):
        return np.array(array, F32, order="C")
    raise TypeError(f"{name} is of {array.dtype}, expected float32, float64, float16 or bfloat16")


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether a type is float16, or the bfloat16 of ml_dtypes, which NumPy knows by its name alone."""
    return dtype.type is np.float16 or (dtype.itemsize == 2 and dtype.name == "bfloat16")


def rows_lie_ready(array: Array) -> bool:
    """Whether elements of a row are next to each other, and rows come one after another."""
    flags = array.flags
    if not array.dtype.isnative or not flags.aligned:
        return False
    if flags.c_contiguous:
        return True
    (rows, cols), (down, across), size = array.shape, array.strides, array.itemsize
    if rows == 0 or cols == 0:
        return True
    in_rows = cols == 1 or across == size
    return in_rows and (rows == 1 or (down >= cols * size and down % size == 0))


def flags(name: str, value: ArrayLike, count: int) -> NDArray[np.uint8]:
    """`count` booleans, or numbers that are 0 or 1."""
    array = as_array(name, value)
    if array.size == 0:
        array = array.astype(np.bool_)
    if array.dtype.type is not np.bool_:
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{name} is of {array.dtype}, expected bool")
        if not ((array == 0) | (array == 1)).all():
            raise ValueError(f"{name} holds numbers other than 0 and 1")
        array = array != 0
    return in_line(one_dimension(name, array, count), BOOL).view(U8)


def weights(name: str, value: ArrayLike | None, count: int, dtype: np.dtype[Any]) -> Array | None:
    """`count` numbers of the type of the embeddings, or none."""
    if value is None:
        return None
    array = as_array(name, value)
    if array.dtype.kind not in "fiu" and not is_half(array.dtype):
        raise TypeError(f"{name} is of {array.dtype}, expected {dtype}")
    return in_line(one_dimension(name, array, count), dtype)


def labels(name: str, value: ArrayLike, count: int) -> NDArray[np.int64]:
    """`count` integers that fit in int64, or numbers that are whole and were not rounded to be so."""
    array = as_array(name, value)
    if array.dtype is I64:
        return in_line(one_dimension(name, array, count), I64)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind == "f":
        array = whole(name, array)
    if array.dtype.kind not in "iub":
        advice = f": use numpy.unique({name}, return_inverse=True)[1]" if array.dtype.kind in "USO" else ""
        raise TypeError(f"{name} is of {array.dtype}, expected integers{advice}")
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds numbers that do not fit in int64")
    return in_line(one_dimension(name, array, count), I64)


def whole(name: str, array: Array) -> NDArray[np.int64]:
    """Integers from floats that are whole numbers. Refused where floats are sparser than integers: different numbers
    may have become the same float there.
    """
    finite = np.isfinite(array).all()
    if not finite or (np.rint(array) != array).any():
        raise TypeError(
            f"{name} is of {array.dtype} and holds numbers that are not whole, expected integers: use .long()"
        )
    if (np.abs(array) > 2.0 ** (np.finfo(array.dtype).nmant + 1)).any():
        raise TypeError(
            f"{name} is of {array.dtype} and holds numbers that are too large for it, expected integers: use .long()"
        )
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
    return in_line(array, U32)


def in_line(array: Array, dtype: np.dtype[Any]) -> Array:
    """An array of a type whose elements lie one after another: itself, or a copy."""
    flags = array.flags
    if array.dtype is dtype and flags.c_contiguous and flags.aligned:
        return array
    return np.require(array, dtype, ["C", "A"])


OF_ARRAYS = ("__array__", "__array_interface__", "__array_struct__")
"""The attributes by which NumPy takes an object as an array."""


def as_array(name: str, value: Any) -> Array:
    """An argument as an array of NumPy, of the same memory where the other library lends that: by its array interface,
    or else by DLPack. A tensor of PyTorch must be one that needs no gradient.
    """
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be lost: use {name}.filled(...)")
    if getattr(value, "requires_grad", False) is True:
        raise TypeError(f"{name} requires a gradient, which it would not get: use {name}.detach()")
    try:
        if hasattr(value, "__dlpack__") and not any(hasattr(value, of) for of in OF_ARRAYS):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        # Rows of several lengths, tensors on another device, types that NumPy does not have.
        raise (ValueError if isinstance(error, ValueError) else TypeError)(f"{name}: {error}") from error


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
    if isinstance(value, str) and (name_of := value.replace("_", "-")) in names:
        return name_of
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
