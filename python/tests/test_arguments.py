"""What a caller gets wrong is an exception that names the argument, and nothing is written."""

import pickle

import numpy as np
import pytest

import drlim

F32 = np.float32
A = np.ones((4, 3), F32)
SIMILAR = [True, False, True, False]
LABELS = [1, 1, 2, 2]
PAIR, TRIPLET, ANCHOR = drlim.Contrastive(1.0), drlim.TripletMargin(1.0), drlim.Softmax(4.0)
PAIRS = [(0, 1), (2, 3)]

CALLS = {
    "rows": (drlim.rows, dict(loss=PAIR, a=A, b=A, similar=SIMILAR)),
    "indexed": (drlim.indexed, dict(loss=PAIR, z=A, pairs=PAIRS, similar=[True, False])),
    "all_pairs": (drlim.all_pairs, dict(loss=PAIR, z=A, labels=LABELS)),
    "cross": (drlim.cross, dict(loss=PAIR, queries=A, keys=A, query_labels=LABELS, key_labels=LABELS)),
    "triplet_rows": (drlim.triplet_rows, dict(loss=TRIPLET, anchor=A, positive=A, negative=A)),
    "triplets": (drlim.triplets, dict(loss=TRIPLET, z=A, labels=LABELS)),
    "all_anchors": (drlim.all_anchors, dict(loss=ANCHOR, z=A, labels=LABELS)),
    "cross_anchors": (drlim.cross_anchors, dict(loss=ANCHOR, queries=A, keys=A, query_labels=LABELS, key_labels=LABELS)),
    "row_distances": (drlim.row_distances, dict(a=A, b=A)),
    "row_distances_backward": (drlim.row_distances_backward, dict(a=A, b=A, upstream=np.ones(4, F32))),
    "distance_matrix": (drlim.distance_matrix, dict(a=A, b=A)),
    "nearest": (drlim.nearest, dict(queries=A, references=A, k=2)),
    "nearest_others": (drlim.nearest_others, dict(z=A, k=2)),
    "hardest": (drlim.hardest, dict(z=A, labels=LABELS, k=1)),
    "hard_pairs": (drlim.hard_pairs, dict(distances=np.ones(4, F32), similar=SIMILAR)),
    "Graph": (drlim.Graph, dict(samples=4, pairs=PAIRS)),
    "PairList": (drlim.PairList, dict(rows=4, pairs=PAIRS)),
}

MATRICES = {"a", "b", "z", "queries", "keys", "anchor", "positive", "negative", "references"}
FLAGS = {"similar", "ignored"}
OF_LABELS = {"labels", "query_labels", "key_labels"}

WRONG_MATRICES = [None, A.astype(np.int32), A.astype(np.longdouble), A.astype(np.complex64), A[0], A[None], "text", [["x"]]]
WRONG_FLAGS = [None, [True] * 3, [[True] * 4], [0.5] * 4, [2, 0, 1, 0], "text", [None] * 4]
WRONG_LABELS = [None, [1] * 3, [1.5] * 4, [np.nan] * 4, [[1] * 4], ["a"] * 4, np.full(4, 2**63, np.uint64)]
WRONG_PAIRS = [None, [(0, 4)], [(-1, 0)], [(0, 2**40)], [(0, 1, 2)], [0, 1], [(0.0, 1.0)], "text"]


def wrong(name):
    if name in MATRICES:
        return WRONG_MATRICES
    if name in FLAGS:
        return WRONG_FLAGS
    if name in OF_LABELS:
        return WRONG_LABELS
    return {
        "loss": [None, 1.0, "contrastive", drlim.Contrastive],
        "pairs": WRONG_PAIRS,
        "upstream": [None, np.ones(3, F32), np.ones((4, 1), F32), ["a"] * 4],
        "distances": [None, np.ones(3, F32), np.ones((4, 1), F32), np.ones(4, int)],
        "k": [0, 5, -1, 1.5, None, 2**70],
        "samples": [3, -1, 2**40, None, 0.5],
        "rows": [3, -1, 2**40, None, 0.5],
    }[name]


@pytest.mark.parametrize("call", CALLS)
def test_the_call_is_right_as_it_stands(call):
    function, arguments = CALLS[call]
    function(**arguments)


def of_the_other_kind(loss):
    return TRIPLET if isinstance(loss, drlim.PairLoss) else PAIR


@pytest.mark.parametrize(
    "call, name", [(call, name) for call, (_, arguments) in CALLS.items() for name in arguments]
)
def test_each_argument_wrong(call, name):
    function, arguments = CALLS[call]
    values = list(wrong(name))
    if name == "b" and call == "distance_matrix":
        values.remove(None)  # the same as a
    if name == "loss":
        values.append(of_the_other_kind(arguments["loss"]))
    if name in MATRICES and name not in ("z", "a", "queries", "anchor"):
        values += [A.astype(np.float64), np.ones((4, 2), F32)]
    for value in values:
        with pytest.raises((TypeError, ValueError, IndexError, OverflowError, MemoryError)) as raised:
            function(**{**arguments, name: value})
        told = str(raised.value)
        # Of two arguments that do not go together either may be named; what Python itself does not take for a
        # size is told by its type.
        words = [*arguments, type(value).__name__, "int", "number"]
        assert any(word in told for word in words), told


@pytest.mark.parametrize("call", ["rows", "indexed", "all_pairs", "cross", "triplet_rows", "triplets"])
@pytest.mark.parametrize("reduction", ["average", None, 1.0, (1.0,), (1.0, "x"), ("a", "b")])
def test_unknown_reductions(call, reduction):
    function, arguments = CALLS[call]
    with pytest.raises((TypeError, ValueError)):
        function(**arguments, reduction=reduction)


