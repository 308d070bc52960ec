"""The contrastive loss: a hinge of each pair, averaged for similar and dissimilar pairs apart."""

from __future__ import annotations

from typing import Any

import pytorch_metric_learning.losses as theirs
from pytorch_metric_learning.reducers import MultipleReducers
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch import Tensor

from drlim import LinearHinge, PairLoss, SquaredHinge

from .._functions import all_pairs, cross
from ._anchors import made
from ._batch import Batch, Entries, batch_of, checked
from ._fused import Fused, LossDict, NotFused, number, reduced
from ._similarity import Similarity, rows_of, similarity_of, written_out

REDUCTIONS = {"mean": "balanced", "mean-nonzero": "balanced-nonzero", "sum": "sum"}


class ContrastiveLoss(Fused, theirs.ContrastiveLoss):
    """`pytorch_metric_learning.losses.ContrastiveLoss`: of all pairs by `all_pairs` and `cross`, of a miner's pairs by
    `indexed`.
    """

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        similarity = similarity_of(self.distance)
        try:
            batch = batch_of(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        except NotFused:
            if indices_tuple is None:
                raise
            return self._picked(similarity, embeddings, indices_tuple, ref_emb)
        if batch.too_few:
            return self._nothing()
        return self._all(similarity, batch)

    def _all(self, similarity: Similarity, batch: Batch) -> LossDict:
        """Of all pairs."""
        names = {self._reduction(name) for name in self._sub_loss_names()}
        name = names.pop()
        if names or name is None or type(self.reducer) is not MultipleReducers:
            raise NotFused("a reducer of each pair, of all pairs")
        rows = rows_of(similarity, batch.queries, batch.keys)
        loss = self._loss(similarity, rows.normalize)
        if batch.single:
            # Pairs count in both orders there.
            reduction: Any = (2.0, 2.0) if name == "sum" else REDUCTIONS[name]
            how = {"normalize": rows.normalize, "reduction": reduction}
            value = all_pairs(loss, rows.queries, batch.query_labels, **how)
        else:
            queries, keys = rows.queries, rows.keys
            if rows.normalize:
                queries, keys = written_out(similarity, queries, keys)
            labels = batch.query_labels, batch.key_labels
            value = cross(loss, queries, keys, *labels, own=batch.own, reduction=REDUCTIONS[name])
        return {"pos_loss": reduced(value), "neg_loss": reduced(value.new_zeros(()))}

    def _loss(self, similarity: Similarity, unit: bool) -> PairLoss:
        """The loss of pairs, of rows that are stretched by √2 where distances are squared."""
        positive, negative = number("pos_margin", self.pos_margin), number("neg_margin", self.neg_margin)
        loss: PairLoss
        if similarity.squared and positive == 0:
            loss = made(SquaredHinge, 2 * negative)
        elif similarity.inverted and positive == 1 and unit:
            loss = made(SquaredHinge, 2 * (1 - negative))
        elif similarity.inverted or similarity.squared:
            raise NotFused(f"pos_margin={self.pos_margin} with distance={type(self.distance).__name__}()")
        else:
            loss = made(LinearHinge, positive, negative)
        return loss

    def _picked(self, similarity: Similarity, embeddings: Tensor, indices_tuple: Any, ref_emb: Tensor) -> LossDict:
        """Of pairs that were picked."""
        a1, p, a2, n = lmu.convert_to_pairs(checked(indices_tuple, len(embeddings), len(ref_emb)), None)
        if all(len(part) <= 1 for part in (a1, p, a2, n)):
            return self._nothing()
        entries = Entries(similarity, embeddings, ref_emb)
        found: LossDict = self._compute_loss(entries(a1, p), entries(a2, n), (a1, p, a2, n))
        return found
