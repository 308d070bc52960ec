"""Multi-similarity and circle loss: soft margins of a row's most telling pairs."""

from __future__ import annotations

from typing import Any

import pytorch_metric_learning.losses as theirs
import torch
from torch import Tensor

from drlim import Circle, MultiSimilarity

from ._anchors import OfAnchors, made
from ._batch import batch_of
from ._fused import LossDict, NotFused, number
from ._similarity import similarity_of


class MultiSimilarityLoss(OfAnchors, theirs.MultiSimilarityLoss):
    """`pytorch_metric_learning.losses.MultiSimilarityLoss`."""

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        similarity = similarity_of(self.distance)
        base = similarity.signed(number("base", self.base)) + similarity.shift
        alpha, beta = number("alpha", self.alpha), number("beta", self.beta)
        loss = made(MultiSimilarity, alpha, beta, base)
        batch = batch_of(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        if batch.too_few:
            return self._nothing()
        least = torch.finfo(embeddings.dtype).eps / 2 / max(alpha, beta)
        return self._parts(batch, similarity, loss, column=True, least=least)


class CircleLoss(OfAnchors, theirs.CircleLoss):
    """`pytorch_metric_learning.losses.CircleLoss`."""

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        similarity = similarity_of(self.distance)
        # These are what is read there.
        m = number("delta_n", self.delta_n)
        if (self.op, self.on, self.delta_p) != (1 + m, -m, 1 - m):
            raise NotFused("op, on, delta_p or delta_n are not those of m")
        loss = made(Circle, m, number("gamma", self.gamma))
        batch = batch_of(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        if batch.too_few:
            return self._nothing()
        # In float32 nobody sees the difference.
        change = linear_above if embeddings.dtype == torch.float64 else None
        return self._parts(batch, similarity, loss, column=True, change=change)


def linear_above(values: Tensor) -> Tensor:
    """ln(1 + e^x) as PyTorch's softplus: x itself where x is more than 20."""
    far = values > 20.000000002
    return torch.where(far, values + torch.log1p(-torch.exp(-torch.where(far, values, 1.0))), values)
