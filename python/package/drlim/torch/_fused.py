"""What the losses and miners that are subclasses of another library's share: the warning, once an instance, that a call
goes to that library after all, and the reasons that embeddings give for it.
"""

from __future__ import annotations

import warnings
from weakref import WeakSet

import torch
from torch import Tensor, nn


class NotFusedWarning(UserWarning):
    """A loss or miner computes as the library does that it comes from: the kernels cannot do what it is asked for."""


_warned: WeakSet[nn.Module] = WeakSet()


def not_fused(module: nn.Module, reason: str) -> None:
    """Says, once for each module, why it computes as its library does."""
    if module not in _warned:
        _warned.add(module)
        warnings.warn(f"{type(module).__name__} is not fused: {reason}", NotFusedWarning, stacklevel=3)


def unfit(*embeddings: Tensor) -> str | None:
    """Why the kernels cannot take embeddings, if they cannot."""
    for tensor in embeddings:
        if tensor.device.type != "cpu":
            return f"embeddings are on {tensor.device}, the kernels run on the CPU"
        if tensor.layout != torch.strided:
            return f"embeddings are {tensor.layout}, the kernels take dense ones"
        if tensor.dtype not in (torch.float32, torch.float64):
            return f"embeddings are of {tensor.dtype}, the kernels take float32 and float64"
        if tensor.dim() != 2 or len(tensor) == 0:
            return f"embeddings have shape {tuple(tensor.shape)}, the kernels take rows, at least one"
        if tensor.dtype != embeddings[0].dtype or tensor.shape[1] != embeddings[0].shape[1]:
            return "embeddings are of several types or widths, the kernels take one"
    return None


def unfit_number(name: str, value: Tensor | float, *, above_zero: bool = False) -> str | None:
    """Why the kernels cannot take a number, or a tensor of one, if they cannot."""
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.device.type != "cpu":
            return f"{name} has shape {tuple(value.shape)} on {value.device}, the kernels take one number on the CPU"
        if value.dtype not in (torch.float32, torch.float64):
            return f"{name} is of {value.dtype}, the kernels take float32 and float64"
    found = value.item() if isinstance(value, Tensor) else float(value)
    if not abs(found) < float("inf") or (above_zero and found <= 0):
        return f"{name} is {found}, the kernels take a finite {'positive ' if above_zero else ''}number"
    return None
