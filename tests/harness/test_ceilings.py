from collections.abc import Iterator

import pytest

from harness import ceilings
from harness.ceilings import Ceiling, gemm_rate, measure_ceilings, read_bandwidth
from harness.environment.facts import AbsentError
from harness.errors import UnavailableError
from harness.memory import HostMeter

# Nothing with memory and one thread is slower, nothing made yet is faster.
BYTES_PER_S = (1e8, 1e14)
FLOP_PER_S = (1e7, 1e16)


@pytest.fixture(scope="module")
def read() -> Ceiling:
    return read_bandwidth(threads=1, device="cpu", seconds=0.1)


def test_read_bandwidth_is_bytes_per_second(read):
    assert BYTES_PER_S[0] < read.value < BYTES_PER_S[1]


def test_what_was_read_is_past_every_cache(read):
    size = int(read.extent.removesuffix(" MiB")) * 2**20
    try:
        cache = ceilings.last_level_cache_bytes()
    except AbsentError:
        cache = 0
    assert size >= max(2 * cache, 2**20)


def test_a_ceiling_is_the_best_repetition_and_says_of_what(read):
    assert read.repetitions >= 3
    assert 0 <= read.spread < 1
    assert read.kernel
    reading = read.reading()
    assert (reading.value, reading.n) == (read.value, read.repetitions)
    assert read.kernel in (reading.no_interval or "")
    assert read.extent in (reading.no_interval or "")


def test_a_product_rate_is_flop_per_second_and_above_plain_mm():
    import time

    import torch

    found = gemm_rate("float32", threads=1, device="cpu", seconds=0.1)
    assert FLOP_PER_S[0] < found.value < FLOP_PER_S[1]
    # then plain torch.mm at the same shape, once, is no faster: a ceiling is above what it bounds
    a = torch.ones(1024, 1024)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    start = time.perf_counter()
    torch.mm(a, a)
    seconds = time.perf_counter() - start
    torch.set_num_threads(threads)
    # (1.5: the plain call may have had a faster clock or a calmer machine)
    assert 2 * 1024**3 / seconds < 1.5 * found.value


@pytest.fixture
def threads() -> Iterator[int]:
    """Torch computes with three threads, which no test asks for, until the test ends."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_the_thread_count_is_used_and_then_as_before(threads):
    import torch

    with ceilings._threads(1):
        assert torch.get_num_threads() == 1
    read_bandwidth(threads=1, device="cpu", seconds=0.01)
    assert torch.get_num_threads() == threads


def test_the_thread_count_is_as_before_after_an_error(threads):
    import torch

    with pytest.raises(UnavailableError):
        gemm_rate("bool", threads=1, device="cpu")
    assert torch.get_num_threads() == threads


def test_a_precision_that_torch_cannot_multiply_is_absent_with_the_reason():
    found = measure_ceilings("bool", threads=1, device="cpu")
    assert found["gemm_flop_per_s"].value is None
    assert "bool" in (found["gemm_flop_per_s"].reason or "")
    assert found["read_bytes_per_s"].value is not None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_precision_of_a_suite_has_both_ceilings_or_a_reason(dtype):
    found = measure_ceilings(dtype, threads=1, device="cpu")
    assert set(found) == {"read_bytes_per_s", "gemm_flop_per_s"}
    for reading in found.values():
        assert reading.reason if reading.value is None else reading.value > 0


def test_with_little_memory_the_buffer_is_small_but_past_the_caches(monkeypatch):
    # given 8 times 160 MiB available and 64 MiB of cache
    monkeypatch.setattr(HostMeter, "available_bytes", lambda _: 8 * 160 * 2**20)
    monkeypatch.setattr(ceilings, "last_level_cache_bytes", lambda: 64 * 2**20)
    assert read_bandwidth(threads=1, device="cpu", seconds=0.01).extent == "160 MiB"


def test_with_too_little_memory_to_pass_the_caches_there_is_no_figure(monkeypatch):
    monkeypatch.setattr(HostMeter, "available_bytes", lambda _: 8 * 100 * 2**20)
    monkeypatch.setattr(ceilings, "last_level_cache_bytes", lambda: 64 * 2**20)
    reading = measure_ceilings("float32", threads=1, device="cpu")["read_bytes_per_s"]
    assert reading.reason == "100 MiB may be taken, too little to read past 64 MiB of cache"


def test_the_buffers_are_given_back():
    host = HostMeter()
    measure_ceilings("float32", threads=1, device="cpu")
    before = host.current_bytes()
    measure_ceilings("float32", threads=1, device="cpu")
    assert host.current_bytes() - before < 32 * 2**20
