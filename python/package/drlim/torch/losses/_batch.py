"""What a loss is called with: a batch and its reference, as all pairs of their rows, or as pairs that were picked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drlim import LinearHinge

from .._functions import indexed
from ._fused import NotFused
from ._similarity import Similarity, lengths, written_out

Codes = NDArray[np.int64]
"""The number of the class of each row."""


@dataclass(frozen=True)
class Batch:
    """All pairs of a row of the embeddings with one of the reference, but for those of a row with itself."""

    queries: Tensor
    keys: Tensor
    query_labels: Codes
    key_labels: Codes
    own: int | None
    """Key own + i is query i itself, if they are the same rows."""

    similar: int
    dissimilar: int
    """How many pairs there are of each kind, in both orders where both are the same rows."""

    @property
    def single(self) -> bool:
        """Whether both sides are the same rows."""
        return self.keys is self.queries and self.own == 0

    @property
    def too_few(self) -> bool:
        """Whether there is at most one pair of each kind: the loss is 0 there."""
        return self.similar <= 1 and self.dissimilar <= 1

    def pairs(self, similar: bool) -> tuple[Tensor, Tensor]:
        """The pairs of a kind, by rows, in the order that pytorch-metric-learning has them in."""
        wanted = (self.query_labels[:, None] == self.key_labels) == similar
        if self.own is not None:
            rows = np.arange(len(self.queries))
            wanted[rows, rows + self.own] = False
        anchors, others = np.nonzero(wanted)
        return torch.from_numpy(anchors), torch.from_numpy(others)


def batch_of(embeddings: Tensor, labels: Any, indices: Any, ref_emb: Tensor, ref_labels: Any) -> Batch:
    """All pairs of the rows, if these are what is asked for."""
    if labels is None:
        raise NotFused("indices_tuple without labels" if indices is not None else "")
    if ref_labels is None:
        ref_labels = labels  # as there
        if len(ref_emb) != len(embeddings):
            raise NotFused("ref_emb without ref_labels")
    together = np.concatenate([labels.numpy(), ref_labels.numpy()])
    codes = np.unique(together, return_inverse=True)[1].reshape(-1).astype(np.int64)
    queries, keys = codes[: len(labels)], codes[len(labels) :]
    alike = int(np.dot(np.bincount(queries, minlength=len(codes)), np.bincount(keys, minlength=len(codes))))
    apart = len(queries) * len(keys) - alike
    own = 0 if ref_labels is labels else None
    if indices is not None:
        own = own_of(indices, queries, keys, alike, apart)
        if own is not None and own + len(queries) > len(keys):
            ref_emb, keys, own = torch.roll(ref_emb, -own, 0), np.roll(keys, -own), 0
    if own is not None:
        alike -= len(queries)
    return Batch(embeddings, ref_emb, queries, keys, own, alike, apart)


def own_of(indices: Any, queries: Codes, keys: Codes, alike: int, apart: int) -> int | None:
    """Of indices that are all pairs of the rows, in order, as `CrossBatchMemory` makes them: the key that is query 0
    itself, where pairs of a row with itself are left out; the next keys are the next queries, and the first key follows
    the last one. Refuses other indices.
    """
    other = NotFused("indices_tuple")
    if len(indices) != 4:
        raise other
    left_out = alike - len(indices[0])
    if len(indices[2]) != apart or left_out not in (0, len(queries)):
        raise other
    a1, p, a2, n = (part.numpy() for part in checked(indices, len(queries), len(keys)))
    places = a1 * len(keys) + p, a2 * len(keys) + n
    # Rising places are all different, so those of one kind, as many as there are of it, are all of it.
    if not all((np.diff(of) > 0).all() for of in places):
        raise other
    if not (queries[a1] == keys[p]).all() or (queries[a2] == keys[n]).any():
        raise other
    if left_out == 0:
        return None
    absent = np.setdiff1d(np.flatnonzero(keys == queries[0]), p[: np.searchsorted(a1, 1)])
    if len(absent) != 1:
        raise other
    rows = np.arange(len(queries))
    own_keys = (absent[0] + rows) % len(keys)
    if (keys[own_keys] != queries).any() or np.isin(rows * len(keys) + own_keys, places[0]).any():
        raise other
    return int(absent[0])


def checked(indices: Any, rows: int, ref_rows: int) -> list[Tensor]:
    """The parts of `indices_tuple`, where they are tensors of rows there are. Others are left to
    pytorch-metric-learning, which counts negative ones from the end, or refuses them.
    """
    parts = list(indices)
    if len(parts) not in (3, 4):
        raise NotFused
    for place, part in enumerate(parts):
        if not isinstance(part, Tensor) or part.dim() != 1 or part.dtype != torch.int64 or part.device.type != "cpu":
            raise NotFused("indices_tuple that does not hold int64 tensors")
        end = rows if place == 0 or (len(parts) == 4 and place == 2) else ref_rows
        if len(part) and not 0 <= int(part.min()) <= int(part.max()) < end:
            raise NotFused("indices_tuple with negative indices")
    together = [(0, 1, 2)] if len(parts) == 3 else [(0, 1), (2, 3)]
    if any(len({len(parts[place]) for place in places}) > 1 for places in together):
        raise NotFused("indices_tuple of unequal lengths")
    return parts


class Entries:
    """Entries of the matrix that a distance of pytorch-metric-learning makes of the rows, without the others."""

    def __init__(self, similarity: Similarity, embeddings: Tensor, ref_emb: Tensor) -> None:
        for rows in (embeddings, ref_emb):
            lengths(rows)
        self._similarity = similarity
        queries, keys = written_out(similarity, embeddings, ref_emb)
        self._shape = len(queries), len(keys)
        self._first = 0 if keys is queries else len(queries)
        self._rows = queries if keys is queries else torch.cat([queries, keys])

    def __call__(self, rows: Tensor, columns: Tensor) -> Tensor:
        count, width = self._shape
        if len(rows) <= count * width // 4:
            return self._of(rows, columns)
        # Of the many, each once.
        places = rows * width + columns
        seen = torch.zeros(count * width, dtype=torch.bool)
        seen[places] = True
        entries = seen.nonzero().squeeze(1)
        at = torch.empty(count * width, dtype=torch.int64)
        at[entries] = torch.arange(len(entries))
        return self._of(entries // width, entries % width).index_select(0, at[places])

    def _of(self, rows: Tensor, columns: Tensor) -> Tensor:
        pairs = torch.stack([rows, columns + self._first], dim=1)
        # Without a margin the loss of similar pairs is their distance.
        similar = torch.ones(len(pairs), dtype=torch.bool)
        d = indexed(LinearHinge(0.0, 1.0), self._rows, pairs, similar, reduction="none")
        if not self._similarity.inverted:
            return d * d / 2 if self._similarity.squared else d
        squares = (self._rows * self._rows).sum(dim=1)
        return (squares.index_select(0, pairs[:, 0]) + squares.index_select(0, pairs[:, 1]) - d * d) / 2
