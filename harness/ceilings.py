"""What the hardware can do, measured with the same threads and precision as a case: read bandwidth
and matrix-multiply rate. MBU and MFU are shares of these.

A ceiling is the best of several kernels over many repetitions, since whatever disturbs a repetition
can only slow it down. It must not know which model or backend is held against it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from harness.environment.cpu import last_level_cache_bytes
from harness.environment.facts import AbsentError
from harness.errors import UnavailableError
from harness.memory import meter
from harness.reading import Reading

__all__ = ["Ceiling", "gemm_rate", "measure_ceilings", "read_bandwidth"]

_MIB = 2**20
_SMALLEST_BYTES = {"cpu": 256 * _MIB, "cuda": 1024 * _MIB}
_UNKNOWN_CACHE_BYTES = 64 * _MIB
_LEAST = 3
"""Repetitions of each kernel, however long they take."""

_Kernel = Callable[[], object]

# (m, k, n): a first one small enough to try any kernel on, then growing until none would fit the
# time; the larger a machine, the larger the shape at which it is fastest.
_SHAPES = (
    (256, 512, 512),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (4096, 4096, 4096),
    (8192, 8192, 8192),
)


@dataclass(frozen=True)
class Ceiling:
    """A measured limit of the hardware."""

    value: float
    """Bytes/s or FLOP/s: the best repetition of the best kernel."""
    spread: float
    """How far that kernel's median repetition lies below its best, as a share."""
    repetitions: int
    """Of that kernel."""
    kernel: str
    """Which kernel was best."""
    extent: str
    """What it worked on: bytes read or the shape multiplied."""

    def reading(self) -> Reading:
        """Return it as a reading that says where it comes from."""
        return Reading(
            value=self.value,
            n=self.repetitions,
            no_interval=f"the best of {self.repetitions} repetitions of {self.kernel} over "
            f"{self.extent}; their median is {self.spread:.0%} lower",
        )


def measure_ceilings(dtype: str, threads: int, device: str) -> dict[str, Reading]:
    """Return `read_bytes_per_s` and `gemm_flop_per_s` in about 0.8 s, absent where unsupported."""
    table: dict[str, Callable[[], Ceiling]] = {
        "read_bytes_per_s": lambda: read_bandwidth(threads, device),
        "gemm_flop_per_s": lambda: gemm_rate(dtype, threads, device),
    }
    readings = {}
    for name, measure in table.items():
        try:
            readings[name] = measure().reading()
        except UnavailableError as error:
            readings[name] = Reading.absent(error.what)
    return readings