@pytest.mark.parametrize("reduction", ["balanced", "balanced-nonzero", (1.0, 2.0)])
def test_triplets_are_of_one_kind(reduction):
    for call in ("triplet_rows", "triplets"):
        function, arguments = CALLS[call]
        with pytest.raises(ValueError, match="reduction"):
            function(**arguments, reduction=reduction)


@pytest.mark.parametrize("margin", [0.0, -1.0, np.nan, np.inf, None, "1"])
@pytest.mark.parametrize(
    "loss",
    [drlim.Contrastive, drlim.SquaredHinge, drlim.Exponential, drlim.CosineContrastive, drlim.TripletMargin, drlim.SquaredTriplet],
)
def test_margins_out_of_their_domain(loss, margin):
    with pytest.raises((TypeError, ValueError)):
        loss(margin)


def test_two_margins_out_of_their_domain():
    for loss in (drlim.LinearHinge, drlim.DoubleMargin):
        for positive_margin, negative_margin in [(-1.0, 1.0), (np.nan, 1.0), (0.0, 0.0), (0.0, np.inf)]:
            with pytest.raises(ValueError):
                loss(positive_margin, negative_margin)


def outs():
    return np.zeros_like(A), np.zeros_like(A)


def test_wrong_outputs():
    read_only = np.zeros_like(A)
    read_only.flags.writeable = False
    whole = np.zeros((5, 3), F32)
    for bad in [
        (read_only, np.zeros_like(A)),
        (np.zeros((4, 2), F32), np.zeros_like(A)),
        (np.zeros((4, 3)), np.zeros_like(A)),
        (np.zeros((3, 4), F32).T, np.zeros_like(A)),
        ([[0.0] * 3] * 4, np.zeros_like(A)),
        (whole[:4], whole[1:]),
        (A, np.zeros_like(A)),
        (np.zeros_like(A), None),
    ]:
        with pytest.raises((TypeError, ValueError), match="out"):
            drlim.rows(PAIR, A, A, SIMILAR, out=bad)
    for call in ("indexed", "all_pairs", "triplets"):
        function, arguments = CALLS[call]
        with pytest.raises((TypeError, ValueError), match="out"):
            function(**arguments, out=A)
    assert (A == 1).all()


def test_labels_and_a_graph_are_one_too_many():
    graph = drlim.Graph(4, PAIRS)
    for call in ("all_pairs", "triplets", "hardest", "cross", "all_anchors", "cross_anchors"):
        function, arguments = CALLS[call]
        with pytest.raises(TypeError, match="graph"):
            function(**arguments, graph=graph)
    with pytest.raises(ValueError):
        drlim.all_pairs(PAIR, A, graph=drlim.Graph(5, PAIRS))
    with pytest.raises(TypeError, match="graph"):
        drlim.all_pairs(PAIR, A, graph="graph")


def test_numbers_that_are_none():
    graph = drlim.Graph(4, PAIRS)
    for arguments, name in [
        (dict(query_labels=LABELS, key_labels=LABELS, own=-1), "own"),
        (dict(query_labels=LABELS, key_labels=LABELS, ignore_label=2**70), "ignore_label"),
        (dict(graph=graph, first_query=-1), "first_query"),
        (dict(graph=graph, first_key=2**70), "first_key"),
        (dict(graph=LABELS), "graph"),
    ]:
        with pytest.raises((TypeError, ValueError), match=name):
            drlim.cross(PAIR, A, A, **arguments)
    with pytest.raises(ValueError, match="ignore_label"):
        drlim.all_pairs(PAIR, A, LABELS, ignore_label=-(2**70))
    for out in (np.zeros_like(A), (np.zeros_like(A),)):
        with pytest.raises(TypeError, match="out"):
            drlim.rows(PAIR, A, A, SIMILAR, out=out)
    with pytest.raises(TypeError, match="masked"):
        drlim.rows(PAIR, np.ma.masked_array(A, A > 0), A, SIMILAR)


def test_graphs_and_lists_are_values():
    for made, other in [
        (drlim.Graph(4, PAIRS), drlim.Graph(5, PAIRS)),
        (drlim.PairList(4, PAIRS), drlim.PairList(4, PAIRS[:1])),
    ]:
        again = pickle.loads(pickle.dumps(made))
        assert again == made != other
        assert np.array_equal(again.pairs(), PAIRS)


def test_names():
    with pytest.raises(ValueError, match="mining"):
        drlim.triplets(TRIPLET, A, LABELS, mining="some")
    with pytest.raises(ValueError, match="distance"):
        drlim.row_distances(A, A, "manhattan")
    with pytest.raises(ValueError, match="tier"):
        drlim.set_tier("avx1024")
    for threads in (-1, 5000, None):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            drlim.set_threads(threads)


def test_too_many_triplets():
    many = np.ones((1500, 2), F32)
    with pytest.raises(ValueError, match="rows"):
        drlim.triplets(TRIPLET, many, np.zeros(1500, int), mining="all")


def test_losses_are_values():
    loss = drlim.LinearHinge(0.25, 2.0)
    assert loss == drlim.LinearHinge(0.25, 2.0) != drlim.LinearHinge(0.5, 2.0)
    assert repr(loss) == "LinearHinge(positive_margin=0.25, negative_margin=2.0)"
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert len({loss, drlim.LinearHinge(0.25, 2.0)}) == 1
    with pytest.raises(AttributeError):
        loss.positive_margin = 1.0
