"""Miners of pytorch-metric-learning (2.9) without matrices of the batch: subclasses, so arguments are its own.

    >>> from drlim.torch import miners  # from pytorch_metric_learning import miners
    >>> miner = miners.MultiSimilarityMiner()
    >>> loss(embeddings, labels, miner(embeddings, labels))

Every miner of the library is here; those that are not defined below are the library's. The hardest pairs of a batch are
found without distances in memory; other rules look at some rows at a time, in a block of a megabyte or few, and at all
rows together in what they give. They give the same pairs or triplets as the library's, in an order of their own. Of
equally far rows that of the lowest index is taken. Distances are computed more precisely than there, so a pair may be
on the other side of a margin that it meets to its last digits.

Distances are `LpDistance` with p = 2 and `CosineSimilarity`; others, `collect_stats`, and embeddings that are not of
float32 or float64 on the CPU are left to the library, which a `NotFusedWarning` says once for each miner.
"""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple, Sequence

import torch
from pytorch_metric_learning import distances, miners as _theirs
from torch import Tensor

import drlim

from ._fused import NotFusedWarning, not_fused, unfit

__all__ = [
    "BatchEasyHardMiner",
    "BatchHardMiner",
    "DistanceWeightedMiner",
    "MultiSimilarityMiner",
    "NotFusedWarning",
    "PairMarginMiner",
    "TripletMarginMiner",
]

Indices = tuple[Tensor, ...]

BLOCK = 1 << 20
"""About as many distances are in memory at once."""


def __getattr__(name: str) -> Any:
    return getattr(_theirs, name)


def _unfit(miner: Any, embeddings: Tensor, ref_emb: Tensor) -> str | None:
    """Why the kernels cannot take the distances of a miner, if they cannot."""
    distance = miner.distance
    known = type(distance) is distances.CosineSimilarity or (type(distance) is distances.LpDistance and distance.p == 2)
    if not known:
        return f"distance is {type(distance).__name__}, the kernels have LpDistance of p = 2 and CosineSimilarity"
    if not distance.power > 0:
        return f"power is {distance.power}, the kernels take a positive one"
    if miner.collect_stats or distance.collect_stats:
        return "collect_stats is set, the kernels keep no statistics"
    return unfit(embeddings, ref_emb)


