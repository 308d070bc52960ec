"""Losses of sentence-transformers by the kernels, beside the library's own: values and gradients in float64, and in
float32 against the library's in float64.
"""

import copy
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
from sentence_transformers import SentenceTransformer, util  # noqa: E402
from sentence_transformers.sentence_transformer import losses as theirs  # noqa: E402

from drlim.torch import sentence_transformers as ours  # noqa: E402

COSINE, EUCLIDEAN = theirs.SiameseDistanceMetric.COSINE_DISTANCE, theirs.SiameseDistanceMetric.EUCLIDEAN
OF_BATCH = theirs.BatchHardTripletLossDistanceFunction
DIRECTIONS = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")

pytestmark = [
    pytest.mark.filterwarnings("error::drlim.torch._fused.NotFusedWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]


def columns(count, rows, cols=24, seed=3):
    """Embeddings of any length, of numbers that float32 has; those of one row are near each other."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(rows, cols, generator=generator)
    return [(centre + (0.5 + 0.3 * c) * torch.randn(rows, cols, generator=generator)).double() for c in range(count)]


def both(name, *arguments, **options):
    """The loss of both libraries."""
    model = torch.nn.Sequential(torch.nn.Identity())
    return getattr(ours, name)(model, *arguments, **options), getattr(theirs, name)(model, *arguments, **options)


def run(loss, embeddings, labels=None, dtype=torch.float64):
    inputs = [rows.to(dtype).clone().requires_grad_() for rows in embeddings]
    if hasattr(loss, "calculate_loss"):
        value = loss.calculate_loss([list(rows.split(7)) for rows in inputs])
    else:
        value = loss.compute_loss_from_embeddings(inputs, labels)
    value.backward()
    return [value.detach(), *(rows.grad for rows in inputs)]


def same(pair, embeddings, labels=None):
    """Values, and gradients as parts of their largest element."""
    expected = run(pair[1], embeddings, labels)
    bounds = (torch.float64, 1e-10, 1e-10, 1e-12), (torch.float32, 1e-6, 1e-5, 5e-7)
    for dtype, of_value, of_gradient, least in bounds:
        found = run(pair[0], embeddings, labels, dtype)
        assert all(part.dtype == dtype for part in found)
        for place, (one, other) in enumerate(zip(found, expected)):
            within = (of_gradient if place else of_value) * other.abs().max().item()
            torch.testing.assert_close(one.double(), other, rtol=0, atol=max(within, least))


RANKINGS = {
    "default": {},
    "dot": {"similarity_fct": util.dot_score, "scale": 0.2},
    "scale": {"scale": 3},
    "symmetric": {"directions": DIRECTIONS[::2], "partition_mode": "per_direction"},
    "joint, both ways": {"directions": DIRECTIONS[::2]},
    "queries among themselves": {"directions": DIRECTIONS[:2]},
    "documents among themselves": {"directions": (DIRECTIONS[0], DIRECTIONS[3])},
    "all directions": {"directions": DIRECTIONS},
    "hardness of no strength": {"hardness_mode": "all_negatives"},
    "a gathering of one process": {"gather_across_devices": True},
}


@pytest.mark.parametrize("name", ["MultipleNegativesRankingLoss", "CachedMultipleNegativesRankingLoss"])
@pytest.mark.parametrize("options", RANKINGS.values(), ids=RANKINGS)
def test_rankings(name, options):
    pair = both(name, **options)
    for count, rows in ((2, 20), (4, 17), (2, 1), (3, 1), (2, 2)):
        same(pair, columns(count, rows))


@pytest.mark.parametrize("cached", ["", "Cached"])
def test_symmetric_rankings(cached):
    name = cached + "MultipleNegativesSymmetricRankingLoss"
    pair = both(name)
    assert isinstance(pair[0], getattr(theirs, name))
    same(pair, columns(2, 20))
    same(pair, columns(3, 20))


def test_duplicates_and_rows_of_zeros():
    for options in RANKINGS.values():
        embeddings = columns(3, 12)
        embeddings[0][3] = embeddings[0][5]
        embeddings[1][3] = embeddings[1][5]
        embeddings[2][7] = embeddings[1][7]
        embeddings[1][8] = 0
        pair = both("MultipleNegativesRankingLoss", **options)
        # Of a row of zeros the gradient is divided by 1e-12.
        expected, found = (run(loss, embeddings) for loss in pair[::-1])
        for one, other in zip(found, expected):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_a_scale_that_is_learned():
    gradients = []
    for library in (ours, theirs):
        scale = torch.tensor(8.0, dtype=torch.float64, requires_grad=True)
        loss = library.MultipleNegativesRankingLoss(torch.nn.Identity(), scale=scale)
        loss.compute_loss_from_embeddings(columns(3, 9), None).backward()
        gradients.append(scale.grad)
    torch.testing.assert_close(*gradients)


def test_cached_gradients_are_taken_at_once():
    """With the backward pass inside, the rows have the gradients and the value none."""
    results = []
    for loss in both("CachedMultipleNegativesRankingLoss", mini_batch_size=4):
        parts = [[part.clone().requires_grad_() for part in rows.split(4)] for rows in columns(3, 10)]
        value = loss.calculate_loss(parts, with_backward=True)
        assert not value.requires_grad
        results.append([value, *(part.grad for column in parts for part in column)])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("metric", [COSINE, EUCLIDEAN], ids=["cosine", "euclidean"])
@pytest.mark.parametrize("name", ["ContrastiveLoss", "OnlineContrastiveLoss"])
def test_pairs_by_rows(name, metric):
    margin = 0.5 if metric is COSINE else 8.0
    pairs = [both(name, metric, margin)]
    if name == "ContrastiveLoss":
        pairs.append(both(name, metric, margin, size_average=False))
    for pair in pairs:
        for rows in (40, 1):
            embeddings = columns(2, rows)
            labels = torch.arange(rows) % 2
            for given in (labels, 1 - labels, torch.ones(rows, dtype=torch.long), torch.zeros(rows, dtype=torch.long)):
                same(pair, embeddings, given)
        same(pair, columns(2, 40), (torch.arange(40) % 2).double()[:, None])
        embeddings = columns(2, 10)
        embeddings[1][4] = embeddings[0][4]
        if metric is EUCLIDEAN:  # of equal rows 1 - cos has no digits there, and in float32 the 1e-6 has few here
            found, expected = (run(loss, embeddings, torch.arange(10) % 2) for loss in pair)
            torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_soft_labels_and_their_warning():
    labels = torch.linspace(0, 1, 12, dtype=torch.float64)
    for name in ("ContrastiveLoss", "OnlineContrastiveLoss"):
        pair = both(name)
        for loss in pair:
            with pytest.warns(UserWarning, match="expects binary labels"):
                loss.compute_loss_from_embeddings(columns(2, 12), labels)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                loss.compute_loss_from_embeddings(columns(2, 12), labels)
        same(pair, columns(2, 12), labels)
        assert pair[0].get_config_dict() == pair[1].get_config_dict()


def test_order_of_pairs():
    pair = both("CoSENTLoss")
    same(pair, columns(2, 30), torch.randn(30, generator=torch.Generator().manual_seed(1)).round(decimals=1))
    same(pair, columns(2, 1), torch.ones(1))
    same(pair, columns(2, 8), torch.arange(8) % 2 == 0)


@pytest.mark.parametrize("metric", [OF_BATCH.euclidean_distance, OF_BATCH.cosine_distance], ids=["euclidean", "cosine"])
@pytest.mark.parametrize("name", ["BatchHardTripletLoss", "BatchSemiHardTripletLoss"])
def test_mined_triplets(name, metric):
    labels = torch.arange(45) % 7
    labels[:2] = torch.tensor([50, 51])  # alone in their classes
    margins = (0.3, 5.0) if metric is OF_BATCH.euclidean_distance else (0.05, 0.7)
    for margin in margins:
        pair = both(name, metric, margin)
        (embeddings,) = columns(1, 45)
        for given in (labels, labels[:, None], labels.double() / 2, labels == 3):
            same(pair, [embeddings], given)
        same(pair, [embeddings[:2]], torch.tensor([0, 1]))
        # Of equal rows, distances as there are nothing but rounding.
        doubled = embeddings.clone()
        doubled[9], doubled[10] = doubled[2], doubled[8]
        found, expected = (run(loss, [doubled], labels) for loss in pair)
        torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=1e-7)


def test_one_class_and_one_row():
    (embeddings,) = columns(1, 6)
    same(both("BatchHardTripletLoss"), [embeddings], torch.zeros(6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ours.NotFusedWarning)
        same(both("BatchHardTripletLoss"), [embeddings[:1]], torch.zeros(1))
        for rows in (6, 1):
            same(both("BatchSemiHardTripletLoss"), [embeddings[:rows]], torch.zeros(rows))


def test_embeddings_that_are_no_numbers():
    embeddings = columns(2, 8)
    embeddings[0][3, 2] = torch.nan
    labels = torch.arange(8) % 2
    for name in ("MultipleNegativesRankingLoss", "ContrastiveLoss", "CoSENTLoss"):
        for loss in both(name):
            assert loss.compute_loss_from_embeddings(embeddings, labels).isnan()
    for name in ("BatchHardTripletLoss", "BatchSemiHardTripletLoss"):
        for loss in both(name):
            assert loss.compute_loss_from_embeddings(embeddings[:1], labels).isnan(), (name, loss)


def test_half_precision_as_there():
    for name, count, labels in (("MultipleNegativesRankingLoss", 3, None), ("CoSENTLoss", 2, torch.arange(10))):
        embeddings = [rows.bfloat16() for rows in columns(count, 10)]
        found, expected = (loss.compute_loss_from_embeddings(embeddings, labels) for loss in both(name))
        assert found.dtype == expected.dtype == torch.float32
        torch.testing.assert_close(found, expected)


NOT_FUSED = {
    "similarity_fct is manhattan_sim": ("MultipleNegativesRankingLoss", {"similarity_fct": util.manhattan_sim}),
    "hardness_mode is 'all_negatives'": (
        "CachedMultipleNegativesRankingLoss",
        {"hardness_mode": "all_negatives", "hardness_strength": 2.0},
    ),
    "distance_metric is SiameseDistanceMetric": (
        "ContrastiveLoss",
        {"distance_metric": theirs.SiameseDistanceMetric.MANHATTAN},
    ),
    "similarity_fct is pairwise_dot_score": ("CoSENTLoss", {"similarity_fct": util.pairwise_dot_score, "scale": 0.1}),
    "margin is 0": ("BatchSemiHardTripletLoss", {"margin": 0}),
    "distance_metric is <lambda>": (
        "BatchHardTripletLoss",
        {"distance_metric": lambda z: OF_BATCH.euclidean_distance(z, squared=True)},
    ),
}


@pytest.mark.parametrize("reason", NOT_FUSED)
def test_what_is_not_fused_is_theirs_and_said_once(reason):
    name, options = NOT_FUSED[reason]
    pair = both(name, **options)
    embeddings = columns(1 if "Triplet" in name else 2, 12)
    with pytest.warns(ours.NotFusedWarning, match=f"{name} is not fused: {reason}"):
        found = run(pair[0], embeddings, torch.arange(12) % 2)
    assert torch.equal(found[0], run(pair[1], embeddings, torch.arange(12) % 2)[0])
    run(pair[0], embeddings, torch.arange(12) % 2)  # a second warning would raise
    with pytest.warns(ours.NotFusedWarning):
        run(copy.deepcopy(pair[0]), embeddings, torch.arange(12) % 2)


def test_errors_are_theirs():
    mined = "BatchHardTripletLoss", "BatchSemiHardTripletLoss"
    for name in ("ContrastiveLoss", "OnlineContrastiveLoss", "CoSENTLoss", *mined):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ours.NotFusedWarning)
            messages = []
            for loss in both(name):
                with pytest.raises(ValueError) as error:
                    loss.compute_loss_from_embeddings(columns(2, 6), torch.zeros(5))
                messages.append(str(error.value))
            assert messages[0] == messages[1] and name in messages[0]
    with pytest.raises(ValueError, match="Scale must be"):
        ours.MultipleNegativesRankingLoss(torch.nn.Identity(), scale=0)
    with pytest.raises(ValueError, match="at least 2"), pytest.warns(ours.NotFusedWarning):
        ours.MultipleNegativesRankingLoss(torch.nn.Identity()).compute_loss_from_embeddings(columns(1, 4), None)


NAMES = [name for name in vars(ours) if name.endswith("Loss") and getattr(ours, name).__module__.startswith("drlim")]


def test_the_library_is_all_there():
    assert len(NAMES) == 9
    for name in theirs.__all__:
        assert getattr(ours, name) is getattr(theirs, name) or name in NAMES
    for name in NAMES:
        assert issubclass(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_files(name):
    options = {"distance_metric": OF_BATCH.cosine_distance} if "Batch" in name else {}
    loss, other = both(name, **options)
    assert loss.get_config_dict() == other.get_config_dict()
    copies = [copy.deepcopy(loss)]
    if "Contrastive" not in name:  # their lambda is not pickled there either
        copies.append(pickle.loads(pickle.dumps(loss)))
    embeddings, labels = columns(1 if "Batch" in name else 2, 9), torch.arange(9) % 2
    for copied in copies:
        assert type(copied) is type(loss)
        assert torch.equal(run(copied, embeddings, labels)[0], run(loss, embeddings, labels)[0])


# A model


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"w{n}" for n in range(40)]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A transformer of random weights, with a word for each token."""
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    transformer = Transformer(str(folder))
    return SentenceTransformer(modules=[transformer, Pooling(16)], device="cpu")


def sentences(count, rng):
    return [" ".join(rng.choice(WORDS[5:], rng.integers(2, 7))) for _ in range(count)]


def data(name):
    rng = np.random.default_rng(5)
    if "Triplet" in name:
        return {"sentence": sentences(48, rng), "label": rng.integers(4, size=48).tolist()}
    given = {"anchor": sentences(48, rng), "positive": sentences(48, rng)}
    if "MultipleNegatives" in name:
        return {**given, "negative": sentences(48, rng)}
    return {**given, "label": rng.integers(2, size=48).tolist()}


@pytest.mark.parametrize("name", NAMES)
def test_training_gives_the_same_weights(name, encoder, tmp_path):
    """The library's trainer, with dropout, its own batches and its own optimizer, with theirs and with ours."""
    pytest.importorskip("datasets")
    pytest.importorskip("accelerate")
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    options = {"mini_batch_size": 6} if "Cached" in name else {}
    weights = []
    for library in (ours, theirs):
        model = copy.deepcopy(encoder)
        arguments = SentenceTransformerTrainingArguments(
            str(tmp_path), max_steps=3, per_device_train_batch_size=16, learning_rate=1e-3, optim="sgd", seed=1,
            report_to="none", save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True,
        )  # fmt: skip
        loss = getattr(library, name)(model, **options)
        trainer = SentenceTransformerTrainer(model, arguments, train_dataset=Dataset.from_dict(data(name)), loss=loss)
        trainer.train()
        weights.append(model.state_dict())
    start = encoder.state_dict()
    for key, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][key], rtol=0, atol=1e-5)
    moved = max((weights[0][key] - start[key]).abs().max() for key in start if start[key].is_floating_point())
    assert moved > 1e-4
