"""lightly's NTXentLoss (1.6) by the kernels, without matrices of logits: a subclass, so arguments are its own.

    >>> from drlim.torch.lightly import NTXentLoss  # from lightly.loss import NTXentLoss
    >>> NTXentLoss(temperature=0.5)(out0, out1).backward()

A memory bank, several processes, and embeddings that are not of float32 or float64 on the CPU are left to lightly,
which a `NotFusedWarning` says once for each loss. There are no second derivatives.
"""

from __future__ import annotations

import torch
from lightly.loss import ntx_ent_loss as _theirs
from lightly.utils import dist
from torch import Tensor
from torch.nn.functional import normalize

from drlim import Softmax

from ._anchors import all_anchors
from ._fused import NotFusedWarning, not_fused, unfit, unfit_number

__all__ = ["NTXentLoss", "NotFusedWarning"]


class NTXentLoss(_theirs.NTXentLoss):
    """The loss of SimCLR: the cross entropy of each of 2N rows among all others, its other view being the right one."""

    def forward(self, out0: Tensor, out1: Tensor) -> Tensor:
        reason = unfit(out0, out1) or unfit_number("temperature", self.temperature, above_zero=True)
        if self.memory_bank.size[0] > 0:
            reason = "negatives come from a memory bank"
        elif self.gather_distributed and dist.world_size() > 1:
            reason = "negatives are gathered from other processes"
        elif out1.shape != out0.shape:
            reason = f"out1 has shape {tuple(out1.shape)} and out0 {tuple(out0.shape)}, the kernels take two views"
        if reason is not None:
            not_fused(self, reason)
            value: Tensor = super().forward(out0, out1)
            return value
        rows = normalize(torch.cat([out0, out1]))
        images = torch.arange(len(out0)).repeat(2)
        return all_anchors(Softmax(temperature=self.temperature), rows, images, measure="dot")
