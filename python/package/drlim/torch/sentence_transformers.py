"""Losses of sentence-transformers (6.2) by the kernels, without matrices of similarities: subclasses of its own, so
arguments, trainers and wrappers are its own, too.

    >>> from drlim.torch import sentence_transformers as losses  # from sentence_transformers import losses
    >>> loss = losses.MultipleNegativesRankingLoss(model)
    >>> SentenceTransformerTrainer(model=model, train_dataset=pairs, loss=loss).train()

Every loss of the library is here; those that are not defined below are the library's. Embeddings that are not on the
CPU, and what the kernels cannot do, are left to the library, which a `NotFusedWarning` says once for each loss.
Embeddings of half precision are computed in float32 where the library does so. Losses of rankings and of mined triplets
have no second derivatives.
"""

from __future__ import annotations

import warnings
from typing import Any, Callable

import torch
from sentence_transformers.sentence_transformer import losses as _theirs
from sentence_transformers.sentence_transformer.losses import cached_multiple_negatives_symmetric_ranking as _cached
from sentence_transformers.util import cos_sim, dot_score, get_world_size, pairwise_cos_sim, pytorch_cos_sim
from torch import Tensor
from torch.nn.functional import normalize

import drlim
from drlim import Softmax, SquaredTriplet, TripletMargin

from ._anchors import cross_anchors
from ._functions import row_distances, triplets
from ._fused import NotFusedWarning, not_fused, unfit, unfit_number

__all__ = [*_theirs.__all__, "NotFusedWarning"]


def __getattr__(name: str) -> Any:
    return getattr(_theirs, name)


def _floats(embeddings: list[Tensor]) -> list[Tensor]:
    """Embeddings of half precision in float32, as the library's own similarities of all pairs are."""
    halves = torch.float16, torch.bfloat16
    return [rows.float() if rows.dtype in halves else rows for rows in embeddings]


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", repr(function))


# Rankings


def _unranked(loss: Any, embeddings: list[Tensor]) -> str | None:
    """Why the kernels cannot rank these embeddings as the loss says, if they cannot."""
    if loss.similarity_fct not in (cos_sim, pytorch_cos_sim, dot_score):
        return f"similarity_fct is {_name(loss.similarity_fct)}, the kernels have cos_sim and dot_score"
    if loss.gather_across_devices and get_world_size() > 1:
        return "gather_across_devices is set, the kernels have the embeddings of one process"
    if loss.hardness_mode is not None and loss.hardness_strength > 0:
        return f"hardness_mode is {loss.hardness_mode!r}, the kernels weight all negatives alike"
    return unfit(*embeddings) or unfit_number("scale", loss.scale, above_zero=True)


def _ranked(loss: Any, embeddings: list[Tensor]) -> Tensor:
    """The cross entropy of each query at its positive, among what the directions of the loss name.

    Columns are queries, positives, and hard negatives.
    """
    if loss.similarity_fct is not dot_score:
        embeddings = [normalize(rows) for rows in embeddings]
    queries, positives, *_ = embeddings
    documents = torch.cat(embeddings[1:])

    def against(rows: Tensor, candidates: Tensor, **how: Any) -> Tensor:
        return cross_anchors(Softmax(), rows, candidates, scale=loss.scale, position=0, measure="dot", **how)

    wanted = set(loss.directions)
    if wanted == {"query_to_doc"}:
        return against(queries, documents)
    if loss.partition_mode == "per_direction":
        if len(documents) == len(queries):
            return against(queries, documents, anchors="both")
        return (against(queries, documents) + against(positives, queries)) / 2
    # One softmax over several directions: each gives the logarithm of its sum of powers by the power of the positive.
    if "query_to_query" in wanted:
        others = torch.cat([documents, queries])
        parts = [against(queries, others, own=len(documents), reduction="none")]
    else:
        parts = [against(queries, documents, reduction="none")]
    if "doc_to_query" in wanted:
        parts.append(against(positives, queries, reduction="none"))
    if "doc_to_doc" in wanted and len(queries) > 1:
        # The decoupled softmax leaves out the documents of the same query, whose mean it takes off instead.
        numbers = torch.arange(len(queries))
        rest = cross_anchors(
            Softmax(decoupled=True),
            positives,
            documents,
            numbers,
            numbers.repeat(len(embeddings) - 1),
            scale=loss.scale,
            measure="dot",
            reduction="none",
        )
        own = torch.stack(embeddings[1:]).mean(dim=0)
        parts.append(rest + loss.scale * ((own - queries) * positives).sum(dim=1))
    return torch.stack(parts).logsumexp(dim=0).mean()


