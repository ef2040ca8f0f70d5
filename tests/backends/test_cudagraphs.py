"""CUDA graphs, by tape where there is no GPU: what they compute, and the three known mistakes."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from backends.cudagraphs import CudaGraphsBackend, CudaGraphsOptions, CudaGraphsSession
from harness.contracts import Availability
from harness.engine.plan import make_plan
from harness.errors import SessionError, UnavailableError
from harness.graphs import Graph
from harness.model import open_model
from harness.model.decoder import Decoder, State
from harness.model.session import DecoderSession
from harness.spec import read_suite
from harness.testing import checks_for, examine
from harness.testing.tape import TapeRuntime

BUCKETS = (1, 2, 4)
PROMPTS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0], [7, 7, 0, 0, 0]])
LENGTHS = torch.tensor([5, 3, 2])


class Taped(CudaGraphsBackend):
    """The backend as it is, but that graphs are recorded on a CPU."""

    session = CudaGraphsSession

    def availability(self, device: str) -> Availability:
        return Availability.yes() if device == "cpu" else super().availability(device)

    def load(self, model: Any, device: str, options: CudaGraphsOptions) -> CudaGraphsSession:
        decoder = Decoder.from_model(model, getattr(torch, options.dtype), device)
        return self.session(decoder, options.buckets, TapeRuntime)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder.from_model(open_model("tiny"))


def prepared(
    decoder: Decoder,
    batch: int = 3,
    context: int = 24,
    session: type[CudaGraphsSession] = CudaGraphsSession,
) -> CudaGraphsSession:
    made = session(decoder, BUCKETS, TapeRuntime)
    made.prepare(batch, context)
    return made


def eager(decoder: Decoder, batch: int = 3, context: int = 24) -> DecoderSession:
    made = DecoderSession(decoder, {})
    made.prepare(batch, context)
    return made


def same_as_eager(graphs: CudaGraphsSession, plain: DecoderSession, steps: int = 6) -> bool:
    """Whether both make the same of the same prompts, after another token was fed as well."""
    batch = plain.prepared().batch
    outputs = []
    for session in (graphs, plain):
        session.reset()
        tokens = [session.prefill(PROMPTS[:batch], LENGTHS[:batch]).tolist()]
        tokens += [session.decode().tolist() for _ in range(steps)]
        session.feed(torch.tensor([11, 12, 13][:batch]))
        tokens += [session.decode().tolist() for _ in range(steps)]
        outputs.append((tokens, session.logits()))
    (tokens, logits), (expected, reference) = outputs
    return tokens == expected and torch.allclose(logits, reference, atol=1e-4)


@pytest.mark.parametrize("check", checks_for(Taped()))
def test_cudagraphs_keep_the_contract(check: str) -> None:
    options = CudaGraphsOptions(device="cpu", threads=1)

    finding = examine(check, Taped(), options)

    assert finding.ok, finding.detail


# --- Where there is no GPU ----------------------------------------------------------------------


def test_on_a_cpu_it_is_unavailable_and_says_why() -> None:
    answer = CudaGraphsBackend().availability("cpu")

    assert not answer.ok
    assert answer.reason == "CUDA graphs exist on NVIDIA GPUs only"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_it_never_runs_anything_in_place_of_a_missing_gpu(device: str) -> None:
    options = CudaGraphsOptions.model_validate({"device": device})

    with pytest.raises(UnavailableError, match="cudagraphs: "):
        CudaGraphsBackend().load(open_model("tiny"), device, options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_suite_that_asks_for_it_says_why_it_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(
        '[[model]]\nname = "tiny"\n[[backend]]\nname = "eager"\n'
        '[[backend]]\nname = "cudagraphs"\n[[scenario]]\nname = "latency"\n'
    )

    cases = {case.backend: case for case in make_plan(*read_suite(path)).cases}

    assert cases["eager"].unavailable is None
    assert cases["cudagraphs"].device == "cuda"
    assert "CUDA" in str(cases["cudagraphs"].unavailable)


def test_it_asks_for_a_gpu_unless_told() -> None:
    assert CudaGraphsOptions().device == "cuda"


def test_importing_the_backend_imports_no_torch() -> None:
    code = "import sys, backends.cudagraphs; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- Buckets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("buckets", [[], [0], [-1, 2]])
def test_buckets_that_hold_no_row_are_refused(buckets: list[int]) -> None:
    with pytest.raises(ValidationError, match="buckets"):
        CudaGraphsOptions.model_validate({"buckets": buckets})


def test_a_batch_is_padded_to_its_bucket_and_smaller_buckets_are_captured_too(
    decoder: Decoder,
) -> None:
    session = prepared(decoder, batch=3)

    assert session.facts()["buckets"] == [1, 2, 4]
    assert session.prefill(PROMPTS, LENGTHS).shape == (3,)
    assert session.logits().shape[0] == 3


def test_the_largest_bucket_is_captured_first(decoder: Decoder) -> None:
    seen = []

    class Watched(TapeRuntime):
        def capture(self, work: Any) -> Graph:
            before = self.pool_bytes()
            graph = super().capture(work)
            seen.append(self.pool_bytes() - before)
            return graph

    CudaGraphsSession(decoder, BUCKETS, Watched).prepare(4, 16)

    assert len(seen) == 3
    assert seen == sorted(seen, reverse=True)


def test_a_batch_that_no_bucket_holds_is_an_error(decoder: Decoder) -> None:
    with pytest.raises(SessionError, match="no bucket holds 5 rows"):
        prepared(decoder, batch=5)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_every_bucket_gives_eagers_tokens(decoder: Decoder, rows: int) -> None:
    assert same_as_eager(prepared(decoder, batch=rows), eager(decoder, batch=rows))


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_fewer_rows_than_prepared_use_a_smaller_bucket(decoder: Decoder, rows: int) -> None:
    session = prepared(decoder, batch=4)

    assert same_as_eager(session, eager(decoder, batch=rows))


def test_more_rows_than_prepared_are_an_error_though_the_bucket_would_hold_them(
    decoder: Decoder,
) -> None:
    session = prepared(decoder, batch=3)

    with pytest.raises(SessionError, match=r"\[4, 5\] do not fit"):
        session.prefill(PROMPTS[[0, 1, 2, 0]], LENGTHS[[0, 1, 2, 0]])


def test_rows_that_fill_the_bucket_never_pass_the_caches_end(decoder: Decoder) -> None:
    session = prepared(decoder, batch=3, context=8)
    assert session._whole is not None

    for _ in range(5):
        session.prefill(PROMPTS, LENGTHS)
        for _ in range(3):
            session.decode()

    assert session._whole.positions.tolist() == [8, 6, 5, 3]


def test_what_warm_up_and_capture_wrote_is_gone(decoder: Decoder) -> None:
    session = prepared(decoder)
    assert session._whole is not None

    assert not session._whole.cache.any()
    assert not session._whole.positions.any()
    assert not session._whole.logits.any()


def test_preparing_again_releases_what_was_captured(decoder: Decoder) -> None:
    session = prepared(decoder)
    before = list(session._graphs.values())

    session.prepare(1, 16)

    assert session.facts()["buckets"] == [1]
    for graph in before:
        with pytest.raises(RuntimeError, match="after its release"):
            graph.replay()


def test_facts_say_what_capture_cost(decoder: Decoder) -> None:
    facts = prepared(decoder).facts()

    assert facts["capture_ms"] > 0
    assert facts["pool_bytes"] > 0
    assert facts["graph_runtime"] == "tape"


# --- The three known mistakes -------------------------------------------------------------------
# Each was met in another project. The same question is put to the backend as it is and with the
# mistake put back: it must be answered yes, then no.


class StaleInput(CudaGraphsSession):
    """Takes fed tokens by replacing a tensor: the graph reads the one it was captured with."""

    def feed(self, tokens: Tensor) -> None:
        assert self._whole is not None
        kept = self._whole.tokens
        self._whole.tokens = torch.cat([tokens, kept[len(tokens) :]])
        self._state = self._whole.rows(len(tokens))


class OutputInPool(CudaGraphsSession):
    """Hands out logits that lie in the graphs' pool: the next capture or replay takes them."""

    def _work(self, state: State) -> None:
        super()._work(state)
        self._output = state.logits * 1

    def logits(self) -> Tensor:
        return self._output[: self.prepared().batch].clone()


