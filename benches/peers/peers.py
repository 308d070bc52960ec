#!/usr/bin/env python3
"""The crate's work done with libraries of Python, in one table.

The works, shapes and data are those of `cargo bench --bench roofline`, whose figures `--drlim` puts
beside these. Each library that is installed is checked against float64 computations of numpy on a
small shape, then timed in bursts that take turns; the others are marked. Rust's libraries are compared
by the program beside this.

    python3 benches/peers/peers.py --only rows
    cargo bench --bench roofline -- --json roofline.json
    python3 benches/peers/peers.py --drlim roofline.json
"""

import argparse
import importlib
import importlib.metadata
import json
import math
import os
import shutil
import statistics
import sys
import time

WORKS = ["rows", "triplet_rows", "all_pairs_labels", "all_pairs_graph", "distances", "nearest"]
WORKS += ["train_step_drlim", "train_step_lenet", "train_step_dense", "forward_drlim"]
TRIPLET_MARGIN = 0.2
NEIGHBOURS = 5
# A call of the largest batch takes seconds and many gigabytes.
LARGE = (16384, 128)


def arguments():
    parser = argparse.ArgumentParser(description="Times libraries of Python on the crate's work.")
    parser.add_argument("--only", choices=WORKS, help="only work of this name")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N",
                        help="threads of every library; all cores by default")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S",
                        help="for each shape and library")
    parser.add_argument("--large", action="store_true", help="16384 x 128, too")
    parser.add_argument("--test", action="store_true", help="only check everything on small shapes")
    parser.add_argument("--drlim", metavar="FILE", help="what roofline's --json wrote")
    return parser.parse_args()


ARGS = arguments()
# Before the libraries are loaded, which read them then.
for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]:
    os.environ[variable] = str(ARGS.threads)
for variable in ["KEOPS_VERBOSE", "PYKEOPS_VERBOSE"]:
    os.environ.setdefault(variable, "0")

import numpy as np  # noqa: E402

from contrastive import contrastive, random, torch_contrastive  # noqa: E402
from training import DenseStep, Forward, LenetStep, PaperStep  # noqa: E402
from training import torch_forward, torch_step  # noqa: E402


class Unavailable(Exception):
    """Why a library cannot take part, in a few words."""


def load(module):
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise Unavailable("not installed") from None
    except Exception as error:
        raise Unavailable(f"does not load: {type(error).__name__}") from error


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def need_compiler():
    if not shutil.which(os.environ.get("CXX", "g++")) and not shutil.which("clang++"):
        raise Unavailable("no compiler")


# Works: data of a shape, and the right answer in float64.


class Rows:
    """Loss and both gradients of pairs by rows, margin 1, summed."""

    def __init__(self, n, d):
        self.a, self.b = random(2, n, d)
        self.similar = np.arange(n) % 2 == 0

    def expected(self):
        difference = self.a.astype(np.float64) - self.b
        value, slope = contrastive(np.linalg.norm(difference, axis=1), self.similar, 1.0)
        grad = slope[:, None] * difference
        return [value.sum(), grad, -grad]


class TripletRows:
    """Triplet margin loss and three gradients, summed."""

    def __init__(self, n, d):
        self.inputs = random(3, n, d)

    def expected(self):
        a, p, n = self.inputs.astype(np.float64)
        positive, negative = np.linalg.norm(a - p, axis=1), np.linalg.norm(a - n, axis=1)
        gap = positive - negative + TRIPLET_MARGIN
        pull = np.where(gap > 0, 1 / positive, 0)[:, None] * (a - p)
        push = np.where(gap > 0, 1 / negative, 0)[:, None] * (a - n)
        return [gap.clip(0).sum(), pull - push, -pull, push]


class AllPairs:
    """Loss and gradient of every pair of a batch, summed; `similar()` is a matrix."""

    def __init__(self, z, margin):
        self.z, self.margin = z, margin

    def expected(self):
        z = self.z.astype(np.float64)
        differences = z[:, None] - z[None]
        distances = np.linalg.norm(differences, axis=2)
        value, slope = contrastive(distances, self.similar(), self.margin)
        apart = 1 - np.eye(len(z))
        return [(apart * value).sum() / 2, ((apart * slope)[:, :, None] * differences).sum(1)]


class AllPairsLabels(AllPairs):
    def __init__(self, n, d):
        super().__init__(random(n, d), math.sqrt(d))
        self.labels = np.arange(n) % 8

    def similar(self):
        return self.labels[:, None] == self.labels[None]