class _Block(NamedTuple):
    """Some rows of the embeddings, from `first` on, with all rows of the reference."""

    first: int
    values: Tensor
    """What the miner's distance gives, a row for each of these."""
    similar: Tensor
    dissimilar: Tensor

    def far(self, miner: Any) -> Tensor:
        """The values, or minus these: what is greater is farther."""
        return -self.values if miner.distance.is_inverted else self.values

    def pairs(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The places that a mask has, as rows of embeddings and of the reference."""
        rows, others = torch.where(mask)
        return rows + self.first, others


def _between(distance: Any, unit: Tensor, ref_unit: Tensor) -> Tensor:
    """The distance of each row from each of the reference; lengths are 1 already where it scales to that."""
    if distance.is_inverted:
        values = unit @ ref_unit.T
    else:
        values = torch.from_numpy(drlim.distance_matrix(unit.numpy(), ref_unit.numpy()))
    return values if distance.power == 1 else values**distance.power


def _blocks(miner: Any, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Iterator[_Block]:
    """All rows of the embeddings, some at a time. Row i is none of its own positives where both labels are one object,
    as in the library.
    """
    distance = miner.distance
    unit, ref_unit = (distance.maybe_normalize(rows.detach()) for rows in (embeddings, ref_emb))
    count = max(1, BLOCK // len(ref_emb))
    for first in range(0, len(unit), count):
        values = _between(distance, unit[first : first + count], ref_unit)
        similar = labels[first : first + count, None] == ref_labels
        dissimilar = ~similar
        if ref_labels is labels:
            rows = torch.arange(len(values))
            similar[rows, rows + first] = False
        yield _Block(first, values, similar, dissimilar)


def _joined(parts: Sequence[Indices]) -> Indices:
    return tuple(torch.cat(part) for part in zip(*parts))


def _extreme(far: Tensor, mask: Tensor, farthest: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The farthest or nearest place of a mask in each row: its distance, its place, and whether there is one."""
    if farthest:
        found, places = torch.where(mask, far, -torch.inf).max(dim=1)
    else:
        found, places = torch.where(mask, far, torch.inf).min(dim=1)
    return found, places, mask.any(dim=1)


class BatchEasyHardMiner(_theirs.BatchEasyHardMiner):
    """The easiest, hardest or semi-hard positive and negative of each row, or all. The hardest of a batch, by
    `LpDistance` and without ranges, are found by `drlim.hardest`.
    """

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Indices:
        reason = _unfit(self, embeddings, ref_emb)
        if reason is not None:
            not_fused(self, reason)
            return super().mine(embeddings, labels, ref_emb, ref_labels)
        strategies = self.pos_strategy, self.neg_strategy
        ranges = self.allowed_pos_range is not None or self.allowed_neg_range is not None
        among = ref_emb is embeddings and ref_labels is labels and len(embeddings) > 1
        if among and strategies == (self.HARD, self.HARD) and not ranges and not self.distance.is_inverted:
            return self._hardest(embeddings, labels)
        return _joined([self._of(block) for block in _blocks(self, embeddings, labels, ref_emb, ref_labels)])

    def _hardest(self, embeddings: Tensor, labels: Tensor) -> Indices:
        rows = self.distance.maybe_normalize(embeddings.detach())
        classes = torch.unique(labels, return_inverse=True)[1]
        found = drlim.hardest(rows.numpy(), classes.numpy())
        positives, negatives = (torch.from_numpy(indices[:, 0]) for indices, _ in found)
        (anchors,) = torch.where((positives >= 0) & (negatives >= 0))
        return anchors, positives[anchors], anchors, negatives[anchors]

    def _of(self, block: _Block) -> Indices:
        """What the rows of a block have."""
        far = block.far(self)
        similar = self._allowed(block.similar, block.values, self.allowed_pos_range)
        dissimilar = self._allowed(block.dissimilar, block.values, self.allowed_neg_range)
        positive = _extreme(far, similar, self.pos_strategy != self.EASY)
        negative = _extreme(far, dissimilar, self.neg_strategy == self.EASY)
        # Semi-hard is beyond what the other strategy has found.
        if self.neg_strategy == self.SEMIHARD:
            negative = _extreme(far, dissimilar & (far > positive[0][:, None]), False)
        elif self.pos_strategy == self.SEMIHARD:
            positive = _extreme(far, similar & (far < negative[0][:, None]), True)
        every = (self.pos_strategy == self.ALL, self.neg_strategy == self.ALL)
        parts: list[Tensor] = []
        for all_pairs, mask, (_, places, there) in zip(every, (block.similar, block.dissimilar), (positive, negative)):
            if all_pairs:
                parts += block.pairs(mask)
            else:
                (kept,) = torch.where(there if any(every) else positive[2] & negative[2])
                parts += (kept + block.first, places[kept])
        return tuple(parts)

    @staticmethod
    def _allowed(mask: Tensor, values: Tensor, between: Any) -> Tensor:
        return mask if between is None else mask & (values >= between[0]) & (values <= between[1])


class BatchHardMiner(_theirs.BatchHardMiner, BatchEasyHardMiner):
    """The farthest positive and the nearest negative of each row that has both, as `BatchEasyHardMiner`."""


class MultiSimilarityMiner(_theirs.MultiSimilarityMiner):
    """Positives that are farther than the nearest negative, negatives nearer than the farthest positive, or nearly."""

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Indices:
        reason = _unfit(self, embeddings, ref_emb)
        if reason is None and ref_labels is labels and ref_emb is not embeddings:
            reason = "ref_labels are the labels but ref_emb are not the embeddings: row i is row i there in part"
        if reason is not None:
            not_fused(self, reason)
            return super().mine(embeddings, labels, ref_emb, ref_labels)
        if ref_emb is embeddings:
            ref_labels = labels
        parts = []
        for block in _blocks(self, embeddings, labels, ref_emb, ref_labels):
            far = block.far(self)
            farthest, _, _ = _extreme(far, block.similar, True)
            nearest, _, _ = _extreme(far, block.dissimilar, False)
            positives = block.similar & (far + self.epsilon > nearest[:, None])
            negatives = block.dissimilar & (far - self.epsilon < farthest[:, None])
            # Without a kind, nothing is beyond its end; that of an infinite distance would be.
            positives &= block.dissimilar.any(dim=1, keepdim=True)
            negatives &= block.similar.any(dim=1, keepdim=True)
            parts.append((*block.pairs(positives), *block.pairs(negatives)))
        return _joined(parts)


class PairMarginMiner(_theirs.PairMarginMiner):
    """Positives beyond a margin, and negatives within another one."""

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Indices:
        reason = _unfit(self, embeddings, ref_emb)
        if reason is not None:
            not_fused(self, reason)
            return super().mine(embeddings, labels, ref_emb, ref_labels)
        sign = -1 if self.distance.is_inverted else 1
        parts = []
        for block in _blocks(self, embeddings, labels, ref_emb, ref_labels):
            far = block.far(self)
            positives = block.pairs(block.similar & (far > sign * self.pos_margin))
            negatives = block.pairs(block.dissimilar & (far < sign * self.neg_margin))
            parts.append((*positives, *negatives))
        return _joined(parts)


class TripletMarginMiner(_theirs.TripletMarginMiner):
    """Triplets that violate the margin, or do not ("easy"): in memory for those that are given."""

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Indices:
        reason = _unfit(self, embeddings, ref_emb)
        if reason is not None:
            not_fused(self, reason)
            return super().mine(embeddings, labels, ref_emb, ref_labels)
        none = torch.zeros(0, dtype=torch.int64)
        parts: list[Indices] = [(none, none, none)]
        for block in _blocks(self, embeddings, labels, ref_emb, ref_labels):
            far = block.far(self)
            rows, positives = torch.where(block.similar)
            # Each pair with all rows of the reference, some pairs at a time.
            count = max(1, BLOCK // len(ref_emb))
            for a, p in zip(torch.split(rows, count), torch.split(positives, count)):
                places, negatives = torch.where(self._kept(far[a] - far[a, p][:, None]) & block.dissimilar[a])
                parts.append((a[places] + block.first, p[places], negatives))
        return _joined(parts)

    def _kept(self, margins: Tensor) -> Tensor:
        """Which triplets are given, by how much farther the negative is."""
        if self.type_of_triplets == "easy":
            return margins > self.margin
        kept = margins <= self.margin
        if self.type_of_triplets == "hard":
            kept &= margins <= 0
        elif self.type_of_triplets == "semihard":
            kept &= margins > 0
        return kept


class DistanceWeightedMiner(_theirs.DistanceWeightedMiner):
    """Random triplets: a positive at random, and a negative with the reciprocal of the density of its distance among
    random rows as its weight. The draws are those of the library in distribution, not for a seed.
    """

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Indices:
        reason = _unfit(self, embeddings, ref_emb)
        if reason is not None:
            not_fused(self, reason)
            return super().mine(embeddings, labels, ref_emb, ref_labels)
        unit, ref_unit = (self.distance.maybe_normalize(rows.detach()) for rows in (embeddings, ref_emb))
        itself = ref_labels is labels
        # Weights are relative to the greatest of all, as there, which decides what is too small for a number.
        greatest = torch.zeros((), dtype=unit.dtype) - torch.inf
        for block in _blocks(self, embeddings, labels, ref_emb, ref_labels):
            logarithms = self._logarithms(block.values, unit.shape[1])
            of_all = torch.where(block.dissimilar, logarithms, 0.0)[logarithms.isfinite()]
            greatest = torch.cat([greatest[None], of_all]).max()
        none = torch.zeros(0, dtype=torch.int64)
        parts: list[Indices] = [(none, none, none)]
        for label in torch.unique(labels):
            (anchors,), (positives,) = torch.where(labels == label), torch.where(ref_labels == label)
            (negatives,) = torch.where(ref_labels != label)
            if len(positives) <= itself or len(negatives) == 0:
                continue
            for some in torch.split(anchors, max(1, BLOCK // len(negatives))):
                values = _between(self.distance, unit[some], ref_unit[negatives])
                logarithms = self._logarithms(values, unit.shape[1])
                weights = (logarithms - greatest).exp()
                weights[~logarithms.isfinite() | (values.clamp(min=self.cutoff) >= self.nonzero_loss_cutoff)] = 0
                some, weights = some[weights.sum(dim=1) > 0], weights[weights.sum(dim=1) > 0]
                if len(some) == 0:
                    continue
                # As many triplets of an anchor as its class has rows.
                drawn = torch.multinomial(weights, len(positives), replacement=True)
                others = torch.randint(len(positives) - itself, drawn.shape)
                if itself:  # the rows of the class but for the anchor
                    others += others >= torch.searchsorted(positives, some)[:, None]
                repeated = some.repeat_interleave(len(positives))
                parts.append((repeated, positives[others.flatten()], negatives[drawn.flatten()]))
        return _joined(parts)

    def _logarithms(self, values: Tensor, cols: int) -> Tensor:
        """Logarithms of the weights by distance."""
        values = values.clamp(min=self.cutoff)
        return (2.0 - cols) * values.log() - (cols - 3) / 2 * (1.0 - 0.25 * values**2).log()
