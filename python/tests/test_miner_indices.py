"""What the modules take from miners and references, beside pytorch-metric-learning: the same value and gradient, or a
refusal that names the argument.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pml = pytest.importorskip("pytorch_metric_learning")
from pytorch_metric_learning import distances, losses, miners, reducers  # noqa: E402

import drlim.torch as dt  # noqa: E402
from test_pytorch_metric_learning import same  # noqa: E402


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def batch(request):
    generator = torch.Generator().manual_seed(7)
    z = torch.randn(40, 16, generator=generator).to(request.param)
    return z, torch.randint(6, (40,), generator=generator)


PAIRS = ([0, 2, 5], [1, 3, 4], [0, 1], [4, 6])
TRIPLETS = ([0, 2, 5], [1, 3, 4], [7, 8, 9])


def as_tensors(parts, dtype=torch.int64):
    return tuple(torch.tensor(part, dtype=dtype) for part in parts)


FORMS = {
    "lists": lambda parts: parts,
    "a list of lists": list,
    "arrays": lambda parts: tuple(np.array(part) for part in parts),
    "arrays of uint32": lambda parts: tuple(np.array(part, np.uint32) for part in parts),
    "int32": lambda parts: as_tensors(parts, torch.int32),
    "int16": lambda parts: as_tensors(parts, torch.int16),
    "int8": lambda parts: as_tensors(parts, torch.int8),
    "every other one of twice as many": lambda parts: tuple(
        torch.tensor(part).repeat_interleave(2)[::2] for part in parts
    ),
}


def value(loss, *arguments):
    return loss(*arguments).item()


@pytest.mark.parametrize("form", FORMS)
def test_indices_in_any_form(form, batch):
    z, labels = batch
    for loss, parts in (
        (dt.ContrastiveLoss(), PAIRS),
        (dt.ContrastiveLoss(), TRIPLETS),
        (dt.TripletMarginLoss(0.7), PAIRS),
        (dt.TripletMarginLoss(0.7), TRIPLETS),
    ):
        assert value(loss, z, labels, FORMS[form](parts)) == value(loss, z, labels, as_tensors(parts))
        assert value(loss, z, None, FORMS[form](parts)) == value(loss, z, labels, as_tensors(parts))


def masks(parts, rows=40):
    return tuple(torch.zeros(rows, dtype=torch.bool).index_fill(0, torch.tensor(part), True) for part in parts)


MASKS = {
    "tensors": tuple,
    "arrays": lambda masks: [mask.numpy() for mask in masks],
    "lists": lambda masks: [mask.tolist() for mask in masks],
}


@pytest.mark.parametrize("form", MASKS)
def test_masks_are_of_rows(form, batch):
    z, labels = batch
    for loss, theirs, parts in (
        (dt.ContrastiveLoss(), losses.ContrastiveLoss(), PAIRS),
        (dt.ContrastiveLoss(), losses.ContrastiveLoss(), TRIPLETS),
        (dt.TripletMarginLoss(0.7), losses.TripletMarginLoss(0.7), TRIPLETS),
    ):
        # There masks fail an assertion: what they mean are the indices of their rows.
        expected = value(theirs, z, labels, as_tensors(parts))
        assert value(loss, z, labels, MASKS[form](masks(parts))) == pytest.approx(expected, rel=1e-5)


T = torch.tensor
WRONG = {
    "fewer positives": ((T([0, 1]), T([2]), T([0]), T([3])), ValueError),
    "fewer negatives": ((T([0]), T([2]), T([0, 1, 2]), T([3, 4])), ValueError),
    "one for several": ((T([0]), T([2, 3]), T([0]), T([3])), ValueError),
    "triplets of several lengths": ((T([0, 1]), T([2, 3]), T([3])), ValueError),
    "one part": ((T([0]),), ValueError),
    "two parts": ((T([0]), T([1])), ValueError),
    "five parts": (5 * (T([0]),), ValueError),
    "no parts": ((), ValueError),
    "a tensor": (torch.zeros(4, 2, dtype=torch.int64), TypeError),
    "an array": (np.zeros((3, 2), int), TypeError),
    "a dict": ({0: T([0]), 1: T([1]), 2: T([2])}, TypeError),
    "a text": ("abc", TypeError),
    "none of a part": ((T([0]), T([1]), None, None), (TypeError, ValueError)),
    "two dimensions": ((T([[0]]), T([[1]]), T([[2]])), ValueError),
    "no dimension": ((T(0), T(1), T(2)), ValueError),
    "uint8": (tuple(T([0, 1], dtype=torch.uint8) for _ in range(4)), TypeError),
    "uint8 in arrays": (tuple(np.array([0, 1], np.uint8) for _ in range(3)), TypeError),
    "uint8 as a mask": (tuple(mask.byte() for mask in masks(TRIPLETS)), TypeError),
    "floats": ((T([0.0]), T([1.0]), T([2.0])), TypeError),
    "float arrays": ((np.array([0.0]), np.array([1.0]), np.array([2.0])), TypeError),
    "complex": ((T([0j]), T([1]), T([2])), TypeError),
    "texts": ((["a"], ["b"], ["c"]), TypeError),
    "negative": ((T([0]), T([-1]), T([0]), T([2])), IndexError),
    "negative anchors": ((T([-1]), T([1]), T([2])), IndexError),
    "past the end": ((T([0]), T([1]), T([40]), T([2])), IndexError),
    "far past the end": (([0], [1], [2**40]), IndexError),
    "a short mask": (masks(TRIPLETS, 12), IndexError),
    "a long mask": (masks(PAIRS, 41), IndexError),
    "masks of unequal numbers": (masks(([0, 1], [2], [3, 4])), ValueError),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("loss", [dt.ContrastiveLoss(), dt.TripletMarginLoss(0.7)], ids=["pairs", "triplets"])
def test_what_is_no_indices(wrong, loss, batch):
    z, labels = batch
    indices, error = WRONG[wrong]
    with pytest.raises(error, match="indices_tuple"):
        loss(z, labels, indices)
    with pytest.raises(error, match="indices_tuple"):
        loss(z, labels, indices, z.clone(), labels.clone())


def test_indices_are_of_their_side(batch):
    """Anchors are rows of the embeddings, the others of the reference."""
    z, labels = batch
    few, many = (z[:10], labels[:10]), (z[10:], labels[10:])
    indices = T([0, 9]), T([29, 3]), T([4, 9]), T([29, 28])
    for loss in (dt.ContrastiveLoss(), dt.TripletMarginLoss(0.7)):
        loss(*few, indices, *many)
        with pytest.raises(IndexError, match=r"indices_tuple\[0\]"):
            loss(*few, (T([10, 9]), *indices[1:]), *many)
        with pytest.raises(IndexError, match=r"indices_tuple\[1\]"):
            loss(*few, (indices[0], T([30, 3]), *indices[2:]), *many)


def test_no_pairs_and_no_triplets(batch):
    z, labels = batch
    for loss in (dt.ContrastiveLoss(), dt.TripletMarginLoss(0.7), dt.TripletMarginLoss(0.7, swap=True)):
        for count in (3, 4):
            for empty in (T([], dtype=torch.int64), T([]), [], np.array([])):
                own = z.clone().requires_grad_()
                result = loss(own, labels, count * (empty,))
                result.backward()
                assert result.item() == 0 and (own.grad == 0).all()


# Pairs as triplets


@pytest.mark.parametrize("swap", [False, True])
def test_triplets_of_pairs(swap, batch):
    z, labels = batch
    ours, theirs = dt.TripletMarginLoss(0.4, swap), losses.TripletMarginLoss(0.4, swap)
    for miner in (miners.PairMarginMiner(0.2, 1.4), miners.MultiSimilarityMiner(), miners.BatchEasyHardMiner()):
        indices = miner(z, labels)
        assert len(indices[0]) > 0
        same(ours, theirs, z, labels, indices)
    # Anchors that are in one list only, several of one, in no order.
    indices = T([5, 0, 5, 1, 9]), T([4, 2, 3, 7, 8]), T([1, 5, 2, 5, 1, 0]), T([9, 9, 3, 8, 12, 20])
    same(ours, theirs, z, labels, indices)


@pytest.mark.parametrize("reduction, reducer", [("mean", reducers.MeanReducer()), ("sum", reducers.SumReducer())])
def test_triplets_of_pairs_reduced(reduction, reducer, batch):
    z, labels = batch
    indices = miners.PairMarginMiner(0.2, 1.4)(z, labels)
    same(dt.TripletMarginLoss(0.4, reduction=reduction), losses.TripletMarginLoss(0.4, reducer=reducer), z, labels, indices)


def test_pairs_as_triplets_are_those_of_the_same_triplets(batch):
    """Two ways to the same: triplets written out, and pairs that make them."""
    z, labels = batch
    a1, p, a2, n = miners.PairMarginMiner(0.2, 1.4)(z, labels)
    first, second = torch.where(a1[:, None] == a2)
    for swap in (False, True):
        loss = dt.TripletMarginLoss(0.4, swap)
        of_pairs = value(loss, z, labels, (a1, p, a2, n))
        assert of_pairs == pytest.approx(value(loss, z, labels, (a1[first], p[first], n[second])), rel=1e-6)


def test_pairs_of_a_miner_with_a_reference(batch):
    z, labels = batch
    few, rest = (z[:15], labels[:15]), (z[15:], labels[15:])
    indices = miners.PairMarginMiner(0.2, 1.4)(*few, *rest)
    same(dt.TripletMarginLoss(0.4), losses.TripletMarginLoss(0.4), *few, indices, *rest)
    same(dt.ContrastiveLoss(), losses.ContrastiveLoss(), *few, indices, *rest)
    triplets = miners.TripletMarginMiner(0.4)(*few, *rest)
    same(dt.TripletMarginLoss(0.4), losses.TripletMarginLoss(0.4), *few, triplets, *rest)
    same(dt.ContrastiveLoss(), losses.ContrastiveLoss(), *few, triplets, *rest)


# References


def test_triplets_with_a_reference(batch):
    z, labels = batch
    rest = labels[:15], None, z[15:], labels[15:]
    same(dt.TripletMarginLoss(0.4), losses.TripletMarginLoss(0.4), z[:15], *rest)
    theirs = losses.TripletMarginLoss(0.4, distance=distances.LpDistance(normalize_embeddings=False))
    same(dt.TripletMarginLoss(0.4, normalize=False), theirs, z[:15], *rest)
    swapped = dt.TripletMarginLoss(0.4, swap=True)
    # By itself: there distances of positives and negatives are read from the wrong rows of the matrix.
    of_rows = dt.TripletMarginLoss(0.4, swap=True)
    a, p, n = (T(part) for part in zip(*all_triplets(labels[:15].tolist(), labels[15:].tolist())))
    assert value(swapped, z[:15], *rest) == pytest.approx(
        value(of_rows, z[:15], labels[:15], (a, p, n), z[15:], labels[15:]), rel=1e-6
    )


def all_triplets(labels, ref_labels):
    for a, of_a in enumerate(labels):
        for p, of_p in enumerate(ref_labels):
            for n, of_n in enumerate(ref_labels):
                if of_a == of_p != of_n:
                    yield a, p, n


REDUCTIONS = {
    "balanced-nonzero": None,
    "balanced": reducers.MeanReducer(),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("margins", [(0.0, 1.0), (0.3, 1.3)])
def test_the_batch_as_its_own_reference(reduction, margins, batch):
    """pytorch-metric-learning leaves out pairs of a row with itself where both labels are one object."""
    z, labels = batch
    theirs = losses.ContrastiveLoss(*margins, reducer=REDUCTIONS[reduction])
    ours = dt.ContrastiveLoss(*margins, reduction=reduction)
    expected = value(theirs, z, labels)
    close = pytest.approx(expected, rel=1e-5)
    assert value(theirs, z, labels, None, z, labels) == close
    for ref in (z, z.detach(), z[:], z.view(40, 16), torch.from_numpy(z.numpy())):
        for ref_labels in (labels, labels.clone(), labels.tolist(), labels.numpy()):
            assert value(ours, z, labels, None, ref, ref_labels) == close
    # Where labels are one object, row i is row i, whatever the rows are.
    other = z + 0.1
    assert value(ours, z, labels, None, other, labels) == pytest.approx(
        value(theirs, z, labels, None, other, labels), rel=1e-5
    )
    assert value(ours, z, labels, None, other) == pytest.approx(value(theirs, z, labels, None, other), rel=1e-5)
    # Copies are other rows: each has a pair with what it was copied from.
    copied = value(ours, z, labels, None, z.clone(), labels.clone())
    if reduction == "balanced":  # otherwise it matters there by how little their distance misses 0
        assert copied == pytest.approx(value(theirs, z, labels, None, z.clone(), labels.clone()), rel=1e-5)
        assert copied != close


def test_gradients_of_the_batch_as_its_own_reference(batch):
    z, labels = batch
    for ours, theirs in (
        (dt.ContrastiveLoss(0.1, 1.2, reduction="balanced"), losses.ContrastiveLoss(0.1, 1.2, reducer=reducers.MeanReducer())),
        (dt.TripletMarginLoss(0.4), losses.TripletMarginLoss(0.4)),
    ):
        same(lambda z, labels: ours(z, labels, None, z, labels.clone()), lambda z, labels: theirs(z, labels, None, z, labels), z, labels)
        same(lambda z, labels: ours(z, labels, None, z.detach(), labels), lambda z, labels: theirs(z, labels, None, z.detach(), labels), z, labels)


OVERLAPS = {
    "a part of the batch": (slice(5, 20), slice(None)),
    "the batch and a part of it": (slice(None), slice(5, 20)),
    "two parts": (slice(5, 25), slice(15, 40)),
    "two parts, the other way": (slice(15, 40), slice(5, 25)),
    "every other row": (slice(None, None, 2), slice(None)),
    "every third of every other": (slice(1, None, 3), slice(None, None, 2)),
    "one row": (slice(7, 8), slice(None)),
    "nothing": (slice(0, 20), slice(20, 40)),
}


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("normalize", [False, True])
def test_parts_of_one_tensor(overlap, normalize, batch):
    """As pytorch-metric-learning where the pairs are given that are not of a row with itself."""
    z, labels = batch
    one, other = OVERLAPS[overlap]
    rows, ref_rows = torch.arange(40)[one], torch.arange(40)[other]
    of_labels, of_ref = labels[one], labels[other]
    itself = rows[:, None] == ref_rows
    alike = of_labels[:, None] == of_ref
    pairs = (*torch.where(alike & ~itself), *torch.where(~alike & ~itself))
    distance = distances.LpDistance(normalize_embeddings=normalize)
    theirs = losses.ContrastiveLoss(0.1, 1.2, reducer=reducers.MeanReducer(), distance=distance)
    ours = dt.ContrastiveLoss(0.1, 1.2, reduction="balanced", normalize=normalize)
    same(
        lambda z: ours(z[one], of_labels, None, z[other], of_ref),
        lambda z: theirs(z[one], of_labels, pairs, z[other], of_ref),
        z,
    )
    triplets = dt.TripletMarginLoss(0.4, normalize=normalize)
    theirs = losses.TripletMarginLoss(0.4, distance=distance)
    same(
        lambda z: triplets(z[one], of_labels, None, z[other], of_ref),
        lambda z: theirs(z[one], of_labels, pairs, z[other], of_ref),
        z,
    )


def test_columns_of_one_tensor_are_no_rows_of_the_other(batch):
    z, labels = batch
    ours = dt.ContrastiveLoss(reduction="balanced")
    theirs = losses.ContrastiveLoss(reducer=reducers.MeanReducer())
    left, right = z[:, :8], z[:, 8:]
    given = left, labels, None, right, labels.clone()
    assert value(ours, *given) == pytest.approx(value(theirs, *given), rel=1e-5)
    wide = left, labels, None, left, labels.clone()
    assert value(ours, *wide) == pytest.approx(value(theirs, left, labels), rel=1e-5)
    # One row many times: row i is row i.
    again = z[:1].expand(40, 16)
    assert value(ours, again, labels, None, again, labels.clone()) == pytest.approx(value(theirs, again, labels), rel=1e-5)


def test_wrong_references(batch):
    z, labels = batch
    for loss in (dt.ContrastiveLoss(), dt.TripletMarginLoss(0.4)):
        for arguments, error, words in [
            ((z, labels, None, z[:20]), TypeError, "ref_labels is None"),
            ((z, labels, None, z[:20], labels), ValueError, "ref_labels has shape"),
            ((z, labels, None, None, labels.clone()), ValueError, "ref_labels is given without ref_emb"),
            ((z, labels[:5], None, z, labels), ValueError, "^labels has shape"),
            ((z, None), TypeError, "^labels is None"),
            ((z, None, None, z, labels), TypeError, "^labels is None"),
            ((z, labels, None, z[:, :8], labels), ValueError, "ref_emb has 8 columns"),
            ((z, labels, None, z.half(), labels), TypeError, "ref_emb is of torch.float16"),
            ((z, labels, None, z.numpy(), labels), TypeError, "ref_emb is a ndarray"),
            ((z[0], labels), ValueError, "^embeddings has 1 dimensions"),
            ((z.numpy(), labels), TypeError, "^embeddings is a ndarray"),
            ((z.long(), labels), TypeError, "^embeddings is of torch.int64"),
            ((z, labels + 0.5), TypeError, "^labels is of float32.*long"),
            ((z, labels, None, z, labels + 0.5), TypeError, "^ref_labels is of float32.*long"),
        ]:
            with pytest.raises(error, match=words):
                loss(*arguments)
    other = torch.float32 if z.dtype == torch.float64 else torch.float64
    with pytest.raises(TypeError, match="ref_emb is of"):
        dt.ContrastiveLoss()(z, labels, None, z.to(other), labels)
    with pytest.raises(ValueError, match="^mining is 'hardest'"):
        dt.TripletMarginLoss(mining="hardest")(z, labels, None, z.clone(), labels)
