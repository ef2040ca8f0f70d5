"""CUDA graphs on the first GPU, in this order; the numbers are those of the checklist.

    pytest tests/gpu -n 0 -s

`-s` shows the figures that docs/verified.md wants. Points 1 to 3 and 7, NVML and what a sampler
costs, are in the files beside this one.
"""

import re
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

BUCKETS = (1, 2, 4, 8)


@pytest.fixture(autouse=True)
def torch_uses_it() -> None:
    """A GPU is here, or `conftest` would have skipped; a PyTorch without CUDA may be, too."""
    if not (can := torch_runs_on("cuda")).ok:
        pytest.skip(f"torch cannot use the GPU: {can.reason}")


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
