"""Functions and modules in graphs: compiled, exported and as operators they give what they give without."""

import io
import subprocess
import sys

import numpy as np
import pytest

import drlim

torch = pytest.importorskip("torch")
import drlim.torch as dt  # noqa: E402

COUNT, COLS = 12, 4
GENERATOR = torch.Generator().manual_seed(7)
LABELS = torch.arange(COUNT) % 3
SIMILAR = LABELS[:6] == 0
PAIRS = [(0, 1), (1, 0), (2, 5), (3, 11), (7, 2), (0, 3)]
WEIGHTS = torch.linspace(0.5, 2.0, 6, dtype=torch.float64)
GRAPH = drlim.Graph(COUNT, [(0, 1), (2, 3), (3, 7)])
LIST = drlim.PairList(COUNT, PAIRS)
TRIPLETS = tuple(torch.tensor(part) for part in ([0, 1, 2], [3, 4, 5], [1, 2, 3]))
PICKED = tuple(torch.tensor(part) for part in ([0, 1, 2], [3, 4, 5], [0, 1, 1], [2, 3, 5]))
MASK = LABELS == 1

PAIR, OTHER, TRIPLET = drlim.Contrastive(2.0), drlim.DoubleMargin(0.25, 2.0), drlim.TripletMargin(0.75)
ANCHOR, FACE = drlim.Softmax(temperature=0.25), drlim.CosFace(8.0, 0.125)

# Each is a function of two batches and two numbers.
FUNCTIONS = {
    "rows": lambda z, k, s, b: dt.rows(PAIR, z[:6], k[:6], SIMILAR, weights=WEIGHTS, reduction="none"),
    "rows, ignored": lambda z, k, s, b: dt.rows(PAIR, z, k, [True] * 12, ignored=np.arange(12) < 3),
    "indexed": lambda z, k, s, b: dt.indexed(OTHER, z, PAIRS, SIMILAR, reduction="balanced"),
    "indexed, list": lambda z, k, s, b: dt.indexed(PAIR, z, LIST, SIMILAR, reduction="none"),
    "all_pairs": lambda z, k, s, b: dt.all_pairs(PAIR, z, LABELS, ignore_label=2, normalize=True),
    "all_pairs, graph": lambda z, k, s, b: dt.all_pairs(OTHER, z, graph=GRAPH, reduction=(1.0, 2)),
    "all_pairs, loss": lambda z, k, s, b: dt.all_pairs(drlim.Exponential(1.5), z, LABELS),
    "cross": lambda z, k, s, b: dt.cross(PAIR, z, k, LABELS, LABELS, own=0),
    "cross, graph": lambda z, k, s, b: dt.cross(PAIR, z[:3], k[:4], graph=GRAPH, first_query=2, first_key=1),
    "triplet_rows": lambda z, k, s, b: dt.triplet_rows(TRIPLET, z[:4], z[4:8], k[8:], reduction="none"),
    "triplets": lambda z, k, s, b: dt.triplets(drlim.SquaredTriplet(), z, LABELS, mining="all"),
    "row_distances": lambda z, k, s, b: dt.row_distances(z, k, "cosine"),
    "all_anchors": lambda z, k, s, b: dt.all_anchors(ANCHOR, z, LABELS, scale=s, reduction="none"),
    "cross_anchors": lambda z, k, s, b: dt.cross_anchors(
        FACE, z, k[:7], LABELS, LABELS[:7], anchors="both", scale=s, reduction="none"
    ),
    "cross_anchors, keys": lambda z, k, s, b: dt.cross_anchors(
        drlim.Circle(), z, k[:7], LABELS, LABELS[:7], anchors="keys", measure="cosine", reduction="none"
    ),
    "info_nce": lambda z, k, s, b: dt.info_nce(z[:6], k, scale=3.0, normalize=True),
    "sup_con_loss": lambda z, k, s, b: dt.sup_con_loss(z, LABELS, scale=s, reduction="mean-nonzero"),
    "clip_loss": lambda z, k, s, b: dt.clip_loss(z, k, s.exp(), normalize=True),
    "siglip_loss": lambda z, k, s, b: dt.siglip_loss(z, k, s, b, normalize=True),
    "siglip_loss, bias": lambda z, k, s, b: dt.siglip_loss(z, k, 3.0, b),
}

