"""Losses by rows under their own names."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from ._losses import (
    Contrastive,
    CosineContrastive,
    DoubleMargin,
    Exponential,
    LinearHinge,
    SquaredHinge,
    SquaredTriplet,
    TripletMargin,
)
from ._outcome import RowsOutcome, TripletRowsOutcome
from ._pairs import rows
from ._triplets import triplet_rows


def contrastive(a: ArrayLike, b: ArrayLike, similar: ArrayLike, margin: float = 1.0, **options: Any) -> RowsOutcome:
    """`rows` with `Contrastive(margin)`, and its options."""
    return rows(Contrastive(margin), a, b, similar, **options)


def squared_hinge(a: ArrayLike, b: ArrayLike, similar: ArrayLike, margin: float = 1.0, **options: Any) -> RowsOutcome:
    """`rows` with `SquaredHinge(margin)`, and its options."""
    return rows(SquaredHinge(margin), a, b, similar, **options)


def linear_hinge(
    a: ArrayLike, b: ArrayLike, similar: ArrayLike, positive_margin: float = 0.0, negative_margin: float = 1.0, **options: Any
) -> RowsOutcome:
    """`rows` with `LinearHinge(positive_margin, negative_margin)`, and its options."""
    return rows(LinearHinge(positive_margin, negative_margin), a, b, similar, **options)


def double_margin(
    a: ArrayLike, b: ArrayLike, similar: ArrayLike, positive_margin: float = 0.0, negative_margin: float = 1.0, **options: Any
) -> RowsOutcome:
    """`rows` with `DoubleMargin(positive_margin, negative_margin)`, and its options."""
    return rows(DoubleMargin(positive_margin, negative_margin), a, b, similar, **options)


def exponential(a: ArrayLike, b: ArrayLike, similar: ArrayLike, bound: float = 1.0, **options: Any) -> RowsOutcome:
    """`rows` with `Exponential(bound)`, and its options."""
    return rows(Exponential(bound), a, b, similar, **options)


def cosine_contrastive(
    a: ArrayLike, b: ArrayLike, similar: ArrayLike, margin: float = 0.5, **options: Any
) -> RowsOutcome:
    """`rows` with `CosineContrastive(margin)`, and its options."""
    return rows(CosineContrastive(margin), a, b, similar, **options)


def triplet_margin(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    margin: float = 1.0,
    swap: bool = False,
    **options: Any,
) -> TripletRowsOutcome:
    """`triplet_rows` with `TripletMargin(margin, swap)`, and its options."""
    return triplet_rows(TripletMargin(margin, swap), anchor, positive, negative, **options)


def squared_triplet(
    anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, margin: float = 1.0, **options: Any
) -> TripletRowsOutcome:
    """`triplet_rows` with `SquaredTriplet(margin)`, and its options."""
    return triplet_rows(SquaredTriplet(margin), anchor, positive, negative, **options)
