"""Refusals name the caller's argument and say what to do; whole numbers are numbers of any type."""

import numpy as np
import pytest

import drlim

F32 = np.float32
A = np.arange(12, dtype=F32).reshape(4, 3)
SIMILAR, LABELS, PAIRS = [True, False, True, False], [1, 1, 2, 2], [(0, 1), (2, 3)]
PAIR, TRIPLET = drlim.Contrastive(1.0), drlim.TripletMargin(1.0)
GRAPH = drlim.Graph(4, PAIRS)


def refused(error, words, call, *arguments, **named):
    with pytest.raises(error, match=words):
        call(*arguments, **named)


@pytest.mark.parametrize("k", [-1, 0, 1.5, 2.0, "2", None, True, 2**70, [1], np.float32(1), A])
def test_k(k):
    for call in (
        lambda: drlim.nearest(A, A, k),
        lambda: drlim.nearest(A, A, k=k),
        lambda: drlim.nearest_others(A, k),
        lambda: drlim.hardest(A, LABELS, k),
        lambda: drlim.Graph.nearest(A, k),
    ):
        refused((TypeError, ValueError), "^k is ", call)


@pytest.mark.parametrize("k", [2, np.int8(2), np.uint64(2), np.array(2)])
def test_numbers_of_any_type(k):
    expected = drlim.nearest(A, A, 2)[0]
    assert np.array_equal(drlim.nearest(A, A, k)[0], expected)
    assert drlim.Graph(np.int16(4), PAIRS) == drlim.Graph(4, PAIRS)
    assert drlim.hardest(A, LABELS, ignore_label=np.int8(7))[0][0].shape == (4, 1)


@pytest.mark.parametrize("wrong", [-1, 1.5, "4", None, True, 2**70])
def test_sizes(wrong):
    refused((TypeError, ValueError), "^samples is ", drlim.Graph, wrong, PAIRS)
    refused((TypeError, ValueError), "^rows is ", drlim.PairList, wrong, PAIRS)
    refused((TypeError, ValueError), "^count is ", drlim.set_threads, wrong)
    if wrong is not None:
        labels = dict(query_labels=LABELS, key_labels=LABELS)
        refused((TypeError, ValueError), "^own is ", drlim.cross, PAIR, A, A, **labels, own=wrong)
        if not isinstance(wrong, int):
            refused(TypeError, "^ignore_label is ", drlim.cross, PAIR, A, A, **labels, ignore_label=wrong)
    for name in ("first_query", "first_key"):
        refused((TypeError, ValueError), f"^{name} is ", drlim.cross, PAIR, A, A, graph=GRAPH, **{name: wrong})


def test_sizes_past_the_end():
    refused(ValueError, "^count is 5000, expected from 0 to 4096", drlim.set_threads, 5000)
    refused(ValueError, "^first_query is 1", drlim.cross, PAIR, A, A, graph=GRAPH, first_query=1)
    refused(ValueError, "^first_key is 3", drlim.cross, PAIR, A, A[:2], graph=GRAPH, first_key=3)
    refused(IndexError, "^own is 1", drlim.cross, PAIR, A, A, LABELS, LABELS, own=1)
    refused(IndexError, "^position is 1", drlim.cross, PAIR, A, A, position=1)
    refused(IndexError, "^position is 1", drlim.cross_anchors, drlim.Softmax(), A, A, position=1)
    for call in (drlim.all_pairs, drlim.triplets):
        loss = PAIR if call is drlim.all_pairs else TRIPLET
        refused(ValueError, "^graph is of 5 samples, expected 4", call, loss, A, graph=drlim.Graph(5, PAIRS))
    refused(ValueError, "^graph is of 5 samples, expected 4", drlim.hardest, A, graph=drlim.Graph(5, PAIRS))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_that_are_whole(dtype):
    labels, flags = np.asarray(LABELS, dtype), np.asarray(SIMILAR, dtype)
    assert drlim.all_pairs(PAIR, A, labels).value == drlim.all_pairs(PAIR, A, LABELS).value
    assert drlim.rows(PAIR, A, A[::-1], flags).value == drlim.rows(PAIR, A, A[::-1], SIMILAR).value
    assert drlim.rows(PAIR, A, A[::-1], SIMILAR, ignored=flags).value == drlim.rows(PAIR, A, A[::-1], SIMILAR, ignored=SIMILAR).value
    assert drlim.cross(PAIR, A, A, labels, labels).value == drlim.cross(PAIR, A, A, LABELS, LABELS).value