class MultipleNegativesRankingLoss(_theirs.MultipleNegativesRankingLoss):
    """InfoNCE over in-batch and hard negatives, in all directions and both partitions; hardness is not fused."""

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        rows = _floats(embeddings)
        reason = _unranked(self, rows)
        if len(rows) < 2 or reason is not None:
            not_fused(self, reason or "there are no documents")
            return super().compute_loss_from_embeddings(embeddings, labels)
        return _ranked(self, rows)


class CachedMultipleNegativesRankingLoss(_theirs.CachedMultipleNegativesRankingLoss):
    """The same with embeddings made again in mini-batches: the loss itself takes all rows at once."""

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        rows = _floats([torch.cat(column) for column in reps])
        reason = _unranked(self, rows)
        if reason is not None:
            not_fused(self, reason)
            return super().calculate_loss(reps, labels, with_backward=with_backward)
        value = _ranked(self, rows)
        if with_backward:
            value.backward()  # type: ignore[no-untyped-call]
            value = value.detach()
        return value


with warnings.catch_warnings():
    # The library warns of these names where they are subclassed.
    warnings.simplefilter("ignore", DeprecationWarning)

    class MultipleNegativesSymmetricRankingLoss(
        _theirs.MultipleNegativesSymmetricRankingLoss, MultipleNegativesRankingLoss
    ):
        """`MultipleNegativesRankingLoss` of queries among documents and of positives among queries."""

    class CachedMultipleNegativesSymmetricRankingLoss(
        _cached.CachedMultipleNegativesSymmetricRankingLoss, CachedMultipleNegativesRankingLoss
    ):
        """`CachedMultipleNegativesRankingLoss` of queries among documents and of positives among queries."""


# Pairs by rows


class _With:
    """A module whose attributes are read and written through this, but for some that are replaced: a method of its
    library that is called on this computes with those, and nobody else sees them.
    """

    def __init__(self, module: Any, **replaced: Any) -> None:
        object.__setattr__(self, "_module", module)
        object.__setattr__(self, "_replaced", replaced)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._module)

    def __getattr__(self, name: str) -> Any:
        return self._replaced[name] if name in self._replaced else getattr(self._module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._module, name, value)


def _cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    return row_distances(a, b, "cosine")


def _euclidean_distance(a: Tensor, b: Tensor) -> Tensor:
    # The library's is PyTorch's pairwise_distance, which adds this to every difference.
    return row_distances(a, b - 1e-6)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    a, b = _floats([a, b])
    return 1 - row_distances(a, b, "cosine")


_FUSED: dict[Any, Callable[[Tensor, Tensor], Tensor]] = {
    _theirs.SiameseDistanceMetric.COSINE_DISTANCE: _cosine_distance,
    _theirs.SiameseDistanceMetric.EUCLIDEAN: _euclidean_distance,
    pairwise_cos_sim: _cosine,
}
"""What is computed instead of a function of two matrices by rows."""


def _by_rows(loss: Any, name: str, embeddings: list[Tensor]) -> Any:
    """The loss with the attribute `name`, such a function, replaced; or itself where the kernels do not have that."""
    function = getattr(loss, name)
    reason = unfit(*embeddings)
    if function not in _FUSED:
        reason = f"{name} is {_name(function)}, the kernels have cosines and EUCLIDEAN"
    if reason is None:
        return _With(loss, **{name: _FUSED[function]})
    not_fused(loss, reason)
    return loss


class ContrastiveLoss(_theirs.ContrastiveLoss):
    """Contrastive loss of pairs by rows: distances and their gradients in one pass each. MANHATTAN is not fused."""

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        fused = _by_rows(self, "distance_metric", embeddings)
        return _theirs.ContrastiveLoss.compute_loss_from_embeddings(fused, embeddings, labels)


