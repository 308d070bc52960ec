"""Lifted structure losses: similar pairs, or rows, against the log-sums of their negatives."""

from __future__ import annotations

from typing import Any

import pytorch_metric_learning.losses as theirs
import torch
from torch import Tensor

from drlim import GeneralizedLifted, Lifted

from ._anchors import OfAnchors, log_sums, made, value
from ._batch import Batch, batch_of
from ._fused import LossDict, NotFused, number, of_pairs, reduced
from ._similarity import Similarity, rows_of, similarity_of


class LiftedStructureLoss(OfAnchors, theirs.LiftedStructureLoss):
    """`pytorch_metric_learning.losses.LiftedStructureLoss`: both rows of a pair lift it."""

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        similarity = similarity_of(self.distance)
        positive, negative = margins(self, similarity)
        batch = batch_of(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        if not batch.single:
            raise NotFused("ref_emb, where negatives of other rows are taken")
        if batch.too_few or not batch.similar or not batch.dissimilar:
            return self._nothing()
        reduction = {"mean": "mean-of-pairs", "sum": "sum"}.get(self._reduction("loss") or "")
        if reduction is None:
            return self._each(batch, similarity, negative - positive)
        rows = rows_of(similarity, batch.queries, batch.keys)
        return {"loss": reduced(value(batch, rows, made(Lifted, positive, negative), reduction))}

    def _each(self, batch: Batch, similarity: Similarity, margin: float) -> LossDict:
        """The value of each similar pair. Of the margins only their difference is seen."""
        anchors, others, t, sums = log_sums(batch, similarity, 1.0)
        values = torch.relu(torch.logaddexp(sums[anchors], sums[others]) - t + margin) ** 2 / 2
        return {"loss": of_pairs(values.unsqueeze(1), anchors, others)}


class GeneralizedLiftedStructureLoss(OfAnchors, theirs.GeneralizedLiftedStructureLoss):
    """`pytorch_metric_learning.losses.GeneralizedLiftedStructureLoss`."""

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        similarity = similarity_of(self.distance)
        loss = made(GeneralizedLifted, *margins(self, similarity))
        batch = batch_of(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        return self._nothing() if batch.too_few else self._parts(batch, similarity, loss, column=True)


def margins(loss: Any, similarity: Similarity) -> tuple[float, float]:
    """Those of similar and of dissimilar pairs as kernels take them."""
    positive, negative = number("pos_margin", loss.pos_margin), number("neg_margin", loss.neg_margin)
    if similarity.inverted:
        positive, negative = -positive, -negative
    return positive - similarity.shift, negative - similarity.shift
