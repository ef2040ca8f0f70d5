"""Two sides of one suite in turn, so that both see the same machine: the engine of `harness ab`.

A round takes every case with a fresh process on each side. Both stay loaded and measure one block
each in turn (ABBA), the resting one frozen; where memory does not hold both, whole processes take
turns and the record says so. Rounds go on until the caller has decided every case, or the budget
is spent. It must not know how a case is decided.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from harness.contracts import Scenario
from harness.engine.case import DuetTask
from harness.engine.clock import now_ns, seconds_since
from harness.engine.events import BLOCK, NEXT, BlockDone, PhaseStarted, Progress, Ready
from harness.engine.reference import MOST_POSITIONS, reference_path
from harness.engine.run import compute_reference, failed_round
from harness.engine.side import PlannedCase, PlannedSide, Side
from harness.engine.spawn import Ended, LiveWorker, worker_command
from harness.engine.summary import measured_values, status_of, summarise
from harness.environment.gpu import gpus
from harness.errors import InputError
from harness.memory import meter
from harness.plugins import find
from harness.store import Run, RunWriter, Samples, Store
from harness.store.record import DuetRecord, RoundRecord

__all__ = ["Duet", "DuetPlan", "Turn", "record_duet", "why_not_both"]

_INTERPRETER_BYTES = 700 * 2**20
"""What a worker takes beside weights and cache: interpreter, torch, buffers of the probe."""
_SHARE = 0.9


@dataclass(frozen=True)
class DuetPlan:
    """How much a duet measures."""

    rounds: int = 30
    """At most."""
    blocks: int = 4
    """Per side, round and point; even, so that each side is first as often as the other."""
    block_seconds: float = 0.5
    """A block lasts at least this long, and one generation."""
    budget: float | None = None
    """Seconds for all rounds; the round that would pass it is not begun."""


@dataclass(frozen=True)
class Turn:
    """A round of one case, as the caller is told of it."""

    number: int
    case: int
    records: tuple[RoundRecord, RoundRecord]
    """Base and candidate."""
    seconds: float


@dataclass
class _Half:
    """One side while it plays."""

    side: Side
    planned: PlannedSide
    writer: RunWriter
    places: dict[str, list[int]] = field(default_factory=dict)
    """Point to the places of its blocks so far, in this round."""


class Duet:
    """Two planned sides, their runs in the store, and the rounds they play."""

    def __init__(
        self,
        sides: tuple[Side, Side],
        planned: tuple[PlannedSide, PlannedSide],
        writers: tuple[RunWriter, RunWriter],
        store: Store,
        plan: DuetPlan,
        listen: Callable[[PhaseStarted | Progress], None],
    ) -> None:
        base, cand = planned
        if len(base.cases) != len(cand.cases):
            raise InputError(
                f"base plans {len(base.cases)} cases and the candidate {len(cand.cases)}",
                expected="the same cases on both sides",
            )
        for one, other in zip(base.cases, cand.cases, strict=True):
            alike = (one.case.scenario, one.case.scenario_options)
            if alike != (other.case.scenario, other.case.scenario_options):
                raise InputError(
                    f"base has {one.case.id} where the candidate has {other.case.id}",
                    expected="the same work on both sides",
                )
        self._halves = tuple(_Half(*each) for each in zip(sides, planned, writers, strict=True))
        duet = base.record.duet
        self._both_stay_loaded = duet is None or duet.interleaved == "generations"
        self._store = store
        self._plan = plan
        self._listen = listen

    def play(self, undecided: Callable[[int], set[int]], told: Callable[[Turn], None]) -> int:
        """Play rounds; return how many.

        Args:
            undecided: Called with the number of rounds played; returns the cases to go on with,
                by their number.
            told: Called after each case of a round; nothing measures meanwhile.

        Raises:
            StoreError: where the store cannot be written; every round added before is kept.
        """
        started, longest, played = now_ns(), 0.0, 0
        playing = {i for i, one in enumerate(self._halves[0].planned.cases) if self._can_play(i)}
        budget = self._plan.budget
        while playing and played < self._plan.rounds:
            begun = now_ns()
            if budget is not None and played and seconds_since(started) + longest > budget:
                break
            for case in sorted(playing):
                turn_begun = now_ns()
                records = self._round(played, case)
                told(Turn(played, case, records, seconds_since(turn_begun)))
            longest = max(longest, seconds_since(begun))
            played += 1
            playing = {c for c in undecided(played) & playing if self._goes_on(c, played)}
        return played

    def finish(self, status: str) -> None:
        """Write figures and status of both runs."""
        for half in self._halves:
            record = half.planned.record
            record.status = "finished" if status == "finished" else "interrupted"
            record.finished_at = _now()
            record.rounds = max((len(case.rounds) for case in record.cases), default=0)
            values = measured_values(Run(half.writer.path))
            for case in record.cases:
                summarise(case, find(Scenario, case.scenario), values)
            half.writer.finish(record)

    def _can_play(self, case: int) -> bool:
        return all(h.planned.cases[case].case.unavailable is None for h in self._halves)

    def _goes_on(self, case: int, played: int) -> bool:
        """An exact case is observed once; one that is wrong or fails is not tried again."""
        rounds = [h.planned.record.cases[case].rounds for h in self._halves]
        if any(status_of(each) != "done" for each in rounds):
            return False
        one = self._halves[0].planned
        own, general = one.cases[case].case.rounds, one.suite.run.rounds
        return not one.cases[case].once and not (own < general and played >= own)

    def _round(self, number: int, case: int) -> tuple[RoundRecord, RoundRecord]:
        begun = _now()
        references = [self._reference(half, case) for half in self._halves]
        for half in self._halves:
            half.places = {}
        if failure := next((e for e in references if isinstance(e, Ended)), None):
            endings = [failure, failure]
        elif self._both_stay_loaded:
            endings = self._interleaved(number, case, [Path(str(r)) for r in references])
        else:
            endings = self._one_after_the_other(number, case, [Path(str(r)) for r in references])
        base, cand = (
            self._keep(half, number, case, ended, begun)
            for half, ended in zip(self._halves, endings, strict=True)
        )
        return base, cand

    def _interleaved(self, number: int, case: int, references: Sequence[Path]) -> list[Ended]:
        """Both sides alive: each warms a point up alone, then blocks in turn."""
        first = number % 2
        order = [self._halves[first], self._halves[1 - first]]
        workers: dict[str, LiveWorker] = {}
        states: dict[str, Ready | BlockDone | Ended] = {}
        with ExitStack() as stack:
            told: bytes | None = None
            while True:
                for half in order:
                    name = half.side.name
                    if name not in workers:
                        # Begun only now, so that the other side loaded and warmed up alone.
                        reference = references[self._halves.index(half)]
                        worker = self._worker(half, number, case, reference)
                        workers[name] = stack.enter_context(worker)
                    states[name] = workers[name].advance(told)
                    workers[name].freeze()
                points = [s.point for s in states.values() if isinstance(s, Ready)]
                if len(points) < len(order):
                    break
                self._blocks(order, workers, points[0])
                told = NEXT
            return [_to_its_end(workers[h.side.name], states[h.side.name]) for h in self._halves]

    def _blocks(self, order: Sequence[_Half], workers: dict[str, LiveWorker], point: str) -> None:
        place = 0
        for pair in range(self._plan.blocks):
            for half in order if pair % 2 == 0 else reversed(order):
                worker = workers[half.side.name]
                if isinstance(worker.advance(BLOCK), BlockDone):
                    half.places.setdefault(point, []).append(place)
                worker.freeze()
                place += 1

    def _one_after_the_other(
        self, number: int, case: int, references: Sequence[Path]
    ) -> list[Ended]:
        endings: dict[str, Ended] = {}
        first = number % 2
        for half in (self._halves[first], self._halves[1 - first]):
            reference = references[self._halves.index(half)]
            with self._worker(half, number, case, reference) as worker:
                state = worker.advance()
                blocks = 0
                while not isinstance(state, Ended):
                    blocks = blocks + 1 if isinstance(state, BlockDone) else 0
                    state = worker.advance(BLOCK if blocks < self._plan.blocks else NEXT)
                endings[half.side.name] = state
        return [endings[half.side.name] for half in self._halves]

    def _worker(self, half: _Half, number: int, case: int, reference: Path):  # type: ignore[no-untyped-def] # a context of LiveWorker
        planned, run = half.planned.cases[case], half.planned.suite.run
        task_file, log = self._files(half, planned, number)
        task = DuetTask(
            parent_pid=os.getpid(),
            plugin_files=[path.resolve() for path in half.side.plugin_files],
            cache=self._store.cache.resolve(),
            case=planned.case,
            round=number,
            run=run,
            max_seconds=run.max_seconds,
            reference=reference,
            positions=min(MOST_POSITIONS, planned.positions),
            block_seconds=self._plan.block_seconds,
            thorough=number == 0,
        )
        return LiveWorker.start(
            task,
            task_file,
            log,
            threads=planned.case.threads,
            time_limit=run.time_limit,
            listen=self._listen,
            interpreter=half.side.interpreter,
        )

    def _reference(self, half: _Half, case: int) -> Path | Ended:
        planned = half.planned.cases[case]
        positions = min(MOST_POSITIONS, planned.positions)
        path = reference_path(self._store.cache, planned.digest, positions, planned.case.dtype)
        path = path.resolve()
        if path.exists():
            return path
        task_file, log = self._files(half, planned, 0)
        ended = compute_reference(
            planned.case,
            path,
            positions,
            task_file,
            log,
            plugin_files=[p.resolve() for p in half.side.plugin_files],
            time_limit=half.planned.suite.run.time_limit,
            listen=self._listen,
        )
        return ended if ended.failure is not None else path

    def _files(self, half: _Half, planned: PlannedCase, number: int) -> tuple[Path, Path]:
        log = half.writer.log_path(planned.case.id, number)
        tasks = half.writer.path / "tasks"
        tasks.mkdir(exist_ok=True)
        return tasks / f"{log.stem}.json", log

    def _keep(self, half: _Half, number: int, case: int, ended: Ended, begun: str) -> RoundRecord:
        """Put one side's round on the disk; blocks get their places among both sides'."""
        planned = half.planned.cases[case]
        task_file, _ = self._files(half, planned, number)
        rows: list[Samples] = []
        if ended.result is None:
            found = failed_round(number, begun, ended)
        else:
            found = ended.result.record
            rows = [
                Samples(s.point, s.phase, s.iteration, s.metric, s.values)
                for s in ended.result.samples
            ]
        places = {point: iter(own) for point, own in half.places.items()}
        blocks = [
            block.model_copy(update={"place": next(places[block.point])})
            for block in found.blocks
            if block.point in places and block.place < len(half.places[block.point])
        ]
        command = worker_command(task_file, half.side.interpreter)
        found = found.model_copy(update={"order": number, "command": command, "blocks": blocks})
        half.writer.add_round(planned.case.id, found, rows)
        half.planned.record.cases[case].rounds.append(found)
        half.planned.record.cases[case].status = status_of(half.planned.record.cases[case].rounds)
        return found


def _to_its_end(worker: LiveWorker, state: Ready | BlockDone | Ended) -> Ended:
    """Let a worker end whose partner may have failed: it measures what it must and no more."""
    while not isinstance(state, Ended):
        state = worker.advance(BLOCK if isinstance(state, Ready) else NEXT)
    return state


def why_not_both(planned: Sequence[PlannedCase]) -> str | None:
    """Return why both sides cannot stay loaded together; None where memory holds them."""
    needed = sum(p.peak_bytes + _INTERPRETER_BYTES for p in planned)
    if planned[0].case.device == "cpu":
        free = meter("cpu").available_bytes()
    else:
        found = gpus()
        sizes = [g.get("memory_bytes") for g in found] if isinstance(found, list) else []
        known = [size for size in sizes if isinstance(size, int)]
        if not known:
            return "the GPU's memory is not known"
        free = min(known)
    if needed <= _SHARE * free:
        return None
    return (
        f"since both sides together take some {needed / 2**30:.1f} GiB and "
        f"{free / 2**30:.1f} GiB are free"
    )


def record_duet(planned: tuple[PlannedSide, PlannedSide], sides: tuple[Side, Side]) -> None:
    """Write into both records that they belong together, and how they take turns.

    One case that does not fit twice decides for all: a run is interleaved one way.
    """
    reasons = [
        why_not_both(cases) for cases in zip(planned[0].cases, planned[1].cases, strict=True)
    ]
    because = next((reason for reason in reasons if reason), None)
    for number, name in enumerate(("base", "cand")):
        planned[number].record.duet = DuetRecord(
            side="base" if name == "base" else "cand",
            label=sides[number].label,
            partner=planned[1 - number].record.id,
            interleaved="processes" if because else "generations",
            because=because,
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
