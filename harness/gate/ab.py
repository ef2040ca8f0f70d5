"""A/B from two sides to a judgement: rounds of the duet, a look now and then, stop when decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.engine.duet import Duet, DuetPlan, Turn, record_duet
from harness.engine.events import PhaseStarted, Progress
from harness.engine.side import PlannedSide, Side, plan_by_worker
from harness.errors import HarnessError
from harness.gate.evidence import Evidence, evidence_of
from harness.gate.judge import Rules, judge
from harness.gate.judgement import Judgement
from harness.stats import SequentialPlan
from harness.store import Run, RunWriter, Store

__all__ = ["Ab", "AbResult", "run_ab"]


@dataclass(frozen=True)
class Ab:
    """What is held against what, and how much of it."""

    suite: Path
    sides: tuple[Side, Side]
    rules: Callable[[PlannedSide], Rules]
    """From the candidate's suite."""
    plan: DuetPlan = field(default_factory=DuetPlan)
    models: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    early_stop: bool = True
    """Whether a case that is decided is measured no more."""


@dataclass(frozen=True)
class AbResult:
    """What was found, and the runs it was found in."""

    judgement: Judgement
    runs: tuple[Run, Run]
    rounds: int


def run_ab(
    store: Store,
    ab: Ab,
    *,
    told: Callable[[Turn, str], None],
    listen: Callable[[PhaseStarted | Progress], None] = lambda _: None,
    judged: Callable[[Judgement, int], None] = lambda _judgement, _rounds: None,
) -> AbResult:
    """Play rounds until every case is decided, the budget is spent or the last look is made.

    Interrupted, both runs are kept as far as they are, and KeyboardInterrupt goes on.

    Args:
        store: Where both runs are kept.
        ab: What to do.
        told: Called after each case of a round, with the case's id.
        listen: Called for a worker's phases.
        judged: Called after each look.

    Raises:
        InputError: where a side cannot plan the suite, or the two do not measure the same.
    """
    folder = store.cache / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    ids = [store.new_id(f"{ab.suite.stem}-{side.name}") for side in ab.sides]
    base, cand = (
        plan_by_worker(
            side,
            ab.suite,
            run_id,
            ab.command,
            folder.resolve(),
            models=ab.models,
            backends=ab.backends,
            scenarios=ab.scenarios,
            listen=listen,
        )
        for side, run_id in zip(ab.sides, ids, strict=True)
    )
    planned = (base, cand)
    rules = ab.rules(cand)
    record_duet(planned, ab.sides)
    with store.create(base.record) as one, store.create(cand.record) as other:
        duet = Duet(ab.sides, planned, (one, other), store, ab.plan, listen)

        def undecided(rounds: int) -> set[int]:
            numbers = set(range(len(cand.cases)))
            if not ab.early_stop or SequentialPlan().at(rounds) is None:
                return numbers
            judgement = _judge((one, other), planned, rules)
            judged(judgement, rounds)
            unsure = {r.case for r in judgement.rows if r.primary and r.verdict == "inconclusive"}
            return {n for n in numbers if cand.record.cases[n].id in unsure}

        try:
            rounds = duet.play(undecided, lambda turn: told(turn, cand.cases[turn.case].case.id))
        except BaseException as error:
            if not isinstance(error, HarnessError):
                duet.finish("interrupted")
            raise
        duet.finish("finished")
    runs = Run(one.path), Run(other.path)
    labels = ab.sides[0].label, ab.sides[1].label
    judgement = judge(evidence_of(runs[0]), evidence_of(runs[1]), rules, labels=labels)
    return AbResult(judgement, runs, rounds)


def _judge(
    writers: Sequence[RunWriter], planned: tuple[PlannedSide, PlannedSide], rules: Rules
) -> Judgement:
    """Judge what is on the disk so far; the records in memory know more than run.json does."""
    sides: list[Evidence] = [
        evidence_of(Run(writer.path), side.record)
        for writer, side in zip(writers, planned, strict=True)
    ]
    return judge(sides[0], sides[1], rules)