def read_bandwidth(threads: int, device: str, seconds: float = 0.25) -> Ceiling:
    """Return how many bytes/s can be read from memory, all threads together.

    The buffer is several times the last-level cache and at most an eighth of the memory available.
    Reductions reach what one thread per core can load. A copy is no candidate: it also writes, and
    half of its traffic is not reading.

    Raises:
        UnavailableError: where there is not enough memory to go past the caches.
    """
    import torch

    size = _buffer_bytes(device)
    with _threads(threads), torch.inference_mode():
        # Written, not torch.zeros: the kernel would map one page of zeros, and caches serve that.
        buffer = torch.empty(size // 4, dtype=torch.float32, device=device).fill_(1.0)
        half = buffer.numel() // 2
        kernels: dict[str, _Kernel] = {
            "sum of float32": buffer.sum,
            "max of int32": buffer.view(torch.int32).amax,
            "max of int64": buffer.view(torch.int64).amax,
            "dot of float32": lambda: torch.dot(buffer[:half], buffer[half:]),
        }
        return _best(kernels, size, seconds, device, f"{size // _MIB} MiB")


def gemm_rate(dtype: str, threads: int, device: str, seconds: float = 0.25) -> Ceiling:
    """Return how many FLOP/s (a multiply and an add are two) matrix products reach in a precision.

    Raises:
        UnavailableError: where torch cannot multiply in this precision here.
    """
    import torch

    found: list[Ceiling] = []
    deadline = time.monotonic() + seconds
    with _threads(threads), torch.inference_mode():
        for m, k, n in _SHAPES:
            flop = 2 * m * k * n
            left = deadline - time.monotonic()
            rate = max((ceiling.value for ceiling in found), default=None)
            if rate and (
                flop / rate > left / 8 or not _fits(4 * (m * k + 2 * n * k + m * n), device)
            ):
                break
            try:
                kernels = _products(m, k, n, dtype, device)
            except RuntimeError as error:
                why = str(error).partition("\n")[0]
                raise UnavailableError(
                    f"torch cannot multiply {dtype} on {device}: {why}"
                ) from None
            extent = f"[{m}, {k}] x [{k}, {n}]"
            found.append(_best(kernels, flop, min(left / 2, seconds / 3), device, extent))
    return max(found, key=lambda ceiling: ceiling.value)


def _products(m: int, k: int, n: int, dtype: str, device: str) -> dict[str, _Kernel]:
    """Return the ways to multiply [m, k] by the transpose of [n, k], each tried once.

    Raises:
        RuntimeError: where torch has no plain product in this precision.
    """
    import torch

    kind = getattr(torch, dtype)
    # Weights lie as [out, in] in a model. The other order is no faster, and in float16 on a CPU
    # without native support it takes seconds.
    a = torch.full((m, k), 0.5, dtype=kind, device=device)
    weight = torch.full((n, k), 0.5, dtype=kind, device=device)
    kernels: dict[str, _Kernel] = {"torch.mm": lambda: torch.mm(a, weight.t())}
    kernels["torch.mm"]()
    if device == "cpu":
        # oneDNN with the weight in its own layout, which inductor uses too; it has no public name.
        ops = torch.ops.mkldnn
        try:
            packed = ops._reorder_linear_weight(weight, m)  # noqa: SLF001
            product = ops._linear_pointwise  # noqa: SLF001
            product(a, packed, None, "none", [], "")
        except (RuntimeError, AttributeError):
            return kernels  # not in this build, or not for this precision on this CPU
        kernels["oneDNN packed linear"] = lambda: product(a, packed, None, "none", [], "")
    return kernels


def _best(
    kernels: Mapping[str, _Kernel], work: int, seconds: float, device: str, extent: str
) -> Ceiling:
    """Run the kernels in turn for a time; return the best repetition of the best one."""
    rates: dict[str, list[float]] = {name: [] for name in kernels}
    deadline = time.monotonic() + seconds
    first = True
    while first or time.monotonic() < deadline or min(map(len, rates.values())) < _LEAST:
        for name, kernel in kernels.items():
            duration = _seconds(kernel, device)
            if not first:  # the first touches memory and wakes the threads
                rates[name].append(work / duration)
        first = False
    name = max(rates, key=lambda name: max(rates[name]))
    best = max(rates[name])
    return Ceiling(
        value=best,
        spread=1 - statistics.median(rates[name]) / best,
        repetitions=len(rates[name]),
        kernel=name,
        extent=extent,
    )


def _seconds(kernel: _Kernel, device: str) -> float:
    """Return how long one call takes; on a GPU several calls share a wait, which costs 10 µs."""
    calls = 1
    if device == "cuda":
        import torch

        calls = 8
        torch.cuda.synchronize()
        start_ns = time.perf_counter_ns()
        for _ in range(calls):
            kernel()
        torch.cuda.synchronize()
    else:
        start_ns = time.perf_counter_ns()
        kernel()
    return max(time.perf_counter_ns() - start_ns, 1) / 1e9 / calls


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """Compute with so many threads, then with as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _buffer_bytes(device: str) -> int:
    """Return a size far above the caches' and within the memory's reach.

    Raises:
        UnavailableError: where the two cannot both be.
    """
    cache = _cache_bytes(device)
    wanted = max(_SMALLEST_BYTES[device], 4 * cache)
    size = min(wanted, meter(device).available_bytes() // 8) // _MIB * _MIB
    if size < 2 * cache:
        raise UnavailableError(
            f"{size // _MIB} MiB may be taken, too little to read past {cache // _MIB} MiB of cache"
        )
    return size


def _fits(size: int, device: str) -> bool:
    return size <= meter(device).available_bytes() // 8


def _cache_bytes(device: str) -> int:
    if device == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(0).L2_cache_size)
    try:
        return last_level_cache_bytes()
    except AbsentError:
        return _UNKNOWN_CACHE_BYTES
