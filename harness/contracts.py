"""What a plugin author reads: Backend, Session, Scenario, Report, Sampler. Nothing else is needed.

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
    from torch import Tensor

    from harness.model import Model, ModelConfig
    from harness.store import Run

__all__ = [
    "Availability",
    "Backend",
    "BackendOptions",
    "Lab",
    "MemoryMeter",
    "Observation",
    "Options",
    "Point",
    "Report",
    "Request",
    "Sampler",
    "Scenario",
    "Session",
    "StepSession",
    "StreamSession",
    "TokenEvent",
    "Transcript",
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
class Observation:
    """One timed iteration: the samples it gave, by metric, and the tokens it made."""

    values: Mapping[str, Sequence[float]]
    transcripts: Sequence[Transcript] = ()


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


class Sampler(ABC):
    """Something that reads a sensor beside the run, in a process of its own."""

    summary: ClassVar[str]
    """One line for `harness list samplers`."""

    @abstractmethod
    def availability(self) -> Availability:
        """Say whether the sensor is here."""

    @abstractmethod
    def quantities(self) -> Mapping[str, str]:
        """Name each quantity it reads, with its unit."""

    @abstractmethod
    def read(self) -> Mapping[str, Reading]:
        """Read every quantity once; absent ones carry their reason."""
