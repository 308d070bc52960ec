"""Losses as modules, with the signatures of pytorch-metric-learning and of PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize as to_unit_length

from drlim import Graph, LinearHinge, PairLoss, Reduction, TripletLoss, TripletMargin
from drlim._arrays import choice, label, labels as label_array, number, reduction_parts, truth
from drlim._losses import pair_parts, triplet_parts
from drlim._triplets import MINING, Mining, most_of_all, too_many

from ._functions import (
    Constant,
    WithNone,
    _constant,
    _embeddings,
    all_pairs,
    cross,
    indexed,
    row_distances,
    rows,
    triplet_rows,
    triplets,
)
from ._indices import Indices, parts_of, same_rows, triplets_of

Labels = NDArray[np.int64]
Same = tuple[NDArray[np.int64], NDArray[np.int64]] | None
"""The places, in the embeddings and in a reference, of the rows that both share, if any."""


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
        given = batch_of(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        if indices_tuple is None and ref_emb is None:
            return all_pairs(
                self.loss, embeddings, given.labels, normalize=self.normalize, reduction=self.reduction
            )
        if self.normalize:
            embeddings = to_unit_length(embeddings)
            ref_emb = None if ref_emb is None else to_unit_length(ref_emb)
        if indices_tuple is not None:
            z, pairs, similar = picked(embeddings, indices_tuple, ref_emb)
            return indexed(self.loss, z, pairs, similar, reduction=self.reduction)
        assert ref_emb is not None and given.labels is not None and given.ref_labels is not None
        if given.same is None:
            return cross(self.loss, embeddings, ref_emb, given.labels, given.ref_labels, reduction=self.reduction)
        return others_of(self.loss, embeddings, ref_emb, given.labels, given.ref_labels, given.same, self.reduction)

    def extra_repr(self) -> str:
        return f"{self.loss}, normalize={self.normalize}, reduction={self.reduction!r}"


class Given:
    """The checked arguments of a module's call."""

    def __init__(self, labels: Labels | None, ref_labels: Labels | None, same: Same) -> None:
        self.labels = labels
        self.ref_labels = ref_labels
        self.same = same


@torch.compiler.disable  # type: ignore[untyped-decorator]
def batch_of(
    embeddings: Tensor, labels: Constant, indices: Any, ref_emb: Tensor | None, ref_labels: Constant
) -> Given:
    """Checks the arguments that losses have in pytorch-metric-learning, by their names there."""
    _embeddings(embeddings=embeddings)
    if labels is None and indices is None:
        raise TypeError("labels is None, expected labels or indices_tuple")
    of_batch = None if labels is None else label_array("labels", _constant(labels), len(embeddings))
    if ref_emb is None:
        if ref_labels is not None and ref_labels is not labels:
            raise ValueError("ref_labels is given without ref_emb, expected both")
        return Given(of_batch, of_batch, None)
    _embeddings(ref_emb=ref_emb)
    if ref_emb.dtype != embeddings.dtype:
        raise TypeError(f"ref_emb is of {ref_emb.dtype}, expected {embeddings.dtype} as embeddings")
    if ref_emb.shape[1] != embeddings.shape[1]:
        raise ValueError(f"ref_emb has {ref_emb.shape[1]} columns, expected {embeddings.shape[1]} as embeddings")
    if ref_labels is None and labels is not None and len(ref_emb) == len(embeddings):
        ref_labels = labels  # as there
    if ref_labels is None:
        if indices is None:
            raise TypeError(f"ref_labels is None, expected labels of the {len(ref_emb)} rows of ref_emb")
        return Given(of_batch, None, None)
    of_ref = label_array("ref_labels", _constant(ref_labels), len(ref_emb))
    if indices is not None:
        return Given(of_batch, of_ref, None)
    if ref_labels is labels:
        each = np.arange(len(ref_emb))
        return Given(of_batch, of_ref, (each, each))
    return Given(of_batch, of_ref, same_rows(embeddings, ref_emb))


def others_of(
    loss: PairLoss,
    embeddings: Tensor,
    ref_emb: Tensor,
    labels: Labels,
    ref_labels: Labels,
    same: tuple[NDArray[np.int64], NDArray[np.int64]],
    reduction: Reduction,
) -> Tensor:
    """All pairs of a row of the embeddings with one of the reference, but not of one with itself."""
    (these, those), count = same, len(embeddings)
    if len(these) == count and (np.diff(those) == 1).all() and (np.diff(these) == 1).all():
        return cross(loss, embeddings, ref_emb, labels, ref_labels, own=int(those[0]), reduction=reduction)
    # Rows are put in an order in which key i is query i: queries that are not in the reference get keys that are in no
    # pair.
    lone = np.setdiff1d(np.arange(count), these)
    rest = np.setdiff1d(np.arange(len(ref_emb)), those)
    both = np.concatenate([labels, ref_labels])
    no_label = np.setdiff1d(np.arange(len(both) + 1), both)[0]
    queries = np.concatenate([these, lone])
    keys = torch.cat([ref_emb[those], ref_emb.new_zeros(len(lone), ref_emb.shape[1]), ref_emb[rest]])
    of_keys = np.concatenate([ref_labels[those], np.full(len(lone), no_label), ref_labels[rest]])
    return cross(
        loss, embeddings[queries], keys, labels[queries], of_keys, own=0, ignore_label=int(no_label), reduction=reduction
    )


