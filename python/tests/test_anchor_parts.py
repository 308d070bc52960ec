"""Keys in parts: merged sums give the value and the gradients of the whole. The Student kernel beside its formula."""

import pickle
from dataclasses import astuple, replace

import numpy as np
import pytest

import drlim
from oracles import close

QUERIES, KEYS, COLS = 9, 23, 4
CUTS = [slice(0, 6), slice(6, KEYS)]
ONCE = [
    *(drlim.Softmax(4.0, positives, of) for positives in ("mean", "sum") for of in (False, True)),
    drlim.MultiSimilarity(2.0, 5.0, 0.5),
    drlim.Circle(0.25, 4.0),
    drlim.GeneralizedLifted(0.125, 1.0),
]
TWICE = [drlim.Softmax(4.0, "each"), drlim.Softmax(4.0, "each", True)]
REDUCTIONS = ["sum", "mean", "mean-with-similar", "mean-nonzero", "mean-of-pairs"]


class Batch:
    """Queries and keys of some classes; the last query has no similar key, and the first part of keys has one class."""

    def __init__(self, rng, dtype):
        self.queries = rng.normal(size=(QUERIES, COLS)).astype(dtype) / 2
        self.keys = rng.normal(size=(KEYS, COLS)).astype(dtype) / 2
        self.of_queries = np.append(np.arange(QUERIES - 1) % 3, 7)
        self.of_keys = np.where(np.arange(KEYS) < 6, 0, np.arange(KEYS) % 3)
        self.weights = rng.random(QUERIES).astype(dtype)

    def call(self, loss, queries=slice(None), keys=slice(None), **how):
        labels = self.of_queries[queries], self.of_keys[keys]
        how = {"weights": self.weights[queries], **how}
        return drlim.cross_anchors(loss, self.queries[queries], self.keys[keys], *labels, **how)

    def merged(self, loss, queries=slice(None), **how):
        """The sums over all keys, in as many rounds as the loss takes."""

        def sums(**more):
            return [self.call(loss, queries, part, sums=True, grads=False, **how, **more).sums for part in CUTS]

        merged = drlim.merge_sums(*sums())
        return drlim.merge_each(*sums(known=merged)) if loss in TWICE else merged


@pytest.fixture
def batch(rng, dtype):
    return Batch(rng, dtype)


@pytest.mark.parametrize("loss", [*ONCE, *TWICE], ids=str)
@pytest.mark.parametrize("measure", ["cosine", "dot", "distance", "student"])
def test_parts_of_keys_give_the_whole(loss, measure, batch, dtype):
    how = {"measure": measure, "reduction": "mean-nonzero"}
    whole = batch.call(loss, sums=True, log_sums=True, values=True, **how)
    merged = batch.merged(loss, measure=measure)
    for kind in ("similar", "dissimilar"):
        assert np.array_equal(merged[kind]["count"], whole.sums[kind]["count"])
    found = [batch.call(loss, slice(None), part, known=merged, values=True, log_sums=True, **how) for part in CUTS]
    for of in found:
        close(of.value, whole.value, dtype, 10)
        close(of.values, whole.values, dtype, 10)
        close(of.log_sums, whole.log_sums, dtype, 10)
        assert replace(of.queries, sum=0.0) == replace(whole.queries, sum=0.0)
    close(found[0].grad_queries + found[1].grad_queries, whole.grad_queries, dtype, 20)
    close(np.concatenate([of.grad_keys for of in found]), whole.grad_keys, dtype, 20)
    # No part is the whole.
    assert all(np.abs(of.grad_queries - whole.grad_queries).max() > 1e-3 for of in found)


