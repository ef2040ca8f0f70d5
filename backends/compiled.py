"""torch.compile of the reference decoder: the same step and prefill as eager, as generated code.

`prepare` compiles all that will be timed and runs it once; afterwards a recompilation is an error,
not a slow token. Graph breaks are refused (`fullgraph`) or, where allowed, recorded with file and
line. What the compiler makes is kept below the folder that `harness.cache` names, so a run that
says it starts cold does. torch is imported inside functions, as in every plugin.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator

from harness.cache import cache_folder
from harness.contracts import Availability, Backend, BackendOptions
from harness.devices import torch_compiles_on
from harness.errors import SessionError, UnavailableError
from harness.model.session import DecoderSession

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import Model
    from harness.model.decoder import Decoder, State

__all__ = [
    "CompileBackend",
    "CompileOptions",
    "CompileSession",
    "prompt_buckets",
    "span_buckets",
]

_SMALLEST_PROMPT = 32
_SMALLEST_SPAN = 256
_MOST_GRAPHS = 256
"""Of one function in one process: what recompiles without end must fail."""
_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


class CompileOptions(BackendOptions):
    """What the compiler is told; those below `backend` are inductor's."""

    fullgraph: bool = True
    """Refuse graph breaks, with file and line; otherwise they are recorded as facts."""
    dynamic: Literal["none", "step", "all"] = "step"
    """Which sizes vary within one graph: none (a graph for each bucket of positions and prompt
    lengths), the positions that a step attends to, or prompt lengths too."""
    buckets: list[int] | None = None
    """Lengths that prompts are padded to, each with its graph; by default 32, 128, 512, … and the
    prepared context."""
    regional: Literal["none", "prefill", "all"] = "prefill"
    """What is compiled layer by layer, all layers sharing their graphs, instead of as a whole."""
    linear: Literal["auto", "plain", "native"] = "auto"
    """How matrices are multiplied: by what the compiler makes of it (plain), or by our own AVX-512
    product, which is built with g++ at its first use. By default ours where it can be had, unless
    another way is asked for (`freezing`, a backend that only traces, anything that autotunes)."""
    attention: Literal["auto", "sdpa", "native"] = "auto"
    """How a step looks at its cache on a CPU: by PyTorch's attention, or by our own, which reads no
    further than a row's position; by default ours where `linear` is."""
    backend: str = "inductor"
    """Which compiler takes the graphs; `eager` and `aot_eager` only trace."""
    mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = (
        "default"
    )
    """A set of inductor's options that PyTorch names."""
    max_autotune: bool = False
    """Try several kernels for each matrix product, inductor's C++ templates among them."""
    freezing: bool = False
    """Treat weights as constants, so that matrices are packed for oneDNN."""
    cpp_wrapper: bool = False
    """Call kernels from C++ instead of Python."""

    @property
    def has_own_products(self) -> bool:
        """Whether the compiler was told how to multiply matrices."""
        tuned = self.max_autotune or self.mode.startswith("max-autotune")
        return self.freezing or tuned or self.backend != "inductor"

    @field_validator("buckets")
    @classmethod
    def _in_order(cls, buckets: list[int] | None) -> list[int] | None:
        if buckets is not None and (not buckets or min(buckets) < 1):
            raise ValueError("lengths of at least 1")
        return sorted(set(buckets)) if buckets else None


class CompileBackend(Backend):
    """Runs what torch.compile makes of the decoder."""

    summary = "torch.compile of the reference step, by inductor"
    Options = CompileOptions
    trial: ClassVar = {"backend": "eager", "regional": "none", "dynamic": "all"}

    def availability(self, device: str) -> Availability:
        """As PyTorch; and on a CPU there must be a C++ compiler."""
        return torch_compiles_on(device)

    def load(self, model: Model, device: str, options: CompileOptions) -> CompileSession:
        """Bring the weights to the device; nothing is compiled yet.

        Raises:
            UnavailableError: where the device or the compiler is not to be had here.
        """
        import torch

        from harness.model.attention import choose_attention
        from harness.model.decoder import Decoder
        from harness.model.linear import choose_layout

        can = self.availability(device)
        if not can.ok:
            raise UnavailableError(f"compile: {can.reason}", remedy=can.remedy)
        torch.set_num_threads(options.threads)
        _require_known(options.backend)
        dtype = getattr(torch, options.dtype)
        on = torch.device(device)
        layout, because = choose_layout(
            options.linear,
            dtype,
            on,
            "compile",
            best="plain" if options.has_own_products else "native",
        )
        attention = choose_attention(options.attention, layout, dtype, on, "compile")
        decoder = Decoder.from_model(model, dtype, device, layout=layout, attention=attention)
        return CompileSession(decoder, options, because)


