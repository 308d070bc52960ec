#!/usr/bin/env python3
"""The contrastive loss of labelled batches: `drlim.torch` beside pytorch-metric-learning and PyTorch, in one table.

All take the same embeddings and labels and compute the same thing: rows scaled to unit length, max(0, d) for pairs of
one label and max(0, 1 - d) for others, averaged over what is not zero for each kind, and the gradient by the
embeddings. PyTorch stands for that written by hand with one product of matrices, as it is and compiled.

For each shape every library makes one step of loss and gradient, and one training step of the same small network
(linear, ReLU, linear; SGD) with that loss. Steps take turns in one process, after one that does not count; best and
median stand in the table. Differences are from pytorch-metric-learning. Memory is that of a process of its own: what
its peak grows by in the second of two steps of loss and gradient, of which the first is on few rows, and that peak.

    pip install ./python torch pytorch-metric-learning
    python python/bench.py
    python python/bench.py --shapes 1024x64 --large "" --json bench.json

What is not installed, finds no compiler or would make matrices of more than --most-pairs elements is left out.
"""

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

OURS, METRIC_LEARNING = "drlim.torch", "pytorch-metric-learning"
EAGER, COMPILED = "PyTorch, eager", "PyTorch, compiled"
HIDDEN = 256
FEW_ROWS = 32


def shapes(text):
    return [tuple(int(number) for number in shape.split("x")) for shape in text.split(",") if shape]


def arguments():
    parser = argparse.ArgumentParser(description="Times and weighs contrastive losses of PyTorch.")
    parser.add_argument("--shapes", type=shapes, default="512x128,2048x128,4096x32,4096x128,4096x512", metavar="BxD,...",
                        help="batches that all libraries take")
    parser.add_argument("--large", type=shapes, default="50000x128", metavar="BxD,...",
                        help="batches for those that need no matrix of all pairs")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of every library")
    parser.add_argument("--classes", type=int, default=64, metavar="C", help="classes of a batch")
    parser.add_argument("--repeat", type=int, default=15, metavar="R", help="steps that count, at most")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="for each shape, library and kind of step; three steps in any case")
    parser.add_argument("--most-pairs", type=int, default=40_000_000, metavar="P",
                        help="the largest B x B for libraries that make such matrices")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    parser.add_argument("--weigh", nargs=2, help=argparse.SUPPRESS)  # a child process: library and shape
    return parser.parse_args()


ARGS = arguments()
# Before the libraries are loaded, which read it then.
os.environ["OMP_NUM_THREADS"] = str(ARGS.threads)

import torch  # noqa: E402
from torch.nn.functional import normalize  # noqa: E402

import drlim  # noqa: E402
import drlim.torch  # noqa: E402


class Unavailable(Exception):
    """Why a library does not take part, in a few words."""


def ours():
    return drlim.torch.ContrastiveLoss()


def metric_learning():
    try:
        return importlib.import_module("pytorch_metric_learning.losses").ContrastiveLoss()
    except ImportError:
        raise Unavailable("not installed") from None


def by_hand(z, labels):
    """One product, and masks in place of lists of pairs. Rows are of unit length, so |a - b|² is 2 - 2 a·b."""
    z = normalize(z)
    d = (2 - 2 * z @ z.T).clamp(min=1e-12).sqrt()
    alike = labels[:, None] == labels
    apart = ~torch.eye(len(z), dtype=torch.bool)
    pulled = torch.where(alike & apart, d, 0)
    pushed = torch.where(alike, 0, (1 - d).relu())

    def mean(values):
        return values.sum() / (values > 0).sum().clamp(min=1)

    return mean(pulled) + mean(pushed)


def compiled():
    if not shutil.which(os.environ.get("CXX", "g++")) and not shutil.which("clang++"):
        raise Unavailable("no compiler")
    torch.compiler.reset()  # what was compiled for other shapes counts towards the most that it compiles
    return torch.compile(by_hand, dynamic=False)


LIBRARIES = {OURS: ours, METRIC_LEARNING: metric_learning, EAGER: lambda: by_hand, COMPILED: compiled}


def batch(rows, cols):
    """Embeddings as in the midst of training: about half of the dissimilar pairs are within the margin."""
    generator = torch.Generator().manual_seed(1)

    def unit(count):
        return normalize(torch.randn(count, cols, generator=generator))

    labels = torch.randint(ARGS.classes, (rows,), generator=generator)
    return 1.1 * unit(1) + 0.5 * unit(ARGS.classes)[labels] + unit(rows), labels


def step(loss, z, labels):
    z.grad = None
    value = loss(z, labels)
    value.backward()
    return value.item()


class Training:
    """A network of its own, from the same weights for every library."""

    def __init__(self, loss, cols):
        torch.manual_seed(1)
        self.net = torch.nn.Sequential(torch.nn.Linear(cols, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, cols))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01)
        self.loss = loss

    def step(self, x, labels):
        self.optimizer.zero_grad()
        self.loss(self.net(x), labels).backward()
        self.optimizer.step()


