"""open_clip's losses by the kernels, beside its own: values and gradients in float64, and in float32 against the
library's in float64.
"""

import copy
import pickle

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")
from open_clip import loss as theirs  # noqa: E402

from drlim.torch import open_clip as ours  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("error::drlim.torch._fused.NotFusedWarning"),
    pytest.mark.usefixtures("one_thread"),
]

NAMES = ["ClipLoss", "SigLipLoss"]


def features(rows, length=1.0, cols=24):
    """Images and texts of one length, near each other, of numbers that float32 has."""
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(rows, cols, generator=generator)
    text = image + torch.randn(rows, cols, generator=generator)
    return [(length * torch.nn.functional.normalize(part)).double() for part in (image, text)]


def run(loss, inputs, dtype=torch.float64, **options):
    """The value and the gradients of images, texts, scale and bias."""
    inputs = [part.to(dtype).clone().requires_grad_() for part in inputs]
    value = loss(*inputs, **options)
    if options.get("output_dict"):
        assert list(value) == ["contrastive_loss"]
        value = value["contrastive_loss"]
    value.backward()
    return [value.detach(), *(part.grad for part in inputs)]


def same(pair, inputs):
    expected = run(pair[1], inputs)
    for dtype, relative, least in ((torch.float64, 1e-10, 1e-13), (torch.float32, 3e-6, 2e-6)):
        for options in ({}, {"output_dict": True}):
            found = run(pair[0], inputs, dtype, **options)
            for one, other in zip(found, expected, strict=True):
                assert one.dtype == dtype and one.shape == other.shape
                within = relative * other.abs().max().item()
                torch.testing.assert_close(one.double(), other, rtol=0, atol=max(within, least))


def both(name, **options):
    return getattr(ours, name)(**options), getattr(theirs, name)(**options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 2, 40])
@pytest.mark.parametrize("length", [1.0, 0.3, 2.0])
def test_features_of_any_length(name, rows, length):
    for scale, bias in ((10.0, -10.0), (torch.tensor([3.0]), 0.5)):
        numbers = [torch.as_tensor(part, dtype=torch.float64) for part in (scale, bias)]
        same(both(name), [*features(rows, length), *numbers])


@pytest.mark.parametrize("name", NAMES)
def test_duplicates_and_rows_of_zeros(name):
    image, text = features(10)
    image[3], text[3], text[5] = image[1], text[1], image[5]
    text[7] = 0
    image[8] = text[8] = 0
    same(both(name), [image, text, torch.tensor(8.0), torch.tensor(-2.0)])


def test_without_a_bias_and_numbers_of_python():
    image, text = features(12)
    for name, bias in (("ClipLoss", None), ("SigLipLoss", None), ("SigLipLoss", -3.0)):
        found, expected = (loss(image, text, 7, bias) for loss in both(name))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    found, expected = (loss(image, text, logit_scale=7.0) for loss in both("ClipLoss"))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_options_copies_and_files(name):
    inputs = [*features(12), torch.tensor(7.0), torch.tensor(-1.0)]
    loss = getattr(ours, name)(cache_labels=True, rank=0, world_size=1)
    assert isinstance(loss, getattr(theirs, name))
    for copied in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(run(copied, inputs)[0], run(loss, inputs)[0])


class Split(torch.nn.Module):
    """Two maps, with the scale and bias as open_clip has them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text = torch.nn.Linear(20, 16), torch.nn.Linear(12, 16)
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.3))
        self.logit_bias = torch.nn.Parameter(torch.tensor(-10.0))

    def forward(self, image, text):
        unit = torch.nn.functional.normalize
        return unit(self.image(image)), unit(self.text(text)), self.logit_scale.exp(), self.logit_bias


@pytest.mark.parametrize("name", NAMES)
def test_training_gives_the_same_weights(name):
    weights = []
    for loss in both(name):
        model = Split()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
        generator = torch.Generator().manual_seed(1)
        for _ in range(5):
            image, text = torch.randn(32, 20, generator=generator), torch.randn(32, 12, generator=generator)
            optimizer.zero_grad()
            loss(*model(image, text)).backward()
            if name == "ClipLoss":
                # A softmax does not see its bias: the rest is rounding there, which AdamW makes a step of.
                assert abs(model.logit_bias.grad) < 1e-6
                model.logit_bias.grad.zero_()
            optimizer.step()
        weights.append(model.state_dict())
    torch.testing.assert_close(*weights, rtol=0, atol=1e-5)


NOT_FUSED = {
    "text has shape": lambda image, text: (image[:4], text, torch.tensor(2.0), torch.tensor(0.0)),
    "embeddings are of torch.bfloat16": lambda image, text: (
        image.bfloat16(), text.bfloat16(), torch.tensor(2.0), torch.tensor(0.0)
    ),  # fmt: skip
    "logit_scale is -2.0": lambda image, text: (image, text, torch.tensor(-2.0), torch.tensor(0.0)),
    "logit_bias has shape": lambda image, text: (image, text, torch.tensor(2.0), torch.arange(8.0)),
}


@pytest.mark.parametrize("reason", NOT_FUSED)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_fused_is_theirs_and_said_once(name, reason):
    pair = both(name)
    inputs = NOT_FUSED[reason](*features(8))
    results = []
    with pytest.warns(ours.NotFusedWarning, match=f"{name} is not fused: {reason}"):
        for loss in pair:
            try:
                results.append(loss(*inputs))
            except (RuntimeError, ValueError) as error:
                results.append(str(error))
    if isinstance(results[0], str):
        assert results[0] == results[1]
    else:
        assert torch.equal(*results)
        pair[0](*inputs)  # a second warning would raise


def process(rank, file, found):
    """One of two processes with half of the rows each."""
    import warnings

    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    warnings.simplefilter("ignore", ours.NotFusedWarning)
    image, text = (part.chunk(2)[rank] for part in features(12))
    inputs = [image, text, torch.tensor(5.0, dtype=torch.float64), torch.tensor(-2.0, dtype=torch.float64)]
    results = []
    for name, options in (("ClipLoss", {"gather_with_grad": True}), ("SigLipLoss", {"dist_impl": "gather"})):
        results += [run(loss, inputs) for loss in both(name, rank=rank, world_size=2, **options)]
    torch.save(results, f"{found}.{rank}")
    torch.distributed.destroy_process_group()


def test_two_processes(tmp_path):
    places = str(tmp_path / "meet"), str(tmp_path / "found")
    torch.multiprocessing.start_processes(process, places, nprocs=2, start_method="fork")
    for rank in range(2):
        results = torch.load(f"{tmp_path / 'found'}.{rank}")
        for found, expected in (results[:2], results[2:]):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    with pytest.warns(ours.NotFusedWarning, match="world_size is 2"), pytest.raises(ValueError):
        ours.ClipLoss(world_size=2)(*features(4), 2.0)
