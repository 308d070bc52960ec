"""Losses of anchors of tensors: their gradients reach the scale of the loss as well, if it is a tensor."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize as to_unit_length

import drlim
from drlim import AnchorLoss, AnchorReduction, Graph, Sigmoid, Softmax
from drlim._anchor_losses import anchor_parts
from drlim._anchors import Anchors, Measure
from drlim._arrays import Array, number, truth
from drlim._drlim import check_anchor_loss

from ._autograd import Call, Gradients, Needs
from ._calls import computed, embeddings as _embeddings, node, rounded_to
from ._functions import Constant, _constant, _each, _one, _own, _weights
from ._operators import Made

Scalar = Tensor | float
"""A number, or a tensor of one, which gets a gradient if it requires one."""

_SOFTMAX = Softmax()


def _scalar(name: str, value: Scalar) -> Scalar:
    """A number, or a tensor of one as an input of a call."""
    if not isinstance(value, Tensor):
        return number(name, value)
    if value.device.type != "cpu":
        raise ValueError(f"{name} is on {value.device}, expected the CPU: use {name}.cpu()")
    if value.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} is of {value.dtype}, expected float32 or float64: use {name}.float()")
    if value.numel() != 1:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected a single number")
    return value


def _by_number(array: Array, derivative: float | None) -> Array | None:
    """The gradient by an input that is a number."""
    return None if derivative is None else np.full(array.shape, derivative, array.dtype)


def _with_scale(loss: AnchorLoss, scale: float) -> AnchorLoss:
    """A loss of another scale: dataclasses.replace would take as long as a call on a small batch."""
    made: AnchorLoss = object.__new__(type(loss))
    made.__dict__.update(loss.__dict__, scale=scale)
    check_anchor_loss(made._parts())
    return made


def _scaled(loss: AnchorLoss, rows: list[Tensor], scale: Scalar | None) -> tuple[AnchorLoss, list[Tensor]]:
    """The loss, and the inputs of its call: the embeddings, and the scale where it is a tensor."""
    anchor_parts(loss)
    if scale is None:
        return loss, rows
    if not hasattr(loss, "scale"):
        raise TypeError(f"scale is given with {loss!r}, expected a loss that has one")
    scale = _scalar("scale", scale)
    return (loss, [*rows, scale]) if isinstance(scale, Tensor) else (_with_scale(loss, scale), rows)


def _value(
    name: str,
    loss: AnchorLoss,
    inputs: list[Tensor],
    embeddings: int,
    run: Callable[..., tuple[Any, Gradients]],
    weights: Any,
    reduction: AnchorReduction,
    directions: int = 1,
) -> Made:
    """The value of anchors, or with "none" one for each. The inputs are so many matrices of embeddings, and then the
    scale, if it is a tensor.

    `run(loss, arrays, needs, **how)` is the call on arrays: its outcome, and the gradients by the embeddings.
    """

    def call(arrays: list[Array], needs: Needs, **how: Any) -> tuple[Any, Gradients]:
        rest = arrays[embeddings:]
        if not rest:
            return run(loss, arrays, needs, **how)
        outcome, grads = run(_with_scale(loss, rest[0].item()), arrays, needs, grad_scale=needs[embeddings], **how)
        return outcome, (*grads, _by_number(rest[0], outcome.grad_scale))

    if reduction == "none":
        # The upstream gradient of each value is a weight beside the given one. A mean of directions is none of sums.
        def gradients_of_each(arrays: list[Array], upstream: Array, needs: Needs) -> Gradients:
            times = upstream if weights is None else upstream * weights
            return call(arrays, needs, weights=times, reduction="sum", scale=float(directions))[1]

        def values(arrays: list[Array], needs: Needs) -> tuple[Array, None]:
            none = [False] * len(arrays)
            return call(arrays, none, weights=weights, reduction="sum", values=True)[0].values, None

        return Made(Call(name, values, gradients_of_each, None), inputs)

    def gradients(arrays: list[Array], upstream: Any, needs: Needs) -> Gradients:
        return call(arrays, needs, weights=weights, reduction=reduction, scale=float(upstream))[1]

    def value(arrays: list[Array], needs: Needs) -> tuple[float, Gradients]:
        outcome, grads = call(arrays, needs, weights=weights, reduction=reduction)
        return outcome.value, grads

    return Made(Call(name, value, gradients, None), inputs)


@node("z", "scale", values=_each("z"))
def all_anchors(
    loss: AnchorLoss,
    z: Tensor,
    labels: Constant = None,
    *,
    scale: Scalar | None = None,
    graph: Graph | None = None,
    ignore_label: int | None = None,
    normalize: bool = False,
    measure: Measure | None = None,
    weights: Constant = None,
    known: Array | None = None,
    reduction: AnchorReduction = "mean",
) -> Made:
    """`drlim.all_anchors` of a tensor, B x D: a scalar, or with `reduction="none"` B values.

    `scale` takes the place of the scale of the loss; a tensor of one number gets a gradient. There are no second
    derivatives.
    """
    loss, inputs = _scaled(loss, _embeddings(z=z), scale)
    labels, weights, known = _own(inputs, _constant(labels), _weights(weights), known)
    how: dict[str, Any] = {
        "graph": graph,
        "ignore_label": ignore_label,
        "normalize": normalize,
        "measure": measure,
        "known": known,
    }

    def run(loss: AnchorLoss, arrays: list[Array], needs: Needs, **more: Any) -> tuple[Any, Gradients]:
        outcome = drlim.all_anchors(loss, arrays[0], labels, grad=needs[0], **how, **more)
        return outcome, (outcome.grad,)

    return _value("all_anchors", loss, inputs, 1, run, weights, reduction)


def _each_anchor(given: dict[str, Any]) -> int | None:
    """The number of values of `cross_anchors`."""
    queries, keys = given["queries"].shape[0], given["keys"].shape[0]
    counts = {"queries": queries, "keys": keys, "both": queries + keys}
    return counts.get(given.get("anchors", "queries"), 0) if given.get("reduction") == "none" else None


@node("queries", "keys", "scale", values=_each_anchor)
def cross_anchors(
    loss: AnchorLoss,
    queries: Tensor,
    keys: Tensor,
    query_labels: Constant = None,
    key_labels: Constant = None,
    *,
    scale: Scalar | None = None,
    graph: Graph | None = None,
    first_query: int = 0,
    first_key: int = 0,
    position: int | None = None,
    ignore_label: int | None = None,
    own: int | None = None,
    anchors: Anchors = "queries",
    normalize: bool = False,
    measure: Measure | None = None,
    weights: Constant = None,
    known: Array | None = None,
    reduction: AnchorReduction = "mean",
) -> Made:
    """`drlim.cross_anchors` of tensors, N x D and M x D: a scalar, or with `reduction="none"` a value for each anchor.

    `scale` is that of `all_anchors`. Only the gradients that are needed are computed. `known` sums are constants: calls
    on arrays with `sums=True` give them, and gradients are the part's share of those of the whole all the same.
    """
    loss, inputs = _scaled(loss, _embeddings(queries=queries, keys=keys), scale)
    constants = _constant(query_labels), _constant(key_labels), _weights(weights), known
    of_queries, of_keys, weights, known = _own(inputs, *constants)
    how: dict[str, Any] = {
        "query_labels": of_queries,
        "key_labels": of_keys,
        "graph": graph,
        "first_query": first_query,
        "first_key": first_key,
        "position": position,
        "ignore_label": ignore_label,
        "own": own,
        "anchors": anchors,
        "normalize": normalize,
        "measure": measure,
        "known": known,
    }

    def run(loss: AnchorLoss, arrays: list[Array], needs: Needs, **more: Any) -> tuple[Any, Gradients]:
        grads = needs[0], needs[1]
        outcome = drlim.cross_anchors(loss, arrays[0], arrays[1], grads=grads, **how, **more)
        return outcome, (outcome.grad_queries, outcome.grad_keys)

    directions = 2 if anchors == "both" else 1
    return _value("cross_anchors", loss, inputs, 2, run, weights, reduction, directions)


def info_nce(
    queries: Tensor,
    keys: Tensor,
    *,
    scale: Scalar = 10.0,
    normalize: bool = False,
    measure: Measure = "cosine",
    reduction: AnchorReduction = "mean",
) -> Tensor:
    """The mean over N queries of -ln softmax(scale u) at their keys, key i of M being that of query i; the others are
    negatives of all queries (van den Oord et al. 2018). `scale` is 1 / temperature. Rows are of length 1, or scaled to
    it with `normalize`; or give `measure="dot"`.
    """
    how: dict[str, Any] = {"normalize": normalize, "measure": measure, "reduction": reduction}
    return cross_anchors(_SOFTMAX, queries, keys, scale=scale, position=0, **how)


def sup_con_loss(
    z: Tensor,
    labels: Constant,
    *,
    scale: Scalar = 10.0,
    normalize: bool = False,
    ignore_label: int | None = None,
    reduction: AnchorReduction = "mean",
) -> Tensor:
    """SupCon (Khosla et al. 2020, L_out) by labels: the softmax of each of B rows over all others, the mean of its
    similar pairs. NT-Xent of two views is this with a label for each image.

    Anchors without a similar pair have the value 0: "mean-nonzero" leaves them out, as pytorch-metric-learning does.
    """
    how: dict[str, Any] = {"normalize": normalize, "ignore_label": ignore_label, "reduction": reduction}
    return all_anchors(_SOFTMAX, z, labels, scale=scale, **how)


def clip_loss(image: Tensor, text: Tensor, logit_scale: Scalar, *, normalize: bool = False) -> Tensor:
    """The loss of CLIP (Radford et al. 2021): the mean of both cross entropies of logit_scale u, of N images and their
    N texts. `logit_scale` is the factor itself, not its logarithm. Rows are of length 1, or scaled to it with
    `normalize`.
    """
    inputs, rounded = computed(image=image, text=text, logit_scale=logit_scale)
    image, text, logit_scale = inputs.values()
    _check_pairs(image, text)
    scale = _scalar("logit_scale", logit_scale)
    value = cross_anchors(_SOFTMAX, image, text, scale=scale, position=0, anchors="both", normalize=normalize)
    return rounded_to(rounded, value)


def siglip_loss(
    image: Tensor, text: Tensor, logit_scale: Scalar, logit_bias: Scalar, *, normalize: bool = False
) -> Tensor:
    """The loss of SigLIP (Zhai et al. 2023): the sum over all pairs of N images and texts of ln(1 + e^∓s), divided by
    N, with s = logit_scale u + logit_bias. `logit_scale` is the factor itself, not its logarithm. Rows are of length 1,
    or scaled to it with `normalize`.
    """
    inputs, rounded = computed(image=image, text=text, logit_scale=logit_scale, logit_bias=logit_bias)
    image, text, logit_scale, logit_bias = inputs.values()
    _check_pairs(image, text)
    if truth("normalize", normalize):
        image, text = to_unit_length(image), to_unit_length(text)
    value = _siglip(image, text, logit_scale, logit_bias)
    return rounded_to(rounded, value)


@node("image", "text", "logit_scale", "logit_bias", values=_one)
def _siglip(image: Tensor, text: Tensor, logit_scale: Scalar, logit_bias: Scalar) -> Made:
    """`siglip_loss` of rows as they are."""
    numbers = [_scalar("logit_scale", logit_scale), _scalar("logit_bias", logit_bias)]
    are_inputs = [isinstance(value, Tensor) for value in numbers]
    factor = 1 / max(len(image), 1)

    def run(arrays: list[Array], needs: Needs, upstream: float) -> tuple[float, Gradients]:
        learned = iter(arrays[2:])
        outcome = drlim.cross(
            Sigmoid(*(float(next(learned).item() if of else value) for of, value in zip(are_inputs, numbers))),
            arrays[0],
            arrays[1],
            position=0,
            reduction=(factor, factor),
            scale=upstream,
            grads=(needs[0], needs[1]),
            grad_parameters=any(needs[2:]),
        )
        by = [by for of, by in zip(are_inputs, (outcome.grad_scale, outcome.grad_bias)) if of]
        by_numbers = (_by_number(array, derivative) for array, derivative in zip(arrays[2:], by))
        return outcome.value, (outcome.grad_queries, outcome.grad_keys, *by_numbers)

    def gradients(arrays: list[Array], upstream: Any, needs: Needs) -> Gradients:
        return run(arrays, needs, float(upstream))[1]

    call = Call("siglip_loss", lambda arrays, needs: run(arrays, needs, 1.0), gradients, None)
    return Made(call, [image, text, *(value for value in numbers if isinstance(value, Tensor))])


def _check_pairs(image: Tensor, text: Tensor) -> None:
    """Refuses images and texts that are not as many."""
    _embeddings(image=image, text=text)
    if text.shape != image.shape:
        raise ValueError(f"text has shape {tuple(text.shape)}, expected {tuple(image.shape)} as image")
