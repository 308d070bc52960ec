"""`drlim.torch.losses` as classes of pytorch-metric-learning, and where that computes the loss."""

import copy
import pickle
import subprocess
import sys
import warnings

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_metric_learning")
import pytorch_metric_learning.losses as theirs  # noqa: E402
from beside import CLASSES, COLS, LOSSES, data, maker  # noqa: E402
from pytorch_metric_learning import distances, miners, reducers  # noqa: E402

from drlim.torch import losses  # noqa: E402

Z, LABELS = data()
T = torch.tensor

REASONS = {
    "half": (lambda: losses.SupConLoss(), (Z.half(), LABELS), "torch.float16"),
    "bfloat16": (lambda: losses.CircleLoss(), (Z.bfloat16(), LABELS), "torch.bfloat16"),
    "a distance": (lambda: losses.ContrastiveLoss(distance=distances.SNRDistance()), (Z, LABELS), "SNRDistance"),
    "a norm": (lambda: losses.NTXentLoss(distance=distances.LpDistance(p=1)), (Z, LABELS), "p=1"),
    "a power": (lambda: losses.SupConLoss(distance=distances.LpDistance(power=3)), (Z, LABELS), "power=3"),
    "statistics": (
        lambda: losses.SupConLoss(distance=distances.CosineSimilarity(collect_stats=True)),
        (Z, LABELS),
        "collect_stats",
    ),
    "angles": (lambda: losses.ArcFaceLoss(CLASSES, COLS, collect_stats=True), (Z, LABELS), "collect_stats"),
    "infinity": (lambda: losses.SupConLoss(), (torch.full_like(Z, torch.inf), LABELS), "infinity"),
    "NaN": (lambda: losses.ContrastiveLoss(), (Z.clone().index_fill(0, T([3]), torch.nan), LABELS), "NaN"),
    "labels": (lambda: losses.MultiSimilarityLoss(), (Z, LABELS.float()), "labels of torch.float32"),
    "a parameter": (lambda: losses.MultiSimilarityLoss(alpha=-1.0), (Z, LABELS), "alpha"),
    "a learned margin": (lambda: losses.CosFaceLoss(CLASSES, COLS, margin=T(0.3)), (Z, LABELS), "margin is a Tensor"),
    "a miner": (lambda: losses.NTXentLoss(), (Z, LABELS, miners.MultiSimilarityMiner()(Z, LABELS)), "indices_tuple"),
    "negative indices": (
        lambda: losses.ContrastiveLoss(), (Z, LABELS, (T([0, 1]), T([-1, 2]), T([3]), T([4]))), "negative"
    ),
    "int32 indices": (
        lambda: losses.TripletMarginLoss(), (Z, LABELS, 3 * (T([0, 1], dtype=torch.int32),)), "int64",
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_the_reason_is_given_once(case):
    make, given, words = REASONS[case]
    loss = make()
    with pytest.warns(losses.NotFusedWarning, match=words) as caught:
        torch.manual_seed(0)
        value = loss(*given)
    assert type(loss).__name__ in str(caught[0].message) and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(loss(*given), value) or value.isnan()
    kept = loss.state_dict()
    other = getattr(theirs, type(loss).__name__)
    # What it gives is theirs.
    twin = copy.deepcopy(loss)
    twin.__class__ = other
    assert torch.equal(twin(*given), value) or value.isnan()
    assert kept.keys() == twin.state_dict().keys()


WRONG = [
    ("SupConLoss", (Z, LABELS[:5]), {}),
    ("SupConLoss", (Z, None), {}),
    ("ContrastiveLoss", (Z, LABELS, (T([0, 1]), T([99, 2]), T([0]), T([1]))), {}),
    ("TripletMarginLoss", (Z, LABELS[:, None]), {}),
    ("NPairsLoss", (Z, LABELS), {"ref_emb": Z.clone(), "ref_labels": LABELS}),
    ("CosFaceLoss", (Z, LABELS + 1), {}),
    ("NormalizedSoftmaxLoss", (Z, LABELS.int()), {}),
    ("ProxyAnchorLoss", (Z, LABELS - 1), {}),
    ("NTXentLoss", (Z, LABELS), {"ref_emb": Z[:, :4], "ref_labels": LABELS}),
    ("SupConLoss", (Z[0], LABELS[:COLS]), {}),
]


@pytest.mark.parametrize("name, given, named", WRONG, ids=range(len(WRONG)))
@pytest.mark.filterwarnings("ignore::drlim.torch.losses.NotFusedWarning")
def test_what_is_refused_there_is_refused(name, given, named):
    with pytest.raises(Exception) as expected:
        maker(name)(theirs)(*given, **named)
    with pytest.raises(expected.type) as found:
        maker(name)(losses)(*given, **named)
    assert str(found.value) == str(expected.value)


class Steeper(losses.NTXentLoss):
    """Overrides what no kernel stands for."""

    def get_default_distance(self):
        return distances.LpDistance()


class Squared(losses.ContrastiveLoss):
    def pos_calc(self, pos_pair_dist, margin):
        return super().pos_calc(pos_pair_dist, margin) ** 2


class Halved(losses.SupConLoss):
    def compute_loss(self, *given):
        parts = super().compute_loss(*given)
        parts["loss"]["losses"] = parts["loss"]["losses"] / 2
        return parts


def test_subclasses_of_users():
    expected = theirs.NTXentLoss(distance=distances.LpDistance())(Z, LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", losses.NotFusedWarning)
        torch.testing.assert_close(Steeper()(Z, LABELS), expected)
        torch.testing.assert_close(Halved()(Z, LABELS), theirs.SupConLoss()(Z, LABELS) / 2)
    plain = theirs.ContrastiveLoss(reducer=reducers.SumReducer())
    with pytest.warns(losses.NotFusedWarning, match=r"Squared.pos_calc\(\) is overridden"):
        value = Squared(reducer=reducers.SumReducer())(Z, LABELS)
    assert value.item() != pytest.approx(plain(Z, LABELS).item(), rel=1e-3)


def test_hooks_of_the_distance_are_called():
    loss, calls = losses.SupConLoss(), []
    loss.distance.register_forward_hook(lambda *of: calls.append(of))
    with pytest.warns(losses.NotFusedWarning, match="hooks"):
        loss(Z, LABELS)
    assert len(calls) == 1


def test_statistics_of_reducers():
    for name in ("SupConLoss", "MultiSimilarityLoss"):
        found, expected = (
            maker(name, None, lambda: reducers.AvgNonZeroReducer(collect_stats=True))(library)
            for library in (losses, theirs)
        )
        assert found(Z, LABELS).item() == pytest.approx(expected(Z, LABELS).item(), rel=1e-5)
        assert found.reducer.num_past_filter == expected.reducer.num_past_filter > 0
        assert found.reducer.losses_size == expected.reducer.losses_size == len(Z)


@pytest.mark.parametrize("name", LOSSES)
def test_they_are_theirs(name):
    make = maker(name)
    loss = make(losses)
    assert isinstance(loss, getattr(theirs, name)) and type(loss) in losses.FUSED and type(loss).__name__ == name
    for names in ("_record_these", "_record_these_stats"):
        assert getattr(loss, names, None) == getattr(make(theirs), names, None)
    assert loss.sub_loss_names() == make(theirs).sub_loss_names()
    value = loss(Z, LABELS)
    for other in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert type(other) is type(loss) and torch.equal(other(Z, LABELS), value)
    states = loss.state_dict(), make(theirs).state_dict()
    assert states[0].keys() == states[1].keys()
    loss.load_state_dict(states[1])
    make(theirs).load_state_dict(states[0])


def test_all_names_are_here():
    for name in vars(theirs):
        if isinstance(getattr(theirs, name), type):
            assert hasattr(losses, name) and name in losses.__all__, name
    assert losses.AngularLoss is theirs.AngularLoss


def test_second_derivatives():
    z = Z.double().requires_grad_()
    value = losses.ContrastiveLoss()(z, LABELS)
    (gradient,) = torch.autograd.grad(value, z, create_graph=True)
    gradient.pow(2).sum().backward()
    with pytest.raises(RuntimeError, match="second derivatives"):
        torch.autograd.grad(losses.SupConLoss()(z, LABELS), z, create_graph=True)


@pytest.mark.parametrize("there, words", [("None", "needs pytorch-metric-learning 2.9"), ("Other()", "found 3.0.1")])
def test_without_pytorch_metric_learning(there, words):
    code = f"""
import sys
class Other:
    __version__ = "3.0.1"
sys.modules["pytorch_metric_learning"] = {there}
import drlim.torch
try:
    from drlim.torch import losses
except ImportError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert words in out and "pip install 'drlim[losses]'" in out


def test_compilers_call_them():
    loss = losses.SupConLoss()
    compiled = torch.compile(lambda z: 2 * loss(z + 1, LABELS), backend="eager")
    found, expected = (torch.autograd.grad(of(z), z)[0] for of, z in (
        (compiled, Z.clone().requires_grad_()), (lambda z: 2 * loss(z + 1, LABELS), Z.clone().requires_grad_()),
    ))
    torch.testing.assert_close(found, expected)
