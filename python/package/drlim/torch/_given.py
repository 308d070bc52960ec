"""What modules are given, in the manner of pytorch-metric-learning: labels, the picks of a miner, a reference batch."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drlim import PairLoss, Reduction
from drlim._arrays import labels as label_array

from ._calls import in_graph, taken
from ._functions import Constant, _constant, cross
from ._indices import Indices, Places, parts_of, same_rows


class Given(NamedTuple):
    """The arguments of a module's call, checked."""

    embeddings: Tensor
    ref_emb: Tensor | None
    labels: Any
    """Labels as an array; in a graph as they came, to be checked as it runs."""
    ref_labels: Any
    same: Places | None
    """The places of the rows that are in both, the embeddings and the reference, if any."""
    rounded: torch.dtype | None
    """The type that the value is rounded to, if any."""


def given(
    embeddings: Tensor, labels: Constant, indices: Any, ref_emb: Tensor | None, ref_labels: Constant
) -> Given:
    """Checks the arguments that losses have in pytorch-metric-learning, by their names there."""
    if ref_emb is None:
        (rows,), rounded = taken(embeddings=embeddings)
        if ref_labels is not None and ref_labels is not labels:
            raise ValueError("ref_labels is given without ref_emb, expected both")
        if labels is None and indices is None:
            raise TypeError("labels is None, expected labels or indices_tuple")
        of_batch = labels_of("labels", labels, len(rows))
        return Given(rows, None, of_batch, of_batch, None, rounded)
    (rows, others), rounded = taken(embeddings=embeddings, ref_emb=ref_emb)
    if labels is None and indices is None:
        raise TypeError("labels is None, expected labels or indices_tuple")
    if others.dtype != rows.dtype:
        raise TypeError(f"ref_emb is of {others.dtype}, expected {rows.dtype} as embeddings")
    if others.shape[1] != rows.shape[1]:
        raise ValueError(f"ref_emb has {others.shape[1]} columns, expected {rows.shape[1]} as embeddings")
    if itself(rows, labels, others, ref_labels):
        ref_labels = labels
    if ref_labels is None and indices is None:
        raise TypeError(f"ref_labels is None, expected labels of the {len(others)} rows of ref_emb")
    same = None
    if indices is None and not in_graph():
        each = np.arange(len(others))
        same = (each, each) if ref_labels is labels else same_rows(embeddings, ref_emb)
    of_ref = labels_of("ref_labels", ref_labels, len(others))
    return Given(rows, others, labels_of("labels", labels, len(rows)), of_ref, same, rounded)


def itself(embeddings: Tensor, labels: Constant, ref_emb: Tensor, ref_labels: Constant) -> bool:
    """Whether row i of the reference is taken as row i of the embeddings, as pytorch-metric-learning does."""
    if labels is None:
        return False
    return ref_labels is labels or (ref_labels is None and len(ref_emb) == len(embeddings))


def labels_of(name: str, labels: Constant, count: int) -> Any:
    return labels if labels is None or in_graph() else label_array(name, _constant(labels), count)


def outside(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function that is called without a graph, as it looks at memory: an error where the graph cannot be left."""
    why = "what ref_emb shares with embeddings is seen in memory, not in a graph: give indices_tuple"
    if not torch.compiler.is_dynamo_compiling():
        raise RuntimeError(why)
    torch._dynamo.graph_break(msg=why)  # This says why where the graph cannot be left.
    left: Callable[..., Tensor] = torch.compiler.disable(function, reason=why)  # type: ignore[no-untyped-call]
    return left


def others_of(
    loss: PairLoss,
    embeddings: Tensor,
    ref_emb: Tensor,
    labels: NDArray[np.int64],
    ref_labels: NDArray[np.int64],
    same: Places,
    reduction: Reduction,
) -> Tensor:
    """All pairs of a row of the embeddings with one of the reference, but not of one with itself."""
    (these, those), count = same, len(embeddings)
    if len(these) == count and (np.diff(those) == 1).all() and (np.diff(these) == 1).all():
        return cross(loss, embeddings, ref_emb, labels, ref_labels, own=int(those[0]), reduction=reduction)
    # Rows are put in an order in which key i is query i: queries that are not in the reference get keys that are in no
    # pair.
    lone = np.setdiff1d(np.arange(count), these)
    rest = np.setdiff1d(np.arange(len(ref_emb)), those)
    both = np.concatenate([labels, ref_labels])
    no_label = np.setdiff1d(np.arange(len(both) + 1), both)[0]
    queries = np.concatenate([these, lone])
    keys = torch.cat([ref_emb[those], ref_emb.new_zeros(len(lone), ref_emb.shape[1]), ref_emb[rest]])
    of_keys = np.concatenate([ref_labels[those], np.full(len(lone), no_label), ref_labels[rest]])
    return cross(
        loss,
        embeddings[queries],
        keys,
        labels[queries],
        of_keys,
        own=0,
        ignore_label=int(no_label),
        reduction=reduction,
    )


def picked(embeddings: Tensor, indices: Indices, ref_emb: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of both sides, the pairs of them that a miner picked, and which of these pairs are similar."""
    parts = parts_of(indices, len(embeddings), len(embeddings if ref_emb is None else ref_emb))
    a1, p, a2, n = parts if len(parts) == 4 else (parts[0], parts[1], parts[0], parts[2])
    z, first = (embeddings, 0) if ref_emb is None else (torch.cat([embeddings, ref_emb]), len(embeddings))
    pairs = torch.stack([torch.cat([a1, a2]), torch.cat([p, n]) + first], dim=1)
    similar = torch.cat([torch.ones_like(a1, dtype=torch.bool), torch.zeros_like(a2, dtype=torch.bool)])
    return z, pairs, similar


def pairs_across(of: Given) -> Indices:
    """All pairs of a row of the embeddings and one of the reference: similar ones, dissimilar ones."""
    alike = of.labels[:, None] == of.ref_labels
    apart = ~alike
    if of.same is not None:
        alike[of.same] = False
        apart[of.same] = False
    return [*np.nonzero(alike), *np.nonzero(apart)]