class OnlineContrastiveLoss(_theirs.OnlineContrastiveLoss):
    """Contrastive loss of the hard pairs by rows, as `ContrastiveLoss` fused."""

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        fused = _by_rows(self, "distance_metric", embeddings)
        return _theirs.OnlineContrastiveLoss.compute_loss_from_embeddings(fused, embeddings, labels)


class CoSENTLoss(_theirs.CoSENTLoss):
    """The order of pairs by rows: cosines and their gradients in one pass each, then the library's sums."""

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        fused = _by_rows(self, "similarity_fct", _floats(embeddings))
        return _theirs.CoSENTLoss.compute_loss_from_embeddings(fused, embeddings, labels)


# Triplets of a batch


_OF_BATCH = _theirs.BatchHardTripletLossDistanceFunction


def _unmined(loss: Any, rows: Tensor, labels: Tensor) -> str | None:
    """Why the kernels cannot mine these rows, if they cannot."""
    cosine = loss.distance_metric is _OF_BATCH.cosine_distance
    if not cosine and loss.distance_metric is not _OF_BATCH.euclidean_distance:
        metric = _name(loss.distance_metric)
        return f"distance_metric is {metric}, the kernels have euclidean_distance and cosine_distance"
    reason = unfit(rows)
    if reason is None and labels.numel() != len(rows):
        reason = f"there are {labels.numel()} labels of {len(rows)} rows"
    if reason is None and cosine and not torch.linalg.vector_norm(rows.detach(), dim=1).min() >= 1e-12:
        reason = "an embedding is 0, it has no cosine"
    return reason


def _classes(labels: Tensor) -> Tensor:
    """Labels of any type as whole numbers."""
    classes: Tensor = torch.unique(labels.view(-1), return_inverse=True)[1]
    return classes


class BatchHardTripletLoss(_theirs.BatchHardTripletLoss):
    """Each row with its farthest positive and nearest negative; of equally far rows that of the lowest index."""

    def batch_hard_triplet_loss(self, labels: Tensor, embeddings: Tensor) -> Tensor:
        (rows,) = _floats([embeddings])
        reason = _unmined(self, rows, labels)
        if reason is None and len(rows) == 1:
            reason = "there is one row"
        if reason is not None:
            not_fused(self, reason)
            return super().batch_hard_triplet_loss(labels, embeddings)
        cosine = self.distance_metric is _OF_BATCH.cosine_distance
        unit = normalize(rows) if cosine else rows
        mined = drlim.hardest(unit.detach().numpy(), _classes(labels).numpy())
        far, near = (torch.from_numpy(indices[:, 0]) for indices, _ in mined)

        def to(others: Tensor) -> Tensor:
            return row_distances(unit, unit[others.clamp(min=0)], "cosine" if cosine else "euclidean")

        # Alone in its class a row is its own positive, at 0; without negatives the positive stands in for one.
        positive = torch.where(far >= 0, to(far), 0.0)
        negative = torch.where(near >= 0, to(near), positive)
        return (positive - negative + self.triplet_margin).clamp(min=0).mean()


class BatchSemiHardTripletLoss(_theirs.BatchSemiHardTripletLoss):
    """Each pair of a class with the nearest row of another that is farther, or else the farthest."""

    def batch_semi_hard_triplet_loss(self, labels: Tensor, embeddings: Tensor) -> Tensor:
        (rows,) = _floats([embeddings])
        classes = _classes(labels)
        reason = _unmined(self, rows, labels) or unfit_number("margin", self.margin, above_zero=True)
        if reason is None and not classes.any():
            reason = "all labels are equal, there is no negative"
        if reason is not None:
            not_fused(self, reason)
            return super().batch_semi_hard_triplet_loss(labels, embeddings)
        if self.distance_metric is _OF_BATCH.cosine_distance:
            # Of unit rows 1 - cos is d²/2.
            return triplets(SquaredTriplet(2 * self.margin), normalize(rows), classes, mining="semi-hard") / 2
        return triplets(TripletMargin(self.margin), rows, classes, mining="semi-hard")