class FallsBack(CudaGraphsSession):
    """Runs operation by operation where capture fails, and says nothing."""

    def _capture_all(self, whole: State) -> None:
        with contextlib.suppress(SessionError):
            super()._capture_all(whole)

    def _use(self, rows: int) -> None:
        with contextlib.suppress(KeyError):
            super()._use(rows)

    def step(self, state: State) -> None:
        if self._graph:
            super().step(state)
        else:
            DecoderSession.step(self, state)


class NoCapture(TapeRuntime):
    """A device that refuses to capture."""

    def capture(self, work: Any) -> Graph:
        raise RuntimeError("operation not permitted when stream is capturing")


def test_fed_tokens_reach_the_graph(decoder: Decoder) -> None:
    assert same_as_eager(prepared(decoder), eager(decoder))


def test_a_stale_input_buffer_is_found(decoder: Decoder) -> None:
    graphs = prepared(decoder, session=StaleInput)

    try:
        same = same_as_eager(graphs, eager(decoder))
    except RuntimeError as error:
        assert "memory that was given back" in str(error)  # noqa: PT017
        same = False

    assert not same


def test_outputs_last_beyond_the_next_replay(decoder: Decoder) -> None:
    session = prepared(decoder)
    session.prefill(PROMPTS, LENGTHS)

    session.decode()

    assert session.logits().isfinite().all()
    assert same_as_eager(session, eager(decoder))


def test_a_pool_that_is_reused_while_its_memory_is_read_is_found(decoder: Decoder) -> None:
    graphs = prepared(decoder, session=OutputInPool)
    graphs.prefill(PROMPTS, LENGTHS)

    graphs.decode()

    assert graphs.logits().isnan().all()


def test_a_capture_that_fails_fails_the_session(decoder: Decoder) -> None:
    session = CudaGraphsSession(decoder, BUCKETS, NoCapture)

    with pytest.raises(SessionError, match=r"4 rows could not be captured.*doctor --capture"):
        session.prepare(3, 24)
    with pytest.raises(SessionError, match="not prepared"):
        session.prefill(PROMPTS, LENGTHS)


def test_every_decode_is_a_replay(decoder: Decoder) -> None:
    session = prepared(decoder)
    session.prefill(PROMPTS, LENGTHS)
    for _ in range(7):
        session.decode()

    assert (session.facts()["replays"], session.facts()["eager_steps"]) == (7, 0)


def test_a_silent_fallback_is_found(decoder: Decoder) -> None:
    session = FallsBack(decoder, BUCKETS, NoCapture)
    session.prepare(3, 24)
    session.prefill(PROMPTS, LENGTHS)
    for _ in range(7):
        session.decode()

    assert (session.facts()["replays"], session.facts()["eager_steps"]) == (0, 7)
