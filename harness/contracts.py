"""What a plugin author reads: Backend, Session, Scenario, Report, Chart, Sampler. Nothing else.

A plugin module imports its heavy packages inside functions: `harness list` loads every plugin and
must stay quick. Nothing here imports torch.

Shapes use B (rows of a batch), T (tokens of a prompt), V (vocabulary). Times are nanoseconds of one
monotonic clock, sizes are bytes.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from harness.metrics import Metric
from harness.reading import Reading

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import Tensor

    from harness.model import Model, ModelConfig
    from harness.store import Run, Store
    from harness.theme import Theme

__all__ = [
    "Availability",
    "Backend",
    "BackendOptions",
    "Chart",
    "Held",
    "Lab",
    "MemoryMeter",
    "Observation",
    "Options",
    "Point",
    "Quantity",
    "Report",
    "Request",
    "Sampler",
    "Scenario",
    "Session",
    "Site",
    "Span",
    "StepSession",
    "StreamSession",
    "TokenEvent",
    "Transcript",
    "Watched",
]

DType = Literal["float32", "bfloat16", "float16"]
Level = Literal["step", "stream"]


class Options(BaseModel):
    """Base of what a plugin can be told in a suite: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class BackendOptions(Options):
    """What every backend takes; a backend adds its own fields in a subclass."""

    dtype: DType = "float32"
    """Precision of weights, activations and KV cache."""
    threads: int = Field(default_factory=usable_cores, ge=1)
    """Threads that compute. The engine also sets OMP_NUM_THREADS for the worker."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the model runs."""


@dataclass(frozen=True)
class Availability:
    """Can it run here? If not, why, and the command that would help."""

    ok: bool
    reason: str | None = None
    remedy: str | None = None

    @classmethod
    def yes(cls) -> Availability:
        """It can run here."""
        return cls(ok=True)

    @classmethod
    def no(cls, reason: str, remedy: str | None = None) -> Availability:
        """It cannot run here, for this reason; `remedy` is a command or a sentence."""
        return cls(ok=False, reason=reason, remedy=remedy)


class Backend(ABC):
    """A way to execute the reference model."""

    summary: ClassVar[str]
    """One line for `harness list backends`."""
    level: ClassVar[Level] = "step"
    """Which kind of session `load` returns."""
    Options: ClassVar[type[BackendOptions]] = BackendOptions
    """What a suite may set; defaults are what suits most users."""
    trial: ClassVar[Mapping[str, Any]] = {}
    """Options under which tests of the contract take seconds where the defaults take minutes."""

    @abstractmethod
    def availability(self, device: str) -> Availability:
        """Say whether it can run on `cpu` or `cuda` here, without importing more than it must."""

    @abstractmethod
    def load(self, model: Model, device: str, options: Any) -> Session:
        """Bring the weights to where they will be used; `options` is an instance of `Options`.

        Raises:
            UnavailableError: where `options` ask for what this machine lacks.
        """

    def load_uncaptured(self, model: Model, device: str, options: Any) -> Session:
        """Load what `harness doctor --capture` looks at; by default what `load` returns.

        A backend that captures returns here, on any device, a session whose `fixed_step` is the
        work that it would capture.
        """
        return self.load(model, device, options)


@dataclass(frozen=True)
class Held:
    """What a session holds, in bytes, by its own account: what measured memory is held against."""

    weights: int
    """In the layout they are kept in, what is kept twice counted twice."""
    twice: int = 0
    """Of the weights, what is there in a second layout."""
    mapped: int = 0
    """Of the weights, what lies in pages of a file that is only mapped."""
    state: int | None = None
    """KV cache, logits and tables for the prepared shape; None where it can't say."""


class Session(ABC):
    """A backend loaded with a model. Used by one thread, prepared before use, closed after."""

    @abstractmethod
    def prepare(self, batch: int, context: int) -> None:
        """Allocate, compile or capture for `batch` rows of up to `context` positions each.

        May be called again with another shape; what the earlier shape needed is then released.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back all memory. Calling it twice is harmless."""

    def facts(self) -> Mapping[str, Any]:
        """What the backend wants recorded with the run (graph breaks, buckets); JSON values."""
        return {}

    def held(self) -> Held | None:
        """What it holds now; None where it can't say."""
        return None