MODULES = {
    "ContrastiveLoss": (dt.ContrastiveLoss(), lambda loss, z, k: loss(z, LABELS)),
    "ContrastiveLoss, picked": (dt.ContrastiveLoss(), lambda loss, z, k: loss(z, None, PICKED, k)),
    "ContrastiveLoss, reference": (dt.ContrastiveLoss(), lambda loss, z, k: loss(z, LABELS, ref_emb=k)),
    "TripletMarginLoss": (dt.TripletMarginLoss(0.5, True), lambda loss, z, k: loss(z, LABELS)),
    "TripletMarginLoss, picked": (dt.TripletMarginLoss(0.5), lambda loss, z, k: loss(z, LABELS, TRIPLETS)),
    "BatchLoss": (dt.BatchLoss(PAIR, ignore_label=1), lambda loss, z, k: loss(z, LABELS)),
    "BatchTripletLoss": (dt.BatchTripletLoss(TRIPLET), lambda loss, z, k: loss(z, graph=GRAPH)),
    "RowsLoss": (dt.RowsLoss(PAIR, reduction="none"), lambda loss, z, k: loss(z, k, LABELS == 0)),
    "TripletRowsLoss": (dt.TripletRowsLoss(TRIPLET), lambda loss, z, k: loss(z, k, z.flip(0))),
}

for _name, (_module, _call) in MODULES.items():
    FUNCTIONS[_name] = lambda z, k, s, b, module=_module, call=_call: call(module, z, k)


def inputs():
    z, k = torch.randn(2, COUNT, COLS, dtype=torch.float64, generator=GENERATOR.manual_seed(7))
    numbers = (torch.tensor(value, dtype=torch.float64) for value in (3.0, -2.0))
    return [tensor.requires_grad_() for tensor in (z, k, *numbers)]


@pytest.fixture(autouse=True)
def nothing_compiled():
    torch.compiler.reset()


def all_in_one(names):
    """Functions in one graph, as a compiler takes its time for each."""
    return lambda *given: [FUNCTIONS[name](*given) for name in names]


SOME = ["all_pairs", "ContrastiveLoss"]


@pytest.mark.parametrize("backend, names", [("aot_eager", list(FUNCTIONS)), ("eager", SOME)])
def test_compiled(backend, names):
    """Values have the same bits, gradients but for the order in which they are added."""
    given = inputs()
    found = torch.compile(all_in_one(names), fullgraph=True, backend=backend)(*given)
    expected = all_in_one(names)(*given)
    for name, ours, theirs in zip(names, found, expected):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")
    sums = [sum((k + 1) * value.square().sum() for k, value in enumerate(values)) for values in (found, expected)]
    needed = given if backend == "aot_eager" else given[:1]
    for ours, theirs in zip(*(torch.autograd.grad(value, needed) for value in sums)):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_gradients_in_a_compiled_graph():
    """Of each function by itself: a wrong one of a sum may hide among the others."""
    given = inputs()
    names = ["rows", "triplet_rows", "row_distances", "all_anchors", "clip_loss", "siglip_loss, bias"]
    found = torch.compile(all_in_one(names), fullgraph=True, backend="aot_eager")(*given)
    for ours, theirs in zip(found, all_in_one(names)(*given)):
        how = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        for one, other in zip(*(torch.autograd.grad(value.sum(), given, **how) for value in (ours, theirs))):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_masks_and_pairs_in_four_parts():
    """Their numbers of triplets are known as the graph runs."""
    z = inputs()[0]
    loss, swapping = dt.ContrastiveLoss(), dt.TripletMarginLoss(0.5, True)

    parts = (MASK, MASK, [0, 1], [2, 3])

    def run(z):
        return loss(z, None, parts) + swapping(z, LABELS, PICKED)

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        found = torch.compile(run, fullgraph=True, backend="aot_eager")(z)
    expected = run(z)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, z)[0] for value in (found, expected)))


