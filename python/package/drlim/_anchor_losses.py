"""Losses of anchors: small immutable objects that calls take.

Each says what a row costs by all its similar and dissimilar pairs at once. With the similarity u of a pair, lse_P and
lse_G are the logarithms of the sums of e^x over the similar and over the dissimilar pairs of an anchor. Margins are
cosines, angles in radians or distances, as the formula compares them; scales have no unit. ValueError names a number
that is out of its domain when the loss is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from . import _drlim
from ._arrays import choice, number
from ._losses import check

AnchorParts = tuple[str, float, float, float]

Positives = Literal["mean", "sum", "each"]

POSITIVES = ("mean", "sum", "each")


class AnchorLoss:
    """A loss of anchors: what a row costs by all its pairs at once. Each one below is one of these.

    >>> isinstance(drlim.Softmax(10.0), drlim.AnchorLoss)
    True
    """

    _measure: ClassVar[str] = "cosine"
    """How rows are compared unless the call says otherwise."""

    def __post_init__(self) -> None:
        check(self, _drlim.check_anchor_loss)

    def _parts(self) -> AnchorParts:
        """Name, and up to three numbers."""
        raise NotImplementedError


@dataclass(frozen=True, init=False)
class Softmax(AnchorLoss):
    """Softmax cross entropy over the candidates of an anchor, x = scale u: InfoNCE (van den Oord et al. 2018), NT-Xent
    (Chen et al. 2020), SupCon (Khosla et al. 2020), CLIP (Radford et al. 2021).

    Give `scale`, or `temperature`, which is 1 / scale; otherwise the scale is 10. Where an anchor has several similar
    pairs, `positives` says how they share the softmax: "mean" of their losses, each against all candidates (SupCon);
    "sum" of their powers, against all candidates (MIL-NCE); "each" by itself against the dissimilar pairs, added up
    (NT-Xent of pytorch-metric-learning). `decoupled` leaves similar pairs out of the denominator (Yeh et al. 2022).

    >>> z = np.float64([[1, 0], [0.8, 0.6], [0, 1]])
    >>> round(drlim.all_anchors(drlim.Softmax(temperature=0.5), z, labels=[7, 7, 3]).value, 4)
    0.2323
    """

    scale: float
    positives: Positives = "mean"
    decoupled: bool = False

    def __init__(
        self,
        scale: float | None = None,
        positives: Positives = "mean",
        decoupled: bool = False,
        *,
        temperature: float | None = None,
    ) -> None:
        if temperature is not None:
            if scale is not None:
                raise TypeError("temperature is given with scale, expected one of them")
            temperature = number("temperature", temperature)
            if not 0 < temperature < float("inf") or 1 / temperature == float("inf"):
                raise ValueError(f"temperature is {temperature}, expected finite and positive, as 1 / temperature")
            scale = 1 / temperature
        object.__setattr__(self, "scale", 10.0 if scale is None else scale)
        object.__setattr__(self, "positives", choice("positives", positives, POSITIVES))
        object.__setattr__(self, "decoupled", decoupled)
        self.__post_init__()

    def _parts(self) -> AnchorParts:
        return f"{'decoupled-' if self.decoupled else ''}softmax-{self.positives}", self.scale, 0.0, 0.0


@dataclass(frozen=True)
class CosFace(AnchorLoss):
    """`Softmax` with x = scale (u - margin) of similar pairs; candidates are class vectors (Wang et al. 2018).

    >>> z, classes = np.float64([[0.8, 0.6], [0, 1]]), np.eye(2)
    >>> round(drlim.cross_anchors(drlim.CosFace(8.0, 0.25), z, classes, [0, 1], [0, 1]).value, 4)
    0.4577
    """

    scale: float = 64.0
    margin: float = 0.35

    def _parts(self) -> AnchorParts:
        return "cos-face", self.scale, self.margin, 0.0


@dataclass(frozen=True)
class ArcFace(AnchorLoss):
    """`Softmax` with x = scale cos(t + margin) of similar pairs at the angle t, in radians (Deng et al. 2019).

    >>> z, classes = np.float64([[0.8, 0.6], [0, 1]]), np.eye(2)
    >>> round(drlim.cross_anchors(drlim.ArcFace(8.0, 0.25), z, classes, [0, 1], [0, 1]).value, 4)
    0.2963
    """

    scale: float = 64.0
    margin: float = 0.5

    def _parts(self) -> AnchorParts:
        return "arc-face", self.scale, self.margin, 0.0


@dataclass(frozen=True)
class MultiSimilarity(AnchorLoss):
    """ln(1 + e^lse_P)/alpha + ln(1 + e^lse_G)/beta, x = -alpha (u - base) of similar pairs, beta (u - base) of others
    (Wang et al. 2019), without its mining.

    >>> z = np.float64([[1, 0], [0.8, 0.6], [0, 1]])
    >>> round(drlim.all_anchors(drlim.MultiSimilarity(2.0, 10.0, 0.5), z, labels=[7, 7, 3]).value, 4)
    0.2337
    """

    alpha: float = 2.0
    beta: float = 50.0
    base: float = 0.5

    def _parts(self) -> AnchorParts:
        return "multi-similarity", self.alpha, self.beta, self.base


@dataclass(frozen=True)
class Circle(AnchorLoss):
    """ln(1 + e^(lse_P + lse_G)), x = -gamma max(1 + margin - u, 0) (u - 1 + margin) of similar pairs, gamma
    max(u + margin, 0) (u - margin) of others, where the factors before the last are constants in the gradient (Sun et
    al. 2020).

    >>> z = np.float64([[1, 0], [0.8, 0.6], [0, 1]])
    >>> round(drlim.all_anchors(drlim.Circle(0.25, 8.0), z, labels=[7, 7, 3]).value, 4)
    0.905
    """

    margin: float = 0.4
    gamma: float = 80.0

    def _parts(self) -> AnchorParts:
        return "circle", self.margin, self.gamma, 0.0


@dataclass(frozen=True)
class Lifted(AnchorLoss):
    """Half the sum over similar pairs of max(J + d - positive_margin, 0)², where J is the logarithm of the sum of
    e^(margin - d) over the dissimilar pairs of both ends (Oh Song et al. 2016): the mean over similar pairs is its
    reduction "mean-of-pairs". Both ends must be anchors: `all_anchors`, or `cross_anchors` with "both".

    >>> z = np.float64([[1, 0], [0.8, 0.6], [0, 1]])
    >>> round(drlim.all_anchors(drlim.Lifted(0.0, 1.0), z, labels=[7, 7, 3]).value, 4)
    0.4838
    """

    _measure: ClassVar[str] = "distance"

    positive_margin: float = 0.0
    margin: float = 1.0

    def _parts(self) -> AnchorParts:
        return "lifted", self.positive_margin, self.margin, 0.0


@dataclass(frozen=True)
class GeneralizedLifted(AnchorLoss):
    """max(lse_P + lse_G, 0), x = d - positive_margin of similar pairs, margin - d of others (Hermans, Beyer, Leibe
    2017).

    >>> z = np.float64([[1, 0], [0.8, 0.6], [0, 1]])
    >>> round(drlim.all_anchors(drlim.GeneralizedLifted(0.0, 1.0), z, labels=[7, 7, 3]).value, 4)
    0.5095
    """

    _measure: ClassVar[str] = "distance"

    positive_margin: float = 0.0
    margin: float = 1.0

    def _parts(self) -> AnchorParts:
        return "generalized-lifted", self.positive_margin, self.margin, 0.0


def anchor_parts(loss: AnchorLoss) -> AnchorParts:
    """A loss of anchors as the compiled part takes it."""
    if not isinstance(loss, AnchorLoss):
        raise TypeError(f"loss is {loss!r}, expected a loss of anchors such as Softmax(10.0)")
    return loss._parts()
