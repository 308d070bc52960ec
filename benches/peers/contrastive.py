"""What works of losses and works of training share: random data, and the loss in numpy and PyTorch."""

import numpy as np


def random(*shape, seed=1):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def contrastive(distance, similar, margin):
    """Value and slope of Hadsell, Chopra and LeCun (2006)."""
    gap = (margin - distance).clip(0)
    push = -np.divide(gap, distance, where=distance > 0, out=np.zeros_like(gap))
    return np.where(similar, distance**2, gap**2) / 2, np.where(similar, 1, push)


def torch_contrastive(torch, distance, similar, margin):
    gap = (margin - distance).relu()
    return torch.where(similar, distance.square(), gap.square()) / 2
