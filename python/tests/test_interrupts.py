"""Ctrl-C during a long call: the call ends by it, and nothing is half written.

Each call would take minutes and more on any machine; what is asserted is that it ends by the signal at all, and not
after minutes.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals")

MOST = 60
"""Seconds that a call may go on. It is to be heard within one; machines may be busy."""

# The other thread sends the signal when the call has begun, and ends a process that does not hear it.
PRELUDE = """
import mmap, os, signal, sys, threading, time
import numpy as np, drlim

# Jobs in the background of a shell, and what they start, are told to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

def floats(rows, cols):
    '''Zeros that take no memory: pages that nobody has written to.'''
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    memory = mmap.mmap(-1, 4 * rows * cols, flags=flags, prot=mmap.PROT_READ)
    return np.frombuffer(memory, np.float32).reshape(rows, cols)

def random(rows, cols):
    return np.random.default_rng(7).normal(size=(rows, cols)).astype(np.float32)

def send():
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep({most})
    os._exit(9)

def interrupted(call, error=KeyboardInterrupt):
    threading.Thread(target=send, daemon=True).start()
    try:
        call()
    except error:
        return
    raise SystemExit("the call ran to its end")

PAIR, TRIPLET = drlim.Contrastive(100.0), drlim.TripletMargin(1.0)
MANY = 300_000
few, few_labels = random(300, 20), np.arange(300) % 7
before = drlim.all_pairs(PAIR, few, few_labels), drlim.triplets(TRIPLET, few, few_labels)
"""

# The scratch of the thread, the pool and the library are as they were.
AFTER = """
after = drlim.all_pairs(PAIR, few, few_labels), drlim.triplets(TRIPLET, few, few_labels)
for one, other in zip(before, after):
    assert one.value == other.value and np.array_equal(one.grad, other.grad)
print("heard")
"""


def run(script):
    began = time.monotonic()
    code = PRELUDE.replace("{most}", str(MOST)) + script + AFTER
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10 * MOST)
    assert done.returncode == 0 and done.stdout.endswith("heard\n"), (done.returncode, done.stdout, done.stderr)
    return time.monotonic() - began


CALLS = {
    "all_pairs": "z, labels = random(MANY, 64), np.arange(MANY) % 7\ncall = lambda: drlim.all_pairs(PAIR, z, labels)",
    "all_pairs, normalized": "z, labels = random(MANY, 64), np.arange(MANY) % 7\n"
    "call = lambda: drlim.all_pairs(PAIR, z, labels, normalize=True)",
    "cross": "z, labels = random(MANY, 64), np.arange(MANY) % 7\n"
    "call = lambda: drlim.cross(PAIR, z, z, labels, labels, own=0)",
    "all_anchors": "z, labels = random(MANY, 64), np.arange(MANY) % 7\n"
    "call = lambda: drlim.all_anchors(drlim.Softmax(), z, labels)",
    "cross_anchors": "z = random(MANY, 64)\n"
    "call = lambda: drlim.cross_anchors(drlim.Softmax(), z, z, position=0, anchors='both', normalize=True)",
    "triplets": "z, labels = random(MANY, 64), np.arange(MANY) % 7\n"
    "call = lambda: drlim.triplets(TRIPLET, z, labels)",
    "semi-hard": "z, labels = random(MANY, 64), np.arange(MANY) // 50\n"
    "call = lambda: drlim.triplets(TRIPLET, z, labels, mining='semi-hard')",
    "nearest": "z = random(MANY, 64)\ncall = lambda: drlim.nearest(z, z, 5)",
    "nearest_others": "z = random(MANY, 64)\ncall = lambda: drlim.nearest_others(z, 5)",
    "hardest": "z, labels = random(MANY, 64), np.arange(MANY) % 7\ncall = lambda: drlim.hardest(z, labels)",
    "graph": "z = random(MANY, 64)\ncall = lambda: drlim.Graph.nearest(z, 5)",
    # 2**38 elements: a terabyte of them is read.
    "rows": "a, similar = floats(2**20, 2**18), np.zeros(2**20, bool)\n"
    "call = lambda: drlim.rows(PAIR, a, a, similar, grads=False)",
    "triplet_rows": "a = floats(2**20, 2**18)\ncall = lambda: drlim.triplet_rows(TRIPLET, a, a, a, grads=False)",
    "row_distances": "a = floats(2**20, 2**18)\ncall = lambda: drlim.row_distances(a, a)",
    "distance_matrix": "a = floats(2**13, 2**18)\ncall = lambda: drlim.distance_matrix(a, a)",
    # Two million pairs of rows of a megabyte.
    "indexed": "z, pairs = floats(2**10, 2**18), np.arange(2**22).reshape(2**21, 2) % 2**10\n"
    "pairs, similar = drlim.PairList(len(z), pairs), np.zeros(2**21, bool)\n"
    "call = lambda: drlim.indexed(PAIR, z, pairs, similar, grad=False)",
}


@pytest.mark.parametrize("threads", [1, 2, 0])
@pytest.mark.parametrize("call", CALLS)
def test_a_long_call_ends_by_ctrl_c(call, threads):
    run(f"drlim.set_threads({threads})\n{CALLS[call]}\ninterrupted(call)\n")


@pytest.mark.parametrize("threads", [1, 2, 0])
def test_what_a_handler_raises_comes_out(threads):
    run(
        f"""
