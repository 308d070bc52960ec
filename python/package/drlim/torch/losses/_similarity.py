"""Distances of pytorch-metric-learning as what kernels measure, and rows made ready for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pytorch_metric_learning.distances import CosineSimilarity, DotProductSimilarity, LpDistance
from torch import Tensor
from torch.nn.functional import normalize as to_unit_length

from drlim._anchors import Measure

from ._fused import NotFused

SHORT = 1e-12
"""The length below which PyTorch's `normalize` does not make a row one of unit length."""


@dataclass(frozen=True)
class Similarity:
    """How rows are compared. Where the matrix there holds t, or distances -t, kernels take u = t + `shift`."""

    measure: Measure
    """u: a product, minus a distance, or 1 - d²/2."""

    unit: bool
    """Whether rows are scaled to unit length first."""

    inverted: bool
    """Whether the matrix there holds t itself."""

    squared: bool
    """Whether it holds squared distances: u is 1 - d²/2 of rows stretched by √2."""

    @property
    def shift(self) -> float:
        return 1.0 if self.squared else 0.0

    def signed(self, value: float) -> float:
        """A value of the matrix as one of t."""
        return value if self.inverted else -value


def similarity_of(distance: Any) -> Similarity:
    kind = type(distance)
    if kind not in (LpDistance, CosineSimilarity, DotProductSimilarity):
        raise NotFused(f"distance={kind.__name__}()")
    unit, power = bool(distance.normalize_embeddings), distance.power
    if distance.p != 2:
        raise NotFused(f"distance={kind.__name__}(p={distance.p})")
    if power != 1 and (kind is not LpDistance or power != 2):
        raise NotFused(f"distance={kind.__name__}(power={power})")
    if kind is LpDistance:
        return Similarity("cosine" if power == 2 else "distance", unit, False, power == 2)
    return Similarity("dot", unit, True, False)


@dataclass(frozen=True)
class Rows:
    """Queries and keys, which may be the same tensor, as kernels take them."""

    queries: Tensor
    keys: Tensor
    normalize: bool
    """Whether the kernel is to scale them to unit length."""

    measure: Measure
    reach: float
    """No two similarities differ by more."""


def rows_of(similarity: Similarity, queries: Tensor, keys: Tensor) -> Rows:
    """Rows ready to be compared.

    Kernels scale rows to unit length themselves, and cosines come from distances then. Where a row has no direction,
    its product with others is 0 and its gradient that of PyTorch's `normalize`, so this is used.
    """
    (shortest, longest), (shortest_key, longest_key) = lengths(queries), lengths(keys)
    if similarity.unit:
        longest = longest_key = 1.0
    reach = 2 * longest * longest_key if similarity.inverted else longest + longest_key
    if similarity.squared:
        reach = reach**2
    whole = min(shortest, shortest_key) >= SHORT
    if similarity.unit and whole and not similarity.squared:
        measure: Measure = "cosine" if similarity.inverted else "distance"
        return Rows(queries, keys, True, measure, reach)
    return Rows(*written_out(similarity, queries, keys), False, similarity.measure, reach)


def written_out(similarity: Similarity, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Rows scaled to unit length where they are to be, and stretched."""

    def of(rows: Tensor) -> Tensor:
        rows = to_unit_length(rows) if similarity.unit else rows
        return rows * math.sqrt(2) if similarity.squared else rows

    made = of(queries)
    return made, made if keys is queries else of(keys)


def lengths(rows: Tensor) -> tuple[float, float]:
    """The shortest and the longest row."""
    array = rows.detach().numpy()
    squares = np.einsum("ij,ij->i", array, array)
    shortest, longest = float(squares.min()), float(squares.max())
    if not math.isfinite(longest):
        raise NotFused("rows that hold NaN or infinity, or are too long for their type")
    return math.sqrt(shortest), math.sqrt(longest)
