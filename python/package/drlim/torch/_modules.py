"""Losses as modules, with the signatures that people use."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize as to_unit_length

from drlim import Graph, LinearHinge, PairLoss, Reduction, TripletLoss, TripletMargin
from drlim._triplets import Mining

from ._functions import Constant, WithNone, all_pairs, cross, indexed, rows, triplet_rows, triplets

Indices = tuple[Tensor, ...]
"""What miners of pytorch-metric-learning return: anchors and positives, anchors and negatives; or triplets."""


class ContrastiveLoss(nn.Module):
    """max(0, d - pos_margin) for pairs of one label, max(0, neg_margin - d) for others, over all pairs of a batch.

    By default the same as pytorch-metric-learning's `ContrastiveLoss(pos_margin, neg_margin)`: rows are scaled to unit
    length first, and values averaged over what is not zero, for similar and dissimilar pairs apart. `indices_tuple`
    picks pairs, as its miners do; with `ref_emb` and `ref_labels`, pairs are of a row of `embeddings` and one of those.
    """

    def __init__(
        self,
        pos_margin: float = 0.0,
        neg_margin: float = 1.0,
        *,
        normalize: bool = True,
        reduction: Reduction = "balanced-nonzero",
    ) -> None:
        super().__init__()
        self.loss = LinearHinge(pos_margin, neg_margin)
        self.normalize = normalize
        self.reduction: Reduction = reduction

    def forward(
        self,
        embeddings: Tensor,
        labels: Constant = None,
        indices_tuple: Indices | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Constant = None,
    ) -> Tensor:
        if indices_tuple is None and ref_emb is None:
            return all_pairs(
                self.loss, embeddings, labels, normalize=self.normalize, reduction=self.reduction
            )
        if self.normalize:
            embeddings = to_unit_length(embeddings)
            ref_emb = None if ref_emb is None else to_unit_length(ref_emb)
        if indices_tuple is not None:
            z, pairs, similar = picked(embeddings, indices_tuple, ref_emb)
            return indexed(self.loss, z, pairs, similar, reduction=self.reduction)
        assert ref_emb is not None
        return cross(self.loss, embeddings, ref_emb, labels, ref_labels, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"{self.loss}, normalize={self.normalize}, reduction={self.reduction!r}"


def picked(embeddings: Tensor, indices: Indices, ref_emb: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of both sides, the pairs that a miner picked of them, and which of these are similar."""
    if len(indices) == 3:
        anchors, positives, negatives = indices
        indices = anchors, positives, anchors, negatives
    if len(indices) != 4:
        raise ValueError(f"indices_tuple has {len(indices)} parts, expected 3 or 4")
    a1, p, a2, n = indices
    z, first = (embeddings, 0) if ref_emb is None else (torch.cat([embeddings, ref_emb]), len(embeddings))
    others = len(embeddings) if ref_emb is None else len(ref_emb)
    for part, count in ((a1, len(embeddings)), (p, others), (a2, len(embeddings)), (n, others)):
        check_indices(part, count)
    pairs = torch.stack([torch.cat([a1, a2]), torch.cat([p, n]) + first], dim=1)
    similar = torch.zeros(len(pairs), dtype=torch.bool)
    similar[: len(a1)] = True
    return z, pairs, similar


def check_indices(part: Tensor, count: int) -> None:
    """Refuses indices of rows that are not there; -1 would be the last one elsewhere."""
    if part.numel() and not 0 <= int(part.min()) <= int(part.max()) < count:
        raise IndexError(f"indices_tuple holds indices from {int(part.min())} to {int(part.max())} of {count} rows")


