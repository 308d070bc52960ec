"""The losses of `drlim` for tensors of PyTorch on the CPU, with gradients into the graph.

    >>> import torch, drlim.torch
    >>> loss = drlim.torch.ContrastiveLoss(pos_margin=0.0, neg_margin=1.0)
    >>> embeddings = torch.randn(512, 128, requires_grad=True)
    >>> loss(embeddings, torch.randint(10, (512,))).backward()

For losses of anchors the scale may be a tensor that is learned, as that of CLIP is:

    >>> image, text = torch.randn(2, 64, 128, requires_grad=True)
    >>> logit_scale = torch.tensor(2.66, requires_grad=True)
    >>> drlim.torch.clip_loss(image, text, logit_scale.exp(), normalize=True).backward()

`drlim.torch.sentence_transformers`, `.open_clip`, `.lightly` and `.miners` have losses and miners of these libraries,
and of pytorch-metric-learning, by their own names: subclasses of theirs, to be imported where the library is installed.

Functions have the names and arguments of those for arrays, and return a scalar of the embeddings' type, or with
`reduction="none"` one value a pair. Value and gradient come from one call in the forward pass, where a gradient is
wanted; the backward pass multiplies. Gradients can be differentiated (`create_graph=True`): gradient penalties,
Hessian-vector products and the like; not those of `triplets` and of anchors, whose backward pass raises then.

Programs that use pytorch-metric-learning change one import, for its classes computed by these kernels:

    >>> from drlim.torch import losses  # was: from pytorch_metric_learning import losses
    >>> losses.SupConLoss()(embeddings, torch.randint(10, (512,))).backward()

This module, `drlim.torch.losses`, needs pytorch-metric-learning and is imported by those who want it alone.

Tensors are on the CPU; those of float32 or float64 are taken without copies where their rows are contiguous. Others are
refused: gradients flow through `z.cpu()`. float16 and bfloat16 become float32 first, and the value is rounded to their
type, as PyTorch's losses do; under `torch.autocast` it is float32, and tensors of several types are taken in one call.
Labels, flags and weights are constants, and may be tensors, arrays or lists; they are copied where a gradient is
wanted, so they may be refilled at once. Inputs may be changed in place once a scalar is there, whose first gradient is
at hand; what would have to be computed again from changed inputs raises. (Nobody sees a change by `.data` or through
NumPy.)

`torch.compile(model, fullgraph=True)` and `torch.export` take functions and modules as operators, `drlim::value` and
others: graphs can be saved, and loaded where `drlim.torch` is imported. Wrong labels or losses are refused as the graph
runs. What a module finds in memory (`ref_emb` with labels) leaves the graph: give `indices_tuple`. Masks, and pairs in
four parts, need `torch._dynamo.config.capture_dynamic_output_shape_ops`. Compiled graphs have first derivatives.

`torch.func` has `grad`, `vjp`, `jacrev` and `vmap`, which calls one batch after another, with labels of its own or the
same for all. Nothing has derivatives in forward mode (`jvp`, `jacfwd`, `hessian`): that raises.
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
