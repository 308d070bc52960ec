"""Losses of `drlim.torch.losses` beside those of pytorch-metric-learning of the same names."""

from __future__ import annotations

import warnings

import pytorch_metric_learning.losses as theirs
import torch
from pytorch_metric_learning import distances, reducers

from drlim.torch import losses as ours

ROWS, COLS, CLASSES = 24, 6, 5

BATCH = (
    "ContrastiveLoss",
    "TripletMarginLoss",
    "NTXentLoss",
    "SupConLoss",
    "MultiSimilarityLoss",
    "CircleLoss",
    "LiftedStructureLoss",
    "GeneralizedLiftedStructureLoss",
)
PROXIES = ("NormalizedSoftmaxLoss", "CosFaceLoss", "ArcFaceLoss", "ProxyAnchorLoss")
LOSSES = (*BATCH, "NPairsLoss", *PROXIES)

DISTANCES = {
    "default": None,
    "Lp": lambda: distances.LpDistance(),
    "Lp of any length": lambda: distances.LpDistance(normalize_embeddings=False),
    "Lp squared": lambda: distances.LpDistance(power=2),
    "Lp squared of any length": lambda: distances.LpDistance(power=2, normalize_embeddings=False),
    "cosine": lambda: distances.CosineSimilarity(),
    "dot": lambda: distances.DotProductSimilarity(),
    "dot of any length": lambda: distances.DotProductSimilarity(normalize_embeddings=False),
}
REDUCERS = {
    "default": None,
    "mean": reducers.MeanReducer,
    "non-zero": reducers.AvgNonZeroReducer,
    "sum": reducers.SumReducer,
    "threshold": lambda: reducers.ThresholdReducer(low=0.2),
    "per anchor": reducers.PerAnchorReducer,
    "by class": lambda: reducers.ClassWeightedReducer(torch.linspace(0.5, 2.0, 9)),
}

COSINE_ONLY = ("CircleLoss", "CosFaceLoss", "ArcFaceLoss")
WITH_DISTANCES = [
    (name, distance)
    for name in LOSSES
    for distance in DISTANCES
    if name not in COSINE_ONLY or distance in ("default", "cosine")
]


def data(seed=7, rows=ROWS, classes=CLASSES):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, COLS, generator=generator), torch.randint(classes, (rows,), generator=generator)


def maker(name, distance=None, reducer=None, **arguments):
    """Makes the loss of a library, with the same parameters each time."""

    def make(library):
        torch.manual_seed(3)
        given = dict(arguments)
        if name in PROXIES:
            given.update(num_classes=CLASSES, embedding_size=COLS)
        if distance is not None:
            given["distance"] = distance()
        if reducer is not None:
            given["reducer"] = reducer()
        return getattr(library, name)(**given)

    return make


def evaluate(make, library, dtype, call, tensors):
    """The value, and the gradients by tensors and parameters; or the error."""
    torch.manual_seed(5)
    loss = make(library)
    for parameter in loss.parameters():
        parameter.data = parameter.data.float().to(dtype)
    leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in tensors]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # they wait for each other for longer than such batches take
    try:
        value = call(loss, *leaves)
        if value.requires_grad:
            value.backward()
    except Exception as error:  # noqa: BLE001
        return error
    finally:
        torch.set_num_threads(threads)
    sources = [*leaves, *loss.parameters()]
    return [value.detach(), *(torch.zeros_like(of) if of.grad is None else of.grad for of in sources)]


def same(make, call, *tensors, dtype=torch.float64, tolerance=1.0, reference=torch.float64):
    """Values and gradients are equal, or both raise the same error. Those there are of float64 unless `reference` says
    otherwise, as roundings of float32 are no better there than here. Gives the reasons why drlim did not compute it.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = evaluate(make, ours, dtype, call, tensors)
    expected = evaluate(make, theirs, reference, call, tensors)
    if isinstance(expected, Exception):
        assert type(found) is type(expected) and str(found) == str(expected), (found, expected)
    else:
        assert not isinstance(found, Exception), found
        relative = tolerance * (2e-6 if dtype == torch.float32 else 1e-10)
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == dtype
            if one.numel():
                off = (one.double() - other.double()).abs().max().item()
                assert off <= relative * max(other.abs().max().item(), 1e-3), (off, one, other)
    return [str(of.message).split("not drlim: ")[1] for of in caught if of.category is ours.NotFusedWarning]