@pytest.mark.parametrize("loss", [ONCE[0], ONCE[4], TWICE[0]], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_parts_of_both_have_one_factor(loss, reduction, batch, dtype):
    whole = batch.call(loss, reduction=reduction)
    queries = [slice(0, 2), slice(2, QUERIES)]
    sums = [batch.merged(loss, of) for of in queries]
    # Any part of the keys knows the totals of its queries.
    of_parts = [batch.call(loss, of, CUTS[0], known=known, grads=False).queries for of, known in zip(queries, sums)]
    totals = sum(of_parts, drlim.AnchorTotals())
    close(totals.sum, whole.queries.sum, dtype, 10)
    assert replace(totals, sum=0.0) == replace(whole.queries, sum=0.0)
    factor = totals.factor(reduction)
    close(factor * totals.sum, whole.value, dtype, 10)
    by_queries, by_keys = np.zeros_like(batch.queries), np.zeros_like(batch.keys)
    for of, known in zip(queries, sums):
        for part in CUTS:
            found = batch.call(loss, of, part, known=known, reduction=factor)
            by_queries[of] += found.grad_queries
            by_keys[part] += found.grad_keys
    close(by_queries, whole.grad_queries, dtype, 20)
    close(by_keys, whole.grad_keys, dtype, 20)


def test_the_derivative_by_the_scale_of_parts(batch, dtype):
    loss = drlim.Softmax(4.0)
    merged = batch.merged(loss)
    whole = batch.call(loss, grad_scale=True)
    found = [batch.call(loss, slice(None), part, known=merged, grad_scale=True).grad_scale for part in CUTS]
    close(sum(found), whole.grad_scale, dtype, 50)


def test_rows_of_one_batch(rng, dtype):
    z, labels = rng.normal(size=(20, COLS)).astype(dtype), np.arange(20) % 3
    for loss in (drlim.Softmax(2.0), drlim.Lifted(0.125, 1.0)):
        whole = drlim.all_anchors(loss, z, labels, sums=True)
        known = drlim.all_anchors(loss, z, labels, known=whole.sums)
        close(known.value, whole.value, dtype)
        close(known.grad, whole.grad, dtype)
        assert whole.sums.dtype == drlim.ANCHOR_SUMS and whole.sums.shape == (20,) and known.sums is None
    assert (whole.sums["looked"] == 1).all()


def test_merging_is_what_the_sums_say(batch):
    """In float64, whatever the embeddings are."""
    loss = drlim.Softmax(4.0)
    one, other, all_keys = (batch.call(loss, slice(None), keys, sums=True).sums for keys in (*CUTS, slice(None)))
    merged = drlim.merge_sums(one, other)
    assert np.array_equal(drlim.merge_sums(other, one)["similar"]["count"], merged["similar"]["count"])
    for kind in ("similar", "dissimilar"):
        with np.errstate(divide="ignore"):
            logs = [of[kind]["largest"] + np.log(of[kind]["sum"]) for of in (one, other, merged)]
        np.testing.assert_allclose(np.logaddexp(logs[0], logs[1]), logs[2], rtol=1e-14)
        assert np.array_equal(merged[kind]["count"], all_keys[kind]["count"])
    np.testing.assert_allclose(merged["exponents"], one["exponents"] + other["exponents"], rtol=1e-15)
    # Zeros are the sums of no candidate, and three parts are two and one.
    nothing = np.zeros(QUERIES, drlim.ANCHOR_SUMS)
    assert np.array_equal(drlim.merge_sums(nothing, one, nothing), one)
    halves = drlim.merge_sums(drlim.merge_sums(one, other), nothing)
    assert np.array_equal(drlim.merge_sums(one, other, nothing), halves)
    far = one.copy()
    far["similar"]["largest"] += 1e5
    assert np.isfinite(drlim.merge_sums(far, other)["similar"]["sum"]).all()
    assert drlim.merge_sums(np.empty(0, drlim.ANCHOR_SUMS)).shape == (0,)


def test_sums_travel_as_bytes(batch):
    sums = batch.call(TWICE[0], sums=True).sums
    assert sums.nbytes == 80 * QUERIES and sums.view(np.uint8).shape == (80 * QUERIES,)
    arrived = np.frombuffer(b"\0" + sums.tobytes(), drlim.ANCHOR_SUMS, offset=1)  # of odd addresses
    assert drlim._anchor_sums.bits("known", arrived, QUERIES).flags.aligned
    assert batch.call(TWICE[0], known=arrived).value == batch.call(TWICE[0], known=sums).value
    assert np.array_equal(pickle.loads(pickle.dumps(sums)), sums)
    every_other = np.repeat(sums, 2)[::2]
    assert np.array_equal(drlim.merge_sums(every_other), drlim.merge_sums(sums))


def test_what_was_looked_at_is_merged_with_its_like(batch):
    loss = TWICE[0]
    first = [batch.call(loss, slice(None), part, sums=True).sums for part in CUTS]
    assert all((of["looked"] == 1).all() for of in first)
    merged = drlim.merge_sums(*first)
    assert (merged["looked"] == 0).all() and (drlim.merge_sums(first[0])["looked"] == 0).all()
    second = [batch.call(loss, slice(None), part, sums=True, known=merged).sums for part in CUTS]
    both = drlim.merge_each(*second)
    np.testing.assert_allclose(both["each"], second[0]["each"] + second[1]["each"], rtol=1e-15)
    whole = batch.call(loss, sums=True).sums
    close(both["each"], whole["each"], batch.keys.dtype, 10)
    for parts, at in ((first, 0), ((second[0], merged), 0), ((second[0], second[1], merged), 0)):
        with pytest.raises(ValueError, match=rf"^parts\[{len(parts) - 1}\] has other log-sums than parts\[0\] at {at}"):
            drlim.merge_each(*parts)
    # The first round's values are of each part by itself.
    assert not np.isclose(batch.call(loss, slice(None), CUTS[0], known=merged).value, batch.call(loss).value)


def wrong_sums(sums):
    """Sums that no call gives, by what is wrong with those of one anchor."""
    for words, change in [
        ("^known.similar.largest is NaN", lambda of: of["similar"].__setitem__("largest", np.nan)),
        ("^known.dissimilar.largest is NaN", lambda of: of["dissimilar"].__setitem__("largest", np.nan)),
        ("^known.similar.sum is NaN", lambda of: of["similar"].__setitem__("sum", np.nan)),
        ("^known.dissimilar.sum is -1", lambda of: of["dissimilar"].__setitem__("sum", -1.0)),
        ("^known.exponents is NaN", lambda of: of.__setitem__("exponents", np.nan)),
        ("^known.count is 4294967296", lambda of: of["similar"].__setitem__("count", 2**32 - of[1]["count"])),
        ("^known.count is 18446744073709552000", lambda of: of["similar"].__setitem__("count", 2**64 - 1)),
    ]:
        wrong = sums.copy()
        change(wrong[3])
        yield ValueError, words, wrong
    looked = sums.copy()
    looked[3]["looked"], looked[3]["each"][1] = 1, np.nan
    yield ValueError, "^known.each is NaN", looked
    yield ValueError, r"^known has shape \(8,\), expected \(9,\)", sums[:-1]
    yield ValueError, r"^known has shape \(9, 1\)", sums[:, None]
    yield ValueError, r"^known has shape \(\)", sums[0]
    yield TypeError, "^known is of float64, expected drlim.ANCHOR_SUMS", sums["exponents"]
    yield TypeError, "^known is of uint64", sums.view(np.uint64)
    yield TypeError, "^known is of", sums.astype(drlim.ANCHOR_SUMS.newbyteorder())
    yield TypeError, "^known is of float64", [1.0] * QUERIES
    yield TypeError, "^known is of object", [None] * QUERIES
    yield TypeError, "^known is a masked array", np.ma.masked_array(sums)


def test_sums_that_are_refused(rng):
    batch = Batch(rng, np.float64)
    loss, labels = drlim.Softmax(4.0), batch.of_queries
    sums = batch.call(loss, sums=True).sums
    out = np.full_like(batch.queries, 7.0)
    for error, words, wrong in wrong_sums(sums):
        with pytest.raises(error, match=words):
            batch.call(loss, known=wrong)
        with pytest.raises(error, match=words):
            drlim.all_anchors(loss, batch.queries, labels, known=wrong, out=out)
        assert (out == 7.0).all()
    with pytest.raises(ValueError, match=r"^known has shape \(9,\), expected \(32,\)"):
        batch.call(loss, known=sums, anchors="both", weights=None)
    for wrong in ("yes", None, 2):
        with pytest.raises(TypeError, match="^sums is"):
            batch.call(loss, sums=wrong)
    for merge in (drlim.merge_sums, drlim.merge_each):
        with pytest.raises(TypeError, match="^parts are none"):
            merge()
        with pytest.raises(ValueError, match=r"^parts\[1\] has shape \(8,\), expected \(9,\)"):
            merge(sums, sums[1:])
        with pytest.raises(TypeError, match=r"^parts\[1\] is of float64, expected drlim.ANCHOR_SUMS"):
            merge(sums, sums["exponents"])
        with pytest.raises(ValueError, match=r"^parts\[0\] has shape"):
            merge(sums[:, None])
    # A NaN of one part is one of the whole, which is refused as above.
    wrong = sums.copy()
    wrong["similar"]["sum"][3] = np.nan
    before = wrong.copy(), sums.copy()
    merged = drlim.merge_sums(wrong, sums)
    assert np.isnan(merged["similar"]["sum"][3]) and np.isnan(drlim.merge_sums(sums, wrong)["similar"]["sum"][3])
    assert wrong.tobytes() == before[0].tobytes() and sums.tobytes() == before[1].tobytes()


def test_totals():
    totals = drlim.AnchorTotals(10, 8, 5, 4, 20, 90, 3.0)
    factors = {"sum": 1, "mean": 1 / 10, "mean-with-similar": 1 / 8, "mean_nonzero": 1 / 5, "mean-of-pairs": 1 / 20}
    factors[0.5] = 0.5
    for reduction, factor in factors.items():
        assert totals.factor(reduction) == factor
        assert drlim.AnchorTotals().factor(reduction) == (0.5 if reduction == 0.5 else 1)
    assert totals + totals == drlim.AnchorTotals(*(2 * field for field in astuple(totals)))
    with pytest.raises(TypeError):
        totals + 1
    for error, wrong in [(ValueError, "balanced"), (TypeError, (1.0, 2.0)), (TypeError, None)]:
        with pytest.raises(error, match="^reduction is"):
            totals.factor(wrong)


def student(z, scale, labels):
    """The mean over rows of -ln of the share that similar rows have of 1/(1 + d²)^scale, in float64."""
    d2 = ((z[:, None] - z) ** 2).sum(axis=2)
    kernel = (1 / (1 + d2)) ** scale
    np.fill_diagonal(kernel, 0)
    similar = labels[:, None] == labels
    return -np.log((kernel * similar).sum(axis=1) / kernel.sum(axis=1)).mean()


@pytest.mark.parametrize("scale", [1.0, 3.5])
def test_student(scale, rng, dtype, tier):
    z, labels = rng.normal(size=(11, COLS)).astype(dtype) / 2, np.arange(11) % 3
    loss = drlim.Softmax(scale, "sum")
    found = drlim.all_anchors(loss, z, labels, measure="student")
    wide = z.astype(np.float64)
    close(found.value, student(wide, scale, labels), dtype, 10)
    grad, step = np.zeros_like(wide), 1e-6
    for at in np.ndindex(wide.shape):
        moved = wide.copy()
        moved[at] += step
        above = student(moved, scale, labels)
        moved[at] -= 2 * step
        grad[at] = (above - student(moved, scale, labels)) / (2 * step)
    close(found.grad, grad, dtype, 20)


@pytest.mark.parametrize("loss", [ONCE[0], ONCE[4], TWICE[0]], ids=str)
def test_parts_of_tensors(loss, rng):
    torch = pytest.importorskip("torch")
    import drlim.torch as dt

    batch = Batch(rng, np.float64)
    weights = torch.tensor(batch.weights)

    def run(keys, reduction="mean", known=None):
        leaves = [torch.tensor(array, requires_grad=True) for array in (batch.queries, batch.keys[keys])]
        labels = batch.of_queries, batch.of_keys[keys]
        how = {"weights": weights, "known": known, "measure": "student", "reduction": reduction}
        value = dt.cross_anchors(loss, *leaves, *labels, **how)
        if known is not None:
            known["similar"]["sum"] = np.nan  # The caller refills it.
        upstream = torch.linspace(0.5, 2.0, max(value.numel(), 1), dtype=value.dtype).reshape(value.shape)
        (upstream * value).sum().backward()
        return value.detach(), leaves[0].grad, leaves[1].grad

    merged = batch.merged(loss, measure="student")
    for reduction in ("mean", "none"):
        value, by_queries, by_keys = run(slice(None), reduction)
        found = [run(part, reduction, merged.copy()) for part in CUTS]
        for of in found:
            torch.testing.assert_close(of[0], value, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(found[0][1] + found[1][1], by_queries, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(torch.cat([of[2] for of in found]), by_keys, rtol=1e-8, atol=1e-10)
    with pytest.raises(ValueError, match=r"^known has shape"):
        run(CUTS[0], known=merged[1:].copy())
    with pytest.raises(TypeError, match="^known is of float64"):
        run(CUTS[0], known=merged["exponents"].copy())


def test_student_of_tensors(rng):
    torch = pytest.importorskip("torch")
    import drlim.torch as dt

    labels = torch.arange(11) % 3
    z = torch.tensor(rng.normal(size=(11, COLS)), requires_grad=True)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    loss = drlim.Softmax(1.0, "sum")
    others = ~torch.eye(11, dtype=torch.bool)
    x = -scale * torch.log1p(((z[:, None] - z) ** 2).sum(dim=2))
    similar = (labels[:, None] == labels) & others
    of_all, of_similar = (x.masked_fill(~among, -torch.inf).logsumexp(1) for among in (others, similar))
    theirs = (of_all - of_similar).mean()
    ours = dt.all_anchors(loss, z, labels, scale=scale, measure="student")
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    found, expected = (torch.autograd.grad(value, (z, scale)) for value in (ours, theirs))
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)
    queries = torch.tensor(rng.normal(size=(5, COLS)))
    logits = -3 * torch.log1p(((queries[:, None] - queries) ** 2).sum(dim=2))
    theirs = torch.nn.functional.cross_entropy(logits, torch.arange(5))
    torch.testing.assert_close(dt.info_nce(queries, queries, scale=3.0, measure="student"), theirs, rtol=1e-7, atol=1e-9)

