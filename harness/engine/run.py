"""A plan becomes a run: visit by visit, each in a fresh process, each kept before the next."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import harness
from harness.contracts import Scenario
from harness.engine.case import Case, ReferenceTask, Task
from harness.engine.clock import now_ns, seconds_since
from harness.engine.events import PhaseStarted, Progress
from harness.engine.plan import Plan
from harness.engine.reference import MOST_POSITIONS, reference_path
from harness.engine.schedule import WORKER_SECONDS, Visit, order, share
from harness.engine.spawn import Ended, run_worker, worker_command
from harness.engine.summary import measured_values, status_of, summarise
from harness.environment import fingerprint
from harness.errors import StoreError
from harness.plugins import find
from harness.spec import Source
from harness.store import Run, RunWriter, Samples, Store
from harness.store.record import CaseRecord, Failure, RoundRecord, RunRecord

__all__ = ["Watcher", "new_record", "run_visits"]


_SAMPLING = ("warm-up", "measure")


class Watcher(Protocol):
    """Sees a run go by. It is called while no worker measures: what it takes disturbs no sample."""

    def begin(self, visits: Sequence[Visit]) -> None:
        """The visits to come."""

    def visit(self, number: int, case_id: str) -> None:
        """A worker starts on a case, in round `number`."""

    def event(self, event: PhaseStarted | Progress) -> None:
        """The worker's phase or progress."""

    def visited(self, record: RoundRecord) -> None:
        """The worker ended and its round is on disk."""


def new_record(
    plan: Plan,
    source: Source,
    run_id: str,
    command: Sequence[str],
    plugin_files: Sequence[Path] = (),
) -> RunRecord:
    """Return the record of a run that has not begun."""
    suite = plan.suite
    return RunRecord(
        id=run_id,
        suite=suite.name,
        suite_text=source.text,
        suite_resolved=suite.model_dump(mode="json"),
        created_at=_now(),
        harness_version=harness.__version__,
        command=list(command),
        plugin_files=[str(path.resolve()) for path in plugin_files],
        seed=suite.run.seed,
        rounds=suite.run.rounds,
        order=order(plan.cases, suite.run.rounds, suite.run.seed),
        environment=fingerprint(Path.cwd()),
        metrics=plan.metrics,
        cases=[_case_record(plan, case) for case in plan.cases],
    )


def run_visits(
    plan: Plan,
    record: RunRecord,
    writer: RunWriter,
    store: Store,
    watcher: Watcher,
    *,
    finished: set[Visit] | None = None,
) -> RunRecord:
    """Make all visits that are not finished, then the figures; return the record as stored.

    Interrupted, it keeps what is finished, marks the run so, and lets KeyboardInterrupt go on.

    Raises:
        StoreError: where the store cannot be written; every round added before is kept.
    """
    engine = _Engine(plan, record, writer, store, watcher)
    try:
        engine.visit_all(finished or set())
    except BaseException as error:
        if not isinstance(error, StoreError):
            engine.finish("interrupted")
        raise
    return engine.finish("finished")


