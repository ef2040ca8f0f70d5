"""What tests of backends share: a cache of their own, and the thread count put back."""

import os
from collections.abc import Iterator

import pytest
import torch

from harness.cache import CACHE_VARIABLE


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep exported graphs and converted weights between tests, and out of the working folder."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ[CACHE_VARIABLE]
    else:
        os.environ[CACHE_VARIABLE] = before


@pytest.fixture(autouse=True)
def threads_put_back() -> Iterator[None]:
    """Put back the process's thread count, which loading sets."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
