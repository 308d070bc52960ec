"""The results of calls."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from . import _drlim
from ._arrays import AnchorReduction, Array, anchor_reduction

RawSums = tuple[int, int, float]
Raw = tuple[float, int, int, RawSums, RawSums]
"""The result of the compiled part: the fields of an `Outcome`, sums as tuples."""


@dataclass(frozen=True)
class Sums:
    """Sums over the pairs of one kind: their number, how many had a value other than 0, the sum of values.

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> outcome = drlim.contrastive(a, b, [True, False], reduction="sum")
    >>> outcome.similar
    Sums(pairs=1, active=1, sum=4.5)
    """

    pairs: int
    active: int
    sum: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of every call on pairs or triplets; triplets are counted as dissimilar pairs.

    `value` is the objective's value, not multiplied by its scale; `pairs` how many there were, without those
    left out; `active` how many had a value other than 0 (a NaN is not 0).

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> outcome = drlim.contrastive(a, b, [True, False], reduction="sum")
    >>> outcome.value, outcome.mean, outcome.pairs, outcome.active
    (4.625, 2.3125, 2, 2)
    """

    value: float
    pairs: int
    active: int
    similar: Sums
    dissimilar: Sums

    @property
    def mean(self) -> float:
        """The mean value of a pair, whatever the reduction."""
        return (self.similar.sum + self.dissimilar.sum) / max(self.pairs, 1)


def fields(raw: Raw) -> tuple[float, int, int, Sums, Sums]:
    """The fields of an `Outcome`."""
    value, pairs, active, similar, dissimilar = raw
    return value, pairs, active, Sums(*similar), Sums(*dissimilar)


@dataclass(frozen=True, eq=False)
class RowsOutcome(Outcome):
    """The result of `rows`: N x D gradients, and N distances, values and slopes; None where not asked for.

    >>> a, b = np.float32([[0], [0]]), np.float32([[3], [0.5]])
    >>> outcome = drlim.contrastive(a, b, [True, False], reduction="sum", slopes=True)
    >>> outcome.slopes.tolist(), outcome.grad_a.tolist(), outcome.values
    ([1.0, -1.0], [[-3.0], [0.5]], None)
    """

    grad_a: Array | None = None
    grad_b: Array | None = None
    distances: Array | None = None
    values: Array | None = None
    slopes: Array | None = None


@dataclass(frozen=True, eq=False)
class IndexedOutcome(Outcome):
    """The result of `indexed`: a B x D gradient; P distances, values and slopes; None where not asked for.

    >>> outcome = drlim.indexed(drlim.Contrastive(), np.float32([[0], [3]]), [(0, 1)], [True], distances=True)
    >>> outcome.grad.tolist(), outcome.distances.tolist()
    ([[-3.0], [3.0]], [3.0])
    """

    grad: Array | None = None
    distances: Array | None = None
    values: Array | None = None
    slopes: Array | None = None


@dataclass(frozen=True, eq=False)
class BatchOutcome(Outcome):
    """The result of `all_pairs` and `triplets`: a B x D gradient; None where not asked for.

    >>> drlim.all_pairs(drlim.Contrastive(), np.float32([[0], [3]]), [7, 7]).grad.tolist()
    [[-3.0], [3.0]]
    """

    grad: Array | None = None


@dataclass(frozen=True, eq=False)
class CrossOutcome(Outcome):
    """The result of `cross`: gradients, N x D and M x D, the derivatives by the scale and the bias of a `Sigmoid`; None
    where not asked for.

    >>> outcome = drlim.cross(drlim.Contrastive(), np.float32([[0]]), np.float32([[3]]), [7], [7], grads=(True, False))
    >>> outcome.grad_queries.tolist(), outcome.grad_keys
    ([[-3.0]], None)
    """

    grad_queries: Array | None = None
    grad_keys: Array | None = None
    grad_scale: float | None = None
    grad_bias: float | None = None


@dataclass(frozen=True, eq=False)
class TripletRowsOutcome(Outcome):
    """The result of `triplet_rows`: N x D gradients, N values; `distances` and `slopes` of anchor and positive, of
    anchor and negative, of positive and negative, N each. None where not asked for.

    >>> outcome = drlim.triplet_margin(np.float32([[0]]), np.float32([[3]]), np.float32([[0.5]]), distances=True)
    >>> [distances.tolist() for distances in outcome.distances], outcome.grad_anchor.tolist()
    ([[3.0], [0.5], [2.5]], [[0.0]])
    """

    grad_anchor: Array | None = None
    grad_positive: Array | None = None
    grad_negative: Array | None = None
    distances: tuple[Array, Array, Array] | None = None
    values: Array | None = None
    slopes: tuple[Array, Array, Array] | None = None


@dataclass(frozen=True)
class AnchorTotals:
    """Sums over anchors: their number, without those left out; how many had a similar pair, a value other than 0 (a NaN
    is not 0), and, of losses that are a softmax, a similar candidate before all dissimilar ones; the numbers of their
    similar pairs and of all their pairs; the sum of their values. Those of parts of the anchors can be added.

    >>> totals = drlim.all_anchors(drlim.Softmax(), np.eye(3), labels=[7, 7, 3]).totals
    >>> totals.anchors, totals.with_similar, totals.similar, totals.pairs
    (3, 2, 2, 6)
    """

    anchors: int = 0
    with_similar: int = 0
    active: int = 0
    correct: int = 0
    similar: int = 0
    pairs: int = 0
    sum: float = 0.0

    def __add__(self, other: AnchorTotals) -> AnchorTotals:
        if not isinstance(other, AnchorTotals):
            return NotImplemented
        return AnchorTotals(*(one + more for one, more in zip(astuple(self), astuple(other))))

    def factor(self, reduction: AnchorReduction) -> float:
        """What a reduction multiplies the value of each anchor by in a batch with these totals. As the `reduction` of
        calls on parts of the batch it gives their shares of its value and gradients.
        """
        return _drlim.anchor_factor(*anchor_reduction(reduction), astuple(self))


@dataclass(frozen=True, eq=False)
class AnchorsOutcome:
    """The result of `all_anchors`: its value, not multiplied by its scale, the totals, a B x D gradient, B values and
    log-sums and sums, the derivative by the loss's scale; None where not asked for.

    >>> outcome = drlim.all_anchors(drlim.Softmax(1.0), np.eye(3), labels=[7, 7, 3], values=True)
    >>> outcome.values.round(4).tolist(), outcome.grad.shape, outcome.log_sums
    ([0.6931, 0.6931, 0.0], (3, 3), None)
    """

    value: float
    totals: AnchorTotals
    grad: Array | None = None
    values: Array | None = None
    log_sums: Array | None = None
    sums: Array | None = None
    grad_scale: float | None = None


@dataclass(frozen=True, eq=False)
class CrossAnchorsOutcome:
    """The result of `cross_anchors`: its value, the totals of queries and of keys as anchors, both gradients,
    values, log-sums and sums of the anchors, the derivative by the loss's scale; None where not asked for.

    >>> outcome = drlim.cross_anchors(drlim.Softmax(1.0), np.eye(2), np.eye(2), position=0, grad_scale=True)
    >>> round(outcome.grad_scale, 4), outcome.queries.correct, outcome.keys.anchors, outcome.grad_keys.shape
    (-0.2689, 2, 0, (2, 2))
    """

    value: float
    queries: AnchorTotals
    keys: AnchorTotals
    grad_queries: Array | None = None
    grad_keys: Array | None = None
    values: Array | None = None
    log_sums: Array | None = None
    sums: Array | None = None
    grad_scale: float | None = None
