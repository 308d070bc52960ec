"""The triplet margin loss: of all triplets of a batch, or of those that a miner picked."""

from __future__ import annotations

from typing import Any

import pytorch_metric_learning.losses as theirs
import torch
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch import Tensor

from drlim import SquaredTriplet, TripletLoss, TripletMargin
from drlim._triplets import most_of_all

from .._functions import triplets
from .._indices import triplets_of
from ._batch import Batch, Entries, batch_of, checked
from ._fused import Fused, LossDict, NotFused, number, reduced
from ._similarity import Similarity, rows_of, similarity_of


class TripletMarginLoss(Fused, theirs.TripletMarginLoss):
    """`pytorch_metric_learning.losses.TripletMarginLoss`: of all triplets of one batch by `triplets`, of others by the
    distances of their pairs.
    """

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        similarity = similarity_of(self.distance)
        number("margin", self.margin)
        if indices_tuple is None and self.triplets_per_anchor != "all":
            if labels is None:
                raise NotFused
            indices_tuple = lmu.get_random_triplet_indices(labels, ref_labels, t_per_anchor=self.triplets_per_anchor)
        if indices_tuple is None:
            batch = batch_of(embeddings, labels, None, ref_emb, ref_labels)
            whole = self._whole(similarity, batch)
            if whole is not None:
                return whole
            indices_tuple = *batch.pairs(True), *batch.pairs(False)
        return self._picked(similarity, embeddings, indices_tuple, ref_emb)

    def _whole(self, similarity: Similarity, batch: Batch) -> LossDict | None:
        """Of all triplets of one batch, where kernels have its loss and reducer."""
        reduction = self._reduction("loss")
        if reduction is None or self.smooth_loss or not batch.single:
            return None
        if len(batch.queries) > most_of_all(batch.queries.detach().numpy().dtype):
            return None
        rows = rows_of(similarity, batch.queries, batch.keys)
        loss = self._loss(similarity, rows.normalize)
        if loss is None:
            return None
        how: Any = {"mining": "all", "normalize": rows.normalize, "reduction": reduction}
        value = triplets(loss, rows.queries, batch.query_labels, **how)
        return {"loss": reduced(value / 2 if isinstance(loss, SquaredTriplet) else value)}

    def _loss(self, similarity: Similarity, unit: bool) -> TripletLoss | None:
        """The loss of triplets, if there is one. Squared distances and cosines are halves of what it takes."""
        try:
            if not (similarity.inverted or similarity.squared):
                return TripletMargin(float(self.margin), bool(self.swap))
            if not self.swap and (similarity.squared or unit):
                return SquaredTriplet(2 * float(self.margin))
        except ValueError:  # a margin that kernels do not take
            pass
        return None

    def _picked(self, similarity: Similarity, embeddings: Tensor, indices_tuple: Any, ref_emb: Tensor) -> LossDict:
        """Of triplets that were picked, or of each pair of an anchor and a positive with each of it and a negative."""
        parts = checked(indices_tuple, len(embeddings), len(ref_emb))
        entries = Entries(similarity, embeddings, ref_emb)
        if len(parts) == 3:
            a, p, n = parts
            near, far = entries(a, p), entries(a, n)
        else:
            a1, p, a2, n = parts
            first, second = triplets_of(a1, a2)
            near, far = entries(a1, p).index_select(0, first), entries(a2, n).index_select(0, second)
            a, p, n = a1[first], p[first], n[second]
        if len(a) == 0:
            return self._nothing()
        if self.swap:
            # Positives count as rows of the embeddings, as there.
            if int(p.max()) >= len(embeddings):
                raise NotFused
            far = self.distance.smallest_dist(far, entries(p, n))
        violation = self.distance.margin(near, far) + self.margin
        values = torch.nn.functional.softplus(violation) if self.smooth_loss else torch.relu(violation)
        return {"loss": {"losses": values, "indices": (a, p, n), "reduction_type": "triplet"}}