class TripletMarginLoss(nn.Module):
    """max(0, d(a, p) - d(a, n) + margin) over triplets of a batch.

    By default the same as pytorch-metric-learning's `TripletMarginLoss(margin, swap)`: all triplets of rows of unit
    length, averaged over what is not zero. All triplets are of at most 1448 rows in float32, 1024 in float64; `mining`
    may be "hardest" or "semi-hard" instead, of any number. `indices_tuple` picks triplets, as its miners do; positives and
    negatives are rows of `ref_emb` then, where that is given (`ref_labels` is taken for the sake of its signature).
    """

    def __init__(
        self,
        margin: float = 0.05,
        swap: bool = False,
        *,
        mining: Mining = "all",
        normalize: bool = True,
        reduction: Reduction = "mean-nonzero",
    ) -> None:
        super().__init__()
        self.loss = TripletMargin(margin, swap)
        self.mining: Mining = mining
        self.normalize = normalize
        self.reduction: Reduction = reduction

    def forward(
        self,
        embeddings: Tensor,
        labels: Constant = None,
        indices_tuple: Indices | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Constant = None,
    ) -> Tensor:
        if indices_tuple is None:
            if ref_emb is not None:
                raise ValueError("ref_emb is given without indices_tuple, expected both")
            return triplets(
                self.loss,
                embeddings,
                labels,
                mining=self.mining,
                normalize=self.normalize,
                reduction=self.reduction,
            )
        if self.normalize:
            embeddings = to_unit_length(embeddings)
            ref_emb = None if ref_emb is None else to_unit_length(ref_emb)
        if len(indices_tuple) != 3:
            raise ValueError(f"indices_tuple has {len(indices_tuple)} parts, expected 3")
        anchors, positives, negatives = indices_tuple
        others = embeddings if ref_emb is None else ref_emb
        for part, rows in ((anchors, embeddings), (positives, others), (negatives, others)):
            check_indices(part, len(rows))
        parts = embeddings[anchors], others[positives], others[negatives]
        return triplet_rows(self.loss, *parts, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"{self.loss}, mining={self.mining!r}, normalize={self.normalize}, reduction={self.reduction!r}"


class BatchLoss(nn.Module):
    """Any loss of pairs over all pairs of a batch: `BatchLoss(Contrastive(1.0))(embeddings, labels)` is the paper's."""

    def __init__(
        self,
        loss: PairLoss,
        *,
        reduction: Reduction = "mean",
        normalize: bool = False,
        ignore_label: int | None = None,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.reduction: Reduction = reduction
        self.normalize = normalize
        self.ignore_label = ignore_label

    def forward(self, embeddings: Tensor, labels: Constant = None, *, graph: Graph | None = None) -> Tensor:
        return all_pairs(
            self.loss,
            embeddings,
            labels,
            graph=graph,
            ignore_label=self.ignore_label if graph is None else None,
            normalize=self.normalize,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        return f"{self.loss}, reduction={self.reduction!r}"


class BatchTripletLoss(nn.Module):
    """Any loss of triplets over those of a batch: `BatchTripletLoss(TripletMargin(0.2))(embeddings, labels)`."""

    def __init__(
        self, loss: TripletLoss, *, mining: Mining = "hardest", reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.loss = loss
        self.mining: Mining = mining
        self.reduction: Reduction = reduction

    def forward(self, embeddings: Tensor, labels: Constant = None, *, graph: Graph | None = None) -> Tensor:
        return triplets(
            self.loss, embeddings, labels, graph=graph, mining=self.mining, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        return f"{self.loss}, mining={self.mining!r}, reduction={self.reduction!r}"


class RowsLoss(nn.Module):
    """Any loss of pairs by rows: `RowsLoss(Contrastive(1.0))(a, b, similar)`."""

    def __init__(self, loss: PairLoss, *, reduction: WithNone = "mean") -> None:
        super().__init__()
        self.loss = loss
        self.reduction: WithNone = reduction

    def forward(self, a: Tensor, b: Tensor, similar: Constant, weights: Constant = None) -> Tensor:
        return rows(self.loss, a, b, similar, weights=weights, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"{self.loss}, reduction={self.reduction!r}"


class TripletRowsLoss(nn.Module):
    """Any loss of triplets by rows: with `TripletMargin(margin, swap)` the same as `torch.nn.TripletMarginLoss` but for
    the 1e-6 that this adds to differences.
    """

    def __init__(self, loss: TripletLoss, *, reduction: WithNone = "mean") -> None:
        super().__init__()
        self.loss = loss
        self.reduction: WithNone = reduction

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor, weights: Constant = None) -> Tensor:
        return triplet_rows(self.loss, anchor, positive, negative, weights=weights, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"{self.loss}, reduction={self.reduction!r}"
