"""The compiled part: the modules beside it call it with arguments that they have checked."""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ._arrays import ArrayLike

__version__: str

_Array = NDArray[Any]
_Loss = tuple[str, float, float]
_Task = tuple[_Loss, tuple[str, float, float], float]
_Sums = tuple[int, int, float]
_Outcome = tuple[float, int, int, _Sums, _Sums]
_Pairing = tuple[_Array, _Array | None, _Array | None]
_Lists = tuple[_Array | None, _Array | None, _Array | None]
_Three = tuple[_Array, _Array, _Array]
_Found = tuple[NDArray[np.int64], _Array]
_AnchorLoss = tuple[str, float, float, float]
_AnchorTask = tuple[_AnchorLoss, str, tuple[str, float], float]
_Totals = tuple[int, int, int, int, int, int, float]
_AnchorOutcome = tuple[float, _Totals, _Totals, float | None]
_PerAnchor = tuple[_Array | None, _Array | None, _Array | None, _Array | None, _Array | None, bool]

@final
class Graph:
    """A graph of similar samples, from P x 2 indices in either order and any number of times."""

    def __new__(cls, samples: int, pairs: ArrayLike) -> Graph: ...
    @staticmethod
    def nearest(z: ArrayLike, k: int) -> Graph:
        """The graph in which two rows of z are similar if either is among the k nearest of the other."""

    @property
    def samples(self) -> int:
        """The number of samples."""

    @property
    def edges(self) -> int:
        """The number of similar pairs, each counted once."""

    def pairs(self) -> NDArray[np.uint32]:
        """The similar pairs, each once, ascending: edges x 2."""

    def __eq__(self, other: object, /) -> bool: ...
    def __getnewargs__(self) -> tuple[int, NDArray[np.uint32]]: ...

@final
class PairList:
    """Pairs of the rows of a matrix, checked and sorted once, from its number of rows and P x 2 indices."""

    def __new__(cls, rows: int, pairs: ArrayLike) -> PairList: ...
    @property
    def rows(self) -> int:
        """The number of rows of the matrix."""

    def pairs(self) -> NDArray[np.uint32]:
        """The pairs, as they were given: P x 2."""

    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __getnewargs__(self) -> tuple[int, NDArray[np.uint32]]: ...

def tiers() -> list[str]:
    """The instruction tiers of this processor, narrowest first."""

def tier() -> str:
    """The tier that calls use: the best one, or what DRLIM_ISA or set_tier named."""

def set_tier(name: str) -> None:
    """Makes all calls of the process use a tier of this processor."""

def threads() -> int:
    """How many threads a call may use."""

def set_threads(count: int) -> None:
    """Sets the number of threads that all calls of the process use: with 1 the calling one alone, with 0 one a core."""

def check_loss(loss: _Loss) -> None: ...
def check_triplet_loss(loss: _Loss) -> None: ...
def check_anchor_loss(loss: _AnchorLoss) -> None: ...
def anchor_factor(name: str, factor: float, totals: _Totals) -> float: ...
def merge_sums(to: _Array, part: _Array, each: bool) -> int | None: ...
def rows(
    task: _Task,
    a: _Array,
    b: _Array,
    pairing: _Pairing,
    grads: tuple[_Array, _Array] | None,
    out: _Lists,
    whole: bool,
) -> _Outcome: ...
def indexed(
    task: _Task,
    z: _Array,
    pairs: PairList,
    pairing: _Pairing,
    grad: _Array | None,
    out: _Lists,
    whole: bool,
) -> _Outcome: ...
def all_pairs(
    task: _Task,
    z: _Array,
    labels: _Array | None,
    ignored: int | None,
    graph: Graph | None,
    unit: bool,
    grad: _Array | None,
    whole: bool,
) -> _Outcome: ...
def cross(
    task: _Task,
    queries: _Array,
    keys: _Array,
    labels: tuple[_Array, _Array, int | None] | None,
    graph: tuple[Graph, int, int] | None,
    position: int | None,
    own: int | None,
    grads: tuple[_Array | None, _Array | None],
    by_parameters: bool,
) -> tuple[_Outcome, list[float] | None]: ...
def all_anchors(
    task: _AnchorTask,
    z: _Array,
    labels: _Array | None,
    ignored: int | None,
    graph: Graph | None,
    unit: bool,
    per_anchor: _PerAnchor,
    grad: _Array | None,
    whole: bool,
) -> _AnchorOutcome: ...
def cross_anchors(
    task: _AnchorTask,
    queries: _Array,
    keys: _Array,
    labels: tuple[_Array, _Array, int | None] | None,
    graph: tuple[Graph, int, int] | None,
    position: int | None,
    own: int | None,
    anchors: str,
    unit: bool,
    per_anchor: _PerAnchor,
    grads: tuple[_Array | None, _Array | None],
) -> _AnchorOutcome: ...
def triplet_rows(
    task: _Task,
    inputs: _Three,
    weights: _Array | None,
    ignored: _Array | None,
    grads: _Three | None,
    distances: _Three | None,
    values: _Array | None,
    slopes: _Three | None,
) -> _Outcome: ...
def triplets(
    task: _Task,
    z: _Array,
    labels: _Array | None,
    ignored: int | None,
    graph: Graph | None,
    mining: str,
    unit: bool,
    grad: _Array | None,
    whole: bool,
) -> _Outcome: ...
_Rays = tuple[_Array, _Array]

def rows_hvp(
    task: _Task,
    a: _Rays,
    b: _Rays,
    pairing: _Pairing,
    products: tuple[_Array, _Array] | None,
    derivatives: _Array | None,
) -> None: ...
def indexed_hvp(
    task: _Task, z: _Rays, pairs: PairList, pairing: _Pairing, product: _Array | None, derivatives: _Array | None
) -> None: ...
def all_pairs_hvp(
    task: _Task, z: _Rays, labels: _Array | None, ignored: int | None, graph: Graph | None, product: _Array
) -> None: ...
def cross_hvp(
    task: _Task,
    queries: _Rays,
    keys: _Rays,
    labels: tuple[_Array, _Array, int | None] | None,
    graph: tuple[Graph, int, int] | None,
    position: int | None,
    own: int | None,
    products: tuple[_Array | None, _Array | None],
) -> None: ...
def triplet_rows_hvp(
    task: _Task,
    inputs: _Three,
    along: _Three,
    weights: _Array | None,
    ignored: _Array | None,
    products: _Three | None,
    derivatives: _Array | None,
) -> None: ...
def row_distances(name: str, a: _Array, b: _Array, out: _Array) -> None: ...
def row_distances_backward(
    name: str, inputs: tuple[_Array, _Array], upstream: _Array, grads: tuple[_Array, _Array]
) -> None: ...
def distance_matrix(a: _Array, b: _Array, out: _Array) -> None: ...
def nearest(queries: _Array, references: _Array, k: int) -> _Found: ...
def nearest_others(z: _Array, k: int) -> _Found: ...
def hardest(
    z: _Array, labels: _Array | None, ignored: int | None, graph: Graph | None, k: int
) -> tuple[_Found, _Found]: ...
def hard_pairs(distances: _Array, similar: _Array, ignored: _Array | None) -> NDArray[np.uint32]: ...
