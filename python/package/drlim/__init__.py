"""Contrastive learning by hand: losses of pairs, triplets and anchors of embeddings, with gradients, on NumPy arrays.

    >>> import drlim, numpy as np
    >>> a, b = np.float32([[0, 0], [0, 0]]), np.float32([[1, 2], [3, 4]])
    >>> outcome = drlim.contrastive(a, b, [True, False], margin=10.0, reduction="sum")
    >>> outcome.value, outcome.grad_a.tolist()
    (15.0, [[-1.0, -2.0], [3.0, 4.0]])

Losses are small objects (`Contrastive(1.0)`, `TripletMargin(0.2)`); the calls choose the pairs or triplets: `rows`,
`indexed`, `all_pairs`, `cross`; `triplet_rows`, `triplets`. Losses of anchors (`Softmax(temperature=0.1)`) look at all
pairs of a row at once: `all_anchors`, `cross_anchors`. `drlim.torch` has the same for tensors of PyTorch, with
gradients into the graph, and losses as modules.

Arrays. Embeddings are of float32 or float64, all arrays of a call of one type, and are not copied where the elements
of a row are next to each other and rows follow one another with or without gaps: slices of rows and columns are fine.
Others are copied once. float16, and bfloat16 of ml_dtypes, are copied to float32, beside which they may stand; each
gradient comes back in the type of its rows, rounded once, all other results in float32. Arrays of other libraries are
taken by their array interface, the buffer protocol or DLPack, without a copy where these lend their memory; read-only
ones, too. Results are new arrays of NumPy, or those given as `out`: of the type in which the gradient comes back, or
for rows in half precision of float32, to which nothing is rounded.

Reductions. "sum", "mean", "mean-nonzero", "balanced" (the mean over the similar plus that over the dissimilar pairs),
"balanced-nonzero", or two factors of similar and of dissimilar sums. Anchors have their own: see `all_anchors`.

Numbers. Labels and flags may be floats that are whole numbers. Margins are numbers: a tensor that is to be learned is
refused, as it would get no gradient.

Errors. TypeError, ValueError or IndexError names the argument, what came and what was expected; nothing has been
written then.

Signals. Ctrl-C, and any signal whose handler in Python raises an exception, ends a long call of the main thread between
two blocks of its work. The exception comes out, and `out` keeps what it held: the gradient of a long call is made in
another array and written at the end. `rows` with `out`, and `indexed` with `out` and fewer than four pairs a row, are
passes over memory that go on to their ends.

Threads. Calls let go of the interpreter's lock and use `threads()` threads of their own; results have the same bits
for any number of them. In a forked child they run on the calling thread alone. Arrays must not be written by other
threads meanwhile.
"""

from ._anchor_losses import (
    AnchorLoss,
    ArcFace,
    Circle,
    CosFace,
    GeneralizedLifted,
    Lifted,
    MultiSimilarity,
    Softmax,
)
from ._anchor_sums import ANCHOR_SUMS, merge_each, merge_sums
from ._anchors import all_anchors, cross_anchors
from ._arrays import AnchorReduction, Reduction
from ._distances import (
    distance_matrix,
    hard_pairs,
    hardest,
    nearest,
    nearest_others,
    row_distances,
    row_distances_backward,
)
from ._drlim import Graph, PairList
from ._drlim import __version__, set_threads, set_tier, threads, tier, tiers
from ._hvp import (
    IndexedHvp,
    RowsHvp,
    TripletRowsHvp,
    all_pairs_hvp,
    cross_hvp,
    indexed_hvp,
    row_distances_hvp,
    rows_hvp,
    triplet_rows_hvp,
)
from ._losses import (
    Contrastive,
    CosineContrastive,
    DoubleMargin,
    Exponential,
    LinearHinge,
    PairLoss,
    Sigmoid,
    SquaredHinge,
    SquaredTriplet,
    TripletLoss,
    TripletMargin,
)
from ._outcome import (
    AnchorsOutcome,
    AnchorTotals,
    BatchOutcome,
    CrossAnchorsOutcome,
    CrossOutcome,
    IndexedOutcome,
    Outcome,
    RowsOutcome,
    Sums,
    TripletRowsOutcome,
)
from ._pairs import all_pairs, cross, indexed, rows
from ._shortcuts import (
    contrastive,
    cosine_contrastive,
    double_margin,
    exponential,
    linear_hinge,
    squared_hinge,
    squared_triplet,
    triplet_margin,
)
from ._triplets import triplet_rows, triplets

__all__ = [
    "ANCHOR_SUMS",
    "AnchorLoss",
    "AnchorReduction",
    "AnchorTotals",
    "AnchorsOutcome",
    "ArcFace",
    "BatchOutcome",
    "Circle",
    "Contrastive",
    "CosFace",
    "CosineContrastive",
    "CrossAnchorsOutcome",
    "CrossOutcome",
    "DoubleMargin",
    "Exponential",
    "GeneralizedLifted",
    "Graph",
    "IndexedHvp",
    "IndexedOutcome",
    "Lifted",
    "LinearHinge",
    "MultiSimilarity",
    "Outcome",
    "PairList",
    "PairLoss",
    "Reduction",
    "RowsHvp",
    "RowsOutcome",
    "Sigmoid",
    "Softmax",
    "SquaredHinge",
    "SquaredTriplet",
    "Sums",
    "TripletLoss",
    "TripletMargin",
    "TripletRowsHvp",
    "TripletRowsOutcome",
    "__version__",
    "all_anchors",
    "all_pairs",
    "all_pairs_hvp",
    "contrastive",
    "cosine_contrastive",
    "cross",
    "cross_anchors",
    "cross_hvp",
    "distance_matrix",
    "double_margin",
    "exponential",
    "hard_pairs",
    "hardest",
    "indexed",
    "indexed_hvp",
    "linear_hinge",
    "merge_each",
    "merge_sums",
    "nearest",
    "nearest_others",
    "row_distances",
    "row_distances_backward",
    "row_distances_hvp",
    "rows",
    "rows_hvp",
    "set_threads",
    "set_tier",
    "squared_hinge",
    "squared_triplet",
    "threads",
    "tier",
    "tiers",
    "triplet_margin",
    "triplet_rows",
    "triplet_rows_hvp",
    "triplets",
]
