"""Losses by rows under their own names."""

from __future__ import annotations

from typing import Any

from ._arrays import ArrayLike
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
    """`rows` with `Contrastive(margin)`, and its options.

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> drlim.contrastive(a, b, [True, False], margin=1.0).value
    2.3125
    """
    return rows(Contrastive(margin), a, b, similar, **options)


def squared_hinge(a: ArrayLike, b: ArrayLike, similar: ArrayLike, margin: float = 1.0, **options: Any) -> RowsOutcome:
    """`rows` with `SquaredHinge(margin)`, and its options.

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> drlim.squared_hinge(a, b, [True, False], margin=1.0).value
    2.4375
    """
    return rows(SquaredHinge(margin), a, b, similar, **options)


def linear_hinge(
    a: ArrayLike,
    b: ArrayLike,
    similar: ArrayLike,
    positive_margin: float = 0.0,
    negative_margin: float = 1.0,
    **options: Any,
) -> RowsOutcome:
    """`rows` with `LinearHinge(positive_margin, negative_margin)`, and its options.

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> drlim.linear_hinge(a, b, [True, False], 1.0, 2.0).value
    1.75
    """
    return rows(LinearHinge(positive_margin, negative_margin), a, b, similar, **options)


def double_margin(
    a: ArrayLike,
    b: ArrayLike,
    similar: ArrayLike,
    positive_margin: float = 0.0,
    negative_margin: float = 1.0,
    **options: Any,
) -> RowsOutcome:
    """`rows` with `DoubleMargin(positive_margin, negative_margin)`, and its options.

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> drlim.double_margin(a, b, [True, False], 1.0, 2.0).value
    1.5625
    """
    return rows(DoubleMargin(positive_margin, negative_margin), a, b, similar, **options)


def exponential(a: ArrayLike, b: ArrayLike, similar: ArrayLike, bound: float = 1.0, **options: Any) -> RowsOutcome:
    """`rows` with `Exponential(bound)`, and its options.

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> round(drlim.exponential(a, b, [True, False], bound=2.0).value, 4)
    5.5006
    """
    return rows(Exponential(bound), a, b, similar, **options)


def cosine_contrastive(
    a: ArrayLike, b: ArrayLike, similar: ArrayLike, margin: float = 0.5, **options: Any
) -> RowsOutcome:
    """`rows` with `CosineContrastive(margin)`, and its options.

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> drlim.cosine_contrastive(a, b, [True, False], reduction="sum").value
    10.1953125
    """
    return rows(CosineContrastive(margin), a, b, similar, **options)


def triplet_margin(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    margin: float = 1.0,
    swap: bool = False,
    **options: Any,
) -> TripletRowsOutcome:
    """`triplet_rows` with `TripletMargin(margin, swap)`, and its options.

    >>> drlim.triplet_margin(np.float32([[0]]), np.float32([[3]]), np.float32([[0.5]]), margin=1.0).value
    3.5
    """
    return triplet_rows(TripletMargin(margin, swap), anchor, positive, negative, **options)


def squared_triplet(
    anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, margin: float = 1.0, **options: Any
) -> TripletRowsOutcome:
    """`triplet_rows` with `SquaredTriplet(margin)`, and its options.

    >>> drlim.squared_triplet(np.float32([[0]]), np.float32([[3]]), np.float32([[0.5]]), margin=1.0).value
    9.75
    """
    return triplet_rows(SquaredTriplet(margin), anchor, positive, negative, **options)
