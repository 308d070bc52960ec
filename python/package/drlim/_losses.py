"""Losses of pairs and of triplets: small immutable objects that calls take.

Margins and bounds are distances, in the unit of the embeddings, or what the formula compares with them. ValueError
names a number that is out of its domain when the loss is made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import Any, Callable

from . import _drlim
from ._arrays import number, truth

Parts = tuple[str, float, float]


class PairLoss:
    """A loss of pairs: what a pair with the distance d costs, by whether it is similar. Each one below is one of these.

    >>> isinstance(drlim.Contrastive(1.0), drlim.PairLoss)
    True
    """

    def __post_init__(self) -> None:
        check(self, _drlim.check_loss)

    def _parts(self) -> Parts:
        """Name, margin, and the other margin of losses that have two; of `Sigmoid`, scale and bias."""
        raise NotImplementedError


class TripletLoss:
    """A loss of triplets: what anchor, positive and negative cost, by their distances.

    >>> isinstance(drlim.TripletMargin(1.0), drlim.TripletLoss)
    True
    """

    def __post_init__(self) -> None:
        check(self, _drlim.check_triplet_loss)

    def _parts(self) -> Parts:
        """Name, margin, and 0."""
        raise NotImplementedError


@dataclass(frozen=True)
class Contrastive(PairLoss):
    """similar d²/2, dissimilar max(0, margin - d)²/2 (Hadsell, Chopra, LeCun 2006, eq. 4).

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> drlim.rows(drlim.Contrastive(1.0), a, b, [True, False], values=True).values.tolist()
    [4.5, 0.125]
    """

    margin: float = 1.0

    def _parts(self) -> Parts:
        return "contrastive", self.margin, 0.0


@dataclass(frozen=True)
class SquaredHinge(PairLoss):
    """similar d²/2, dissimilar max(0, margin - d²)/2.

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> drlim.rows(drlim.SquaredHinge(1.0), a, b, [True, False], values=True).values.tolist()
    [4.5, 0.375]
    """

    margin: float = 1.0

    def _parts(self) -> Parts:
        return "squared-hinge", self.margin, 0.0


@dataclass(frozen=True)
class LinearHinge(PairLoss):
    """similar max(0, d - positive_margin), dissimilar max(0, negative_margin - d), as in pytorch-metric-learning.

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> drlim.rows(drlim.LinearHinge(1.0, 2.0), a, b, [True, False], values=True).values.tolist()
    [2.0, 1.5]
    """

    positive_margin: float = 0.0
    negative_margin: float = 1.0

    def _parts(self) -> Parts:
        return "linear-hinge", self.negative_margin, self.positive_margin


@dataclass(frozen=True)
class DoubleMargin(PairLoss):
    """similar max(0, d - positive_margin)²/2, dissimilar max(0, negative_margin - d)²/2.

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> drlim.rows(drlim.DoubleMargin(1.0, 2.0), a, b, [True, False], values=True).values.tolist()
    [2.0, 1.125]
    """

    positive_margin: float = 0.0
    negative_margin: float = 1.0

    def _parts(self) -> Parts:
        return "double-margin", self.negative_margin, self.positive_margin


@dataclass(frozen=True)
class Exponential(PairLoss):
    """similar 2d²/bound, dissimilar 2 bound exp(-2.77 d/bound) (Chopra, Hadsell, LeCun 2005).

    >>> a, b = np.float64([[0], [0]]), np.float64([[3], [0.5]])
    >>> drlim.rows(drlim.Exponential(2.0), a, b, [True, False], values=True).values.round(4).tolist()
    [9.0, 2.0013]
    """

    bound: float = 1.0

    def _parts(self) -> Parts:
        return "exponential", self.bound, 0.0


@dataclass(frozen=True)
class CosineContrastive(PairLoss):
    """similar c²/2, dissimilar max(0, margin - c)²/2, with c = d²/2, which is 1 - cos of rows of length 1.

    This is ContrastiveLoss of sentence-transformers, whose distance is 1 - cos.

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> drlim.rows(drlim.CosineContrastive(0.5), a, b, [True, False], values=True).values.tolist()
    [10.125, 0.0703125]
    """

    margin: float = 0.5

    def _parts(self) -> Parts:
        return "cosine-contrastive", self.margin, 0.0


@dataclass(frozen=True)
class Sigmoid(PairLoss):
    """similar ln(1 + e^-s), dissimilar ln(1 + e^s), with s = scale (1 - d²/2) + bias (SigLIP: Zhai et al. 2023).

    >>> a, b = np.float64([[0], [0]]), np.float64([[3], [0.5]])
    >>> drlim.rows(drlim.Sigmoid(1.0, 0.0), a, b, [True, False], values=True).values.round(4).tolist()
    [3.5298, 1.2234]
    """

    scale: float = 10.0
    bias: float = -10.0

    def _parts(self) -> Parts:
        return "sigmoid", self.scale, self.bias


@dataclass(frozen=True)
class TripletMargin(TripletLoss):
    """max(0, d(a, p) - d(a, n) + margin); with `swap`, of the nearer of d(a, n) and d(p, n) (Balntas et al. 2016).

    >>> anchor, positive, negative = np.float32([[[0]], [[3]], [[0.5]]])
    >>> drlim.triplet_rows(drlim.TripletMargin(1.0), anchor, positive, negative).value
    3.5
    """

    margin: float = 1.0
    swap: bool = False

    def _parts(self) -> Parts:
        return "triplet-margin-swap" if self.swap else "triplet-margin", self.margin, 0.0


@dataclass(frozen=True)
class SquaredTriplet(TripletLoss):
    """max(0, d²(a, p) - d²(a, n) + margin) (FaceNet: Schroff, Kalenichenko, Philbin 2015).

    >>> anchor, positive, negative = np.float32([[[0]], [[3]], [[0.5]]])
    >>> drlim.triplet_rows(drlim.SquaredTriplet(1.0), anchor, positive, negative).value
    9.75
    """

    margin: float = 1.0

    def _parts(self) -> Parts:
        return "squared-triplet", self.margin, 0.0


def check(loss: Any, check_parts: Callable[[Any], None]) -> None:
    """Makes the fields of a loss numbers and booleans of Python, and checks them. Names have been checked.

    A compiler of PyTorch cannot look into that. Its graph makes the loss again when it runs, where it is checked.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.compiler.is_compiling():
        return
    for field in fields(loss):
        if isinstance(field.default, str):
            continue
        made = truth if isinstance(field.default, bool) else number
        object.__setattr__(loss, field.name, made(field.name, getattr(loss, field.name)))
    check_parts(loss._parts())


def pair_parts(loss: PairLoss) -> Parts:
    """A loss of pairs as the compiled part takes it."""
    if not isinstance(loss, PairLoss):
        raise TypeError(f"loss is {loss!r}, expected a loss of pairs such as Contrastive(1.0)")
    return loss._parts()


def triplet_parts(loss: TripletLoss) -> Parts:
    """A loss of triplets as the compiled part takes it."""
    if not isinstance(loss, TripletLoss):
        raise TypeError(f"loss is {loss!r}, expected a loss of triplets such as TripletMargin(1.0)")
    return loss._parts()