class _Engine:
    """Holds what the visits of a run share."""

    def __init__(
        self,
        plan: Plan,
        record: RunRecord,
        writer: RunWriter,
        store: Store,
        watcher: Watcher,
    ) -> None:
        self._plan = plan
        self._record = record
        self._writer = writer
        self._store = store
        self._watcher = watcher
        self._plugin_files = [Path(name) for name in record.plugin_files]
        self._cases = {case.id: case for case in plan.cases}
        self._overheads: list[float] = []
        self._tasks = writer.path / "tasks"
        self._own_caches = store.cache / "startup" / record.id

    def visit_all(self, finished: set[Visit]) -> None:
        self._tasks.mkdir(exist_ok=True)
        started = now_ns()
        budget = self._plan.suite.run.budget
        left = [visit for visit in self._record.order if visit not in finished]
        self._watcher.begin(left)
        for place, (number, case_id) in enumerate(left):
            case = self._cases[case_id]
            if self._given_up(case_id):
                continue
            seconds = self._plan.suite.run.max_seconds
            if budget is not None:
                rest = left[place:]
                points = sum(len(self._plan.points[i]) for _, i in rest)
                overhead = self._overheads[-1] if self._overheads else WORKER_SECONDS
                seconds = share(
                    budget - seconds_since(started), points, len(rest), overhead, seconds
                )
            self._watcher.visit(number, case_id)
            self._visit(case, number, seconds, self._record.order.index((number, case_id)))

    def finish(self, status: str) -> RunRecord:
        """Write figures and status; parts become samples.parquet."""
        shutil.rmtree(self._own_caches, ignore_errors=True)
        record = self._record
        record.status = "finished" if status == "finished" else "interrupted"
        record.finished_at = _now()
        # Figures first: once run.json says that the run has ended, it holds them.
        values = measured_values(Run(self._writer.path))
        for case in record.cases:
            scenario = find(Scenario, case.scenario)
            summarise(case, scenario, values)
        return self._writer.finish(record)

    def _given_up(self, case_id: str) -> bool:
        """A case that failed and never succeeded is not tried again in later rounds."""
        rounds = self._record.case(case_id).rounds
        return bool(rounds) and status_of(rounds) != "done"

    def _visit(self, case: Case, number: int, seconds: float, place: int) -> None:
        log = self._writer.log_path(case.id, number)
        task_file = self._tasks / f"{log.stem}.json"
        started_at, started = _now(), now_ns()
        positions = min(MOST_POSITIONS, *(p.context for p in self._plan.points[case.id]))
        reference, ended = self._reference(case, positions, task_file, log)
        if ended is None or ended.failure is None:
            cache, cold = self._cache(case)
            task = Task(
                parent_pid=os.getpid(),
                plugin_files=self._plugin_files,
                cache=cache.resolve(),
                cold=cold,
                case=case,
                round=number,
                run=self._plan.suite.run,
                max_seconds=seconds,
                reference=reference,
                positions=positions,
            )
            ended = run_worker(
                task,
                task_file,
                log,
                threads=case.threads,
                time_limit=self._plan.suite.run.time_limit,
                listen=self._watcher.event,
            )
        if ended.result is not None:
            found, samples = ended.result.record, ended.result.samples
            measured = sum(p.end_ns - p.start_ns for p in found.phases if p.name in _SAMPLING) / 1e9
            self._overheads.append(max(0.0, seconds_since(started) - measured))
        else:
            found, samples = _failed(number, started_at, ended), []
        found = found.model_copy(update={"order": place, "command": worker_command(task_file)})
        rows = [Samples(s.point, s.phase, s.iteration, s.metric, s.values) for s in samples]
        self._writer.add_round(case.id, found, rows)
        self._record.case(case.id).rounds.append(found)
        self._watcher.visited(found)

    def _cache(self, case: Case) -> tuple[Path, bool | None]:
        """Return where a worker finds what plugins keep, and whether it is new where that counts.

        The folder itself tells: a resumed run, whose folders are gone, starts cold once more.
        """
        if not find(Scenario, case.scenario).cold_start:
            return self._store.cache, None
        folder = self._own_caches / re.sub(r"[^A-Za-z0-9_.-]", "-", case.id)
        cold = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        return folder, cold

    def _reference(
        self, case: Case, positions: int, task_file: Path, log: Path
    ) -> tuple[Path, Ended | None]:
        """Have the model's reference logits; None where they are there already."""
        path = reference_path(
            self._store.cache, self._plan.model(case), positions, case.dtype
        ).resolve()
        if path.exists():
            return path, None
        self._watcher.event(PhaseStarted(name="reference"))
        task = ReferenceTask(
            parent_pid=os.getpid(),
            plugin_files=self._plugin_files,
            model=case.model,
            seed=case.model_seed,
            positions=positions,
            dtype=case.dtype,
            threads=case.threads,
            output=path,
        )
        ended = run_worker(
            task,
            task_file.with_name(f"reference-{task_file.name}"),
            log,
            threads=case.threads,
            time_limit=self._plan.suite.run.time_limit,
            listen=self._watcher.event,
        )
        return path, ended


def _case_record(plan: Plan, case: Case) -> CaseRecord:
    record = CaseRecord(
        id=case.id,
        model=case.model_label,
        model_digest=plan.model(case).digest,
        backend=case.backend,
        scenario=case.scenario,
        scenario_version=plan.versions[case.scenario],
        backend_options=case.backend_options,
        scenario_options=case.scenario_options,
    )
    if case.unavailable:
        record.status = "unavailable"
        record.rounds = [
            RoundRecord(
                round=0,
                status="unavailable",
                started_at=_now(),
                order=0,
                failure=Failure(phase="plan", reason=case.unavailable),
            )
        ]
    return record


def _failed(number: int, started_at: str, ended: Ended) -> RoundRecord:
    return RoundRecord(
        round=number,
        status="unavailable" if ended.unavailable else "failed",
        pid=ended.pid,
        started_at=started_at,
        order=0,
        failure=ended.failure,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
