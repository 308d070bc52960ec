"""Losses as modules, with the signatures of pytorch-metric-learning and of PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize as to_unit_length

from drlim import Graph, LinearHinge, PairLoss, Reduction, TripletLoss, TripletMargin
from drlim._arrays import choice, label, number, reduction_parts, truth
from drlim._losses import pair_parts, triplet_parts
from drlim._triplets import MINING, Mining, most_of_all, too_many

from ._calls import in_graph, rounded_to, taken
from ._functions import Constant, WithNone, all_pairs, cross, indexed, row_distances, rows, triplet_rows, triplets
from ._given import Given, given, itself, others_of, outside, pairs_across, picked
from ._indices import Indices, parts_of, triplets_of


class ContrastiveLoss(nn.Module):
    """max(0, d - pos_margin) for pairs of one label, max(0, neg_margin - d) for others, over all pairs of a batch.

    By default the same as pytorch-metric-learning's `ContrastiveLoss(pos_margin, neg_margin)`: rows are scaled to unit
    length first, and values averaged over what is not zero, for similar and dissimilar pairs apart. `indices_tuple`
    picks pairs, as its miners do: three or four tensors, arrays or lists of indices, or masks of bool. With `ref_emb`
    and `ref_labels`, pairs are of a row of `embeddings` and one of those, but not of a row and itself: where both are
    the same memory (the batch itself or a part of it, views, what has been detached), and, as there, of row i and row
    i where `ref_labels` is the same object as `labels`.
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
        positive, negative = number("pos_margin", pos_margin), number("neg_margin", neg_margin)
        if not 0 <= positive < float("inf"):
            raise ValueError(f"pos_margin is {positive}, expected finite and not negative")
        if not 0 < negative < float("inf"):
            raise ValueError(f"neg_margin is {negative}, expected finite and positive")
        self.loss = LinearHinge(positive, negative)
        self.normalize = truth("normalize", normalize)
        self.reduction: Reduction = reduction
        reduction_parts(reduction)

    def forward(
        self,
        embeddings: Tensor,
        labels: Constant = None,
        indices_tuple: Indices | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Constant = None,
    ) -> Tensor:
        if in_graph() and indices_tuple is None and ref_emb is not None:
            if not itself(embeddings, labels, ref_emb, ref_labels):
                return outside(self.forward)(embeddings, labels, None, ref_emb, ref_labels)
        of = given(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        return rounded_to(of.rounded, self._value(of, indices_tuple))

    def _value(self, of: Given, indices: Indices | None) -> Tensor:
        if indices is None and of.ref_emb is None:
            return all_pairs(
                self.loss, of.embeddings, of.labels, normalize=self.normalize, reduction=self.reduction
            )
        z, others = scaled(of) if self.normalize else (of.embeddings, of.ref_emb)
        if indices is not None:
            return indexed(self.loss, *picked(z, indices, others), reduction=self.reduction)
        assert others is not None
        if in_graph():
            return cross(self.loss, z, others, of.labels, of.ref_labels, own=0, reduction=self.reduction)
        if of.same is None:
            return cross(self.loss, z, others, of.labels, of.ref_labels, reduction=self.reduction)
        return others_of(self.loss, z, others, of.labels, of.ref_labels, of.same, self.reduction)

    def extra_repr(self) -> str:
        return f"{self.loss}, normalize={self.normalize}, reduction={self.reduction!r}"


class TripletMarginLoss(nn.Module):
    """max(0, d(a, p) - d(a, n) + margin) over triplets of a batch.

    By default the same as pytorch-metric-learning's `TripletMarginLoss(margin, swap)`: all triplets of rows of unit
    length, averaged over what is not zero. All triplets are of at most 1448 rows in float32, 1024 in float64; `mining`
    may be "hardest" or "semi-hard" instead, of any number. `indices_tuple` picks triplets, as its miners do; of pairs,
    in four parts, each pair of an anchor and a positive is put together with each of the anchor and a negative.

    With `ref_emb` and `ref_labels`, anchors are rows of `embeddings`, positives and negatives those of `ref_emb`; all
    triplets are looked at where there is no `indices_tuple`, in memory for each of them. A row is not its own positive:
    see `ContrastiveLoss`.
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
        choice("mining", mining, MINING)
        self.mining: Mining = mining
        self.normalize = truth("normalize", normalize)
        self.reduction: Reduction = reduction
        of_triplets(reduction)

    def forward(
        self,
        embeddings: Tensor,
        labels: Constant = None,
        indices_tuple: Indices | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Constant = None,
    ) -> Tensor:
        if in_graph() and indices_tuple is None and ref_emb is not None:
            return outside(self.forward)(embeddings, labels, None, ref_emb, ref_labels)
        of = given(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        return rounded_to(of.rounded, self._value(of, indices_tuple))

    def _value(self, of: Given, indices: Indices | None) -> Tensor:
        if indices is None and of.ref_emb is None:
            check_rows(of.embeddings, self.mining)
            return triplets(
                self.loss,
                of.embeddings,
                of.labels,
                mining=self.mining,
                normalize=self.normalize,
                reduction=self.reduction,
            )
        if indices is None:
            if self.mining != "all":
                raise ValueError(f'mining is {self.mining!r}, expected "all" with ref_emb, or indices_tuple')
            indices = pairs_across(of)
        z, others = scaled(of) if self.normalize else (of.embeddings, of.ref_emb)
        if others is None:
            others = z
        parts = parts_of(indices, len(z), len(others))
        if len(parts) == 3:
            anchors, positives, negatives = parts
            return triplet_rows(self.loss, z[anchors], others[positives], others[negatives], reduction=self.reduction)
        a1, p, a2, n = parts
        first, second = triplets_of(a1, a2)
        # Distances are computed by pairs, of which there are far fewer than triplets.
        near = row_distances(z[a1], others[p])[first]
        far = row_distances(z[a2], others[n])[second]
        if self.loss.swap:
            pairs, places = torch.unique(p[first] * len(others) + n[second], return_inverse=True)
            of_pairs = row_distances(others[pairs // len(others)], others[pairs % len(others)])
            far = torch.minimum(far, of_pairs[places])
        values = torch.relu(near - far + self.loss.margin)
        name = of_triplets(self.reduction)
        if name == "sum":
            return values.sum()
        counted = values != 0 if name == "mean-nonzero" else torch.ones_like(values)
        return values.sum() / counted.sum().clamp(min=1)

    def extra_repr(self) -> str:
        return f"{self.loss}, mining={self.mining!r}, normalize={self.normalize}, reduction={self.reduction!r}"


def of_triplets(reduction: Reduction) -> str:
    """The name of a reduction. Refused if triplets do not have it."""
    name = reduction_parts(reduction)[0]
    return choice("reduction", name, ("sum", "mean", "mean-nonzero"))


def check_rows(embeddings: Tensor, mining: Mining) -> None:
    """Refuses more rows than mining="all" takes. In a graph the number is known as it runs."""
    dtype = np.dtype(np.float64 if embeddings.dtype == torch.float64 else np.float32)
    if mining == "all" and not in_graph() and len(embeddings) > most_of_all(dtype):
        raise ValueError(too_many("embeddings", len(embeddings), dtype))


def scaled(of: Given) -> tuple[Tensor, Tensor | None]:
    """Embeddings and reference scaled to unit length."""
    return to_unit_length(of.embeddings), None if of.ref_emb is None else to_unit_length(of.ref_emb)


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
        pair_parts(loss)
        self.loss = loss
        reduction_parts(reduction)
        self.reduction: Reduction = reduction
        self.normalize = truth("normalize", normalize)
        self.ignore_label = label("ignore_label", ignore_label)

    def forward(self, embeddings: Tensor, labels: Constant = None, *, graph: Graph | None = None) -> Tensor:
        (z,), rounded = taken(embeddings=embeddings)
        value = all_pairs(
            self.loss,
            z,
            labels,
            graph=graph,
            ignore_label=self.ignore_label if graph is None else None,
            normalize=self.normalize,
            reduction=self.reduction,
        )
        return rounded_to(rounded, value)

    def extra_repr(self) -> str:
        ignored = "" if self.ignore_label is None else f", ignore_label={self.ignore_label}"
        return f"{self.loss}, reduction={self.reduction!r}, normalize={self.normalize}{ignored}"


class BatchTripletLoss(nn.Module):
    """Any loss of triplets over those of a batch: `BatchTripletLoss(TripletMargin(0.2))(embeddings, labels)`."""

    def __init__(
        self, loss: TripletLoss, *, mining: Mining = "hardest", reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        triplet_parts(loss)
        self.loss = loss
        choice("mining", mining, MINING)
        self.mining: Mining = mining
        of_triplets(reduction)
        self.reduction: Reduction = reduction

    def forward(self, embeddings: Tensor, labels: Constant = None, *, graph: Graph | None = None) -> Tensor:
        (z,), rounded = taken(embeddings=embeddings)
        check_rows(z, self.mining)
        value = triplets(self.loss, z, labels, graph=graph, mining=self.mining, reduction=self.reduction)
        return rounded_to(rounded, value)

    def extra_repr(self) -> str:
        return f"{self.loss}, mining={self.mining!r}, reduction={self.reduction!r}"


class RowsLoss(nn.Module):
    """Any loss of pairs by rows: `RowsLoss(Contrastive(1.0))(a, b, similar)`."""

    def __init__(self, loss: PairLoss, *, reduction: WithNone = "mean") -> None:
        super().__init__()
        pair_parts(loss)
        if reduction != "none":
            reduction_parts(reduction)
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
        triplet_parts(loss)
        if reduction != "none":
            of_triplets(reduction)
        self.loss = loss
        self.reduction: WithNone = reduction

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor, weights: Constant = None) -> Tensor:
        return triplet_rows(self.loss, anchor, positive, negative, weights=weights, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"{self.loss}, reduction={self.reduction!r}"
