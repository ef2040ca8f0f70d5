"""CUDA graphs by hand: the decode step captured once for each bucket of rows, then replayed.

A step of a small model is hundreds of kernels that each run for microseconds, so a GPU waits for
the host that launches them; a replay launches all with one call. What `torch.compile` does behind
`mode="reduce-overhead"` is spelled out here, and compared with it. The rules, each from a way in
which others got it wrong:

- the state is allocated before warm-up, and only ever written in place: a graph knows addresses;
- warm-up and capture use one side stream, so that cuBLAS has its workspace before capture;
- buckets are captured largest first into one pool, so that smaller ones fit where it was freed;
- what lies in the pool dies with the next replay: outputs are copied into the state by the step;
- rows that only fill the bucket start at 0 with every prompt, or they would pass the cache's end;
- a capture that fails fails the case. There is no eager way to decode here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator

from harness.contracts import Availability, Backend, BackendOptions
from harness.devices import torch_runs_on
from harness.errors import SessionError, UnavailableError
from harness.graphs import Graph, GraphRuntime
from harness.model.session import DecoderSession

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from harness.model import Model
    from harness.model.decoder import Decoder, State

__all__ = [
    "CudaGraphsBackend",
    "CudaGraphsOptions",
    "CudaGraphsSession",
    "CudaRuntime",
]

_WARM_UPS = 3
"""As PyTorch does: the first call loads kernels, the second may still pick algorithms."""


class CudaGraphsOptions(BackendOptions):
    """What cudagraphs takes beside dtype and threads."""

    device: Literal["cpu", "cuda"] = "cuda"
    """Graphs exist on a GPU only; `cpu` is answered with the reason."""
    buckets: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    """Numbers of rows to capture, up to the one that holds the prepared batch; a batch between two
    is padded to the larger."""

    @field_validator("buckets")
    @classmethod
    def _in_order(cls, buckets: tuple[int, ...]) -> tuple[int, ...]:
        if not buckets or min(buckets) < 1:
            raise ValueError("numbers of rows, each at least 1")
        return tuple(sorted(set(buckets)))


class CudaGraphsBackend(Backend):
    """Captures the reference step by hand and replays it."""

    summary = "the reference step as CUDA graphs, captured by hand"
    Options = CudaGraphsOptions

    def availability(self, device: str) -> Availability:
        """A GPU must be there, and a PyTorch that can use it."""
        if device != "cuda":
            return Availability.no("CUDA graphs exist on NVIDIA GPUs only", "device = cuda")
        return torch_runs_on(device)

    def load(self, model: Model, device: str, options: CudaGraphsOptions) -> CudaGraphsSession:
        """Bring the weights to the GPU; `prepare` captures.

        Raises:
            UnavailableError: where there is no GPU. Nothing else is run in its place.
        """
        can = self.availability(device)
        if not can.ok:
            raise UnavailableError(f"cudagraphs: {can.reason}", remedy=can.remedy)
        return CudaGraphsSession(_decoder(model, device, options), options.buckets, CudaRuntime)

    def load_uncaptured(
        self, model: Model, device: str, options: CudaGraphsOptions
    ) -> DecoderSession:
        """Load what would be captured, on any device: the reference step, weights plain."""
        return DecoderSession(_decoder(model, device, options), {})


def _decoder(model: Model, device: str, options: CudaGraphsOptions) -> Decoder:
    import torch

    from harness.model.decoder import Decoder

    torch.set_num_threads(options.threads)
    return Decoder.from_model(model, getattr(torch, options.dtype), device)


class CudaGraphsSession(DecoderSession):
    """A decoder whose step is captured in `prepare`; prompts are read operation by operation.

    As a server would, it also takes fewer rows than prepared: the smallest bucket that holds them
    is replayed.

    Args:
        decoder: The weights.
        buckets: Numbers of rows to capture, in order.
        runtime: Makes the device's way to capture, once for each `prepare`.
    """

    def __init__(
        self,
        decoder: Decoder,
        buckets: tuple[int, ...],
        runtime: Callable[[torch.device], GraphRuntime],
    ) -> None:
        super().__init__(decoder, {})
        self._all_buckets = buckets
        self._new_runtime = runtime
        self._graphs: dict[int, Graph] = {}
        self._graph: Graph | None = None
        self._whole: State | None = None
        self._batch = 0
        self._steps = self._replays = 0
        self._captured: dict[str, Any] = {}

    def prepare(self, batch: int, context: int) -> None:
        """Allocate for the bucket that holds `batch` rows; capture it and all smaller ones.

        Raises:
            SessionError: where a capture fails, or no bucket holds the batch.
        """
        self._release()
        if batch > self._all_buckets[-1]:
            raise SessionError(
                f"no bucket holds {batch} rows",
                expected=f"buckets that reach them, not {list(self._all_buckets)}",
            )
        super().prepare(self._bucket(batch), context)
        self._whole = self.prepared()
        try:
            self._capture_all(self._whole)
        except Exception:
            self._release()  # what is half captured must not be replayed
            raise
        self._batch = batch
        self._use(batch)

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Process prompts [B, T], B up to the prepared batch; return the first tokens, int64 [B].

        Raises:
            SessionError: where the prompts do not fit what was prepared.
        """
        rows = tokens.shape[0]
        if rows != self.prepared().batch and 0 < rows <= self._batch:
            self._use(rows)
        return super().prefill(tokens, lengths)

    def read_prompts(self, state: State, tokens: Tensor, lengths: Tensor) -> None:
        """Read the prompts operation by operation; start the rows that fill the bucket at 0."""
        super().read_prompts(state, tokens, lengths)
        assert self._whole is not None
        self._whole.tokens[state.batch :].zero_()
        self._whole.positions[state.batch :].zero_()

    def step(self, state: State) -> None:
        """Replay the graph of the smallest bucket that holds the rows."""
        del state
        assert self._graph is not None
        self._graph.replay()
        self._replays += 1

    def decode(self) -> Tensor:
        """Feed each row its last token; return the next, int64 [B].

        Raises:
            SessionError: before a prefill, and where a row would pass the prepared context.
        """
        tokens = super().decode()
        self._steps += 1
        return tokens

    def close(self) -> None:
        """Drop graphs, pool, weights and state."""
        self._release()
        super().close()

    def facts(self) -> Mapping[str, Any]:
        """Say what was captured, what it cost, and that all steps were replays."""
        counted = {"replays": self._replays, "eager_steps": self._steps - self._replays}
        return {**super().facts(), **self._captured, **counted}

    def _bucket(self, rows: int) -> int:
        return next(bucket for bucket in self._all_buckets if bucket >= rows)

    def _capture_all(self, whole: State) -> None:
        runtime = self._new_runtime(self.loaded().device)
        whole.span = whole.context  # a graph cannot grow: it looks at all positions, most masked
        started_ns = time.perf_counter_ns()
        wanted = [bucket for bucket in self._all_buckets if bucket <= whole.batch]
        for bucket in reversed(wanted):
            try:
                self._graphs[bucket] = self._capture(runtime, whole.rows(bucket))
            except RuntimeError as error:
                raise SessionError(
                    f"the step of {bucket} rows could not be captured: {error}",
                    where="cudagraphs",
                    remedy="harness doctor --capture cudagraphs names what stands in the way",
                ) from error
        self._captured = {
            "graph_runtime": runtime.name,
            "buckets": wanted,
            "capture_ms": round((time.perf_counter_ns() - started_ns) / 1e6, 3),
            "pool_bytes": runtime.pool_bytes(),
        }

    def _work(self, state: State) -> None:
        """Do what is captured: the step that all backends share."""
        super().step(state)

    def _capture(self, runtime: GraphRuntime, state: State) -> Graph:
        import torch

        work = partial(self._work, state)
        with torch.inference_mode():
            for _ in range(_WARM_UPS):
                state.positions.zero_()  # each warm-up moved them, and the context may be short
                runtime.warm_up(work)
            state.positions.zero_()
            return runtime.capture(work)

    def _use(self, rows: int) -> None:
        """Work on so many rows from now on; what captures and other rows have left is zeroed."""
        assert self._whole is not None
        self._whole.span = self._whole.context
        self._whole.reset()
        self._state = self._whole.rows(rows)
        self._graph = self._graphs[self._bucket(rows)]

    def _release(self) -> None:
        for graph in self._graphs.values():
            graph.release()
        self._graphs.clear()
        self._whole = self._state = self._graph = None
        self._captured = {}


