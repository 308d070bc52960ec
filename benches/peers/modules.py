#!/usr/bin/env python3
"""Losses as modules, of other libraries and of drlim in their places, in one table.

    pip install ./python torch pytorch-metric-learning sentence-transformers open-clip-torch lightly
    python3 benches/peers/modules.py
    python3 benches/peers/modules.py --only NTXentLoss --shape 512x128
    python3 benches/peers/modules.py --step

Each class stands beside the one of the same name that it takes the place of: `drlim.torch.losses`, `miners`,
`open_clip`, `lightly` and `sentence_transformers`. Value and gradients of both are compared first. Then both are timed
in turns, forward and backward; the best of their times counts. With `--step` a step of training is timed, of a network
of two dense layers with Adam. Memory is what a process has at most beyond what it had before, for one call (on Linux).
"""

import argparse
import os
import subprocess
import sys
import time

SHAPES = [(512, 128), (4096, 128), (4096, 768), (16384, 128)]
CLASSES = 64


def arguments():
    parser = argparse.ArgumentParser(description="Times losses as modules.")
    parser.add_argument("--only", metavar="CLASS", help="only this class")
    parser.add_argument("--shape", metavar="NxD", help="this shape instead of the usual ones")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="for both together")
    parser.add_argument("--most", type=float, default=8.0, metavar="GB", help="what theirs may take")
    parser.add_argument("--step", action="store_true", help="a step of training")
    parser.add_argument("--test", action="store_true", help="only check, on a small shape")
    parser.add_argument("--memory", metavar="CLASS:WHOSE:NxD", help=argparse.SUPPRESS)
    return parser.parse_args()


ARGS = arguments()
os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(ARGS.threads)

import warnings  # noqa: E402

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(ARGS.threads)
warnings.filterwarnings("ignore", category=DeprecationWarning)


class Batch:
    """Rows of two views with their labels, as a network gives them: not of unit length."""

    def __init__(self, n, d, dtype=torch.float32):
        generator = torch.Generator().manual_seed(n + d)
        self.labels = torch.arange(n) % CLASSES
        centers = torch.randn(CLASSES, d, generator=generator, dtype=dtype)[self.labels]
        self.views = [torch.randn(n, d, generator=generator, dtype=dtype) + centers for _ in range(2)]


def by_labels(loss, views, batch):
    return loss(views[0], batch.labels)


def by_views(loss, views, batch):
    return loss(views[0], views[1])


def clip(loss, views, batch):
    return loss(F.normalize(views[0]), F.normalize(views[1]), torch.tensor(10.0))


def siglip(loss, views, batch):
    return loss(F.normalize(views[0]), F.normalize(views[1]), torch.tensor(10.0), torch.tensor(-10.0))


def of_texts(loss, views, batch):
    return loss.compute_loss_from_embeddings(views, None)


def mined(miner, views, batch):
    """What a miner costs: its indices have no gradient."""
    parts = miner(views[0].detach(), batch.labels)
    return views[0].sum() * 0 + float(sum(len(part) for part in parts))


# What takes the place of what: a list of (class, how it is made, how it is called).
def of_metric_learning():
    from pytorch_metric_learning import losses, miners

    from drlim.torch import losses as ours, miners as our_miners

    sized = ["NormalizedSoftmaxLoss", "CosFaceLoss", "ArcFaceLoss", "ProxyAnchorLoss"]
    plain = [
        "ContrastiveLoss", "TripletMarginLoss", "NTXentLoss", "SupConLoss", "MultiSimilarityLoss", "CircleLoss",
        "LiftedStructureLoss", "GeneralizedLiftedStructureLoss", "NPairsLoss",
    ]  # fmt: skip
    for name in plain:
        yield name, [lambda d, of=of, name=name: getattr(of, name)() for of in (losses, ours)], by_labels
    for name in sized:
        yield name, [lambda d, of=of, name=name: getattr(of, name)(CLASSES, d) for of in (losses, ours)], by_labels
    for name in ["BatchHardMiner", "BatchEasyHardMiner", "MultiSimilarityMiner", "PairMarginMiner"]:
        yield name, [lambda d, of=of, name=name: getattr(of, name)() for of in (miners, our_miners)], mined


def of_others():
    from lightly.loss import NTXentLoss
    from open_clip.loss import ClipLoss, SigLipLoss
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from drlim.torch import lightly, open_clip, sentence_transformers

    made = lambda of: lambda d: of()  # noqa: E731
    yield "lightly.NTXentLoss", [made(NTXentLoss), made(lightly.NTXentLoss)], by_views
    yield "ClipLoss", [made(ClipLoss), made(open_clip.ClipLoss)], clip
    yield "SigLipLoss", [made(SigLipLoss), made(open_clip.SigLipLoss)], siglip
    ranking = MultipleNegativesRankingLoss, sentence_transformers.MultipleNegativesRankingLoss
    yield "MultipleNegativesRankingLoss", [lambda d, of=of: of(torch.nn.Identity()) for of in ranking], of_texts


