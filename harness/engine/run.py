"""A plan becomes a run: visit by visit, each in a fresh process, each kept before the next."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import harness
from harness.cautions import Caution, CautionKind, caution
from harness.contracts import Scenario, Span
from harness.engine.case import Case, ReferenceTask, Task
from harness.engine.clock import now_ns, seconds_since
from harness.engine.disturbance import judge
from harness.engine.events import PhaseStarted, Progress, SampleRow, SpanRow
from harness.engine.plan import Plan
from harness.engine.reference import MOST_POSITIONS, reference_path
from harness.engine.schedule import WORKER_SECONDS, Visit, order, share
from harness.engine.spawn import Ended, run_worker, worker_command
from harness.engine.summary import measured_values, status_of, summarise
from harness.engine.watching import Seen, Watching
from harness.environment import fingerprint
from harness.errors import StoreError
from harness.plugins import find
from harness.spec import Source
from harness.store import Run, RunWriter, Samples, Store
from harness.store.record import CaseRecord, Failure, RoundRecord, RunRecord, SpanEnergyRecord
from harness.telemetry.case_energy import case_energy
from harness.telemetry.gpus import devices_used
from harness.telemetry.simulated import simulated_by
from harness.telemetry.summary import summarise_case

__all__ = ["Watcher", "compute_reference", "failed_round", "new_record", "run_visits"]


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
    project: Path | None = None,
) -> RunRecord:
    """Return the record of a run that has not begun; `project` is by default the working folder."""
    suite = plan.suite
    environment = fingerprint(project or Path.cwd())
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
        environment=environment,
        simulated=simulated_by(environment),
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
    plugin_files = [Path(name) for name in record.plugin_files]
    threads = max((case.threads for case in plan.cases), default=1)
    cuda = any(case.device == "cuda" for case in plan.cases)
    devices = devices_used(os.environ) if cuda and plan.suite.telemetry.enabled else ()
    watching = Watching(plan.suite.telemetry, writer.path, plugin_files, threads, devices)
    engine = _Engine(plan, record, writer, store, watcher, watching)
    try:
        with watching:
            if watching.record is not None:
                record.telemetry.append(watching.record)
            engine.visit_all(finished or set())
    except BaseException as error:
        if not isinstance(error, StoreError):
            engine.finish("interrupted")
        raise
    finished_record = engine.finish("finished")
    watching.clear()
    return finished_record


class _Engine:
    """Holds what the visits of a run share."""

    def __init__(
        self,
        plan: Plan,
        record: RunRecord,
        writer: RunWriter,
        store: Store,
        watcher: Watcher,
        watching: Watching,
    ) -> None:
        self._plan = plan
        self._record = record
        self._writer = writer
        self._store = store
        self._watcher = watcher
        self._watching = watching
        self._plugin_files = [Path(name) for name in record.plugin_files]
        self._cases = {case.id: case for case in plan.cases}
        self._overheads: list[float] = []
        self._tasks = writer.path / "tasks"
        self._started_ns = now_ns()
        self._own_caches = store.cache / "startup" / record.id

    def visit_all(self, finished: set[Visit]) -> None:
        self._tasks.mkdir(exist_ok=True)
        started = self._started_ns = now_ns()
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
        stored = Run(self._writer.path)
        values = measured_values(stored)
        readings = stored.telemetry
        idle = next((process.idle for process in record.telemetry if process.idle), None)
        for case in record.cases:
            scenario = find(Scenario, case.scenario)
            summarise(case, scenario, values)
            case.telemetry = summarise_case(case, readings)
            case.energy = case_energy(case, readings, idle)
        return self._writer.finish(record)

    def _given_up(self, case_id: str) -> bool:
        """A case that failed and never succeeded is not tried again in later rounds."""
        rounds = self._record.case(case_id).rounds
        return bool(rounds) and status_of(rounds) != "done"

    def _visit(self, case: Case, number: int, seconds: float, place: int) -> None:
        spec = self._plan.suite.telemetry
        least = self._plan.suite.run.min_samples
        attempts = 1
        while True:
            started = now_ns()
            found, rows, seen, task_file = self._measure(case, number, seconds)
            judged = judge(found, rows, seen, spec, least)
            more = judged.repeat and spec.on_disturbance == "retry" and attempts <= spec.retries
            if not more or not self._time_for(seconds_since(started)):
                break
            attempts += 1
        found = judged.record.model_copy(
            update={"order": place, "command": worker_command(task_file), "attempts": attempts}
        )
        found.cautions.extend(_repeated(attempts, number, still=judged.repeat))
        samples = [Samples(s.point, s.phase, s.iteration, s.metric, s.values) for s in judged.rows]
        self._writer.add_round(case.id, found, samples, seen.telemetry if seen else None)
        self._record.case(case.id).rounds.append(found)
        self._watcher.visited(found)

    def _time_for(self, seconds: float) -> bool:
        """Whether the budget has room for another visit as long as the last one."""
        budget = self._plan.suite.run.budget
        return budget is None or budget - seconds_since(self._started_ns) > seconds

    def _measure(
        self, case: Case, number: int, seconds: float
    ) -> tuple[RoundRecord, list[SampleRow], Seen | None, Path]:
        log = self._writer.log_path(case.id, number)
        task_file = self._tasks / f"{log.stem}.json"
        started_at, started = _now(), now_ns()
        positions = min(MOST_POSITIONS, *(p.context for p in self._plan.points[case.id]))
        reference, ended = self._reference(case, positions, task_file, log)
        self._watching.begin()
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
                listen=self._hear,
                started=self._watching.follow,
            )
        seen = self._watching.end()
        if ended.result is None:
            return failed_round(number, started_at, ended), [], seen, task_file
        found = ended.result.record
        found.cautions.extend(self._watching.elsewhere(found.facts))
        found.span_energy = _span_energy(ended.result.spans, seen)
        measured = sum(p.end_ns - p.start_ns for p in found.phases if p.name in _SAMPLING) / 1e9
        self._overheads.append(max(0.0, seconds_since(started) - measured))
        return found, ended.result.samples, seen, task_file

    def _hear(self, event: PhaseStarted | Progress) -> None:
        self._watching.hear(event)
        if not isinstance(event, PhaseStarted) or event.name != "end":
            self._watcher.event(event)

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
        digest = self._plan.model(case).digest
        path = reference_path(self._store.cache, digest, positions, case.dtype).resolve()
        if path.exists():
            return path, None
        ended = compute_reference(
            case,
            path,
            positions,
            task_file,
            log,
            plugin_files=self._plugin_files,
            time_limit=self._plan.suite.run.time_limit,
            listen=self._watcher.event,
            started=self._watching.follow,
        )
        return path, ended


def compute_reference(
    case: Case,
    path: Path,
    positions: int,
    task_file: Path,
    log: Path,
    *,
    plugin_files: Sequence[Path],
    time_limit: float,
    listen: Callable[[PhaseStarted | Progress], None],
    started: Callable[[int], None] = lambda _: None,
) -> Ended:
    """Have the reference logits of a case's model written to `path`, by a process of its own."""
    listen(PhaseStarted(name="reference"))
    task = ReferenceTask(
        parent_pid=os.getpid(),
        plugin_files=list(plugin_files),
        model=case.model,
        seed=case.model_seed,
        positions=positions,
        dtype=case.dtype,
        threads=case.threads,
        output=path,
    )
    return run_worker(
        task,
        task_file.with_name(f"reference-{task_file.name}"),
        log,
        threads=case.threads,
        time_limit=time_limit,
        listen=listen,
        started=started,
    )


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


def _span_energy(rows: Sequence[SpanRow], seen: Seen | None) -> list[SpanEnergyRecord]:
    """Return what prefill and decode used; its stretches are too many to be kept."""
    if seen is None or seen.telemetry is None or not rows:
        return []
    from harness.telemetry.span_energy import span_energies

    spans: dict[tuple[str, str], list[Span]] = {}
    for row in rows:
        span = Span(row.kind, row.start_ns, row.end_ns, row.tokens)
        spans.setdefault((row.kind, row.point), []).append(span)
    return span_energies(spans, seen.telemetry)


def _repeated(attempts: int, number: int, *, still: bool) -> Iterator[Caution]:
    if attempts > 1:
        how = "this attempt was disturbed too" if still else "this attempt was not disturbed"
        yield caution(CautionKind.REPEATED, f"measured {attempts} times: {how}", round=number)


def failed_round(number: int, started_at: str, ended: Ended) -> RoundRecord:
    """Return the record of a round whose worker ended without a result."""
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
