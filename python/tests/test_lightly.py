"""lightly's NTXentLoss by the kernels, beside its own: values and gradients in float64, and in float32 against the
library's in float64.
"""

import copy
import pickle

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightly")
from lightly import loss as theirs  # noqa: E402

from drlim.torch import lightly as ours  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("error::drlim.torch._fused.NotFusedWarning"),
    pytest.mark.usefixtures("one_thread"),
]


def views(rows, cols=24):
    """Two views of each image, of any length, of numbers that float32 has."""
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(rows, cols, generator=generator)
    return [(image + 0.6 * torch.randn(rows, cols, generator=generator)).double() for _ in range(2)]


def run(loss, inputs, dtype=torch.float64):
    inputs = [part.to(dtype).clone().requires_grad_() for part in inputs]
    value = loss(*inputs)
    value.backward()
    return [value.detach(), *(part.grad for part in inputs)]


def same(inputs, **options):
    expected = run(theirs.NTXentLoss(**options), inputs)
    for dtype, relative, least in ((torch.float64, 1e-10, 1e-13), (torch.float32, 3e-6, 1e-7)):
        for one, other in zip(run(ours.NTXentLoss(**options), inputs, dtype), expected, strict=True):
            assert one.dtype == dtype
            within = relative * other.abs().max().item()
            torch.testing.assert_close(one.double(), other, rtol=0, atol=max(within, least))


@pytest.mark.parametrize("rows", [1, 2, 30])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.1}, {"temperature": 2, "gather_distributed": True}])
def test_views(rows, options):
    same(views(rows), **options)
    same([part.float() for part in views(rows)], memory_bank_size=0)


def test_duplicates():
    one, other = views(12)
    one[3], other[3], other[5] = one[1], other[1], one[5]
    same([one, other])


def test_rows_of_zeros():
    one, other = views(6)
    one[2] = 0
    torch.testing.assert_close(*(loss(one, other) for loss in (ours.NTXentLoss(), theirs.NTXentLoss())))


def test_a_memory_bank_is_theirs_and_said_once():
    results = []
    for library in (ours, theirs):
        torch.manual_seed(0)
        loss = library.NTXentLoss(memory_bank_size=(16, 24))
        inputs = [part.float().requires_grad_() for part in views(8)]
        if library is ours:
            with pytest.warns(ours.NotFusedWarning, match="NTXentLoss is not fused: negatives come from a memory bank"):
                values = [loss(*inputs)]
        else:
            values = [loss(*inputs)]
        values += [loss(*inputs) for _ in range(3)]  # a second warning would raise
        results.append(torch.stack(values))
    assert torch.equal(*results)


NOT_FUSED = {
    "out1 has shape": lambda one, other: (one[:4], other),
    "embeddings are of torch.bfloat16": lambda one, other: (one.bfloat16(), other.bfloat16()),
}


@pytest.mark.parametrize("reason", NOT_FUSED)
def test_what_is_not_fused(reason):
    results = []
    with pytest.warns(ours.NotFusedWarning, match=reason):
        for library in (ours, theirs):
            try:
                results.append(library.NTXentLoss()(*NOT_FUSED[reason](*views(8))).item())
            except (IndexError, RuntimeError, ValueError) as error:
                results.append(str(error))
    assert results[0] == results[1]
    with pytest.warns(ours.NotFusedWarning, match="temperature is -1"):
        found = ours.NTXentLoss(temperature=-1)(*views(8))
    assert torch.equal(found, theirs.NTXentLoss(temperature=-1)(*views(8)))


def test_gathering_of_two_processes_is_theirs(monkeypatch):
    monkeypatch.setattr(ours.dist, "world_size", lambda: 2)
    with pytest.warns(ours.NotFusedWarning, match="gathered"), pytest.raises(ValueError, match="process group"):
        ours.NTXentLoss(gather_distributed=True)(*views(4))
    ours.NTXentLoss()(*views(4))


def test_errors_copies_and_files():
    with pytest.raises(ValueError, match="Illegal temperature"):
        ours.NTXentLoss(temperature=0)
    loss = ours.NTXentLoss(temperature=0.2)
    assert isinstance(loss, theirs.NTXentLoss) and loss.state_dict().keys() == theirs.NTXentLoss().state_dict().keys()
    for copied in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(run(copied, views(9))[1], run(loss, views(9))[1])


def test_training_gives_the_same_weights():
    weights = []
    for library in (ours, theirs):
        torch.manual_seed(0)
        model, loss = torch.nn.Linear(24, 12), library.NTXentLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            loss(*(model(part.float()) for part in views(32))).backward()
            optimizer.step()
        weights.append(model.state_dict())
    torch.testing.assert_close(*weights, rtol=0, atol=1e-5)
