"""One side of a duet: an interpreter, what it finds first, and the suite as that side plans it.

Each side plans in its own interpreter, since its plugins and their options are its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.engine.case import Case, PlanTask
from harness.engine.events import PhaseStarted, Progress
from harness.engine.plan import make_plan
from harness.engine.run import new_record
from harness.engine.spawn import Interpreter, run_worker
from harness.engine.suites import suite_path
from harness.errors import InputError
from harness.spec import Suite, read_suite
from harness.store.record import RunRecord

__all__ = ["PlannedCase", "PlannedSide", "Side", "plan_by_worker", "plan_side"]


@dataclass(frozen=True)
class Side:
    """What one side runs with."""

    name: str
    """`base` or `cand`."""
    label: str
    """What it is to the user: a revision, an interpreter, settings."""
    interpreter: Interpreter = field(default_factory=Interpreter)
    plugin_files: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Laid over the suite, as `--set` does."""
    project: Path = Path()
    """Whose revision is recorded."""


class PlannedCase(BaseModel):
    """A case and what the duet needs to know of its points."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: Case
    digest: str
    """Of the model's weights."""
    positions: int
    """Context of its smallest point."""
    once: bool
    """Whether all of its points are exact."""
    peak_bytes: int
    """Weights and KV cache of its largest point."""


class PlannedSide(BaseModel):
    """A suite as one side plans it."""

    model_config = ConfigDict(extra="forbid")

    suite: Suite
    cases: list[PlannedCase]
    record: RunRecord
    """Of a run that has not begun."""


def plan_side(task: PlanTask) -> PlannedSide:
    """Plan a suite in this interpreter.

    Raises:
        InputError: as `make_plan`.
    """
    read, source = read_suite(suite_path(str(task.suite)), task.settings)
    plan = make_plan(
        read, source, models=task.models, backends=task.backends, scenarios=task.scenarios
    )
    record = new_record(
        plan, source, task.run_id, task.command, task.plugin_files, project=task.project
    )
    cases = [
        PlannedCase(
            case=case,
            digest=plan.model(case).digest,
            positions=min(p.context for p in plan.points[case.id]),
            once=all(p.once for p in plan.points[case.id]),
            peak_bytes=plan.peak_bytes(case),
        )
        for case in plan.cases
    ]
    return PlannedSide(suite=plan.suite, cases=cases, record=record)


def plan_by_worker(
    side: Side,
    suite: Path,
    run_id: str,
    command: Sequence[str],
    folder: Path,
    *,
    models: Sequence[str] = (),
    backends: Sequence[str] = (),
    scenarios: Sequence[str] = (),
    listen: Callable[[PhaseStarted | Progress], None],
) -> PlannedSide:
    """Have a side plan the suite in its own interpreter.

    Raises:
        InputError: where it cannot, with that side's own reason.
    """
    output = folder / f"plan-{side.name}.out.json"
    log = folder / f"plan-{side.name}.log"
    task = PlanTask(
        parent_pid=os.getpid(),
        plugin_files=[path.resolve() for path in side.plugin_files],
        suite=suite,
        settings=dict(side.settings),
        models=list(models),
        backends=list(backends),
        scenarios=list(scenarios),
        run_id=run_id,
        command=list(command),
        project=side.project.resolve(),
        output=output,
    )
    ended = run_worker(
        task,
        folder / f"plan-{side.name}.json",
        log,
        threads=1,
        time_limit=120,
        listen=listen,
        interpreter=side.interpreter,
    )
    if ended.failure is not None:
        tail = ended.failure.log_tail.strip().splitlines()
        own = ended.failure.exit_code is None and ended.failure.signal is None
        raise InputError(
            ended.failure.reason if own or not tail else tail[-1],
            where=f"{side.name} ({side.label})",
        )
    try:
        return PlannedSide.model_validate_json(output.read_text())
    except (OSError, ValidationError) as error:
        raise InputError(
            f"its harness plans in another form than this one: {str(error).splitlines()[0]}",
            where=f"{side.name} ({side.label})",
            remedy="install this harness there too",
        ) from error
