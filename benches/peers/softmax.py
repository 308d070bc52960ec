#!/usr/bin/env python3
"""Softmaxes over a batch, by drlim's Python package and by other libraries, in one table.

    pip install ./python torch pytorch-metric-learning sentence-transformers open-clip-torch jax
    pip install --no-deps lightly
    python3 benches/peers/softmax.py
    python3 benches/peers/softmax.py --only supcon --shape 512x128

Values and gradients of each library are checked against PyTorch's autograd in float64 on a small shape, then all
that are installed are timed in turns: the best of their times counts. Rows have unit length. Memory is what the
process has at most beyond what it had before, of a call in a process of its own (on Linux). JAX takes all processors
of the process unless there is one thread.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time

WORKS = ["supcon", "ntxent", "simclr", "infonce", "clip", "siglip"]
# Works whose second rows have a gradient as well.
OF_BOTH = WORKS[2:]
TEMPERATURE, SCALE, BIAS, CLASSES = 0.1, 10.0, -10.0, 100
SHAPES = [(512, 128), (4096, 128), (4096, 768)]
# pytorch-metric-learning's NTXentLoss has an element for each positive pair and each negative one.
LARGEST_NTXENT = 512


def arguments():
    parser = argparse.ArgumentParser(description="Times softmaxes over a batch.")
    parser.add_argument("--only", choices=WORKS, help="only this work")
    parser.add_argument("--shape", metavar="NxD", help="this shape instead of the usual ones")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="for each library")
    parser.add_argument("--compiled", action="store_true", help="torch.compile too, which takes a C++ compiler")
    parser.add_argument("--test", action="store_true", help="only check, on a small shape")
    parser.add_argument("--memory", metavar="WORK:LIBRARY:NxD", help=argparse.SUPPRESS)
    return parser.parse_args()


ARGS = arguments()
os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(ARGS.threads)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={str(ARGS.threads > 1).lower()}"

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(ARGS.threads)


def rows(n, d, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(CLASSES, d, generator=generator, dtype=torch.float64)
    labels = torch.arange(n) % CLASSES
    z = torch.randn(n, d, generator=generator, dtype=torch.float64) + centers[labels]
    return F.normalize(z).to(dtype), labels


def plain(work, x, y, labels):
    """What every library is to compute, in PyTorch."""
    if work == "simclr":  # two views of each row, and supcon of these
        return plain("supcon", torch.cat([x, y]), None, torch.arange(len(x)).repeat(2))
    if work in ("supcon", "ntxent"):
        logits = x @ x.T / TEMPERATURE
        own = torch.eye(len(x), dtype=torch.bool)
        similar = (labels[:, None] == labels) & ~own
        if work == "supcon":
            lse = logits.masked_fill(own, -torch.inf).logsumexp(1)
            return (lse - (logits * similar).sum(1) / similar.sum(1)).mean()
        lse = logits.masked_fill(similar | own, -torch.inf).logsumexp(1, keepdim=True)
        return F.softplus(lse - logits)[similar].mean()
    target = torch.arange(len(x))
    logits = x @ y.T * SCALE
    if work == "infonce":
        return F.cross_entropy(logits, target)
    if work == "clip":
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    sign = 2 * torch.eye(len(x), dtype=x.dtype) - 1
    return -F.logsigmoid(sign * (logits + BIAS)).sum() / len(x)


def libraries():
    """The loss of each library, by its name and work: a function of both sets of rows and the labels."""
    found = {("PyTorch", work): lambda x, y, labels, work=work: plain(work, x, y, labels) for work in WORKS}
    if ARGS.compiled:
        for work in WORKS:
            compiled = torch.compile(lambda x, y, labels, work=work: plain(work, x, y, labels))
            found["compiled", work] = compiled
    if hasattr(torch.nn, "LinearCrossEntropyOptions"):
        options = torch.nn.LinearCrossEntropyOptions()
        found["linear_cross_entropy", "infonce"] = lambda x, y, labels: F.linear_cross_entropy(
            x * SCALE, y, torch.arange(len(x)), options=options)
    if importlib.util.find_spec("pytorch_metric_learning"):
        from pytorch_metric_learning import losses, reducers

        supcon = losses.SupConLoss(TEMPERATURE, reducer=reducers.MeanReducer())
        ntxent = losses.NTXentLoss(TEMPERATURE)
        found["pytorch-metric-learning", "supcon"] = lambda x, y, labels: supcon(x, labels)
        found["pytorch-metric-learning", "ntxent"] = lambda x, y, labels: ntxent(x, labels)
    if importlib.util.find_spec("sentence_transformers"):
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        ranking = MultipleNegativesRankingLoss(torch.nn.Identity(), scale=SCALE)
        found["sentence-transformers", "infonce"] = lambda x, y, labels: ranking.compute_loss_from_embeddings([x, y], None)
    if importlib.util.find_spec("open_clip"):
        from open_clip.loss import ClipLoss, SigLipLoss

        clip, siglip = ClipLoss(), SigLipLoss()
        found["open_clip", "clip"] = lambda x, y, labels: clip(x, y, SCALE)
        found["open_clip", "siglip"] = lambda x, y, labels: siglip(x, y, SCALE, BIAS)
    if importlib.util.find_spec("lightly"):
        from lightly.loss import NTXentLoss

        views = NTXentLoss(TEMPERATURE)
        found["lightly", "simclr"] = lambda x, y, labels: views(x, y)
    if importlib.util.find_spec("jax"):
        found.update((("JAX", work), loss) for work, loss in jax_losses().items())
    if importlib.util.find_spec("drlim"):
        import drlim
        import drlim.torch as dt

        softmax, each = drlim.Softmax(temperature=TEMPERATURE), drlim.Softmax(temperature=TEMPERATURE, positives="each")
        found["drlim", "supcon"] = lambda x, y, labels: dt.all_anchors(softmax, x, labels, reduction="mean")
        found["drlim", "ntxent"] = lambda x, y, labels: dt.all_anchors(each, x, labels, reduction="mean-of-pairs")
        found["drlim", "simclr"] = lambda x, y, labels: dt.all_anchors(
            softmax, torch.cat([x, y]), torch.arange(len(x)).repeat(2))
        infonce = drlim.Softmax(scale=SCALE)
        found["drlim", "infonce"] = lambda x, y, labels: dt.cross_anchors(infonce, x, y, position=0, anchors="queries")
        found["drlim", "clip"] = lambda x, y, labels: dt.cross_anchors(infonce, x, y, position=0, anchors="both")
        found["drlim", "siglip"] = lambda x, y, labels: dt.siglip_loss(x, y, SCALE, BIAS)
    return found


def jax_losses():
    """The works that JAX computes: value and gradients by one compiled function, as a node of PyTorch's graph."""
    import jax
    import jax.numpy as jnp
    from jax.nn import log_sigmoid, log_softmax, logsumexp

    def supcon(x, y, labels):
        own = jnp.eye(len(x), dtype=bool)
        similar = (labels[:, None] == labels) & ~own
        logits = x @ x.T / TEMPERATURE
        lse = logsumexp(jnp.where(own, -jnp.inf, logits), axis=1)
        return (lse - (logits * similar).sum(1) / similar.sum(1)).mean()

    def infonce(x, y, labels):
        return -log_softmax(x @ y.T * SCALE, axis=1).diagonal().mean()

    def clip(x, y, labels):
        logits = x @ y.T * SCALE
        return -sum(log_softmax(logits, axis=axis).diagonal().mean() for axis in (0, 1)) / 2

    def siglip(x, y, labels):
        sign = 2 * jnp.eye(len(x)) - 1
        return -log_sigmoid(sign * (x @ y.T * SCALE + BIAS)).sum() / len(x)

    def node(function, of):
        compiled = jax.jit(jax.value_and_grad(function, argnums=of))

        class Node(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, y, labels):
                value, grads = compiled(*(jnp.from_dlpack(part.detach()) for part in (x, y, labels.int())))
                ctx.grads = [torch.from_dlpack(grad) for grad in jax.block_until_ready(grads)]
                return x.new_tensor(float(value))

            @staticmethod
            def backward(ctx, upstream):
                grads = [upstream * grad for grad in ctx.grads]
                return *grads, *[None] * (3 - len(grads))

        return Node.apply

    return {
        "supcon": node(supcon, (0,)),
        "infonce": node(infonce, (0, 1)),
        "clip": node(clip, (0, 1)),
        "siglip": node(siglip, (0, 1)),
    }


