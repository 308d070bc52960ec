"""The losses of `drlim` for tensors of PyTorch on the CPU, with gradients into the graph.

    >>> import torch, drlim.torch
    >>> loss = drlim.torch.ContrastiveLoss(pos_margin=0.0, neg_margin=1.0)
    >>> embeddings = torch.randn(512, 128, requires_grad=True)
    >>> loss(embeddings, torch.randint(10, (512,))).backward()

For losses of anchors the scale may be a tensor that is learned, as that of CLIP is:

    >>> image, text = torch.randn(2, 64, 128, requires_grad=True)
    >>> logit_scale = torch.tensor(2.66, requires_grad=True)
    >>> drlim.torch.clip_loss(image, text, logit_scale.exp(), normalize=True).backward()

Functions have the names and arguments of those for arrays, and return a scalar of the embeddings' type, or with
`reduction="none"` one value a pair. Value and gradient come from one call in the forward pass, where a gradient is
wanted; the backward pass multiplies. Gradients can be differentiated (`create_graph=True`): gradient penalties,
Hessian-vector products and the like; not those of `triplets` and of anchors, whose backward pass raises then.

Programs that use pytorch-metric-learning change one import, for its classes computed by these kernels:

    >>> from drlim.torch import losses  # was: from pytorch_metric_learning import losses
    >>> losses.SupConLoss()(embeddings, torch.randint(10, (512,))).backward()

This module, `drlim.torch.losses`, needs pytorch-metric-learning and is imported by those who want it alone.

Tensors are of float32 or float64 and on the CPU; they are taken without copies where their rows are contiguous.
Labels, flags and weights are constants, and may be tensors, arrays or lists; they are copied where a gradient is wanted,
so they may be refilled at once. Inputs may be changed in place once a scalar is there, whose first gradient is at hand;
what would have to be computed again from changed inputs raises. (Nobody sees a change by `.data` or through NumPy.)
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("drlim.torch needs PyTorch: pip install 'drlim[torch]'") from error

from ._anchors import all_anchors, clip_loss, cross_anchors, info_nce, siglip_loss, sup_con_loss
from ._functions import all_pairs, cross, indexed, row_distances, rows, triplet_rows, triplets
from ._modules import BatchLoss, BatchTripletLoss, ContrastiveLoss, RowsLoss, TripletMarginLoss, TripletRowsLoss

__all__ = [
    "BatchLoss",
    "BatchTripletLoss",
    "ContrastiveLoss",
    "RowsLoss",
    "TripletMarginLoss",
    "TripletRowsLoss",
    "all_anchors",
    "all_pairs",
    "clip_loss",
    "cross",
    "cross_anchors",
    "indexed",
    "info_nce",
    "row_distances",
    "rows",
    "siglip_loss",
    "sup_con_loss",
    "triplet_rows",
    "triplets",
]