class CompileSession(DecoderSession):
    """A decoder whose step and prefill are compiled in `prepare`, for the shape given there."""

    spare_positions = 1

    def __init__(self, decoder: Decoder, options: CompileOptions, because: str) -> None:
        super().__init__(decoder, {"linear_because": because})
        self._options = options
        self._buckets: Sequence[int] = ()
        self._spans: Sequence[int] = ()
        self._step: Callable[..., None] | None = None
        self._read: Callable[..., None] | None = None
        self._slots: Sequence[Tensor] = ()
        self._warm = False

    def prepare(self, batch: int, context: int) -> None:
        """Allocate, compile every graph and run each once.

        Raises:
            SessionError: where there is a graph break and `fullgraph` forbids it.
        """
        import torch

        self._slots = ()
        super().prepare(batch, context)
        options, state = self._options, self.prepared()
        self._slots = state.slots()
        self._warm = False
        self._buckets = prompt_buckets(options, context)
        self._spans = span_buckets(options, context)
        before = _Counts.now()
        with _cache_in(cache_folder("inductor")), torch.inference_mode():
            self._compile()
            for length in self._buckets or {min(2, context), context}:
                tokens = torch.zeros(batch, length, dtype=torch.int64)
                self.prefill(tokens, torch.full((batch,), length))
            state.reset()
            for span in self._spans or (2, context // 2 + 1, context):
                if 2 <= span <= context:  # a first step has two positions to look at
                    state.span = span
                    self.step(state)
        state.reset()
        self._warm = True
        self._facts |= {
            **before.until_now(),
            "prompt_buckets": list(self._buckets),
            "span_buckets": list(self._spans),
        }

    def read_prompts(self, state: State, tokens: Tensor, lengths: Tensor) -> None:
        """Pad the prompts to a bucket and run its graph.

        Raises:
            SessionError: where the prompts are longer than the longest bucket.
        """
        import torch

        from harness.model.decoder import forget_behind

        batch, longest = tokens.shape
        length = max(longest, 2)  # a compiler takes a size of 1 for a constant
        if self._buckets:
            length = _bucket(self._buckets, longest, "a prompt", "tokens")
        # Tensors of our own: those of a caller may differ in kind, which would be compiled anew.
        padded = torch.zeros(batch, length, dtype=torch.int64)
        padded[:, :longest] = tokens
        if not self._buckets and not self._warm:
            self._let_vary(padded, 1)
        self._run(self._read, state, padded, lengths.clone(), state.cache.unbind())
        forget_behind(state, lengths, length)

    def step(self, state: State) -> None:
        """Run the graph of the step, for the positions in use."""
        span = state.span
        if self._spans:
            span = _bucket(self._spans, span, "a step", "positions")
        columns = state.columns[:span]
        if not self._spans and not self._warm:
            self._let_vary(columns, 0)
        self._run(self._step, state, columns, self._slots)

    def _let_vary(self, tensor: Tensor, axis: int) -> None:
        """Have one graph serve every length; what follows a graph break may still fix it."""
        from torch._dynamo import mark_dynamic, maybe_mark_dynamic

        if self._options.fullgraph:
            mark_dynamic(tensor, axis, min=2, max=self._context)
        else:
            maybe_mark_dynamic(tensor, axis)

    def fixed_step(self) -> None:
        """Return none: what the compiler made calls no operations that could be looked at."""

    def close(self) -> None:
        """Drop the compiled code too."""
        self._step = self._read = None
        self._slots = ()
        super().close()

    def _compile(self) -> None:
        """Wrap what will be compiled at its first calls."""
        from harness.model.decoder import read_prompts, step_within

        options, decoder = self._options, self.loaded()
        layers: Any = _LayerByLayer(
            decoder, partial(self._compiled, dynamic=options.dynamic == "all")
        )
        per_layer = {"none": (), "prefill": (read_prompts,), "all": (read_prompts, step_within)}

        def compiled(function: Callable[..., None]) -> Callable[..., None]:
            if function in per_layer[options.regional]:
                return partial(function, layers)
            return partial(self._compiled(function), decoder)

        self._step, self._read = compiled(step_within), compiled(read_prompts)

    def _compiled(self, function: Callable[..., Any], dynamic: bool = False) -> Callable[..., Any]:
        import torch

        options = self._options
        compile_: Any = torch.compile  # its declared overloads lag behind its arguments
        compiled: Callable[..., Any] = compile_(
            function,
            fullgraph=options.fullgraph,
            dynamic=dynamic,
            backend=options.backend,
            options=_inductor_options(options) if options.backend == "inductor" else None,
            recompile_limit=_MOST_GRAPHS,
            # Frozen weights are part of the code; otherwise sessions of one process share it.
            isolate_recompiles=options.freezing,
        )
        return compiled

    def _run(self, function: Callable[..., None] | None, *arguments: Any) -> None:
        """Call compiled code; once warm, what would compile again is an error."""
        import torch

        assert function is not None
        if not self._warm:
            with _breaks_located():
                function(*arguments)
            return
        with torch.compiler.set_stance("fail_on_recompile"):
            try:
                function(*arguments)
            except RuntimeError as error:
                if "fail_on_recompile" not in str(error):
                    raise
                raise SessionError(
                    f"compiled again after warm-up: {' '.join(str(error).split())}",
                    expected="every graph made in prepare",
                ) from error


class _LayerByLayer:
    """A decoder whose layers run compiled halves; all layers share the graphs of the first."""

    def __init__(self, decoder: Decoder, compiled: Callable[..., Callable[..., Any]]) -> None:
        from harness.model.decoder import Layer

        self.embedding, self.device = decoder.embedding, decoder.device
        self.attention, self.logits = decoder.attention, decoder.logits
        project, absorb = compiled(Layer.project), compiled(Layer.absorb)
        self.layers = [
            SimpleNamespace(project=partial(project, layer), absorb=partial(absorb, layer))
            for layer in decoder.layers
        ]


def prompt_buckets(options: CompileOptions, context: int) -> Sequence[int]:
    """Return the lengths that prompts are padded to, shortest first; none where any length will do.

    The default grows fourfold: a graph takes seconds to make, padding at most three quarters of the
    work. Who knows the lengths to come names them.
    """
    if options.dynamic == "all":
        return ()
    if options.buckets is not None:
        return [length for length in options.buckets if length <= context] or [context]
    return _powers(_SMALLEST_PROMPT, 4, context)


def span_buckets(options: CompileOptions, context: int) -> Sequence[int]:
    """Return how many positions a step may attend to; none where any number will do."""
    return _powers(_SMALLEST_SPAN, 2, context) if options.dynamic == "none" else ()


def _powers(first: int, factor: int, last: int) -> Sequence[int]:
    """Return first, first * factor, … below last, and last."""
    sizes = []
    while first < last:
        sizes.append(first)
        first *= factor
    return [*sizes, last]


def _bucket(buckets: Sequence[int], size: int, what: str, unit: str) -> int:
    for bucket in buckets:
        if size <= bucket:
            return bucket
    raise SessionError(
        f"{what} of {size} {unit} is longer than the longest bucket, {buckets[-1]}",
        expected="buckets that reach what is asked",
    )


@dataclass(frozen=True)
class _Counts:
    """What the compiler has done so far in this process."""

    graphs: int
    breaks: int
    made: int
    """Kernels of graphs that inductor made, and …"""
    cached: int
    """… found in its cache."""
    started_s: float

    @classmethod
    def now(cls) -> _Counts:
        from torch._dynamo.utils import counters, graph_break_reasons

        return cls(
            graphs=counters["stats"]["unique_graphs"],
            breaks=len(graph_break_reasons),
            made=counters["inductor"]["fxgraph_cache_miss"]
            + counters["inductor"]["fxgraph_cache_bypass"],
            cached=counters["aot_autograd"]["autograd_cache_hit"],
            started_s=time.perf_counter(),
        )

    def until_now(self) -> dict[str, Any]:
        """Return as facts what was done since."""
        from torch._dynamo.utils import graph_break_reasons

        now = self.now()
        return {
            "graphs": now.graphs - self.graphs,
            "graph_breaks": [_located(r) for r in graph_break_reasons[self.breaks :]],
            "graphs_from_cache": now.cached - self.cached,
            "compile_s": round(now.started_s - self.started_s, 3),
        }


def _located(broken: Any) -> str:
    """Say where a graph broke and why: file, line, reason."""
    frame = broken.user_stack[-1] if broken.user_stack else None
    place = f"{frame.filename}:{frame.lineno}" if frame else "place unknown"
    return f"{place}: {str(broken.reason).strip().splitlines()[0]}"


@contextlib.contextmanager
def _breaks_located() -> Iterator[None]:
    """Turn a graph break that `fullgraph` forbids into one line with its place."""
    from torch._dynamo.exc import Unsupported

    try:
        yield
    except Unsupported as error:
        frame = error.real_stack[-1] if error.real_stack else None
        raise SessionError(
            f"the graph breaks: {str(error).strip().splitlines()[0]}",
            where=f"{frame.filename}:{frame.lineno}" if frame else "compile",
            remedy="mend that line, or allow breaks with fullgraph = false",
        ) from error


@contextlib.contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Have inductor keep what it makes in this folder."""
    before = os.environ.get(_CACHE_VARIABLE)
    os.environ[_CACHE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CACHE_VARIABLE]
        else:
            os.environ[_CACHE_VARIABLE] = before


def _inductor_options(options: CompileOptions) -> dict[str, Any]:
    """Return inductor's options: those of the mode, then what was asked for beside it."""
    from torch._inductor import list_mode_options

    chosen = dict(list_mode_options(options.mode))
    asked = {
        "max_autotune": options.max_autotune,
        "freezing": options.freezing,
        "cpp_wrapper": options.cpp_wrapper,
    }
    return chosen | {name: True for name, on in asked.items() if on}


def _require_known(backend: str) -> None:
    """Refuse a compiler that PyTorch does not know, before anything is loaded."""
    import torch

    known = torch.compiler.list_backends(())
    if backend not in known:
        raise UnavailableError(
            f'compile: backend = "{backend}" is not one that PyTorch knows here',
            remedy=f"use one of {', '.join(known)}",
        )
