"""open_clip's losses (3.3) by the kernels, without a matrix of logits: subclasses, so arguments and results are theirs.

    >>> from drlim.torch.open_clip import ClipLoss  # from open_clip import ClipLoss
    >>> loss = ClipLoss()
    >>> loss(image_features, text_features, logit_scale, output_dict=True)["contrastive_loss"].backward()

Features are taken as they are: similarities are products, of rows of any length. Several processes, numbers that are
no scalars, and embeddings that are not of float32 or float64 on the CPU are left to open_clip, which a
`NotFusedWarning` says once for each loss. There are no second derivatives.
"""

from __future__ import annotations

from typing import Any

import torch
from open_clip import loss as _theirs
from torch import Tensor

from drlim import Softmax

from ._anchors import cross_anchors, siglip_loss
from ._fused import NotFusedWarning, not_fused, unfit, unfit_number

__all__ = ["ClipLoss", "NotFusedWarning", "SigLipLoss"]


def _unfit(image: Tensor, text: Tensor, scale: Any, bias: Any) -> str | None:
    """Why the kernels cannot take these features and numbers, if they cannot."""
    if text.shape != image.shape:
        return f"text has shape {tuple(text.shape)} and image {tuple(image.shape)}, the kernels take as many of each"
    return (
        unfit(image, text)
        or unfit_number("logit_scale", scale, above_zero=True)
        or (None if bias is None else unfit_number("logit_bias", bias))
    )


class ClipLoss(_theirs.ClipLoss):
    """The loss of CLIP: the mean of the cross entropies of images among texts and of texts among images.

    `logit_bias` changes nothing in a softmax; its gradient is 0.
    """

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor | float,
        logit_bias: Tensor | float | None = None,
        output_dict: bool = False,
    ) -> Any:
        reason = _unfit(image_features, text_features, logit_scale, logit_bias)
        if self.world_size > 1:
            reason = f"world_size is {self.world_size}, the kernels have the features of one process"
        if reason is not None:
            not_fused(self, reason)
            return super().forward(image_features, text_features, logit_scale, logit_bias, output_dict)
        loss = cross_anchors(
            Softmax(), image_features, text_features, scale=logit_scale, position=0, anchors="both", measure="dot"
        )
        if isinstance(logit_bias, Tensor) and logit_bias.requires_grad:
            loss = loss + 0 * logit_bias.sum()
        return {"contrastive_loss": loss} if output_dict else loss


class SigLipLoss(_theirs.SigLipLoss):
    """The loss of SigLIP: the sum over all pairs of ln(1 + e^∓s), divided by the number of images.

    Of several processes, the pairs of one's own images and texts are fused.
    """

    def _loss(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor | float,
        logit_bias: Tensor | float | None = None,
        negative_only: bool = False,
    ) -> Any:
        reason = _unfit(image_features, text_features, logit_scale, logit_bias)
        if negative_only:
            reason = f"world_size is {self.world_size}, the kernels have the features of one process"
        if reason is not None:
            not_fused(self, reason)
            return super()._loss(image_features, text_features, logit_scale, logit_bias, negative_only)
        image, text, length = _of_one_length(image_features, text_features)
        # The kernel's similarity is 1 - d²/2, which of such rows is 1 - length + the product of the features.
        scale = torch.as_tensor(logit_scale, dtype=torch.float64)
        bias = (0.0 if logit_bias is None else logit_bias) + scale * (length - 1)
        return siglip_loss(image, text, scale, bias)


def _of_one_length(image: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of one length with the products of the given ones, and the square of that length.

    Images and texts are made longer along a column each of their own, where the others are 0.
    """
    squares = [rows.square().sum(dim=1, keepdim=True) for rows in (image, text)]
    length = (2 * torch.cat(squares).detach().max()).clamp(min=1)
    of_image, of_text = ((length - square).sqrt() for square in squares)
    none = torch.zeros_like(of_image)
    return torch.cat([image, of_image, none], dim=1), torch.cat([text, none, of_text], dim=1), length
