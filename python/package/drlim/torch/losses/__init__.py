"""The losses of pytorch-metric-learning 2.9, computed by `drlim` where it can: a program changes one import.

    >>> from drlim.torch import losses  # was: from pytorch_metric_learning import losses
    >>> loss_func = losses.CrossBatchMemory(losses.NTXentLoss(temperature=0.1), embedding_size=128, memory_size=4096)
    >>> loss = loss_func(embeddings, labels)

All names of `pytorch_metric_learning.losses` are here. Those in `FUSED` are subclasses of the classes there: arguments,
defaults, distances, reducers, regularizers, miners and wrappers are theirs, and so are values and gradients. What takes
a matrix of all pairs there takes memory in proportion to the rows here. Where the kernels do not know a distance, or
something else that was asked for, the class of pytorch-metric-learning computes the loss, and each object warns once by
`NotFusedWarning`, with the reason. To be sure that nothing is slow:

    >>> warnings.simplefilter("error", losses.NotFusedWarning)

Classes of other names are pytorch-metric-learning's own. `docs/migrating.md` says what is fused and what is not.
"""

try:
    import pytorch_metric_learning as _theirs
except ImportError as error:
    raise ImportError("drlim.torch.losses needs pytorch-metric-learning 2.9: pip install 'drlim[losses]'") from error
if not _theirs.__version__.startswith("2.9."):
    raise ImportError(
        f"drlim.torch.losses is made for pytorch-metric-learning 2.9, found {_theirs.__version__}: "
        "pip install 'drlim[losses]'"
    )

# First theirs, then those of the same names.
from pytorch_metric_learning.losses import *  # noqa: E402, F403

from .._fused import NotFusedWarning  # noqa: E402
from .contrastive import ContrastiveLoss  # noqa: E402
from .lifted import GeneralizedLiftedStructureLoss, LiftedStructureLoss  # noqa: E402
from .margins import CircleLoss, MultiSimilarityLoss  # noqa: E402
from .proxies import ArcFaceLoss, CosFaceLoss, NormalizedSoftmaxLoss, ProxyAnchorLoss  # noqa: E402
from .softmax import NPairsLoss, NTXentLoss, SupConLoss  # noqa: E402
from .triplet import TripletMarginLoss  # noqa: E402

FUSED = (
    ArcFaceLoss,
    CircleLoss,
    ContrastiveLoss,
    CosFaceLoss,
    GeneralizedLiftedStructureLoss,
    LiftedStructureLoss,
    MultiSimilarityLoss,
    NPairsLoss,
    NTXentLoss,
    NormalizedSoftmaxLoss,
    ProxyAnchorLoss,
    SupConLoss,
    TripletMarginLoss,
)
"""The classes that `drlim` computes."""

__all__ = [
    "FUSED",
    "NotFusedWarning",
    *sorted(name for name, value in vars().items() if isinstance(value, type) and name.endswith(("Loss", "Losses"))),
    "BaseLossWrapper",
    "BaseMetricLossFunction",
    "CrossBatchMemory",
    "EmbeddingRegularizerMixin",
    "WeightRegularizerMixin",
]
