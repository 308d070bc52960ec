"""The way of all losses here: `compute_loss` by kernels, or else by pytorch-metric-learning, with a warning.

A loss gives the dictionary that it gives there. Its values go to the reducer one for each anchor, pair or triplet; or,
where the reducer is one that kernels know, reduced already.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.losses import BaseMetricLossFunction
from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer, MultipleReducers, SumReducer
from torch import Tensor

from .._fused import NotFusedWarning

LossDict = dict[str, dict[str, Any]]


class NotFused(Exception):
    """The reason why kernels do not compute a loss; none where they would gain nothing, or it is refused there."""


class Fused:
    """What stands before a class of pytorch-metric-learning: `compute_loss` by `_fused`, unless this raises `NotFused`.
    """

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def compute_loss(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Any, ref_labels: Any) -> Any:
        given = embeddings, labels, indices_tuple, ref_emb, ref_labels
        try:
            kind: Any = type(self)
            changed = overridden(kind)
            if changed is not None:
                raise NotFused(f"{kind.__name__}.{changed}() is overridden")
            check_tensors(embeddings, labels, ref_emb, ref_labels)
            check_distance(self.distance)  # type: ignore[attr-defined]
            return self._fused(*given)
        except NotFused as reason:
            self._warn(str(reason))
        return super().compute_loss(*given)  # type: ignore[misc]

    def _fused(self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any) -> LossDict:
        """The dictionary of `compute_loss`. Raises `NotFused` before it changes what is not changed there."""
        raise NotImplementedError

    def _nothing(self) -> LossDict:
        """The dictionary of a loss of 0."""
        parts: LossDict = self.zero_losses()  # type: ignore[attr-defined]
        return parts

    def _warn(self, reason: str) -> None:
        known: set[str] = self.__dict__.setdefault("_not_fused", set())
        if not reason or reason in known:
            return
        known.add(reason)
        # The line of the user: on the way are compute_loss, what keeps compilers off, forward, two of torch.nn.Module.
        warnings.warn(
            f"{type(self).__name__}: pytorch-metric-learning computes this loss, not drlim: {reason}",
            NotFusedWarning,
            stacklevel=7,
        )

    def _reducer(self, name: str) -> Any:
        """The reducer of a part of the loss."""
        reducer = self.reducer  # type: ignore[attr-defined]
        if type(reducer) is MultipleReducers:
            return reducer.reducers[name] if name in reducer.reducers else reducer.default_reducer
        return reducer

    def _reduction(self, name: str) -> str | None:
        """The reduction of kernels that is the reducer of a part of the loss, if there is one."""
        reducer = self._reducer(name)
        if reducer.collect_stats or is_watched(reducer):
            return None
        if type(reducer) is AvgNonZeroReducer and (reducer.low, reducer.high) != (0, None):
            return None
        return REDUCTIONS.get(type(reducer))


REDUCTIONS = {MeanReducer: "mean", AvgNonZeroReducer: "mean-nonzero", SumReducer: "sum"}
"""Reductions over anchors, pairs or triplets. Of AvgNonZeroReducer: no value is below 0."""


def reduced(value: Tensor | float) -> dict[str, Any]:
    """A part of a loss that is a number already."""
    return {"losses": value, "indices": None, "reduction_type": "already_reduced"}


def of_elements(values: Tensor, indices: Tensor | None = None) -> dict[str, Any]:
    """A part of a loss of a value for each row, or for each of those that the indices name."""
    rows = torch.arange(len(values)) if indices is None else indices
    return {"losses": values, "indices": rows, "reduction_type": "element"}


def of_pairs(values: Tensor, anchors: Tensor, positives: Tensor) -> dict[str, Any]:
    """A part of a loss of a value for each similar pair."""
    return {"losses": values, "indices": (anchors, positives), "reduction_type": "pos_pair"}


def check_tensors(embeddings: Any, labels: Any, ref_emb: Any, ref_labels: Any) -> None:
    """Leaves to pytorch-metric-learning what kernels cannot read."""
    for name, tensor in (("embeddings", embeddings), ("ref_emb", ref_emb)):
        if tensor.device.type != "cpu":
            raise NotFused(f"{name} on {tensor.device}")
        if tensor.dtype not in (torch.float32, torch.float64):
            raise NotFused(f"{name} of {tensor.dtype}")
        if tensor.layout != torch.strided:
            raise NotFused(f"{name} of layout {tensor.layout}")
        if tensor.dim() != 2 or tensor.numel() == 0 or tensor.dtype != embeddings.dtype:
            raise NotFused
    if embeddings.shape[1] != ref_emb.shape[1]:
        raise NotFused
    for name, tensor in (("labels", labels), ("ref_labels", ref_labels)):
        if tensor is not None and (tensor.is_floating_point() or tensor.is_complex()):
            raise NotFused(f"{name} of {tensor.dtype}")


def check_distance(distance: Any) -> None:
    """Leaves to pytorch-metric-learning a distance whose calls somebody counts."""
    if getattr(distance, "collect_stats", False):
        raise NotFused("distance.collect_stats")
    if is_watched(distance):
        raise NotFused("hooks of the distance")


def is_watched(module: torch.nn.Module) -> bool:
    return any(
        (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    )


def number(name: str, value: Any) -> float:
    """A parameter of a loss."""
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(value)
    raise NotFused(f"{name} is a {type(value).__name__}")


REPLACEABLE = {
    "__init__",
    "_fused",
    "_sub_loss_names",
    "compute_loss",
    "forward",
    "get_default_distance",
    "get_default_reducer",
    "get_default_weight_init_func",
}
"""Methods that may be another's: kernels stand for none of them."""


@cache
def overridden(kind: Any) -> str | None:
    """A method that a user's subclass has in place of one that kernels stand for, if any."""
    place = next(at for at, of in enumerate(kind.__mro__) if of.__module__.startswith("pytorch_metric_learning."))
    theirs = kind.__mro__[place:]
    users = [of for of in kind.__mro__[:place] if not of.__module__.startswith(__package__)]
    methods: set[str] = set()
    for of in theirs[: theirs.index(BaseMetricLossFunction)]:
        methods.update(name for name, value in vars(of).items() if callable(value) or isinstance(value, staticmethod))
    return next((name for of in users for name in vars(of) if name in methods - REPLACEABLE), None)