def bytes_of_theirs(name, n, d):
    """What the original takes at least, by its formula: a matrix of pairs, or of triplets or pairs of pairs."""
    per_class = n / CLASSES
    if name == "NTXentLoss":
        return 3 * n * per_class * n * n * 4 / 4
    if name == "TripletMarginLoss":
        return n * per_class * n * (3 * 8 + 4 * 4)
    return 8 * n * n * 4


def network(d):
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(d, 256), torch.nn.ReLU(), torch.nn.Linear(256, d))


class Work:
    """One class at one shape: forward and backward, or a whole step."""

    def __init__(self, make, call, batch, step):
        torch.manual_seed(2)
        self.loss, self.call, self.batch = make(batch.views[0].shape[1]), call, batch
        self.model = network(batch.views[0].shape[1]) if step else None
        if step:
            of_loss = list(self.loss.parameters()) if isinstance(self.loss, torch.nn.Module) else []
            self.optimizer = torch.optim.Adam([*self.model.parameters(), *of_loss])

    def run(self):
        views = self.batch.views
        if self.model is not None:
            self.optimizer.zero_grad()
            value = self.call(self.loss, [self.model(view) for view in views], self.batch)
            value.backward()
            self.optimizer.step()
            return value.detach(), []
        views = [view.detach().requires_grad_() for view in views]
        value = self.call(self.loss, views, self.batch)
        value.backward()
        return value.detach(), [view.grad for view in views if view.grad is not None]


def check(name, makes, call):
    (value, grads), (found, of_ours) = (Work(make, call, Batch(192, 24, torch.float64), False).run() for make in makes)
    if abs(found - value) > 1e-9 * max(1, abs(value)):
        sys.exit(f"{name}: {found} is not {value}")
    for got, expected in zip(of_ours, grads, strict=True):
        if not (got - expected).abs().max() <= 1e-8 * max(1e-12, expected.abs().max()):
            sys.exit(f"{name}: a gradient is off by {(got - expected).abs().max()} of {expected.abs().max()}")


def memory(name, whose, shape):
    """What a process takes for one call beyond its inputs, in MiB."""
    job = f"{name}:{whose}:{shape[0]}x{shape[1]}"
    command = [sys.executable, __file__, "--memory", job, "--threads", str(ARGS.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else float("nan")


def measure(job, works):
    name, whose, shape = job.split(":")
    n, d = map(int, shape.split("x"))
    makes, call = works[name]
    Work(makes[int(whose)], call, Batch(64, d), False).run()
    work = Work(makes[int(whose)], call, Batch(n, d), False)
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = resident("VmRSS")
    work.run()
    print((resident("VmHWM") - before) / 1024)


def resident(what):
    """Memory of this process in KiB, now or at most since the peak was cleared. Of Linux."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(what))


def best_of(works):
    best = [float("inf")] * len(works)
    end = time.perf_counter() + ARGS.seconds
    while True:
        for at, work in enumerate(works):
            start = time.perf_counter()
            work.run()
            best[at] = min(best[at], time.perf_counter() - start)
        if time.perf_counter() > end:
            return best


def main():
    works = {name: (makes, call) for of in (of_metric_learning, of_others) for name, makes, call in of()}
    if ARGS.memory:
        return measure(ARGS.memory, works)
    chosen = {name: work for name, work in works.items() if ARGS.only in (None, name)}
    for name, (makes, call) in chosen.items():
        check(name, makes, call)
    if ARGS.test:
        return print(f"{len(chosen)} classes agree")
    shapes = [tuple(map(int, ARGS.shape.split("x")))] if ARGS.shape else SHAPES
    what = "a step" if ARGS.step else "forward and backward"
    print(f"best ms of {what}, and MiB beyond the inputs; theirs, then drlim's; {ARGS.threads} threads")
    for name, (makes, call) in chosen.items():
        for n, d in shapes:
            # Miners of triplets and of all pairs are no matter of gradients; a step is of losses.
            if call is mined and ARGS.step:
                continue
            batch = Batch(n, d)
            turns = [Work(make, call, batch, ARGS.step) for make in makes]
            fits = bytes_of_theirs(name, n, d) < ARGS.most * 1e9
            times = best_of(turns if fits else turns[1:])
            taken = [memory(name, whose, (n, d)) for whose in ((0, 1) if fits else (1,))]
            theirs = f"{1e3 * times[0]:10.2f} {taken[0]:9.1f}" if fits else f"{'does not fit':>20}"
            ratio = f"{times[0] / times[1]:7.1f} x" if fits else ""
            print(f"{name:30} {n}x{d:<5} {theirs} {1e3 * times[-1]:10.2f} {taken[-1]:9.1f} {ratio}", flush=True)


if __name__ == "__main__":
    main()
