"""Softmaxes of a row's similarities: NT-Xent, SupCon, N-pairs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytorch_metric_learning.losses as theirs
import torch
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch import Tensor

from drlim import Softmax

from .._anchors import Scalar
from ._anchors import OfAnchors, log_sums, made, value
from ._batch import Batch, batch_of
from ._fused import LossDict, NotFused, number, of_pairs, reduced
from ._similarity import Similarity, rows_of, similarity_of


def scale_of(temperature: Any, embeddings: Tensor) -> Scalar:
    """1 / temperature, which may be learned."""
    if not isinstance(temperature, Tensor):
        steep = made(lambda: Softmax(temperature=number("temperature", temperature)))
        return float(steep.scale)
    if temperature.dim() != 0 or temperature.dtype != embeddings.dtype or temperature.device.type != "cpu":
        raise NotFused("a temperature that is not a number of the type of the embeddings")
    made(lambda: Softmax(temperature=temperature.item()))
    return 1 / temperature


class NTXentLoss(OfAnchors, theirs.NTXentLoss):
    """`pytorch_metric_learning.losses.NTXentLoss`: each similar pair against the negatives of its anchor."""

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        similarity, scale = similarity_of(self.distance), scale_of(self.temperature, embeddings)
        batch = batch_of(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        if batch.too_few or not batch.similar or not batch.dissimilar:
            return self._nothing()
        reduction = {"mean": "mean-of-pairs", "sum": "sum"}.get(self._reduction("loss") or "")
        if reduction is not None:
            rows = rows_of(similarity, batch.queries, batch.keys)
            if not self._clips(float(scale) * rows.reach, batch):
                loss, of_scale = made(Softmax, float(scale), "each"), scale if isinstance(scale, Tensor) else None
                return {"loss": reduced(value(batch, rows, loss, reduction, scale=of_scale))}
        return self._each(batch, similarity, scale)

    def _clips(self, reach: float, batch: Batch) -> bool:
        """Whether a pair may cost so much that what is added to its share there is seen."""
        tiny = torch.finfo(batch.queries.dtype)
        return reach + math.log(len(batch.keys)) > math.log(tiny.eps / 10) - math.log(tiny.tiny)

    def _each(self, batch: Batch, similarity: Similarity, scale: Scalar) -> LossDict:
        """The value of each similar pair, as it is added up there."""
        anchors, others, x, sums = log_sums(batch, similarity, scale)
        # An anchor without negatives has no sum: its pairs cost nothing.
        alike = np.bincount(batch.key_labels, minlength=batch.query_labels.max() + 1)[batch.query_labels]
        over = torch.where(torch.from_numpy(alike < len(batch.keys))[anchors], sums[anchors] - x, -torch.inf)
        share = torch.exp(-torch.logaddexp(over, torch.zeros_like(over)))
        return {"loss": of_pairs(-torch.log(share + torch.finfo(share.dtype).tiny), anchors, others)}


class SupConLoss(OfAnchors, theirs.SupConLoss):
    """`pytorch_metric_learning.losses.SupConLoss`."""

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        similarity, scale = similarity_of(self.distance), scale_of(self.temperature, embeddings)
        batch = batch_of(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        if batch.too_few or not batch.similar or not batch.dissimilar:
            return self._nothing()
        return self._parts(batch, similarity, Softmax(float(scale)), scale=scale if isinstance(scale, Tensor) else None)


class NPairsLoss(OfAnchors, theirs.NPairsLoss):
    """`pytorch_metric_learning.losses.NPairsLoss`: one pair of each label, its first row against the second ones of
    all.
    """

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        if labels is None or ref_emb is not embeddings or ref_labels is not labels:
            raise NotFused
        similarity = similarity_of(self.distance)
        if indices_tuple is None:
            anchors, positives = first_pairs(labels)
        else:
            anchors, positives = lmu.convert_to_pos_pairs_with_unique_labels(indices_tuple, labels)
        self.num_pairs = len(anchors)
        if self.num_pairs == 0:
            return self._nothing()
        each, count = np.arange(len(anchors)), len(anchors)
        batch = Batch(embeddings[anchors], embeddings[positives], each, each, None, count, count * (count - 1))
        least = torch.finfo(embeddings.dtype).eps / 2
        return self._parts(batch, similarity, Softmax(1.0), indices=anchors, least=least)


def first_pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The first two rows of each label that has two, in the order of labels."""
    array = labels.numpy()
    rows = np.argsort(array, kind="stable")
    ordered = array[rows]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    starts = starts[np.diff(np.append(starts, len(array))) > 1]
    return torch.from_numpy(rows[starts]), torch.from_numpy(rows[starts + 1])
