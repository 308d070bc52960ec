"""Sums of anchors over their candidates as arrays: how those of parts of the candidates are merged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _drlim
from ._arrays import Array, as_array, one_dimension

LOG_SUM = np.dtype([("count", np.uint64), ("largest", np.float64), ("sum", np.float64)])

ANCHOR_SUMS = np.dtype(
    [
        ("similar", LOG_SUM),
        ("dissimilar", LOG_SUM),
        ("exponents", np.float64),
        ("looked", np.uint64),
        ("each", np.float64, 2),
    ]
)
"""The sums of an anchor, in 80 bytes. `similar` and `dissimilar` are over the candidates of each kind: their number,
the largest exponent x, and the sum of e^(x - largest). `exponents` is the sum of x over the similar ones. Where
`looked` is not 0, `each` holds two sums that were made with the log-sums of the same record. Zeros are the sums of no
candidate.
"""


def bits(name: str, value: Any, count: int) -> NDArray[np.uint64]:
    """Sums of so many anchors as the compiled part takes them: ten numbers for each, in one list."""
    array = as_array(name, value)
    if array.dtype != ANCHOR_SUMS:
        raise TypeError(f"{name} is of {array.dtype}, expected drlim.ANCHOR_SUMS, as calls with sums=True give them")
    numbers = np.ascontiguousarray(one_dimension(name, array, count)).view(np.uint64)
    # Records may lie at any address, numbers may not.
    return np.require(numbers, requirements="A")


def merge_sums(*parts: Array) -> Array:
    """The sums of N anchors over the candidates of all parts, from their sums over those of each.

    >>> import drlim, numpy as np
    >>> rng = np.random.default_rng(1)
    >>> queries, keys, labels = rng.normal(size=(8, 4)), rng.normal(size=(20, 4)), rng.integers(3, size=20)
    >>> def call(part, **how):
    ...     of = labels[:8], labels[part]
    ...     return drlim.cross_anchors(drlim.Softmax(2.0), queries, keys[part], *of, measure="dot", **how)
    >>> parts = slice(0, 9), slice(9, 20)
    >>> merged = drlim.merge_sums(*(call(part, sums=True, grads=False).sums for part in parts))
    >>> found = [call(part, known=merged) for part in parts]
    >>> whole = call(slice(0, 20))
    >>> np.isclose([of.value for of in found], whole.value)
    array([ True,  True])
    >>> np.allclose(found[0].grad_queries + found[1].grad_queries, whole.grad_queries)
    True

    Each part is an array of `drlim.ANCHOR_SUMS`; `part.view(np.uint8)` are its bytes, for sending. In any order the
    result is the same but for rounding, and nothing overflows; a NaN stays one, and `known` refuses it. What `each` of
    a part holds was made with its own log-sums and is left out.
    """
    return _merged(parts, False)


def merge_each(*parts: Array) -> Array:
    """The second merging of `Softmax(positives="each")`, which looks at similar pairs again, with the log-sums of the
    whole. It takes three rounds of calls: without `known`; with `known`, the `merge_sums` of the first round's sums;
    with `known`, the `merge_each` of the second round's. Values and gradients of the second round are of no use.

    >>> rng = np.random.default_rng(1)
    >>> queries, keys, labels = rng.normal(size=(8, 4)), rng.normal(size=(20, 4)), rng.integers(3, size=20)
    >>> parts, loss = (slice(0, 9), slice(9, 20)), drlim.Softmax(2.0, positives="each")
    >>> def call(part, **how):
    ...     of = labels[:8], labels[part]
    ...     return drlim.cross_anchors(loss, queries, keys[part], *of, measure="dot", **how)
    >>> first = [call(part, sums=True, grads=False).sums for part in parts]
    >>> merged = drlim.merge_sums(*first)
    >>> second = [call(part, known=merged, sums=True, grads=False).sums for part in parts]
    >>> third = [call(part, known=drlim.merge_each(*second)) for part in parts]
    >>> np.isclose([of.value for of in third], call(slice(0, 20)).value)
    array([ True,  True])

    Refused: parts whose log-sums differ, or that have not been looked at again.
    """
    return _merged(parts, True)


def _merged(parts: tuple[Array, ...], each: bool) -> Array:
    if not parts:
        raise TypeError("parts are none, expected one or more")
    count = np.size(parts[0])
    lists = [bits(f"parts[{at}]", part, count) for at, part in enumerate(parts)]
    # Zeros are the sums of no candidate; what one part has looked at is merged with that of others alone.
    merged = lists[0].copy() if each else np.zeros_like(lists[0])
    for at, part in enumerate(lists):
        wrong = None if each and at == 0 else _drlim.merge_sums(merged, part, each)
        if wrong is not None:
            raise ValueError(
                f"parts[{at}] has other log-sums than parts[0] at {wrong}, or one of both has not looked at similar "
                "pairs: expected sums of calls that know the same merged sums"
            )
    return merged.view(ANCHOR_SUMS)