class StepSession(Session):
    """Drives the model step by step over a static KV cache; greedy feedback stays on the device.

    The token tensors returned belong to the session and may be overwritten by the next call. They
    may still be in flight: reading one on the host (`.tolist()`) or `synchronize()` waits for it.
    """

    @abstractmethod
    def reset(self) -> None:
        """Forget every row: the next call must be `prefill`."""

    @abstractmethod
    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Process prompts; return the first generated token of each row, int64 [B].

        Args:
            tokens: int64 [B, T] on the host, right-padded; B is the prepared batch.
            lengths: int64 [B] on the host, each from 1 to T.
        """

    @abstractmethod
    def decode(self) -> Tensor:
        """Feed each row its last token; return the next one, int64 [B].

        Raises:
            SessionError: where a row would pass the prepared context.
        """

    @abstractmethod
    def feed(self, tokens: Tensor) -> None:
        """Replace the tokens that the next `decode` feeds: int64 [B] on the host."""

    @abstractmethod
    def logits(self) -> Tensor:
        """Return the logits behind the last tokens: float32 [B, V] on the host, a copy."""

    @abstractmethod
    def synchronize(self) -> None:
        """Return only when all submitted work is complete."""

    def fixed_step(self) -> Callable[[], None] | None:
        """Return one decode with all shapes fixed at what was prepared, as a CUDA graph holds it.

        It reads and writes what the session holds, in place, and may be called as soon as the
        session is prepared. For `harness doctor --capture`; None where there is no such step.
        """
        return None


@dataclass(frozen=True)
class Request:
    """One prompt and how many tokens to make from it, end-of-sequence ignored."""

    prompt_ids: tuple[int, ...]
    new_tokens: int


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """A token as its user would see it: which request, which token, when it was on the host."""

    request: int
    token: int
    at_ns: int


class StreamSession(Session):
    """Takes whole requests; for servers and libraries that own the decode loop."""

    @abstractmethod
    def stream(self, requests: Sequence[Request]) -> Iterator[TokenEvent]:
        """Serve the requests together, yielding each token once it is on the host.

        Exactly `new_tokens` tokens come for each request, end-of-sequence ignored, greedy.
        """


@dataclass(frozen=True)
class Transcript:
    """What was asked and what came back while timed; the engine audits it against the reference."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]


@dataclass(frozen=True)
class Span:
    """A stretch of an iteration in which the session did one kind of work, by `lab.now_ns`."""

    kind: Literal["prefill", "decode"]
    start_ns: int
    end_ns: int
    tokens: int
    """Prompt tokens in a prefill, tokens made in a decode."""


@dataclass(frozen=True)
class Observation:
    """One timed iteration: the samples it gave, by metric, and the tokens it made."""

    values: Mapping[str, Sequence[float]]
    transcripts: Sequence[Transcript] = ()
    spans: Sequence[Span] = ()
    """What the energy of prefill and decode is taken over; may be left out."""


@dataclass(frozen=True)
class Point:
    """One shape inside a case. The session is prepared for it, verified, warmed up and measured."""

    batch: int
    context: int
    label: str = ""
    """Tells the points of a case apart, e.g. `batch=4`; empty where there is one."""
    once: bool = False
    """Exact rather than noisy: observed a single time, without warm-up."""


class MemoryMeter(Protocol):
    """Memory of this process, host or device, whichever holds the model."""

    def current_bytes(self) -> int:
        """What is in use now."""

    def peak_bytes(self) -> int:
        """The most that was in use since `reset_peak`."""

    def reset_peak(self) -> None:
        """Start a new peak."""

    def available_bytes(self) -> int:
        """What could still be taken without swapping or being killed."""


@dataclass(frozen=True)
class Lab:
    """What a scenario may use beside the session."""

    model: ModelConfig
    dtype: str
    now_ns: Callable[[], int]
    """Monotonic nanoseconds."""
    memory: MemoryMeter
    seed: int
    """The same in every round and for every backend, so that all see the same prompts."""
    phase_bytes: Mapping[str, int] = field(default_factory=dict)
    """Memory in use after each phase so far: `import`, `load`, `prepare`."""
    phase_mapped_bytes: Mapping[str, int] = field(default_factory=dict)
    """Of it, what lies in pages of files; without phases in which that is not known."""
    budget_bytes: int | None = None
    phase_s: Mapping[str, float] = field(default_factory=dict)
    """What each phase so far took, in seconds: `import`, `load`, `prepare`, `verify`."""
    cold: bool | None = None
    """Whether plugins found nothing in their cache; None where nobody looked (see `cold_start`)."""


class Scenario(ABC):
    """A kind of measurement. It never asks which backend it has."""

    summary: ClassVar[str]
    """One line for `harness list scenarios`."""
    version: ClassVar[int] = 1
    """Raised whenever its figures stop being comparable with those of before."""
    level: ClassVar[Level] = "stream"
    """`stream` runs on every session (the engine adapts a step session); `step` only on those."""
    cold_start: ClassVar[bool] = False
    """Whether each case gets a cache folder of its own (`harness.cache`): empty in its first round,
    and in later ones as the rounds before left it."""
    metrics: ClassVar[tuple[Metric, ...]]
    """All it can report; exactly one is primary."""
    Options: ClassVar[type[Options]]
    """What a suite may set."""

    @abstractmethod
    def points(self, options: Any, model: ModelConfig) -> Sequence[Point]:
        """Return the shapes to measure.

        Raises:
            SpecError: where the options cannot be met by the model, say a context too long for it.
        """

    @abstractmethod
    def measure(self, session: Any, point: Point, options: Any, lab: Lab) -> Iterator[Observation]:
        """Yield one observation per timed iteration, without end; the engine decides when to stop.

        Each iteration uses prompts never used before in this process. Nothing but the session's
        work and the clock stands between the first timestamp and the last.
        """

    def derive(self, headline: Mapping[tuple[str, str], Reading]) -> Mapping[str, Reading]:
        """Return figures that follow from those of all points, keyed by metric.

        Args:
            headline: (metric, point label) to the headline reading.
        """
        del headline
        return {}


