"""Losses of one value for each anchor, or made of sums over the negatives of each anchor."""

from __future__ import annotations

from typing import Any, Callable

import torch
from torch import Tensor

from drlim import AnchorLoss, Softmax

from .._anchors import Scalar, all_anchors, cross_anchors
from ._batch import Batch, Entries
from ._fused import Fused, LossDict, NotFused, of_elements, reduced
from ._similarity import Rows, Similarity, rows_of


def made(kind: Callable[..., Any], *parameters: Any) -> Any:
    """A loss of `drlim`, or the reason why there is none with these parameters."""
    try:
        return kind(*parameters)
    except (TypeError, ValueError) as error:
        raise NotFused(str(error)) from None


def value(
    batch: Batch, rows: Rows, loss: AnchorLoss, reduction: Any, *, scale: Scalar | None = None, weights: Any = None
) -> Tensor:
    """The value of the queries as anchors."""
    how: dict[str, Any] = {
        "scale": scale,
        "normalize": rows.normalize,
        "measure": rows.measure,
        "weights": weights,
        "reduction": reduction,
    }
    if batch.single:
        return all_anchors(loss, rows.queries, batch.query_labels, **how)
    labels = batch.query_labels, batch.key_labels
    # Values of each anchor need the keys in the backward pass, when a memory may hold the next batch already.
    keys = rows.keys.clone() if reduction == "none" else rows.keys
    return cross_anchors(loss, rows.queries, keys, *labels, own=batch.own, **how)


class OfAnchors(Fused):
    """A loss of one value for each anchor."""

    def _parts(
        self,
        batch: Batch,
        similarity: Similarity,
        loss: AnchorLoss,
        *,
        scale: Scalar | None = None,
        weights: Any = None,
        indices: Tensor | None = None,
        column: bool = False,
        least: float = 0.0,
        change: Callable[[Tensor], Tensor] | None = None,
    ) -> LossDict:
        """The dictionary of the loss: a number where the reducer allows it, or the value of each anchor, in a `column`
        where pytorch-metric-learning has them so. Values below `least` are rounded to 0 there; `change` is what each
        value is to become.
        """
        rows = rows_of(similarity, batch.queries, batch.keys)
        reduction = self._reduction("loss")
        seen = least > 0 and reduction in ("mean-nonzero", None)
        if reduction is not None and change is None and not seen:
            return {"loss": reduced(value(batch, rows, loss, reduction, scale=scale, weights=weights))}
        values = value(batch, rows, loss, "none", scale=scale, weights=weights)
        if change is not None:
            values = change(values)
        if seen:
            values = torch.where(values < least, 0.0, values)
        return {"loss": of_elements(values.unsqueeze(1) if column else values, indices)}


def log_sums(batch: Batch, similarity: Similarity, scale: Scalar) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The similar pairs, their exponents `scale` t, and for each row the logarithm of the sum of e^(scale t) over its
    dissimilar pairs, of rows that have both kinds.

    A softmax without positives in its denominator, less the mean exponent of these, is the difference of both.
    """
    anchors, others = batch.pairs(True)
    t = Entries(similarity, batch.queries, batch.keys)(anchors, others)
    x = scale * (t if similarity.inverted else -t)
    rows = rows_of(similarity, batch.queries, batch.keys)
    number = scale.item() if isinstance(scale, Tensor) else scale
    loss = made(Softmax, number, "mean", True)
    difference = value(batch, rows, loss, "none", scale=scale if isinstance(scale, Tensor) else None)
    counts = torch.bincount(anchors, minlength=len(batch.queries)).clamp(min=1)
    means = torch.zeros_like(difference).index_add(0, anchors, x) / counts
    return anchors, others, x, difference + means