def test_one_graph_for_all_sizes_and_places():
    from torch._dynamo.testing import CompileCounterWithBackend

    counted = CompileCounterWithBackend("aot_eager")

    def run(z, k, first):
        return dt.cross(PAIR, z, k, graph=GRAPH, first_query=first, first_key=1)

    compiled = torch.compile(run, fullgraph=True, backend=counted, dynamic=True)
    z, k, *_ = inputs()
    counts = []
    for count, first in [(3, 2), (4, 3), (5, 4)]:
        torch.testing.assert_close(compiled(z[:count], k[:7], first), run(z[:count], k[:7], first))
        counts.append(counted.frame_count)
    assert counts[0] == counts[-1]


def test_errors_of_a_graph_name_the_argument():
    z = inputs()[0]
    compiled = torch.compile(lambda z, labels: dt.all_pairs(PAIR, z, labels), fullgraph=True, backend="aot_eager")
    with pytest.raises(ValueError, match=r"^labels has shape \(3,\), expected \(12,\)"):
        compiled(z, LABELS[:3])
    with pytest.raises(TypeError, match="^labels is of float64.*not whole"):
        compiled(z, z[:, 0].detach())
    for run, value, name in [
        (lambda z, w: dt.rows(PAIR, z, z, LABELS == 0, weights=w), z[:, 0], "weights"),
        (lambda z, m: dt.all_pairs(drlim.Contrastive(m), z, LABELS), z[0, 0], "loss.margin"),
    ]:
        with pytest.raises(torch._dynamo.exc.Unsupported, match=f"{name} requires a gradient, which it would not get"):
            torch.compile(run, backend="aot_eager", fullgraph=True)(z, value)
    wrong = torch.compile(lambda z: dt.all_pairs(drlim.Contrastive(-1.0), z, LABELS), backend="aot_eager")
    with pytest.raises(ValueError, match="^margin is -1"):
        wrong(z)
    past = torch.compile(lambda z, at: dt.ContrastiveLoss()(z, None, (at, at, at)), backend="aot_eager")
    with pytest.raises(IndexError, match=r"^indices_tuple\[0\] holds indices from 12 to 12, of 12 rows"):
        past(z, torch.tensor([COUNT]))
    anywhere = torch.compile(lambda z: dt.all_pairs(PAIR, z, LABELS), backend="aot_eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"z is on meta, expected the CPU: use z.cpu\(\)"):
        anywhere(z.detach().to("meta"))


def test_losses_of_others_are_refused_in_graphs():
    class Mine(drlim.Contrastive):
        pass

    with pytest.raises(RuntimeError, match="loss is a Mine, expected one of the losses of drlim"):
        torch.compile(lambda z: dt.all_pairs(Mine(1.0), z, LABELS), backend="aot_eager")(inputs()[0])


def test_what_lies_in_memory_leaves_the_graph():
    z = inputs()[0]
    loss, labels = dt.ContrastiveLoss(reduction="mean"), LABELS[2:7].clone()

    def run(z):
        return loss(z, LABELS, ref_emb=z[2:7].detach(), ref_labels=labels)

    expected = run(z)
    assert not torch.equal(expected, loss(z, LABELS, ref_emb=z[2:7].detach().clone(), ref_labels=labels))
    found = torch.compile(run, backend="aot_eager")(z)
    assert torch.equal(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, z)[0] for value in (found, expected)))
    torch.compiler.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="seen in memory, not in a graph: give indices_tuple"):
        torch.compile(run, backend="aot_eager", fullgraph=True)(z)


def test_tangents_are_refused_in_graphs():
    z = inputs()[0].detach()

    def run(z):
        return torch.func.jvp(lambda z: dt.all_pairs(PAIR, z, LABELS), (z,), (z,))[1]

    with pytest.raises(torch._dynamo.exc.Unsupported, match="no derivatives in forward mode"):
        torch.compile(run, backend="aot_eager", fullgraph=True)(z)