class AllPairsGraph(AllPairs):
    """Similar are neighbours, either way round."""

    def __init__(self, n, d):
        super().__init__(random(n, d), 1.0)
        nearest = sorted_distances(self.z)[1]
        rows = np.arange(n).repeat(NEIGHBOURS)
        edges = np.sort(np.stack([rows, nearest.ravel()], axis=1), axis=1)
        self.edges = np.unique(edges, axis=0)

    def similar(self):
        similar = np.zeros((len(self.z), len(self.z)), dtype=bool)
        i, j = self.edges.T
        similar[i, j] = similar[j, i] = True
        return similar


class Distances:
    """The matrix of Euclidean distances between all rows."""

    def __init__(self, n, d):
        self.z = random(n, d)

    def expected(self):
        z = self.z.astype(np.float64)
        return [np.linalg.norm(z[:, None] - z[None], axis=2)]


class Nearest:
    """Distances and indices of the nearest other rows."""

    def __init__(self, n, d):
        self.z = random(n, d)

    def expected(self):
        return list(sorted_distances(self.z))


def sorted_distances(z):
    """Of the nearest other rows, and their indices."""
    z, nearest, distances = z.astype(np.float64), [], []
    for i in range(len(z)):
        row = np.linalg.norm(z - z[i], axis=1)
        row[i] = np.inf
        few = np.argpartition(row, NEIGHBOURS)[:NEIGHBOURS]
        nearest.append(few[np.argsort(row[few])])
        distances.append(row[nearest[-1]])
    return np.array(distances), np.array(nearest)


# Libraries: what is timed, from the data of a work. A call returns its answer, in order.


def with_gradients(torch, loss, *inputs):
    inputs = [torch.from_numpy(x).requires_grad_() for x in inputs]

    def call():
        value = loss(*inputs)
        return [value, *torch.autograd.grad(value, inputs)]

    return call


def torch_rows(work, torch, optimise):
    similar = torch.from_numpy(work.similar)

    def loss(a, b):
        distance = torch.linalg.vector_norm(a - b, dim=1)
        return torch_contrastive(torch, distance, similar, 1.0).sum()

    return with_gradients(torch, optimise(loss), work.a, work.b)


def torch_triplet_rows(work, torch, optimise):
    def loss(a, p, n):
        positive = torch.linalg.vector_norm(a - p, dim=1)
        negative = torch.linalg.vector_norm(a - n, dim=1)
        return (positive - negative + TRIPLET_MARGIN).relu().sum()

    return with_gradients(torch, optimise(loss), *work.inputs)


def torch_all_pairs(work, torch, optimise):
    """Distances from one product of matrices; a row and itself are put apart, then left out."""
    diagonal = torch.eye(len(work.z))
    similar = torch.from_numpy(work.similar())

    def loss(z):
        norms = z.square().sum(1)
        squares = (norms[:, None] + norms[None] - 2 * (z @ z.T)).clamp(min=0) + diagonal
        values = torch_contrastive(torch, squares.sqrt(), similar, work.margin)
        return (values * (1 - diagonal)).sum() / 2

    return with_gradients(torch, optimise(loss), work.z)


def torch_all_pairs_cdist(work, torch, optimise):
    similar = torch.from_numpy(work.similar())
    diagonal = torch.eye(len(work.z))

    def loss(z):
        values = torch_contrastive(torch, torch.cdist(z, z), similar, work.margin)
        return (values * (1 - diagonal)).sum() / 2

    return with_gradients(torch, optimise(loss), work.z)


def torch_distances(work, torch, optimise):
    z = torch.from_numpy(work.z)
    distances = optimise(lambda z: torch.cdist(z, z))
    return lambda: [distances(z)]


def torch_nearest(work, torch, optimise):
    z = torch.from_numpy(work.z)
    own = torch.eye(len(z), dtype=torch.bool)

    def search(z):
        distances = torch.cdist(z, z).masked_fill(own, math.inf)
        return torch.topk(distances, NEIGHBOURS, largest=False)

    search = optimise(search)
    return lambda: search(z)


def metric_learning_all_pairs(work):
    """Its loss with the paper's formula in place of its own, over ordered pairs: twice as many."""
    if len(work.z) > 4096:
        raise Unavailable("lists of pairs do not fit")
    losses, torch = load("pytorch_metric_learning.losses"), load("torch")
    distances = load("pytorch_metric_learning.distances")
    reducers = load("pytorch_metric_learning.reducers")

    class Paper(losses.ContrastiveLoss):
        def pos_calc(self, distance, margin):
            return distance.square() / 2

        def neg_calc(self, distance, margin):
            return torch.relu(margin - distance).square() / 2

    plain = distances.LpDistance(normalize_embeddings=False)
    paper = Paper(neg_margin=work.margin, distance=plain, reducer=reducers.SumReducer())
    labels = torch.from_numpy(work.labels)
    return with_gradients(torch, lambda z: paper(z, labels) / 2, work.z)