@pytest.mark.parametrize("wrong", [0.5, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_that_are_not(wrong, dtype):
    labels = np.asarray([1, 1, 2, wrong], dtype)
    refused(TypeError, r"^labels is of float.*use .long\(\)", drlim.all_pairs, PAIR, A, labels)
    refused(TypeError, r"^key_labels is of float.*use .long\(\)", drlim.cross, PAIR, A, A, LABELS, labels)
    refused(ValueError, "^similar holds numbers other than 0 and 1", drlim.rows, PAIR, A, A, labels)


def test_floats_that_have_been_rounded():
    """Labels that were different are the same in float32."""
    large = np.array([1, 2, 3, 2**24 + 1], np.int64)
    drlim.all_pairs(PAIR, A, large)
    drlim.all_pairs(PAIR, A, large.astype(np.float64))
    refused(TypeError, "^labels is of float32", drlim.all_pairs, PAIR, A, (large + 3).astype(F32))
    refused(TypeError, "^labels is of float64", drlim.all_pairs, PAIR, A, np.array([1, 2, 3, 2.0**60]))


def test_texts_as_labels():
    refused(TypeError, "^labels is of <U1.*numpy.unique", drlim.all_pairs, PAIR, A, ["a", "b", "c", "d"])


@pytest.mark.parametrize("dtype, most", [(F32, 1448), (np.float64, 1024)])
def test_more_rows_than_all_triplets_are_of(dtype, most):
    z = np.zeros((most + 1, 1), dtype)
    labels = np.arange(len(z)) // 2
    drlim.triplets(TRIPLET, z[:-1], labels[:-1], mining="all")
    words = f'^z has {most + 1} rows, expected at most {most} of {np.dtype(dtype)} with mining="all": use mining="hardest"'
    refused(ValueError, words, drlim.triplets, TRIPLET, z, labels, mining="all")


LOSSES = [
    (drlim.Contrastive, ["margin"]),
    (drlim.SquaredHinge, ["margin"]),
    (drlim.LinearHinge, ["positive_margin", "negative_margin"]),
    (drlim.DoubleMargin, ["positive_margin", "negative_margin"]),
    (drlim.Exponential, ["bound"]),
    (drlim.CosineContrastive, ["margin"]),
    (drlim.TripletMargin, ["margin"]),
    (drlim.SquaredTriplet, ["margin"]),
]


@pytest.mark.parametrize("loss, names", LOSSES)
@pytest.mark.parametrize("wrong", ["1", None, True, [1.0], 1j, np.array([1.0]), np.array("1"), np.bool_(True)])
def test_margins_that_are_no_numbers(loss, names, wrong):
    for name in names:
        refused(TypeError, f"^{name} is ", loss, **{name: wrong})


@pytest.mark.parametrize("loss, names", LOSSES)
def test_margins_are_numbers_of_python(loss, names):
    for name in names:
        for one in (1, np.float32(1), np.int8(1), np.array(1.0)):
            made = loss(**{name: one})
            assert made == loss(**{name: 1.0}) and type(getattr(made, name)) is float
        refused(ValueError, f"^{name} is -1", loss, **{name: -1.0})


def test_truths():
    for wrong in ("no", None, 2, 0.5, [], A):
        refused(TypeError, "^swap is ", drlim.TripletMargin, 1.0, wrong)
        refused(TypeError, "^normalize is ", drlim.all_pairs, PAIR, A, LABELS, normalize=wrong)
        refused(TypeError, "^normalize is ", drlim.triplets, TRIPLET, A, LABELS, normalize=wrong)
        for name in ("grads", "distances", "values", "slopes"):
            refused(TypeError, f"^{name} is ", drlim.rows, PAIR, A, A, SIMILAR, **{name: wrong})
            refused(TypeError, f"^{name} is ", drlim.triplet_rows, TRIPLET, A, A, A, **{name: wrong})
        for name in ("grad", "distances", "values", "slopes"):
            refused(TypeError, f"^{name} is ", drlim.indexed, PAIR, A, PAIRS, SIMILAR[:2], **{name: wrong})
        refused(TypeError, "^grad is ", drlim.all_pairs, PAIR, A, LABELS, grad=wrong)
        refused(TypeError, "^grads is ", drlim.cross, PAIR, A, A, LABELS, LABELS, grads=wrong)
        refused(TypeError, "^grads is ", drlim.cross, PAIR, A, A, LABELS, LABELS, grads=(True, wrong))
    refused(TypeError, "^grads is ", drlim.cross, PAIR, A, A, LABELS, LABELS, grads=(True, True, True))
    assert drlim.rows(PAIR, A, A, SIMILAR, grads=np.bool_(False), values=1).values is not None


def test_choices_and_factors():
    for wrong in (None, 1, "other"):
        refused((TypeError, ValueError), "^mining is ", drlim.triplets, TRIPLET, A, LABELS, mining=wrong)
        refused((TypeError, ValueError), "^distance is ", drlim.row_distances, A, A, wrong)
        refused((TypeError, ValueError), "^distance is ", drlim.row_distances_backward, A, A, np.ones(4, F32), wrong)
    for call, loss, rest in ((drlim.rows, PAIR, (A, A, SIMILAR)), (drlim.triplet_rows, TRIPLET, (A, A, A))):
        refused(TypeError, "^scale is ", call, loss, *rest, scale="2")
        refused(TypeError, "^scale is ", call, loss, *rest, scale=[2.0])
    refused(TypeError, r"^reduction\[1\] is 'x'", drlim.rows, PAIR, A, A, SIMILAR, reduction=(1.0, "x"))


def test_shapes():
    refused(ValueError, "^references has 2 columns", drlim.nearest, A, A[:, :2], 1)
    refused((ValueError, TypeError), "^similar", drlim.rows, PAIR, A, A, [[True], [True, False]])
    refused((ValueError, TypeError), "^a", drlim.rows, PAIR, [[1.0], [1.0, 2.0]], A, SIMILAR)


def torch_and_ours():
    torch = pytest.importorskip("torch")
    import drlim.torch as dt

    return torch, dt


def test_margins_that_are_to_be_learned():
    torch, dt = torch_and_ours()
    learned = [
        torch.tensor(1.0, requires_grad=True),
        torch.tensor([1.0], requires_grad=True),
        torch.nn.Parameter(torch.tensor(1.0)),
        torch.nn.Parameter(torch.tensor(1.0), requires_grad=False),
        torch.tensor(1.0, requires_grad=True) * 2,
    ]
    for margin in learned:
        for loss, names in LOSSES:
            for name in names:
                refused(TypeError, f"^{name} is to be learned", loss, **{name: margin})
        refused(TypeError, "^pos_margin is to be learned", dt.ContrastiveLoss, pos_margin=margin)
        refused(TypeError, "^neg_margin is to be learned", dt.ContrastiveLoss, neg_margin=margin)
        refused(TypeError, "^margin is to be learned", dt.TripletMarginLoss, margin)
        refused(TypeError, "^margin is to be learned", drlim.contrastive, A, A, SIMILAR, margin)
        refused(TypeError, "^margin is to be learned", drlim.triplet_margin, A, A, A, margin)
        refused(TypeError, "^scale is to be learned", drlim.rows, PAIR, A, A, SIMILAR, scale=margin)
        refused(TypeError, "^scale is to be learned", drlim.Softmax, margin)
        refused(TypeError, "^temperature is to be learned", drlim.Softmax, temperature=margin)
    assert drlim.Contrastive(torch.tensor(2.0)) == drlim.Contrastive(2.0)


def test_tensors_that_need_a_gradient():
    torch, _ = torch_and_ours()
    z = torch.from_numpy(A).requires_grad_()
    refused(TypeError, r"^z requires a gradient.*z.detach\(\)", drlim.all_pairs, PAIR, z, LABELS)
    refused(TypeError, "^weights requires a gradient", drlim.rows, PAIR, A, A, SIMILAR, weights=z[:, 0])


def test_modules_are_checked_when_they_are_made():
    torch, dt = torch_and_ours()
    refused(ValueError, "^neg_margin is -1", dt.ContrastiveLoss, neg_margin=-1)
    refused(ValueError, "^neg_margin is 0", dt.ContrastiveLoss, 0.0, 0.0)
    refused(ValueError, "^pos_margin is -1", dt.ContrastiveLoss, -1.0)
    refused(ValueError, "^pos_margin is nan", dt.ContrastiveLoss, float("nan"))
    refused(TypeError, "^neg_margin is '1'", dt.ContrastiveLoss, 0.0, "1")
    refused(TypeError, "^normalize is", dt.ContrastiveLoss, normalize="no")
    refused(ValueError, "^reduction is 'none'", dt.ContrastiveLoss, reduction="none")
    refused(ValueError, "^margin is 0", dt.TripletMarginLoss, 0.0)
    refused(TypeError, "^swap is", dt.TripletMarginLoss, 0.1, "yes")
    refused(ValueError, "^mining is 'semi'", dt.TripletMarginLoss, mining="semi")
    refused(ValueError, "^reduction is 'balanced'", dt.TripletMarginLoss, reduction="balanced")
    for module, loss in ((dt.BatchLoss, TRIPLET), (dt.RowsLoss, TRIPLET), (dt.BatchTripletLoss, PAIR), (dt.TripletRowsLoss, PAIR)):
        refused(TypeError, "^loss is", module, loss)
        refused(ValueError, "^reduction is 'some'", module, PAIR if loss is TRIPLET else TRIPLET, reduction="some")
    refused(TypeError, "^ignore_label is", dt.BatchLoss, PAIR, ignore_label=0.5)
    refused(ValueError, "^mining is", dt.BatchTripletLoss, TRIPLET, mining="some")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_modules_name_their_arguments(dtype):
    torch, dt = torch_and_ours()
    z = torch.zeros(4, 3, dtype=getattr(torch, dtype))
    for module in (
        dt.ContrastiveLoss(),
        dt.TripletMarginLoss(),
        dt.BatchLoss(PAIR),
        dt.BatchTripletLoss(TRIPLET),
    ):
        refused(TypeError, "^embeddings is a ndarray", module, A, LABELS)
        refused(ValueError, "^embeddings has 1 dimensions", module, z[0], LABELS)
        refused(TypeError, "^embeddings is of torch.int64", module, z.long(), LABELS)
        refused(ValueError, r"^labels has shape \(3,\), expected \(4,\)", module, z, LABELS[:3])
        refused(TypeError, r"^labels is of float.*use .long\(\)", module, z, torch.tensor(LABELS) + 0.5)
        refused(TypeError, "^labels is None", module, z)
        assert module(z, torch.tensor(LABELS).float()).item() == module(z, LABELS).item()
    most = 1448 if dtype == "float32" else 1024
    many = torch.zeros(most + 1, 2, dtype=z.dtype)
    words = f'^embeddings has {most + 1} rows, expected at most {most} of {dtype} with mining="all": use mining="hardest"'
    for module in (dt.TripletMarginLoss(), dt.BatchTripletLoss(TRIPLET, mining="all")):
        refused(ValueError, words, module, many, torch.arange(len(many)))
    dt.TripletMarginLoss(mining="hardest")(many, torch.arange(len(many)) // 2)
