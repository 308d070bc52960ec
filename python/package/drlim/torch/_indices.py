"""The rows that miners have picked, and the rows of a reference that are those of the batch itself."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._calls import in_graph
from ._operators import define

Indices = Sequence[Any]
"""The result of a miner of pytorch-metric-learning: anchors and positives, anchors and negatives; or triplets. Each
part is a tensor, an array or a list of indices, or a mask of rows.
"""

Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The places of the same rows in two matrices."""


def parts_of(indices: Any, rows: int, ref_rows: int) -> list[Tensor]:
    """The three or four parts of `indices_tuple`, of int64: anchors are below `rows`, the others below `ref_rows`, the
    number of rows of the reference.
    """
    if in_graph() and isinstance(indices, (tuple, list)):
        found: list[Tensor] = torch.ops.drlim.parts([torch.as_tensor(part) for part in indices], rows, ref_rows)
        return found
    return checked_parts(indices, rows, ref_rows)


def checked_parts(indices: Any, rows: int, ref_rows: int) -> list[Tensor]:
    if not isinstance(indices, (tuple, list)):
        raise TypeError(f"indices_tuple is a {type(indices).__name__}, expected a tuple of 3 or 4 parts")
    if len(indices) not in (3, 4):
        raise ValueError(f"indices_tuple has {len(indices)} parts, expected 3 or 4")
    of_anchors = (0,) if len(indices) == 3 else (0, 2)
    parts = [
        rows_of(f"indices_tuple[{place}]", part, rows if place in of_anchors else ref_rows)
        for place, part in enumerate(indices)
    ]
    # Anchors with what they are paired with.
    together = [(0, 1, 2)] if len(parts) == 3 else [(0, 1), (2, 3)]
    for places in together:
        counts = [len(parts[place]) for place in places]
        if len(set(counts)) > 1:
            names = " and ".join(f"indices_tuple[{place}]" for place in places)
            raise ValueError(f"{names} hold {counts} indices, expected as many of each")
    return parts


def rows_of(name: str, part: Any, count: int) -> Tensor:
    """Indices of some of `count` rows."""
    array = part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {tuple(array.shape)}, expected one dimension")
    if array.dtype == np.bool_:
        if len(array) != count:
            raise IndexError(f"{name} is a mask of {len(array)} rows, expected one of {count}")
        return torch.from_numpy(np.flatnonzero(array))
    if array.dtype == np.uint8:
        # As the index of a tensor this would be a mask, as that of an array it would be indices.
        raise TypeError(f"{name} is of uint8, which may be a mask or indices: use .bool() or .long()")
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} is of {array.dtype}, expected integers or a mask of bool: use .long()")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < count:
        raise IndexError(f"{name} holds indices from {int(array.min())} to {int(array.max())}, of {count} rows")
    return torch.from_numpy(array.astype(np.int64))


def triplets_of(a1: Tensor, a2: Tensor) -> tuple[Tensor, Tensor]:
    """Each pair of an anchor of `a1` with each pair of the same anchor of `a2`: the places of both in their lists."""
    if in_graph():
        found: tuple[Tensor, Tensor] = torch.ops.drlim.triplets_of_pairs(a1, a2)
        return found
    return joined(a1, a2)


MOST_TRIPLETS = 1 << 26
"""The most triplets of pairs that are written out, in some 60 bytes for each."""


def joined(a1: Tensor, a2: Tensor) -> tuple[Tensor, Tensor]:
    by_anchor = torch.argsort(a2, stable=True)
    rows = 1 + max(int(part.max()) if len(part) else 0 for part in (a1, a2))
    counts = torch.bincount(a2, minlength=rows)
    starts = counts.cumsum(0) - counts
    of_pair = counts[a1]
    count = int(of_pair.sum())
    if count > MOST_TRIPLETS:
        raise ValueError(
            f"embeddings have {count} triplets, expected at most {MOST_TRIPLETS} with ref_emb or pairs in four parts: "
            "pick triplets by indices_tuple"
        )
    first = torch.repeat_interleave(torch.arange(len(a1)), of_pair)
    # The place of each within those of its pair.
    within = torch.arange(len(first)) - torch.repeat_interleave(of_pair.cumsum(0) - of_pair, of_pair)
    return first, by_anchor[starts[a1[first]] + within]


def parts_shapes(indices: list[Tensor], rows: int, ref_rows: int) -> list[Tensor]:
    def count(part: Tensor) -> Any:
        return torch.library.get_ctx().new_dynamic_size() if part.dtype == torch.bool else len(part)

    return [part.new_empty(count(part), dtype=torch.int64) for part in indices]


def joined_shapes(a1: Tensor, a2: Tensor) -> tuple[Tensor, Tensor]:
    count = torch.library.get_ctx().new_dynamic_size()
    return a1.new_empty(count), a2.new_empty(count)


define("parts", "(Tensor[] indices, SymInt rows, SymInt ref_rows) -> Tensor[]", checked_parts, parts_shapes)
define("triplets_of_pairs", "(Tensor a1, Tensor a2) -> (Tensor, Tensor)", joined, joined_shapes)


def same_rows(embeddings: Tensor, ref_emb: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The rows that embeddings and reference share in memory, as the places in both: those of a batch and a part of it,
    of views of one tensor, of a detached one. None where there are none.
    """
    if embeddings.dtype != ref_emb.dtype or embeddings.shape[1] != ref_emb.shape[1]:
        return None
    if embeddings.numel() == 0 or ref_emb.numel() == 0:
        return None
    across = [part.stride(1) if part.shape[1] > 1 else 0 for part in (embeddings, ref_emb)]
    if across[0] != across[1]:
        return None
    places = []
    for part in (embeddings, ref_emb):
        down = part.stride(0) * part.element_size()
        places.append((part.data_ptr(), down, len(part)))
    (start, down, count), (ref_start, ref_down, ref_count) = places
    if start > ref_start + (ref_count - 1) * ref_down or ref_start > start + (count - 1) * down:
        return None
    if (start, down) == (ref_start, ref_down):
        both = np.arange(min(count, ref_count))
        return both, both
    rows = start + down * np.arange(count)
    ref_rows = ref_start + ref_down * np.arange(ref_count)
    _, these, those = np.intersect1d(rows, ref_rows, return_indices=True)
    return (these, those) if len(these) else None
