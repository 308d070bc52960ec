"""What type checkers are to know of the package: `mypy --strict` reads this, nothing runs it."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import drlim
import drlim.torch


def arrays(a: NDArray[np.float32], b: NDArray[np.float32], similar: list[bool], labels: NDArray[np.int64]) -> float:
    outcome = drlim.contrastive(a, b, similar, margin=1.0, reduction="balanced")
    assert_type(outcome, drlim.RowsOutcome)
    assert_type(outcome.grad_a, NDArray[Any] | None)
    assert_type(drlim.triplets(drlim.TripletMargin(0.2), a, labels, mining="all"), drlim.BatchOutcome)
    assert_type(drlim.Graph.nearest(a, 5).pairs(), NDArray[np.uint32])
    ntxent = drlim.Softmax(temperature=0.1, positives="each")
    anchors = drlim.all_anchors(ntxent, a, labels, measure="dot", reduction=0.5)
    assert_type(anchors, drlim.AnchorsOutcome)
    assert_type(anchors.totals.correct, int)
    across = drlim.cross_anchors(drlim.Softmax(20.0), a, b, position=0, anchors="both", log_sums=True)
    assert_type(across.log_sums, NDArray[Any] | None)
    if across.sums is not None:
        known = drlim.merge_sums(across.sums, across.sums)
        drlim.cross_anchors(drlim.Softmax(), a, b, position=0, anchors="both", known=known, measure="student")
    assert_type((across.queries + across.keys).factor("mean"), float)
    return drlim.all_pairs(drlim.Contrastive(), a, labels, reduction=(1.0, 2.0)).value


class OfAnotherLibrary:
    def __dlpack__(self, *, stream: int | None = None) -> object: ...


def other_arrays(half: NDArray[np.float16], other: OfAnotherLibrary, tensor: Tensor, out: NDArray[np.float32]) -> None:
    assert_type(drlim.all_pairs(drlim.Contrastive(), half, other, out=out), drlim.BatchOutcome)
    assert_type(drlim.nearest(other, tensor, 3), tuple[NDArray[np.int64], NDArray[Any]])
    assert_type(drlim.PairList(4, other), drlim.PairList)


def tensors(z: Tensor, labels: Tensor) -> Tensor:
    assert_type(drlim.torch.all_pairs(drlim.Contrastive(), z, labels), Tensor)
    assert_type(drlim.torch.all_anchors(drlim.CosFace(), z, labels, scale=z.sum()), Tensor)
    assert_type(drlim.torch.siglip_loss(z, z, z.sum(), -10.0), Tensor)
    loss = drlim.torch.ContrastiveLoss(pos_margin=0.0, neg_margin=1.0)
    return loss.forward(z, labels)


def mistakes(a: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    drlim.all_pairs("contrastive", a, labels)  # type: ignore[arg-type]
    drlim.all_pairs(drlim.TripletMargin(), a, labels)  # type: ignore[arg-type]
    drlim.triplets(drlim.TripletMargin(), a, labels, mining="some")  # type: ignore[arg-type]
    drlim.all_anchors(drlim.Contrastive(), a, labels)  # type: ignore[arg-type]
    drlim.all_anchors(drlim.Softmax(positives="some"), a, labels)  # type: ignore[arg-type]
    drlim.cross_anchors(drlim.Softmax(), a, a, position=0, anchors="some")  # type: ignore[arg-type]
    drlim.Contrastive(margin="1")  # type: ignore[arg-type]
    drlim.nearest(drlim.Softmax(), a, 1)  # type: ignore[arg-type]
