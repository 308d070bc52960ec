"""Losses with parameters: a softmax of each row over vectors of classes, and proxies as anchors of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_metric_learning.losses as theirs
import torch
from pytorch_metric_learning.reducers import ThresholdReducer
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch import Tensor

from drlim import AnchorLoss, ArcFace, CosFace, MultiSimilarity, Softmax

from .._anchors import Scalar, cross_anchors
from ._anchors import OfAnchors, made
from ._batch import Batch, Entries
from ._fused import LossDict, NotFused, number, of_elements
from ._similarity import rows_of, similarity_of
from .softmax import scale_of


class OfClasses(OfAnchors):
    """A loss of rows against vectors of classes, which are the columns of `W`."""

    def _of_classes(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices: Any,
        keys: Tensor,
        loss: AnchorLoss,
        scale: Scalar | None = None,
    ) -> LossDict:
        weights = None if indices is None else lmu.convert_to_weights(indices, labels, dtype=embeddings.dtype)
        classes, each = labels.numpy(), np.arange(len(keys))
        count = len(classes)
        batch = Batch(embeddings, keys, classes, each, None, count, count * (len(keys) - 1))
        similarity = similarity_of(self.distance)  # type: ignore[attr-defined]
        least = torch.finfo(embeddings.dtype).eps / 2
        parts = self._parts(batch, similarity, loss, scale=scale, weights=weights, least=least)
        self.add_weight_regularization_to_loss_dict(parts, self.W.t())  # type: ignore[attr-defined]
        return parts


def check_classes(
    embeddings: Tensor, labels: Any, ref_emb: Any, ref_labels: Any, vectors: Tensor, classes: int
) -> None:
    """Leaves to pytorch-metric-learning what it refuses, and vectors on another device."""
    if labels is None or ref_emb is not embeddings or ref_labels is not labels:
        raise NotFused
    if labels.dtype != torch.int64 or not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise NotFused("labels that are no numbers of classes")
    if vectors.device.type != "cpu":
        raise NotFused(f"parameters on {vectors.device}")


class NormalizedSoftmaxLoss(OfClasses, theirs.NormalizedSoftmaxLoss):
    """`pytorch_metric_learning.losses.NormalizedSoftmaxLoss`."""

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        similarity, scale = similarity_of(self.distance), scale_of(self.temperature, embeddings)
        check_classes(embeddings, labels, ref_emb, ref_labels, self.W, self.W.shape[1])
        self.cast_types(embeddings.dtype, embeddings.device)
        keys = self.W.t() if similarity.unit else self.distance.normalize(self.W, dim=0).t()
        of_scale = scale if isinstance(scale, Tensor) else None
        return self._of_classes(embeddings, labels, indices_tuple, keys, made(Softmax, float(scale)), of_scale)


class OfMargin(OfClasses):
    """A softmax of cosines with a margin."""

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        similarity_of(self.distance)  # type: ignore[attr-defined]
        weights: Tensor = self.W  # type: ignore[attr-defined]
        if self.collect_stats:  # type: ignore[attr-defined]
            raise NotFused("collect_stats")
        scale, margin = number("scale", self.scale), number("margin", self.margin)  # type: ignore[attr-defined]
        loss = made(self._kind, scale, margin)
        check_classes(embeddings, labels, ref_emb, ref_labels, weights, weights.shape[1])
        self.cast_types(embeddings.dtype, embeddings.device)  # type: ignore[attr-defined]
        return self._of_classes(embeddings, labels, indices_tuple, weights.t(), loss)

    _kind: type[AnchorLoss]


class CosFaceLoss(OfMargin, theirs.CosFaceLoss):
    """`pytorch_metric_learning.losses.CosFaceLoss`."""

    _kind = CosFace


class ArcFaceLoss(OfMargin, theirs.ArcFaceLoss):
    """`pytorch_metric_learning.losses.ArcFaceLoss`."""

    _kind = ArcFace


class ProxyAnchorLoss(OfAnchors, theirs.ProxyAnchorLoss):
    """`pytorch_metric_learning.losses.ProxyAnchorLoss`.

    Each row is similar to one proxy, so similar pairs are as many as rows and are added up here. Kernels add up the
    dissimilar ones: as the multi-similarity loss of proxies as anchors, less its part of similar pairs.
    """

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        similarity = similarity_of(self.distance)
        if not similarity.unit or not similarity.inverted:
            raise NotFused("a distance that is not the cosine")
        if any(isinstance(self._reducer(name), ThresholdReducer) for name in self._sub_loss_names()):
            raise NotFused("a reducer with a threshold")  # which the roundings of a difference would cross
        margin, alpha = number("margin", self.margin), number("alpha", self.alpha)
        loss = made(MultiSimilarity, alpha, alpha, -margin)
        check_classes(embeddings, labels, ref_emb, ref_labels, self.proxies, self.num_classes)
        if indices_tuple is not None:
            raise NotFused("indices_tuple")
        self.cast_types(embeddings.dtype, embeddings.device)

        rows, classes = rows_of(similarity, embeddings, self.proxies), self.num_classes
        # The proxy of each row.
        t = Entries(similarity, embeddings, self.proxies)(torch.arange(len(labels)), labels)
        positives = soft_sums(alpha * (margin - t), labels, classes)
        how: Any = {"normalize": rows.normalize, "measure": rows.measure, "anchors": "keys", "reduction": "none"}
        both = cross_anchors(loss, rows.queries, rows.keys, labels.numpy(), np.arange(classes), **how)
        negatives = alpha * both - soft_sums(-alpha * (margin + t), labels, classes)
        parts: LossDict = {
            "pos_loss": {**of_elements(positives), "divisor": len(labels.unique())},
            "neg_loss": {**of_elements(negatives), "divisor": classes},
        }
        self.add_weight_regularization_to_loss_dict(parts, self.proxies)
        return parts


def soft_sums(x: Tensor, labels: Tensor, classes: int) -> Tensor:
    """ln(1 + the sum of e^x) over the rows of each class."""
    most = x.new_zeros(classes).scatter_reduce(0, labels, x.detach(), "amax")
    return most + torch.log(torch.exp(-most).index_add(0, labels, torch.exp(x - most[labels])))