def keops_all_pairs_labels(work):
    if work.z.size > 4096 * 128:
        raise Unavailable("too slow")
    need_compiler()
    torch, lazy = load("torch"), load("pykeops.torch").LazyTensor
    labels = torch.from_numpy(work.labels.astype(np.float32))[:, None]

    def loss(z):
        squares = lazy(z[:, None]).sqdist(lazy(z[None]))
        apart = (lazy(labels[:, None]) - lazy(labels[None])).abs()
        gap = (work.margin - squares.sqrt()).relu()
        # The second where labels differ: they are whole numbers.
        return (apart - 0.5).ifelse(gap.square(), squares).sum(1).sum() / 4

    return with_gradients(torch, loss, work.z)


def keops_all_pairs_graph(work):
    """All pairs as dissimilar ones, and what the edges change."""
    need_compiler()
    torch, lazy = load("torch"), load("pykeops.torch").LazyTensor
    i, j = torch.from_numpy(work.edges.T.copy())

    def loss(z):
        distances = lazy(z[:, None]).sqdist(lazy(z[None])).sqrt()
        pushes = (work.margin - distances).relu().square().sum(1).sum() - len(z) * work.margin**2
        edges = (z[i] - z[j]).square().sum(1)
        pulls = edges - (work.margin - edges.sqrt()).relu().square()
        return pushes / 4 + pulls.sum() / 2

    return with_gradients(torch, loss, work.z)


def faiss_distances(work):
    faiss = load("faiss")
    return lambda: [np.sqrt(faiss.pairwise_distances(work.z, work.z).clip(0))]


def faiss_nearest(work):
    """Each row is among its own neighbours, and is taken out of them."""
    faiss = load("faiss")
    own = np.arange(len(work.z))[:, None]

    def call():
        index = faiss.IndexFlatL2(work.z.shape[1])
        index.add(work.z)
        squares, indices = index.search(work.z, NEIGHBOURS + 1)
        others = np.argsort(indices == own, axis=1, kind="stable")[:, :NEIGHBOURS]
        indices = np.take_along_axis(indices, others, axis=1)
        return [np.sqrt(np.take_along_axis(squares, others, axis=1).clip(0)), indices]

    return call


def sklearn_distances(work):
    pairwise = load("sklearn.metrics.pairwise")
    return lambda: [pairwise.euclidean_distances(work.z)]


def sklearn_nearest(work):
    neighbors = load("sklearn.neighbors")

    def call():
        search = neighbors.NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(work.z)
        return search.kneighbors()

    return call


def torch_ways(build):
    """As written, and compiled."""

    def eager(work):
        return build(work, load("torch"), lambda function: function)

    def compiled(work):
        torch = load("torch")
        need_compiler()
        # What was compiled for other shapes would count towards the most that it compiles.
        torch.compiler.reset()
        return build(work, torch, lambda function: torch.compile(function, dynamic=False))

    return [("torch", "eager", eager), ("torch", "compiled", compiled)]


METRIC_LEARNING = ("pytorch-metric-learning", "", metric_learning_all_pairs)
CDIST = ("torch", "eager, cdist", lambda work: torch_all_pairs_cdist(work, load("torch"), lambda f: f))
KEOPS_LABELS = ("pykeops", "", keops_all_pairs_labels)
KEOPS_GRAPH = ("pykeops", "", keops_all_pairs_graph)
FAISS, SKLEARN = "faiss-cpu", "scikit-learn"

# For each work: its data, the shapes to time, a small one to check, and who takes part.
TABLE = {
    "rows": (Rows, [(65536, 128), (16384, 768), (2048, 128), (65536, 2), (256, 2)], (64, 19),
             torch_ways(torch_rows)),
    "triplet_rows": (TripletRows, [(65536, 128)], (64, 19), torch_ways(torch_triplet_rows)),
    "all_pairs_labels": (AllPairsLabels, [(512, 128), (4096, 128), (4096, 768), LARGE], (64, 19),
                         [*torch_ways(torch_all_pairs), CDIST, METRIC_LEARNING, KEOPS_LABELS]),
    "all_pairs_graph": (AllPairsGraph, [(6000, 2)], (64, 2),
                        [*torch_ways(torch_all_pairs), KEOPS_GRAPH]),
    "distances": (Distances, [(4096, 128)], (64, 19),
                  [*torch_ways(torch_distances), (FAISS, "", faiss_distances),
                   (SKLEARN, "", sklearn_distances)]),
    "nearest": (Nearest, [(6000, 784)], (64, 19),
                [*torch_ways(torch_nearest), (FAISS, "", faiss_nearest),
                 (SKLEARN, "", sklearn_nearest)]),
    "train_step_drlim": (PaperStep, [(128,)], (3,), torch_ways(torch_step)),
    "train_step_lenet": (LenetStep, [(128,)], (3,), torch_ways(torch_step)),
    "train_step_dense": (DenseStep, [(128,)], (3,), torch_ways(torch_step)),
    "forward_drlim": (Forward, [(1,)], (3,), torch_ways(torch_forward)),
}