@torch.compiler.disable  # type: ignore[untyped-decorator]
def picked(embeddings: Tensor, indices: Indices, ref_emb: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of both sides, the pairs of them that a miner picked, and which of these pairs are similar."""
    parts = parts_of(indices, len(embeddings), len(embeddings if ref_emb is None else ref_emb))
    a1, p, a2, n = parts if len(parts) == 4 else (parts[0], parts[1], parts[0], parts[2])
    z, first = (embeddings, 0) if ref_emb is None else (torch.cat([embeddings, ref_emb]), len(embeddings))
    pairs = torch.stack([torch.cat([a1, a2]), torch.cat([p, n]) + first], dim=1)
    similar = torch.zeros(len(pairs), dtype=torch.bool)
    similar[: len(a1)] = True
    return z, pairs, similar


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
        given = batch_of(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        if indices_tuple is None and ref_emb is None:
            check_rows(embeddings, self.mining)
            return triplets(
                self.loss,
                embeddings,
                given.labels,
                mining=self.mining,
                normalize=self.normalize,
                reduction=self.reduction,
            )
        if indices_tuple is None:
            if self.mining != "all":
                raise ValueError(f'mining is {self.mining!r}, expected "all" with ref_emb, or indices_tuple')
            indices_tuple = pairs_across(given)
        if self.normalize:
            embeddings = to_unit_length(embeddings)
            ref_emb = None if ref_emb is None else to_unit_length(ref_emb)
        others = embeddings if ref_emb is None else ref_emb
        parts = parts_of(indices_tuple, len(embeddings), len(others))
        if len(parts) == 3:
            anchors, positives, negatives = parts
            three = embeddings[anchors], others[positives], others[negatives]
            return triplet_rows(self.loss, *three, reduction=self.reduction)
        a1, p, a2, n = parts
        check_triplets(a1, a2)
        first, second = triplets_of(a1, p, a2, n)
        # Distances are computed by pairs, of which there are far fewer than triplets.
        near = row_distances(embeddings[a1], others[p])[first]
        far = row_distances(embeddings[a2], others[n])[second]
        if self.loss.swap:
            pairs, places = torch.unique(p[first] * len(others) + n[second], return_inverse=True)
            of_pairs = row_distances(others[pairs // len(others)], others[pairs % len(others)])
            far = torch.minimum(far, of_pairs[places])
        values = torch.relu(near - far + self.loss.margin)
        count = {"sum": 1, "mean": len(values), "mean-nonzero": int((values != 0).sum())}[of_triplets(self.reduction)]
        return values.sum() / max(count, 1)

    def extra_repr(self) -> str:
        return f"{self.loss}, mining={self.mining!r}, normalize={self.normalize}, reduction={self.reduction!r}"


def of_triplets(reduction: Reduction) -> str:
    """The name of a reduction. Refused if triplets do not have it."""
    name = reduction_parts(reduction)[0]
    return choice("reduction", name, ("sum", "mean", "mean-nonzero"))


def check_rows(embeddings: Tensor, mining: Mining) -> None:
    """Refuses more rows than mining="all" takes."""
    dtype = embeddings.detach().numpy().dtype
    if mining == "all" and len(embeddings) > most_of_all(dtype):
        raise ValueError(too_many("embeddings", len(embeddings), dtype))


MOST_TRIPLETS = 1 << 26
"""The most triplets of pairs that are written out, in some 60 bytes for each."""


def check_triplets(a1: Tensor, a2: Tensor) -> None:
    """Refuses pairs of which there are more triplets than can be written out."""
    rows = 1 + max(int(part.max()) if len(part) else 0 for part in (a1, a2))
    count = int(torch.bincount(a2, minlength=rows)[a1].sum())
    if count > MOST_TRIPLETS:
        raise ValueError(
            f"embeddings have {count} triplets, expected at most {MOST_TRIPLETS} with ref_emb or pairs in four parts: "
            "pick triplets by indices_tuple"
        )


def pairs_across(given: Given) -> Indices:
    """All pairs of a row of the embeddings and one of the reference: similar ones, dissimilar ones."""
    assert given.labels is not None and given.ref_labels is not None
    alike = given.labels[:, None] == given.ref_labels
    apart = ~alike
    if given.same is not None:
        alike[given.same] = False
        apart[given.same] = False
    return [*np.nonzero(alike), *np.nonzero(apart)]


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
        _embeddings(embeddings=embeddings)
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
        triplet_parts(loss)
        self.loss = loss
        choice("mining", mining, MINING)
        self.mining: Mining = mining
        of_triplets(reduction)
        self.reduction: Reduction = reduction

    def forward(self, embeddings: Tensor, labels: Constant = None, *, graph: Graph | None = None) -> Tensor:
        _embeddings(embeddings=embeddings)
        check_rows(embeddings, self.mining)
        return triplets(
            self.loss, embeddings, labels, graph=graph, mining=self.mining, reduction=self.reduction
        )

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
