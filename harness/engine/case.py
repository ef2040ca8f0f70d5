"""A case: one model, one backend, one scenario, one setting; and the task a worker gets for it."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.spec import RunSpec

__all__ = ["Case", "DuetTask", "PlanTask", "ProfileTask", "ReferenceTask", "Task"]


class Case(BaseModel):
    """One point of a suite, fully resolved: what a worker needs and nothing of the suite's form."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """Stable: `model/backend[options set]/scenario[options set]`."""
    model: str
    """As the suite names it: preset, path or hf:// address."""
    model_seed: int
    model_label: str
    backend: str
    backend_options: dict[str, Any]
    """All of them, defaults included."""
    scenario: str
    scenario_options: dict[str, Any]
    rounds: int
    unavailable: str | None = None
    """Why it cannot run here, found while planning."""

    @property
    def dtype(self) -> str:
        """Precision the backend runs in."""
        return str(self.backend_options["dtype"])

    @property
    def device(self) -> str:
        """Where the backend runs."""
        return str(self.backend_options["device"])

    @property
    def threads(self) -> int:
        """Threads that compute."""
        return int(self.backend_options["threads"])


class _Task(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    parent_pid: int
    """The worker ends when this process does; 0: when whoever started it does."""
    plugin_files: list[Path] = []
    cache: Path | None = None
    """Where plugins keep what can be made again; None leaves it to the environment."""


class Task(_Task):
    """One case in one round, as a file that a worker reads; it can be run by hand."""

    case: Case
    round: int
    run: RunSpec
    max_seconds: float
    """Sampling time per point: the run's own, or its share of the budget."""
    cold: bool | None = None
    """Whether `cache` is an empty folder of the case's own; None where it is everybody's."""
    reference: Path
    """Logits of the float32 eager reference."""
    positions: int
    """Most positions that a check prompt takes, as the reference was made with."""


class DuetTask(Task):
    """One case as one side of a duet: it measures a block whenever it is told to."""

    block_seconds: float
    """A block lasts at least this long and one iteration."""
    thorough: bool
    """Whether to audit tokens and measure ceilings at the end, as ordinary rounds do."""


class PlanTask(_Task):
    """Plan a suite with the plugins that this interpreter has; write what is planned."""

    suite: Path
    settings: dict[str, Any]
    models: list[str]
    backends: list[str]
    scenarios: list[str]
    run_id: str
    command: list[str]
    project: Path
    """Whose revision the run is made from."""
    output: Path


class ReferenceTask(_Task):
    """Compute the reference logits of one model and store them."""

    model: str
    seed: int
    positions: int
    """Most positions a check prompt may take, generated tokens included."""
    dtype: str
    """Precision of the sessions to check."""
    threads: int
    output: Path


class ProfileTask(_Task):
    """Profile one case at one point and store what was seen; no figure is taken from it."""

    case: Case
    round: int
    point: str
    """Label of the point."""
    kinds: list[str]
    """Of `harness.profiling.kinds`."""
    sampled_seconds: float = 0
    """How long to go on for a profiler that looks from outside."""
    brief: bool = False
    """Whether each way of looking is taken once, rather than often enough to compare two sides."""
    seed: int
    reference: Path | None
    """None where rounds of the same run have checked the tokens already."""
    positions: int
    output: Path