class Report(ABC):
    """A way to show runs. It reads run data and writes files; it never measures."""

    summary: ClassVar[str]
    """One line for `harness list reports`."""
    suffix: ClassVar[str]
    """Of the file it writes, e.g. `.html`."""

    @abstractmethod
    def write(self, runs: Sequence[Run], path: Path) -> None:
        """Write the report of one or several runs to `path`."""


class Site(ABC):
    """A way to show a whole store as a folder of files that any web server can serve."""

    summary: ClassVar[str]
    """One line for `harness list reports`."""

    @abstractmethod
    def build(self, store: Store, folder: Path, *, url: str | None = None) -> int:
        """Bring `folder` up to date with the store; return how many runs were read anew.

        Args:
            store: Where the runs are; nothing in it is changed.
            folder: What to fill; files that no run stands behind any more are removed.
            url: Where the folder will be served, for what needs whole addresses.

        Raises:
            StoreError: where the folder cannot be written.
        """


class Chart(ABC):
    """One question about runs, answered by a picture of a tidy table.

    `data` picks rows out of runs and judges nothing else; all other methods see only its table, so
    that a notebook may filter or join it before drawing.
    """

    question: ClassVar[str]
    """As a reader would ask it; the heading above the chart."""
    measured: ClassVar[str]
    """How the figures came about, for who wants to know before believing."""
    needs: ClassVar[str]
    """What a run must hold for this chart, in words that follow "needs"."""
    columns: ClassVar[Mapping[str, str]]
    """Every column of the table: its name, and what it holds, with its unit."""
    order: ClassVar[int] = 100
    """Where it stands among others; lower comes first."""

    @abstractmethod
    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return what to draw, one observation a row; empty where the runs do not have it."""

    @abstractmethod
    def title(self, data: pd.DataFrame) -> str:
        """Say the finding in one sentence."""

    @abstractmethod
    def alt(self, data: pd.DataFrame) -> str:
        """Say what is to be seen, for who cannot see it."""

    @abstractmethod
    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw it, intervals included, at the theme's width; the title is added elsewhere."""

    def table(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return the rows that a reader would want to read; all, unless that is too many."""
        return data

    def figure(
        self, data: pd.DataFrame, theme: Theme | None = None, *, titled: bool = True
    ) -> Figure:
        """Return the finished picture; light and as wide as a page unless told otherwise."""
        from harness.theme import LIGHT

        theme = theme or LIGHT
        with theme.applied():
            figure = self.draw(data, theme)
            if titled:
                theme.title(figure, self.title(data))
        return figure


Tier = Literal["fast", "slow", "boundary"]
"""How often a quantity is read: every tick, every second, or where phases begin and end."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One thing that a sampler reads of one device."""

    name: str
    """What it is, its unit last: `power_w`, `sm_clock_mhz`."""
    unit: str
    """Of its values, say `W`; `1` for a count."""
    device: str = ""
    """What it is of: `GPU-…` by UUID, `cpu0`, `worker`; empty for the machine."""
    tier: Tier = "fast"
    """`slow` for what takes long to read or changes little, `boundary` for what takes longest."""
    reason: str | None = None
    """Why it is absent here, found by probing once; it is then never read."""
    kind: Literal["gauge", "counter", "state"] = "gauge"
    """A counter only grows, and a phase's share is a difference; a state's mean says nothing."""

    @property
    def key(self) -> tuple[str, str]:
        """Device and name, as `Sampler.read` has them."""
        return self.device, self.name


@dataclass(frozen=True)
class Watched:
    """What the samplers are to watch."""

    worker_pid: int | None
    """The process that measures; None while there is none."""
    harness_pid: int
    """The process that draws and stores: its load is neither the worker's nor others'."""
    devices: tuple[str, ...] = ()
    """UUIDs of the GPUs that the case uses; empty: all that are visible."""


class Sampler(ABC):
    """Something that reads a sensor beside the run, in a process of its own.

    Only `availability` is also called elsewhere. A sampler is called by one thread, and nothing is
    read while another sampler's call takes its time: what is slow belongs to a slow tier.
    """

    summary: ClassVar[str]
    """One line for `harness list samplers`."""

    @abstractmethod
    def availability(self) -> Availability:
        """Say whether the sensor is here."""

    @abstractmethod
    def open(self, watched: Watched) -> Sequence[Quantity]:
        """Probe each quantity once and name them all, those that are absent with the reason."""

    def follow(self, worker_pid: int | None) -> None:
        """Watch another worker from now on; None where the last one has ended."""
        del worker_pid

    @abstractmethod
    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        """Read the quantities of a tier that have no reason: (device, name) to value or absent."""

    def facts(self) -> Mapping[str, Any]:
        """What it wants recorded with the run once open (driver, device names); JSON values."""
        return {}

    def close(self) -> None:  # noqa: B027 - most have nothing to give back
        """Give back what `open` took. Calling it twice is harmless."""
