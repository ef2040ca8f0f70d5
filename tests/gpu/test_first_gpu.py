"""What to look at on the first GPU, in this order; the numbers are those of the checklist.

    pytest tests/gpu -n 0 -s

`-s` shows the figures that docs/verified.md wants. Point 7, what a sampler costs, is with the
samplers' own tests.
"""

import itertools
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from backends.cudagraphs import CudaGraphsBackend, CudaGraphsOptions, CudaGraphsSession
from backends.eager import EagerBackend, EagerOptions
from harness.contracts import Backend, StepSession
from harness.devices import torch_runs_on
from harness.model import open_model
from harness.model.session import DecoderSession
from harness.plugins import find, names

pytestmark = pytest.mark.gpu
if not (can := torch_runs_on("cuda")).ok:
    pytest.skip(f"needs an NVIDIA GPU: {can.reason}", allow_module_level=True)

BUCKETS = (1, 2, 4, 8)


@pytest.fixture(scope="module")
def nvml() -> Iterator[Any]:
    import pynvml

    pynvml.nvmlInit()
    yield pynvml
    pynvml.nvmlShutdown()


@pytest.fixture(scope="module")
def handle(nvml: Any) -> Any:
    """The GPU that torch calls 0, by its UUID: numbers may differ."""
    uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    return nvml.nvmlDeviceGetHandleByUUID(uuid)


@pytest.fixture
def graphs() -> Iterator[CudaGraphsSession]:
    options = CudaGraphsOptions(buckets=BUCKETS)
    session = CudaGraphsBackend().load(open_model("tiny"), "cuda", options)
    yield session
    session.close()


@pytest.fixture
def eager() -> Iterator[DecoderSession]:
    session = EagerBackend().load(open_model("tiny"), "cuda", EagerOptions(device="cuda"))
    yield session
    session.close()


def start(session: StepSession, rows: int) -> list[int]:
    tokens = torch.arange(rows * 6).view(rows, 6) * 7 % 500
    lengths = torch.tensor([6 - row % 3 for row in range(rows)])
    session.reset()
    return session.prefill(tokens, lengths).tolist()


# --- 1 to 3: what NVML says -----------------------------------------------------------------------


def smi(query: str, uuid: str) -> str:
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits", "-i", uuid]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_01_nvml_reads_what_nvidia_smi_shows(nvml: Any, handle: Any) -> None:
    uuid = nvml.nvmlDeviceGetUUID(handle)

    assert smi("name", uuid) == nvml.nvmlDeviceGetName(handle)
    assert smi("driver_version", uuid) == nvml.nvmlSystemGetDriverVersion()
    total_mib = nvml.nvmlDeviceGetMemoryInfo(handle).total / 2**20
    assert float(smi("memory.total", uuid)) == pytest.approx(total_mib, rel=0.02)
    celsius = nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
    assert float(smi("temperature.gpu", uuid)) == pytest.approx(celsius, abs=5)
    clock = nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)
    assert float(smi("clocks.max.sm", uuid)) == clock


@pytest.mark.parametrize("sensor", ["energy", "power", "utilization"])
def test_02_a_sensor_is_renewed_within_a_second(nvml: Any, handle: Any, sensor: str) -> None:
    read = {
        "energy": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle),
        "power": lambda: nvml.nvmlDeviceGetPowerUsage(handle),
        "utilization": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
    }[sensor]
    try:
        last = read()
    except nvml.NVMLError_NotSupported:
        pytest.skip(f"this GPU has no {sensor} sensor")
    work = torch.randn(2048, 2048, device="cuda")
    changes = []
    until = time.monotonic() + 4
    while (now := time.monotonic()) < until:
        if int(now * 2) % 2:  # busy and idle by turns, so that each sensor has to move
            work @ work
            torch.cuda.synchronize()
        if (value := read()) != last:
            changes.append(now)
            last = value
    gaps = [after - before for before, after in itertools.pairwise(changes)]
    assert gaps, f"{sensor} did not change in 4 s of changing load"
    print(f"{sensor}: renewed every {statistics.median(gaps) * 1e3:.1f} ms (median)")
    assert statistics.median(gaps) < 1


