"""Memory, threads and processes: nothing is copied, others go on, a forked child does its work."""

import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest

import drlim

LOSS = drlim.Contrastive(1.0)


def test_arrays_are_not_copied(rng):
    wide = rng.normal(size=(50_000, 128)).astype(np.float32)
    a, b = wide[:, :64], wide[:, 64:]  # 12.8 MB each
    out = np.empty_like(a), np.empty_like(b)
    similar = rng.random(len(a)) < 0.5
    drlim.rows(LOSS, a, b, similar, out=out)
    tracemalloc.start()
    drlim.rows(LOSS, a, b, similar, out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_copy_would_be_seen(rng):
    a = rng.normal(size=(64, 50_000)).astype(np.float32).T  # whose rows are not contiguous
    tracemalloc.start()
    drlim.rows(LOSS, a, a, np.ones(len(a), bool), grads=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak > a.nbytes


def test_anchors_are_not_copied(rng):
    z = rng.normal(size=(3000, 512)).astype(np.float32)[:, 256:]  # 3 MB of a wider array
    labels = rng.integers(0, 100, len(z))
    drlim.all_anchors(drlim.Softmax(), z[:9], labels[:9])
    tracemalloc.start()
    drlim.all_anchors(drlim.Softmax(), z, labels, grad=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_others_run_during_a_call(rng):
    z = rng.normal(size=(8000, 64)).astype(np.float32)
    labels = rng.integers(0, 10, len(z))
    drlim.all_pairs(LOSS, z[:100], labels[:100])
    running, counted = threading.Event(), 0
    done = threading.Event()

    def call():
        running.set()
        for _ in range(3):
            drlim.all_pairs(LOSS, z, labels)
        done.set()

    before = sys.getswitchinterval()
    # No call that kept the interpreter would be interrupted.
    sys.setswitchinterval(1000)
    try:
        thread = threading.Thread(target=call)
        thread.start()
        running.wait()
        while not done.is_set():
            counted += 1
            time.sleep(0)
        thread.join()
    finally:
        sys.setswitchinterval(before)
    assert counted > 100


def test_threads_change_no_bit(rng, dtype):
    z = rng.normal(size=(700, 20)).astype(dtype)
    labels = rng.integers(0, 5, len(z))
    found = []
    try:
        for count in (1, 2, 3, 0):
            drlim.set_threads(count)
            assert drlim.threads() == count or count == 0
            found.append(drlim.all_pairs(LOSS, z, labels))
    finally:
        drlim.set_threads(0)
    for other in found[1:]:
        assert other.value == found[0].value and np.array_equal(other.grad, found[0].grad)


def test_calls_from_many_threads(rng):
    z = rng.normal(size=(300, 20)).astype(np.float32)
    labels = rng.integers(0, 5, len(z))
    expected = drlim.all_pairs(LOSS, z, labels)
    failures = []

    def work():
        for _ in range(20):
            found = drlim.all_pairs(LOSS, z, labels)
            if found.value != expected.value or not np.array_equal(found.grad, expected.grad):
                failures.append(found)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("own_threads", [0, 3])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_does_its_work(own_threads, rng):
    z = rng.normal(size=(700, 20)).astype(np.float32)
    labels = rng.integers(0, 5, len(z))
    drlim.set_threads(own_threads)
    try:
        expected = drlim.all_pairs(LOSS, z, labels)
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # a child that waits for threads it has not is ended
            found = drlim.all_pairs(LOSS, z, labels)
            same = found.value == expected.value and np.array_equal(found.grad, expected.grad)
            os._exit(0 if same and drlim.threads() == 1 else 1)
        _, status = os.waitpid(child, 0)
    finally:
        drlim.set_threads(0)
    assert status == 0


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
def test_memory_is_in_proportion_to_the_batch():
    """All pairs of 20 000 rows: 200 million, of which a matrix would take 1.6 GB."""
    # The peak of the process itself: what getrusage says starts at that of its parent.
    script = """
import numpy as np, drlim

def peak():
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1])

z = np.random.default_rng(7).normal(size=(20_000, 16)).astype(np.float32)
before = peak()
drlim.all_pairs(drlim.Contrastive(1.0), z, np.arange(len(z)) % 100)
between = peak()
np.ones(10_000_000)  # 80 MB, to see that it would be seen
print(between - before, peak() - between)
"""
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    grown, seen = (int(word) for word in output.split())  # KiB
    assert grown < 60_000 < seen


def test_tiers():
    assert drlim.tier() in drlim.tiers() and drlim.tiers()[0] == "portable"
    before = drlim.tier()
    for name in drlim.tiers():
        drlim.set_tier(name)
        assert drlim.tier() == name
    drlim.set_tier(before)