def in_turn(calls):
    """Seconds of each call, one after another until each has been made as often, or as long, as asked for."""
    times = {name: [] for name in calls}
    for call in calls.values():
        call()
    going = set(calls)
    while going:
        for name, call in calls.items():
            if name in going:
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
                enough = len(times[name]) >= 3 and sum(times[name]) > ARGS.seconds
                if enough or len(times[name]) >= ARGS.repeat:
                    going.discard(name)
    return times


def memory(field):
    """Of this process, in MiB: VmRSS what it has, VmHWM its peak. (`ru_maxrss` would start with the parent's.)"""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) / 1024


def weigh(name, rows, cols):
    """In a process of its own: prints what the peak of memory grows by, and the peak."""
    loss = LIBRARIES[name]()
    few, few_labels = batch(FEW_ROWS, cols)
    step(loss, few.requires_grad_(), few_labels)
    z, labels = batch(rows, cols)
    z.requires_grad_()
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # the peak starts anew: that of loading the libraries may be above what a step needs
    before = memory("VmRSS")
    step(loss, z, labels)
    print(json.dumps([memory("VmHWM") - before, memory("VmHWM")]))


def weighed(name, rows, cols):
    if not os.path.exists("/proc/self/status"):
        return None, None
    options = ["--threads", str(ARGS.threads), "--classes", str(ARGS.classes)]
    command = [sys.executable, __file__, *options, "--weigh", name, f"{rows}x{cols}"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def compare(rows, cols, names):
    """Figures of each library for one shape, or why there are none."""
    losses, records = {}, {}
    for name in names:
        try:
            if name != OURS and rows * rows > ARGS.most_pairs:
                raise Unavailable(f"not run: {rows} x {rows} matrices")
            losses[name] = LIBRARIES[name]()
        except Unavailable as reason:
            records[name] = {"missing": str(reason)}
    z, labels = batch(rows, cols)
    inputs = {name: z.clone().requires_grad_() for name in losses}
    times = in_turn({name: lambda name=name: step(losses[name], inputs[name], labels) for name in losses})
    values = {name: step(losses[name], inputs[name], labels) for name in losses}
    networks = {name: Training(loss, cols) for name, loss in losses.items()}
    of_training = in_turn({name: lambda name=name: networks[name].step(z, labels) for name in losses})
    for name in losses:
        record = {"best_ms": 1e3 * min(times[name]), "median_ms": 1e3 * statistics.median(times[name])}
        record["training_ms"] = 1e3 * statistics.median(of_training[name])
        record["value"] = values[name]
        if METRIC_LEARNING in losses:
            grad, theirs = inputs[name].grad, inputs[METRIC_LEARNING].grad
            record["value_off"] = abs(values[name] - values[METRIC_LEARNING])
            record["gradient_off"] = ((grad - theirs).abs().max() / theirs.abs().max()).item()
        record["grown_mib"], record["peak_mib"] = weighed(name, rows, cols)
        records[name] = record
    return {name: records[name] for name in names}


def line(*cells):
    print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)


def number(value):
    return "" if value is None else f"{value:.0f}" if value >= 99.5 else f"{value:.2g}"


def table_lines(shape, records):
    own = records[OURS]
    for name, record in records.items():
        if "missing" in record:
            line(shape, name, record["missing"], *[""] * 6)
            continue
        same = METRIC_LEARNING in (name,) or "value_off" not in record
        off = ["", ""] if same else [f"{record['value_off']:.0e}", f"{record['gradient_off']:.0e}"]
        slower = record["median_ms"] / own["median_ms"]
        time_of_step = f"{number(record['best_ms'])} ({number(record['median_ms'])})"
        memory = number(record["grown_mib"]), number(record["peak_mib"])
        line(shape, name, time_of_step, f"{slower:.1f}", number(record["training_ms"]), *off, *memory)


def version(package):
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package}: not installed"


def processor():
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main():
    torch.set_num_threads(ARGS.threads)
    drlim.set_threads(ARGS.threads)
    if ARGS.weigh:
        name, shape = ARGS.weigh
        return weigh(name, *shapes(shape)[0])
    machine = f"{processor()}, {ARGS.threads} threads, tier {drlim.tier()}"
    versions = ", ".join(version(package) for package in ("drlim", "torch", METRIC_LEARNING))
    print(f"{machine}; {versions}; float32, {ARGS.classes} classes\n")
    line("B x D", "library", "loss and gradient, ms: best (median)", "times ours", "training step, ms", "value off by",
         "gradient off by", "memory grows by, MiB", "peak of the process, MiB")
    line("---", "---", *["---:"] * 7)
    figures = {}
    for rows, cols in [*ARGS.shapes, *ARGS.large]:
        shape = f"{rows} x {cols}"
        figures[shape] = compare(rows, cols, LIBRARIES)
        table_lines(shape, figures[shape])
    if ARGS.json:
        ARGS.json.write_text(json.dumps({"machine": machine, "versions": versions, "shapes": figures}, indent=1))


if __name__ == "__main__":
    main()