def run(loss, work, x, y, labels):
    """The value, and the gradients of all rows that the work has."""
    x = x.detach().requires_grad_()
    y = y.detach().requires_grad_(work in OF_BOTH)
    value = loss(x, y, labels)
    value.backward()
    return value.detach(), [z.grad for z in (x, y) if z.grad is not None]


def tangential(grads, rows_of):
    """Gradients without their part along the rows, in which products and distances differ."""
    return [g - (g * z).sum(1, keepdim=True) * z for g, z in zip(grads, rows_of)]


def check(name, work, loss):
    (x, labels), (y, _) = rows(230, 33, torch.float64, 1), rows(230, 33, torch.float64, 2)
    value, grads = run(lambda *inputs: plain(work, *inputs), work, x, y, labels)
    grads = tangential(grads, [x, y])
    found, of_rows = run(loss, work, x.float(), y.float(), labels)
    of_rows = tangential([g.double() for g in of_rows], [x, y])
    if abs(found.double() - value) > 1e-5 * abs(value):
        sys.exit(f"{name}, {work}: {found} is not {value}")
    for got, expected in zip(of_rows, grads, strict=True):
        off = (got - expected).abs().max() / expected.abs().max()
        if not off < 1e-3:
            sys.exit(f"{name}, {work}: a gradient is off by {off} of its largest element")