drlim.set_threads({threads})
heard = []

class Enough(Exception):
    pass

def handler(number, frame):
    # Calls of a handler itself have nothing to do with the one that it interrupts.
    heard.append(drlim.all_pairs(PAIR, few, few_labels).value)
    if len(heard) == 2:
        raise Enough
    threading.Thread(target=send, daemon=True).start()

signal.signal(signal.SIGINT, handler)
z, labels = random(MANY, 64), np.arange(MANY) % 7
interrupted(lambda: drlim.all_pairs(PAIR, z, labels), Enough)
assert heard == 2 * [before[0].value]
"""
    )


def test_a_handler_that_raises_nothing_changes_nothing():
    run(
        """
heard = []
signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
z, labels = random(4000, 64), np.arange(4000) % 7
expected = drlim.all_pairs(PAIR, z, labels)
for threads in (1, 2, 0):
    drlim.set_threads(threads)
    count = len(heard)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    while len(heard) < count + 3:
        found = drlim.all_pairs(PAIR, z, labels)
        assert found.value == expected.value and np.array_equal(found.grad, expected.grad)
    signal.setitimer(signal.ITIMER_REAL, 0)
"""
    )


@pytest.mark.parametrize(
    "call",
    [
        "drlim.all_pairs(PAIR, z, labels, out=out)",
        "drlim.all_pairs(PAIR, z, labels, normalize=True, out=out)",
        "drlim.triplets(TRIPLET, z, labels, out=out)",
        "drlim.triplets(TRIPLET, z, np.arange(MANY) // 50, mining='semi-hard', out=out)",
        "drlim.indexed(PAIR, z, pairs, similar, out=out)",
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_outputs_keep_what_they_held(call, threads):
    run(
        f"""
drlim.set_threads({threads})
if {"indexed" in call}:
    MANY = 2**12
    z, pairs = floats(MANY, 2**16), np.arange(2**24).reshape(-1, 2) * 7919 % MANY
    similar = np.zeros(len(pairs), bool)
    pairs = drlim.PairList(MANY, pairs)
else:
    z, labels = random(MANY, 64), np.arange(MANY) % 7
out = np.full_like(z, 3.0)
interrupted(lambda: {call})
assert (out == 3.0).all()
"""
    )


def test_outputs_of_long_calls_are_whole():
    """The gradient is on its way in another array then."""
    run(
        """
z, labels = random(3000, 64), np.arange(3000) % 7
pairs = np.random.default_rng(7).integers(len(z), size=(2**20, 2))
similar = np.arange(len(pairs)) % 2 == 0
for call in (
    lambda out: drlim.all_pairs(PAIR, z, labels, out=out),
    lambda out: drlim.triplets(TRIPLET, z, labels, out=out),
    lambda out: drlim.indexed(PAIR, z, pairs, similar, out=out),
):
    expected, wide = call(None).grad, np.full((3000, 130), 3.0, np.float32)
    out = wide[:, 1:65]
    assert call(out).grad is out and np.array_equal(out, expected)
    assert (wide[:, 0] == 3).all() and (wide[:, 65:] == 3).all()
"""
    )


@pytest.mark.parametrize("own", [0, 2])
def test_in_a_forked_child(own):
    run(
        f"""
import warnings
warnings.simplefilter("ignore")
drlim.set_threads({own})
drlim.all_pairs(PAIR, random(1000, 64), np.arange(1000) % 7)
child = os.fork()
if child == 0:
    z, labels = random(MANY, 64), np.arange(MANY) % 7
    interrupted(lambda: drlim.all_pairs(PAIR, z, labels))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    )


def test_in_a_child_that_another_thread_forks():
    """That thread is the child's main thread."""
    run(
        """
import warnings
warnings.simplefilter("ignore")
z, labels = random(MANY, 64), np.arange(MANY) % 7
drlim.set_threads(1)
statuses = []

def work():
    drlim.all_pairs(PAIR, z[:1000], labels[:1000])
    child = os.fork()
    if child == 0:
        interrupted(lambda: drlim.all_pairs(PAIR, z, labels))
        os._exit(0)
    statuses.append(os.waitpid(child, 0)[1])

thread = threading.Thread(target=work)
thread.start()
thread.join()
assert statuses == [0]
"""
    )


def test_another_thread_goes_on():
    """Python handles signals on its main thread; a call of another one is not ended by them."""
    run(
        """
z, labels = random(20_000, 64), np.arange(20_000) % 7
expected, found = drlim.all_pairs(PAIR, z, labels), []
thread = threading.Thread(target=lambda: found.append(drlim.all_pairs(PAIR, z, labels)))

def wait():
    while thread.is_alive():
        time.sleep(0.01)
    time.sleep(2 * 60)

thread.start()
interrupted(wait)
thread.join()
assert found[0].value == expected.value and np.array_equal(found[0].grad, expected.grad)
"""
    )


def test_signals_wait_for_their_default_to_end_the_process():
    """Without a handler in Python the system ends the process, as ever."""
    script = PRELUDE.replace("{most}", "60") + (
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n" + CALLS["all_pairs"] + "\ninterrupted(call)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=10 * MOST)
    assert done.returncode == -signal.SIGINT
