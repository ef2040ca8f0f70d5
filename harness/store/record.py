"""What a run holds, as types: `run.json` is a `RunRecord`, and docs/run.schema.json is its schema.

Rule for changes: adding a field with a default keeps the version; anything else raises
`SCHEMA_VERSION` and adds a step to `harness.store.migrate`.
"""

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from harness.cautions import Caution
from harness.metrics import Metric
from harness.reading import Reading

__all__ = [
    "SCHEMA_VERSION",
    "BlockRecord",
    "CaseRecord",
    "CheckRecord",
    "DuetRecord",
    "EnergyRecord",
    "Failure",
    "Figure",
    "Gap",
    "PhaseRecord",
    "PhaseTelemetry",
    "PointRecord",
    "QuantityRecord",
    "RoundRecord",
    "RoundTelemetry",
    "RunRecord",
    "SamplerProcess",
    "SamplerRecord",
    "SpanEnergyRecord",
    "Utilization",
]

SCHEMA_VERSION = 1

CaseStatus = Literal["pending", "done", "incorrect", "failed", "unavailable"]
RunStatus = Literal["running", "finished", "interrupted"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Failure(_Record):
    """Why a round has no figures."""

    phase: str
    """The phase it was in: import, load, prepare, verify, warm-up, measure, audit, …"""
    reason: str
    """One line."""
    signal: str | None = None
    """Name of the signal that ended the worker, e.g. SIGKILL."""
    exit_code: int | None = None
    """Exit status of the worker where no signal ended it."""
    log_tail: str = ""
    """The last lines of the worker's log."""


class CheckRecord(_Record):
    """How a session's outputs compare with the float32 eager reference."""

    passed: bool
    positions: int
    """Positions compared, teacher-forced."""
    top1_agreement: float
    """Share of positions whose arg-max is the reference's; ties within tolerance count as equal."""
    max_logit_error: float
    """Largest absolute difference of a logit, relative to the reference's standard deviation."""
    mean_logit_error: float
    """Mean absolute difference, relative likewise."""
    max_kl: float
    """Largest Kullback-Leibler divergence of a position, nats."""
    tolerance: dict[str, float]
    """What was allowed, by name of the figure."""
    detail: str = ""
    """Where it failed first: prompt, position, tokens."""


class PhaseRecord(_Record):
    """One phase of a worker, on the run's monotonic clock."""

    name: str
    """import, load, prepare, verify, warm-up, measure, audit, ceilings, close."""
    point: str = ""
    """Label of the point it served; empty for phases of the whole case."""
    start_ns: int
    end_ns: int
    current_bytes: int | None = None
    """Memory in use at its end."""
    mapped_bytes: int | None = None
    """Of it, pages of files: libraries' code, weights that are only mapped; None where unknown."""
    peak_bytes: int | None = None
    """The most in use during it."""
    allocator: dict[str, int] = Field(default_factory=dict)
    """What a device's allocator counted at its end: allocated_bytes, reserved_bytes, their peaks,
    retries, failures; empty on a CPU."""


class PointRecord(_Record):
    """How one point was measured in one round."""

    label: str
    batch: int
    context: int
    warmup_iterations: int
    """Iterations before the steady state; their samples are kept and marked."""
    measured_iterations: int
    steady: str
    """flat, warmup, slowdown, no-steady-state, too-short or exact."""
    stopped: str
    """Why sampling ended: target, max-samples, budget, exact, or told where a duet said so."""
    half_width: float | None = None
    """Relative half-width of the primary metric within this process when it ended."""
    lag_s: float | None = None
    """Time that reading results took after the session said it had synchronized."""
    iterations_ns: list[int] = Field(default_factory=list)
    """When each iteration began, and when the last one ended, on the phases' clock."""
    new_tokens: int = 0
    """Tokens generated in the measured iterations."""
    disturbed: int = 0
    """Iterations that the machine disturbed, after warm-up."""
    dropped: int = 0
    """Those among them whose samples are marked `disturbed` and count in no figure."""


class Gap(_Record):
    """Ticks that passed without a reading."""

    from_ns: int
    to_ns: int
    ticks: int


class RoundTelemetry(_Record):
    """How well the machine was watched during one round."""

    hz: float
    """Readings asked for per second."""
    ticks: int
    """Ticks that were read."""
    missed: int
    """Ticks that passed without a reading."""
    late: int
    """Readings made more than 2 ms after they were due."""
    gaps: list[Gap] = Field(default_factory=list)
    problem: str | None = None
    """Why there are no readings, or not to the end."""


class QuantityRecord(_Record):
    """What one quantity was during a phase, over all rounds of a case."""

    source: str
    """The sampler."""
    device: str
    quantity: str
    unit: str
    kind: Literal["gauge", "counter", "state"]
    n: int
    """Readings within the phase."""
    mean: float | None = None
    """Of a gauge: over time, straight between readings."""
    lowest: float | None = None
    highest: float | None = None
    total: float | None = None
    """Of a counter: by how much it grew, edges interpolated."""
    bound: float | None = None
    """The mean or total is off by no more than this, if between two readings a gauge stays between
    their values and a counter does not fall."""
    reason: str | None = None
    """Why there is no value."""

    @model_serializer(mode="wrap")
    def _said(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What does not apply is left out: a run holds thousands of these."""
        return {name: value for name, value in dump(self).items() if value is not None}


class PhaseTelemetry(_Record):
    """What the machine did during one phase, over all rounds of a case."""

    phase: str
    point: str = ""
    rounds: int
    """Rounds that it was watched in."""
    seconds: float
    """Of all these rounds together."""
    missed: int
    """Ticks without a reading."""
    rate_hz: float
    """Readings per second that were reached."""
    quantities: list[QuantityRecord] = Field(default_factory=list)


class SamplerRecord(_Record):
    """One sampler: whether it works here, and what it cannot read."""

    name: str
    ok: bool
    reason: str | None = None
    """Why it does not work here."""
    remedy: str | None = None
    quantities: int = 0
    """How many it reads."""
    absent: dict[str, str] = Field(default_factory=dict)
    """Device and name of each quantity that is not here, and why."""
    facts: dict[str, Any] = Field(default_factory=dict)


class SamplerProcess(_Record):
    """The process that watched the machine; a resumed run had several."""

    hz: float
    pid: int | None = None
    priority: str = ""
    """How the scheduler treats it."""
    cores: list[int] | None = None
    """The cores it is kept on; None where none is left over by the workers."""
    devices: list[str] = Field(default_factory=list)
    """UUIDs of the GPUs that the cases use; empty where they use none, and all were watched."""
    samplers: list[SamplerRecord] = Field(default_factory=list)
    ticks: int | None = None
    missed: int | None = None
    cpu_s: float | None = None
    """What it has used itself."""
    problem: str | None = None
    """Why it did not start, or ended early."""
    idle: PhaseTelemetry | None = None
    """The machine before the first worker started."""


class BlockRecord(_Record):
    """A stretch of iterations during which the other side of a duet was frozen."""

    point: str = ""
    place: int
    """Among the blocks of both sides of the duet, in the order they ran."""
    first_iteration: int
    iterations: int
    start_ns: int
    end_ns: int
    probe_before: float | None = None
    """Read bandwidth just before, bytes/s: the state the machine was in."""
    probe_after: float | None = None
    """Just after; far from the one before, the machine switched states meanwhile."""


class DuetRecord(_Record):
    """That a run is one side of an A/B comparison, its rounds paired with the other run's."""

    side: Literal["base", "cand"]
    label: str
    """What this side is: a revision, an interpreter, settings."""
    partner: str
    """Id of the other side's run."""
    interleaved: Literal["generations", "processes"]
    """Whether both sides stayed loaded and took turns, or whole processes did."""
    because: str | None = None
    """Why only processes took turns."""


class SpanEnergyRecord(_Record):
    """What one kind of work used on one device in a round, over all its stretches."""

    kind: Literal["prefill", "decode"]
    point: str = ""
    source: str
    """The sampler."""
    device: str
    spans: int
    """How many stretches."""
    seconds: float
    """Of all of them together."""
    tokens: int
    """Prompt tokens in prefill, tokens made in decode."""
    joules: Reading
    """Low and high bound the error of reading the sensor; absent where it can't resolve them."""
    method: str
    notes: list[str] = Field(default_factory=list)


class RoundRecord(_Record):
    """One case in one fresh process."""

    round: int
    status: Literal["done", "incorrect", "failed", "unavailable"]
    pid: int | None = None
    started_at: str
    """UTC, ISO 8601."""
    order: int
    """Place in the run's random order."""
    command: list[str] = Field(default_factory=list)
    """Runs this worker again by hand."""
    failure: Failure | None = None
    check: CheckRecord | None = None
    """Before timing, over fixed prompts."""
    audit: CheckRecord | None = None
    """After timing, over tokens that were made while timed."""
    phases: list[PhaseRecord] = Field(default_factory=list)
    points: list[PointRecord] = Field(default_factory=list)
    ceilings: dict[str, Reading] = Field(default_factory=dict)
    """Measured limits: read_bytes_per_s, gemm_flop_per_s."""
    observer_ns: float | None = None
    """What observing one token costs in this process."""
    quiet: dict[str, Reading] = Field(default_factory=dict)
    """What the machine did besides: others_load, swap_bytes, major_faults, …"""
    facts: dict[str, Any] = Field(default_factory=dict)
    """What the backend wanted recorded."""
    cautions: list[Caution] = Field(default_factory=list)
    telemetry: RoundTelemetry | None = None
    """How well the machine was watched; None where it was not."""
    attempts: int = 1
    """How often it was measured; a disturbed round may be repeated, and the last one counts."""
    blocks: list[BlockRecord] = Field(default_factory=list)
    """In a duet: which iterations ran while the other side was frozen."""
    span_energy: list[SpanEnergyRecord] = Field(default_factory=list)
    """Of prefill and decode within the measured iterations; empty where no sensor shows energy."""


class Utilization(_Record):
    """A figure's share of the ceiling measured in the same processes."""

    name: Literal["MBU", "MFU"]
    reading: Reading


class Figure(_Record):
    """One statistic of one metric at one point of a case, over all rounds."""

    metric: str
    point: str = ""
    statistic: str
    reading: Reading
    utilization: Utilization | None = None


class EnergyRecord(_Record):
    """What one phase of a case used on one device, over its rounds."""

    phase: str
    """`measure` is cut to the steady iterations: those that figures are taken from. `prefill` and
    `decode` are what these consist of, stretch by stretch."""
    point: str = ""
    source: str
    """The sampler."""
    device: str
    rounds: int
    seconds: float
    """Of all these rounds together."""
    joules: Reading
    """Gross; low and high bound the error of reading the sensor, not the sensor's own."""
    net_joules: Reading
    """Less what the idle machine would have used in that time."""
    tokens: int = 0
    """Generated in it; in `prefill`, tokens of prompts."""
    joules_per_token: Reading
    net_joules_per_token: Reading
    method: str
    """`counter`, or `power` where power was summed up."""
    idle_watts: Reading | None = None
    """What the device took before the first worker started: the difference of gross and net."""
    notes: list[str] = Field(default_factory=list)


class CaseRecord(_Record):
    """One point of the suite and what was found."""

    id: str
    model: str
    backend: str
    scenario: str
    scenario_version: int
    model_digest: str | None = None
    """Identity of the weights: kind, seed or content."""
    backend_options: dict[str, Any] = Field(default_factory=dict)
    """All of them, defaults included."""
    scenario_options: dict[str, Any] = Field(default_factory=dict)
    status: CaseStatus = "pending"
    figures: list[Figure] = Field(default_factory=list)
    cautions: list[Caution] = Field(default_factory=list)
    rounds: list[RoundRecord] = Field(default_factory=list)
    telemetry: list[PhaseTelemetry] = Field(default_factory=list)
    """What the machine did, by phase and point."""
    energy: list[EnergyRecord] = Field(default_factory=list)
    """By phase, point and device; empty where no sensor shows energy or power."""

    @property
    def failure(self) -> Failure | None:
        """The first failure among its rounds."""
        return next((r.failure for r in self.rounds if r.failure), None)


class RunRecord(_Record):
    """The result of running a suite once."""

    schema_version: int = SCHEMA_VERSION
    id: str
    suite: str
    """Name of the suite."""
    suite_text: str
    """The suite file as it was read."""
    suite_resolved: dict[str, Any]
    """The suite after `--set` and options."""
    status: RunStatus = "running"
    created_at: str
    finished_at: str | None = None
    resumed_at: list[str] = Field(default_factory=list)
    """When it was resumed; empty for a run in one go."""
    harness_version: str
    command: list[str] = Field(default_factory=list)
    plugin_files: list[str] = Field(default_factory=list)
    """Plugins that were loaded from files, needed again to resume."""
    seed: int
    rounds: int
    order: list[tuple[int, str]] = Field(default_factory=list)
    """(round, case id) in the order run."""
    environment: dict[str, Any] = Field(default_factory=dict)
    """Fingerprint of machine and software."""
    metrics: list[Metric] = Field(default_factory=list)
    """Definitions of all metrics in the run."""
    simulated: str | None = None
    """What was simulated, say NVML; such a run is no measurement. None for a real machine."""
    telemetry: list[SamplerProcess] = Field(default_factory=list)
    """What watched the machine; empty where nothing did."""
    cases: list[CaseRecord] = Field(default_factory=list)
    duet: DuetRecord | None = None
    """Where it is one side of an A/B comparison."""

    def case(self, case_id: str) -> CaseRecord:
        """Return the case with this id; KeyError where there is none."""
        for case in self.cases:
            if case.id == case_id:
                return case
        raise KeyError(case_id)

    def metric(self, name: str) -> Metric:
        """Return the definition of a metric; KeyError where the run has none of that name."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)