def memory(name, work, shape):
    """What a process takes for one call beyond its inputs and gradients, in MiB."""
    job = f"{work}:{name}:{shape[0]}x{shape[1]}"
    command = [sys.executable, __file__, "--memory", job, "--threads", str(ARGS.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else float("nan")


def measure(job):
    work, name, shape = job.split(":")
    n, d = map(int, shape.split("x"))
    (x, labels), (y, _) = rows(n, d, torch.float32, 1), rows(n, d, torch.float32, 2)
    loss = libraries()[name, work]
    run(loss, work, x[:64], y[:64], labels[:64])
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = resident("VmRSS")
    run(loss, work, x, y, labels)
    print((resident("VmHWM") - before) / 1024)


def resident(what):
    """Memory of this process in KiB, now or at most since the peak was cleared. Of Linux."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(what))


def main():
    if ARGS.memory:
        return measure(ARGS.memory)
    found = libraries()
    works = [ARGS.only] if ARGS.only else WORKS
    for (name, work), loss in found.items():
        if work in works:
            check(name, work, loss)
    if ARGS.test:
        return print(f"{len(found)} losses agree")
    shapes = [tuple(map(int, ARGS.shape.split("x")))] if ARGS.shape else SHAPES
    print(f"best ms, and MiB beyond the rows; {ARGS.threads} threads")
    for work in works:
        for n, d in shapes:
            (x, labels), (y, _) = rows(n, d, torch.float32, 1), rows(n, d, torch.float32, 2)
            turns = {name: loss for (name, of), loss in found.items() if of == work}
            if work == "ntxent" and n > LARGEST_NTXENT:
                turns.pop("pytorch-metric-learning", None)
            best = {name: float("inf") for name in turns}
            end = time.perf_counter() + ARGS.seconds * len(turns)
            while time.perf_counter() < end:
                for name, loss in turns.items():
                    start = time.perf_counter()
                    run(loss, work, x, y, labels)
                    best[name] = min(best[name], time.perf_counter() - start)
            ours = best.get("drlim")
            for name, seconds in sorted(best.items(), key=lambda of: of[1]):
                ratio = f"{seconds / ours:6.1f} x" if ours else ""
                taken = memory(name, work, (n, d))
                print(f"{work:8} {n}x{d:<5} {name:24} {1e3 * seconds:10.2f} {ratio:>10} {taken:9.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
