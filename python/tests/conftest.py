"""What tests of several files take."""

import sys
from pathlib import Path

import numpy as np
import pytest

import drlim

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(params=drlim.tiers())
def tier(request):
    """Each tier of this machine, for the whole process while the test runs."""
    before = drlim.tier()
    drlim.set_tier(request.param)
    yield request.param
    drlim.set_tier(before)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def one_thread():
    """PyTorch on one thread: for small calls, its threads take longer to meet than the calls do."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