class Everything(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(5, COLS).double()
        self.scale = torch.nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
        self.loss, self.triplets = dt.ContrastiveLoss(), dt.TripletMarginLoss(0.5)

    def forward(self, x, labels):
        z = self.net(x)
        values = [
            self.loss(z, labels),
            self.triplets(z, labels, PICKED),
            dt.clip_loss(z, z.flip(0), self.scale.exp(), normalize=True),
            dt.all_pairs(OTHER, z, graph=GRAPH, reduction=(1.0, 2.0)),
            dt.rows(PAIR, z, z.flip(0), labels == 0, reduction="none").sum(),
        ]
        return torch.stack(values)


def test_exported_saved_and_loaded():
    """What comes back gives the same values and gradients, by operators of plain arguments."""
    torch.manual_seed(7)
    model, x = Everything(), torch.randn(COUNT, 5, dtype=torch.float64, generator=GENERATOR)
    program = torch.export.export(model, (x, LABELS))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    expected = model(x, LABELS)
    found = loaded(x, LABELS)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    found.square().sum().backward()
    expected.square().sum().backward()
    for (name, ours), (other, theirs) in zip(sorted(loaded.named_parameters()), sorted(model.named_parameters())):
        assert name == other
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert "torch.ops.drlim.value.default('all_pairs', ['loss=DoubleMargin()'" in program.graph_module.code


def test_exported_for_batches_of_any_size():
    model = dt.BatchLoss(PAIR, normalize=True)
    z = inputs()[0].detach()
    size = torch.export.Dim("size", min=2)
    program = torch.export.export(model, (z, LABELS), dynamic_shapes={"embeddings": {0: size}, "labels": {0: size}})
    assert torch.equal(program.module()(z[:5], LABELS[:5]), model(z[:5], LABELS[:5]))


def test_memory_is_refused_in_exports():
    z = inputs()[0].detach()
    with pytest.raises(RuntimeError, match="give indices_tuple"):
        torch.export.export(dt.ContrastiveLoss(), (z, LABELS, None, z, LABELS.clone()))


SPEC = ("all_pairs", ["loss=Contrastive()", "loss.margin=float", "labels=tensor", "z=input"], [], [2.0])


@pytest.mark.parametrize("name", ["value", "gradients", "products"])
def test_operators_are_what_pytorch_takes_them_for(name):
    z, upstream = inputs()[0], torch.tensor(2.0, dtype=torch.float64)
    fixed = z.detach()
    args = {
        "value": ([z], [LABELS], [True]),
        "gradients": ([z], [LABELS], upstream, [], [True]),
        "products": ([fixed], [LABELS], upstream, [fixed], True),
    }
    torch.library.opcheck(getattr(torch.ops.drlim, name).default, (*SPEC, *args[name]))


def test_operators_of_several_values_and_of_indices():
    z, k, scale, _ = inputs()
    inputs_of = ["queries=input", "keys=input", "scale=input"]
    words = ["loss=Softmax()", "loss.scale=float", "reduction='none'", "position=int", *inputs_of]
    spec = ("cross_anchors", words, [0], [1.0])
    torch.library.opcheck(torch.ops.drlim.value.default, (*spec, [z, k, scale], [], [True, True, True]))
    torch.library.opcheck(torch.ops.drlim.parts.default, ([MASK, torch.arange(4), MASK], COUNT, COUNT))
    torch.library.opcheck(torch.ops.drlim.triplets_of_pairs.default, (PICKED[0], PICKED[2]))


def test_operators_have_second_derivatives():
    z, plain = inputs()[0], dt.all_pairs
    penalties = []
    for value in (torch.ops.drlim.value(*SPEC, [z], [LABELS], [True])[0], plain(PAIR, z, LABELS)):
        (gradient,) = torch.autograd.grad(value.exp(), z, create_graph=True)
        penalties.append(torch.autograd.grad(gradient.square().sum(), z)[0])
    torch.testing.assert_close(*penalties)
    late = torch.ops.drlim.value(*SPEC, [z], [LABELS], [False])[0]  # Its gradient is not at hand.
    torch.testing.assert_close(*(torch.autograd.grad(value, z)[0] for value in (late, plain(PAIR, z, LABELS))))


def test_compilers_are_imported_by_those_who_compile():
    """They take seconds."""
    script = "import sys, torch, drlim.torch; assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
