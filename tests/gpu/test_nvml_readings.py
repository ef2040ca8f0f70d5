"""1. NVML readings against nvidia-smi, which reads the same driver in its own way."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from harness.contracts import Watched
from harness.telemetry.nvml import NvmlSampler

_FIELDS = {
    # quantity: nvidia-smi's field, its scale to our unit, how far apart two looks may be
    "memory_used_bytes": ("memory.used", 2**20, 64 * 2**20),
    "memory_reserved_bytes": ("memory.reserved", 2**20, 2**20),
    "memory_clock_mhz": ("clocks.mem", 1, 50),
    "temperature_c": ("temperature.gpu", 1, 3),
    "power_limit_w": ("enforced.power.limit", 1, 0.1),
}


@pytest.fixture(scope="module")
def sampler() -> Iterator[NvmlSampler]:
    found = NvmlSampler()
    found.open(Watched(worker_pid=os.getpid(), harness_pid=os.getpid()))
    yield found
    found.close()


@pytest.mark.parametrize("quantity", _FIELDS)
def test_a_reading_is_what_nvidia_smi_shows(sampler: NvmlSampler, quantity: str) -> None:
    if shutil.which("nvidia-smi") is None:
        pytest.skip("nvidia-smi is not installed")
    name, scale, apart = _FIELDS[quantity]
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu=uuid,{name}", "--format=csv,noheader,nounits"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    readings = {
        k: r for tier in ("fast", "slow", "boundary") for k, r in sampler.read(tier).items()
    }
    compared = 0
    for line in done.stdout.splitlines():
        uuid, shown = (part.strip() for part in line.split(","))
        reading = readings.get((uuid, quantity))
        if reading is None or reading.value is None:
            continue  # absent, with its reason
        assert reading.value == pytest.approx(float(shown) * scale, abs=apart)
        compared += 1
    if not compared:
        pytest.skip(f"no GPU here shows {quantity}")


def test_power_average_follows_power_instant_and_energy_grows_by_it(sampler: NvmlSampler) -> None:
    first, start_s = sampler.read("fast"), time.monotonic()
    seen = []
    while time.monotonic() - start_s < 3:
        seen.append(sampler.read("fast"))
        time.sleep(0.02)
    last, took_s = sampler.read("fast"), time.monotonic() - start_s
    for (uuid, name), reading in last.items():
        before = first[uuid, name].value
        if name != "energy_j" or reading.value is None or before is None:
            continue
        powers = [r[uuid, "power_instant_w"].value for r in seen if (uuid, "power_instant_w") in r]
        watts = [p for p in powers if p is not None]
        if watts:
            mean_w = sum(watts) / len(watts)
            assert (reading.value - before) / took_s == pytest.approx(mean_w, rel=0.15)