class CudaRuntime(GraphRuntime):
    """CUDA's own graphs: one side stream, one private pool of PyTorch's allocator."""

    name: ClassVar[str] = "cuda"

    def __init__(self, device: torch.device) -> None:
        import torch

        self._cuda: Any = torch.cuda  # parts of it have no types
        self._stream = self._cuda.Stream(device)
        self._pool = self._cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], None]) -> None:
        """Run on the side stream; wait for the end, so that errors show here."""
        self._stream.wait_stream(self._cuda.current_stream())
        with self._cuda.stream(self._stream):
            work()
        self._cuda.current_stream().wait_stream(self._stream)
        self._cuda.synchronize()

    def capture(self, work: Callable[[], None]) -> Graph:
        """Capture on the side stream. Other threads (a sampler's) may use CUDA meanwhile."""
        graph = self._cuda.CUDAGraph()
        with self._cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            work()
        return _CudaGraph(graph)

    def pool_bytes(self) -> int:
        """Sum the segments of the pool, as the allocator lists them."""
        segments = self._cuda.memory_snapshot(self._pool)
        return sum(int(segment["total_size"]) for segment in segments)


class _CudaGraph(Graph):
    def __init__(self, graph: torch.cuda.CUDAGraph) -> None:
        self._graph: torch.cuda.CUDAGraph | None = graph

    def replay(self) -> None:
        assert self._graph is not None, "replayed after its release"
        self._graph.replay()

    def release(self) -> None:
        if self._graph is not None:
            self._graph.reset()
            self._graph = None
