"""`harness explain BASE CAND`: profile both in turn, and name what made one slower."""

from __future__ import annotations

import fnmatch
import json as json_text
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from harness.cli.arguments import JsonOption, StoreOption
from harness.cli.complete import run_ids
from harness.errors import HarnessError, InputError, UnavailableError
from harness.store.folder import DEFAULT_ROOT

if TYPE_CHECKING:
    from harness.engine.profile import Profiled, Side
    from harness.engine.spawn import Interpreter
    from harness.gate.judgement import Judgement
    from harness.profiling.causes import Cause
    from harness.profiling.difference import PhaseChange
    from harness.store import Store
    from harness.store.record import RunRecord

__all__ = ["ExplainOption", "explain", "explained", "with_causes"]

_PHASES = ("decode", "prefill")
_ROUNDS = 5

ExplainOption = Annotated[
    bool, typer.Option("--explain", help="On a regression, profile both sides and say why.")
]


def explain(
    base: Annotated[str, typer.Argument(help="The run before.", autocompletion=run_ids)],
    candidate: Annotated[str, typer.Argument(help="The run after.", autocompletion=run_ids)],
    case: Annotated[str, typer.Option(help="Only cases whose id fits.")] = "*latency*",
    rounds: Annotated[int, typer.Option(min=2, help="Pairs of fresh processes.")] = _ROUNDS,
    store: StoreOption = Path(DEFAULT_ROOT),
    json: JsonOption = False,
) -> int:
    """Say why a run is slower than another, by profiling its cases again, both sides in turn."""
    from harness.store import Store as TheStore

    opened = TheStore(store)
    answers = explained(
        opened,
        (opened.find(base).record, opened.find(candidate).record),
        lambda name: fnmatch.fnmatch(name, case),
        rounds,
    )
    if not answers:
        raise InputError(
            f"no case of both runs fits {case!r}", remedy="harness show RUN lists a run's cases"
        )
    if json:
        typer.echo(json_text.dumps(answers))
    else:
        _show(answers)
    return 0


def explained(
    store: Store,
    runs: tuple[RunRecord, RunRecord],
    chosen: Callable[[str], bool],
    rounds: int,
    interpreters: tuple[Interpreter, Interpreter] | None = None,
) -> list[dict[str, Any]]:
    """Profile cases of two runs in turn; return for each phase what changed, and why.

    Args:
        store: Where reference logits are kept.
        runs: Base and candidate.
        chosen: Whether a case of the candidate, or of base, is looked at; by its id.
        rounds: Pairs of fresh processes.
        interpreters: What each side runs on; None for this one.

    Raises:
        UnavailableError: where a side cannot be profiled.
    """
    from harness.profiling.causes import causes, sentence
    from harness.profiling.difference import difference

    answers: list[dict[str, Any]] = []
    for pair in _pairs(*runs, chosen):
        sides = pair
        if interpreters is not None:
            one, other = (
                replace(side, interpreter=interpreter)
                for side, interpreter in zip(pair, interpreters, strict=True)
            )
            sides = one, other
        base, cand = _profiled(sides, store.cache.resolve(), rounds)
        for side in (base, cand):
            if side.failure is not None:
                raise UnavailableError(
                    f"{side.side.case.id} failed in {side.failure.phase}: {side.failure.reason}"
                )
        for phase in _PHASES:
            change = difference(base.profiles, cand.profiles, phase)
            if change is None:
                continue
            found = causes(change, _facts(base), _facts(cand))
            answers.append(_plain(sides[1].case.id, change, found, sentence(change, found)))
    return answers


def with_causes(
    judgement: Judgement,
    store: Store,
    runs: tuple[RunRecord, RunRecord],
    interpreters: tuple[Interpreter, Interpreter] | None = None,
) -> Judgement:
    """Return a judgement with a note on why, for each case that it found slower.

    Where a case cannot be explained the note says so: the verdict stands without.
    """
    slower = {row.case for row in judgement.rows if row.primary and row.verdict == "regression"}
    if not slower:
        return judgement
    try:
        answers = explained(store, runs, slower.__contains__, _ROUNDS, interpreters)
    except (HarnessError, ValidationError) as error:  # other tools' records hold no suite
        notes = [f"why: could not be profiled: {error}"]
    else:
        notes = [f"why: {a['case']}: {a['sentence']}" for a in answers if a["is_sure"]]
        if not notes:
            notes = ["why: profiled again, no phase of these cases was surely slower"]
    return judgement.model_copy(update={"notes": [*judgement.notes, *notes]})


def _pairs(
    base: RunRecord, cand: RunRecord, chosen: Callable[[str], bool]
) -> Iterator[tuple[Side, Side]]:
    """Yield the chosen cases that both runs have, by id; a single one of each is a pair as well.

    Where a setting tells the runs apart, ids differ: then the n-th case is the n-th.
    """
    all_base, all_cand = _sides(base), _sides(cand)
    one = [side for side in all_base if chosen(side.case.id)]
    other = [side for side in all_cand if chosen(side.case.id)]
    by_id = {side.case.id: side for side in one}
    if len(one) == len(other) == 1:
        yield one[0], other[0]
    elif not one and len(all_base) == len(all_cand):
        yield from (pair for pair in zip(all_base, all_cand, strict=True) if pair[1] in other)
    else:
        yield from ((by_id[s.case.id], s) for s in other if s.case.id in by_id)


def _sides(record: RunRecord) -> list[Side]:
    from harness.engine.plan import make_plan
    from harness.engine.profile import Side
    from harness.plugins import add_file
    from harness.spec import Source, Suite

    files = tuple(Path(name) for name in record.plugin_files)
    for path in files:
        add_file(path)
    suite = Suite.model_validate(record.suite_resolved)
    plan = make_plan(suite, Source(f"run {record.id}", record.suite_text))
    return [Side(record.id, plan, case, files) for case in plan.cases if case.unavailable is None]


def _profiled(sides: tuple[Side, Side], cache: Path, rounds: int) -> list[Profiled]:
    from harness.engine.profile import profile_in_turn

    console = Console(stderr=True)
    with console.status("profiling both sides in turn"), tempfile.TemporaryDirectory() as name:
        return profile_in_turn(
            sides,
            Path(name),
            cache,
            kinds=["torch"],
            rounds=rounds,
            seconds=0,
            listen=lambda _: None,
        )


def _facts(side: Profiled) -> dict[str, Any]:
    options = side.side.case.backend_options
    return {**side.profiles[-1].facts, "threads": options["threads"], "dtype": options["dtype"]}


def _plain(case: str, change: PhaseChange, found: list[Cause], words: str) -> dict[str, Any]:
    return {
        "case": case,
        "phase": change.phase,
        "sentence": words,
        "is_sure": change.is_sure,
        "ratio": change.ratio,
        "low": change.low,
        "high": change.high,
        "unexplained": change.unexplained,
        "causes": [asdict(cause) for cause in found],
    }


def _show(answers: list[dict[str, Any]]) -> None:
    console = Console(highlight=False)
    last = ""
    for answer in answers:
        if answer["case"] != last:
            console.print(answer["case"], style="bold", markup=False)
            last = answer["case"]
        console.print(f"  {answer['sentence']}", markup=False)
        for cause in answer["causes"][1:4]:
            console.print(f"    {cause['share']:5.0%} {cause['words']}", markup=False)