@pytest.mark.parametrize("spelling", ["index", "uuid"])
def test_03_a_torch_device_is_found_by_uuid_whatever_is_visible(nvml: Any, spelling: str) -> None:
    last = nvml.nvmlDeviceGetCount() - 1
    uuid = nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(last))
    code = "import torch; print(f'GPU-{torch.cuda.get_device_properties(0).uuid}')"
    visible = {"index": str(last), "uuid": uuid}[spelling]
    # CUDA numbers by speed unless told; NVML always by bus.
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": visible}

    seen = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, **order},
        capture_output=True,
        text=True,
        check=True,
    )

    assert seen.stdout.strip() == uuid


# --- 4 to 6: CUDA graphs --------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8])
def test_04_every_bucket_is_captured_and_gives_eagers_tokens(
    graphs: CudaGraphsSession, eager: DecoderSession, rows: int
) -> None:
    graphs.prepare(8, 64)
    eager.prepare(rows, 64)

    tokens = [start(session, rows) for session in (graphs, eager)]
    for _ in range(50):
        for session, made in zip((graphs, eager), tokens, strict=True):
            made += session.decode().tolist()

    facts = graphs.facts()
    print(f"capture {facts['capture_ms']} ms, pool {facts['pool_bytes']} bytes")
    assert facts["buckets"] == list(BUCKETS)
    assert (facts["replays"], facts["eager_steps"]) == (50, 0)
    assert facts["pool_bytes"] > 0
    assert torch.allclose(graphs.logits(), eager.logits(), atol=1e-3)
    assert tokens[0] == tokens[1]


@pytest.mark.parametrize("kind", ["graphs", "eager"])
def test_05_no_decode_waits_for_the_device(kind: str, request: pytest.FixtureRequest) -> None:
    session = request.getfixturevalue(kind)
    session.prepare(2, 64)
    start(session, 2)
    session.decode()  # the first may load kernels

    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(40):
            session.decode()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_06_ten_thousand_replays_leave_memory_as_it_was(graphs: CudaGraphsSession) -> None:
    graphs.prepare(2, 128)
    start(graphs, 2)
    graphs.decode()
    before = torch.cuda.memory_reserved(), torch.cuda.memory_allocated()

    for _ in range(100):
        start(graphs, 2)
        for _ in range(100):
            graphs.decode()

    graphs.synchronize()
    assert (torch.cuda.memory_reserved(), torch.cuda.memory_allocated()) == before
    assert graphs.facts()["replays"] == 10_001


def test_06_closing_gives_the_pool_back(graphs: CudaGraphsSession) -> None:
    before = torch.cuda.memory_allocated()
    graphs.prepare(8, 64)

    graphs.close()

    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() <= before


# --- 8 and 9: clocks, and the compiler's own graphs -----------------------------------------------


def test_08_events_and_the_wall_clock_agree(graphs: CudaGraphsSession) -> None:
    graphs.prepare(1, 512)
    start(graphs, 1)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(50):
        graphs.decode()

    torch.cuda.synchronize()
    started = time.perf_counter()
    begin.record()
    for _ in range(400):
        graphs.decode()
    end.record()
    torch.cuda.synchronize()
    wall_ms = (time.perf_counter() - started) * 1e3

    event_ms = begin.elapsed_time(end)
    print(f"400 steps: wall clock {wall_ms:.2f} ms, events {event_ms:.2f} ms")
    assert event_ms <= wall_ms
    assert event_ms == pytest.approx(wall_ms, rel=0.1)


def test_09_the_compilers_own_graphs_skip_nothing() -> None:
    if "compile" not in names(Backend):
        pytest.skip("there is no backend compile")
    from torch._dynamo.utils import counters

    backend = find(Backend, "compile")
    options = backend.Options.model_validate({"device": "cuda", "mode": "reduce-overhead"})
    session: Any = backend.load(open_model("tiny"), "cuda", options)
    counters.clear()
    session.prepare(2, 64)
    start(session, 2)
    for _ in range(10):
        session.decode()
    session.close()

    assert counters["inductor"]["cudagraph_skips"] == 0


# --- 10: what was seen is written down ------------------------------------------------------------


def test_10_no_row_of_verified_md_says_not_seen() -> None:
    page = (Path(__file__).parents[2] / "docs" / "verified.md").read_text()

    unseen = re.findall(r"^\| ([^|]+?) \|.*not seen.*\|$", page, flags=re.MULTILINE)

    device = torch.cuda.get_device_name(0)
    assert not unseen, f"write down what {device} showed: {', '.join(unseen)}"