def check(name, work, answer):
    """Within what rounding of float32 explains. (Gradients of a few close pairs lose a digit.)"""
    expected = work.expected(*[work.parameters] if hasattr(work, "parameters") else [])
    for got, right in zip(answer, expected, strict=True):
        got = got.detach().numpy() if hasattr(got, "detach") else np.asarray(got)
        if isinstance(work, Distances):  # By way of products of matrices, only squares are precise.
            got, right = np.square(got), np.square(right)
        error = np.abs(got - right).max()
        if not error <= 2e-5 * np.abs(right).max():
            sys.exit(f"{name}: off by {error:.2e} of {np.abs(right).max():.2e}")


def take_turns(calls):
    """Seconds of each call, in bursts of a tenth of a second, within which threads and caches settle."""
    seconds = {way: [] for way in calls}
    start, rounds = time.perf_counter(), 0
    while time.perf_counter() - start < ARGS.seconds * len(calls) or rounds < 2:
        for way, call in calls.items():
            burst = time.perf_counter()
            while True:
                before = time.perf_counter()
                call()
                after = time.perf_counter()
                seconds[way].append(after - before)
                if after - burst > 0.1:
                    break
        rounds += 1
    return seconds


def start(function, work):
    """What is timed and its first answer, or why there is none."""
    try:
        call = function(work)
        return call, call(), ""
    except Unavailable as reason:
        return None, None, str(reason)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return None, None, f"fails: {type(error).__name__}"


def measure(kernel):
    """Lines of the table: shape, library, way, and either seconds or why there are none."""
    make, shapes, small, ways = TABLE[kernel]
    reasons = {}
    for library, way, function in ways:
        work = make(*small)
        call, answer, reasons[library, way] = start(function, work)
        if call:
            check(f"{kernel}, {library} {way}", work, answer)
            reasons[library, way] = "agrees"
    if ARGS.test:
        return [(small, *way, reason) for way, reason in reasons.items()]
    lines = []
    for shape in shapes:
        if shape == LARGE and not ARGS.large:
            continue
        work, calls, outcome = make(*shape), {}, dict(reasons)
        for library, way, function in ways:
            if reasons[library, way] == "agrees":
                call, _, outcome[library, way] = start(function, work)
                if call:
                    calls[library, way] = call
        outcome |= take_turns(calls)
        lines += [(shape, *way, outcome[way]) for way in outcome]
    return lines


def drlim_times(kernel, shape, threads):
    """Best and median of the crate on its fastest tier, in ms, where `--drlim` has them."""
    if not ARGS.drlim:
        return None
    with open(ARGS.drlim) as file:
        lines = json.load(file)
    same = {"kernel": kernel, "shape": shape, "element": "f32", "threads": threads}
    lines = [line for line in lines if all(line[key] == same[key] for key in same)]
    best = min(lines, key=lambda line: line["best_ms"], default=None)
    return best and (best["best_ms"], best["median_ms"])


def write(work, shape, library, best, median="", times=""):
    print(f"{work:<17} {shape:>10}  {library:<40} {best:>22} {median:>10} {times:>9}", flush=True)


def main():
    print(f"Python {sys.version.split()[0]}, numpy {np.__version__}, {ARGS.threads} threads "
          "(one for forward_drlim), float32")
    write("work", "shape", "library", "best, ms", "median", "drlim's")
    for kernel in [ARGS.only] if ARGS.only else WORKS:
        threads = 1 if kernel == "forward_drlim" else ARGS.threads
        limit_threads(threads)
        last = None
        for shape, library, way, outcome in measure(kernel):
            shape = "x".join(map(str, shape))
            drlim = drlim_times(kernel, shape, threads)
            if drlim and shape != last:
                write(kernel, shape, "drlim", *[f"{ms:.4f}" for ms in drlim], "x 1.00")
            last = shape
            name = " ".join([library, version(library)]).strip() + (way and f", {way}")
            if isinstance(outcome, str):
                write(kernel, shape, name, outcome)
                continue
            best, median = min(outcome) * 1e3, statistics.median(outcome) * 1e3
            times = f"x {best / drlim[0]:.2f}" if drlim else "-"
            write(kernel, shape, name, f"{best:.4f}", f"{median:.4f}", times)


def limit_threads(threads):
    for module, setter in [("torch", "set_num_threads"), ("faiss", "omp_set_num_threads")]:
        try:
            getattr(load(module), setter)(threads)
        except Unavailable:
            pass


if __name__ == "__main__":
    main()
