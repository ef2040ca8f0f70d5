"""`harness explain BASE CAND`: profile both in turn, and name what made one slower."""

from __future__ import annotations

import fnmatch
import json as json_text
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from harness.cli.arguments import JsonOption, StoreOption
from harness.cli.complete import run_ids
from harness.errors import InputError, UnavailableError
from harness.store.folder import DEFAULT_ROOT

if TYPE_CHECKING:
    from harness.engine.profile import Profiled, Side
    from harness.profiling.causes import Cause
    from harness.profiling.difference import PhaseChange
    from harness.store import Run

__all__ = ["explain"]

_PHASES = ("decode", "prefill")


def explain(
    base: Annotated[str, typer.Argument(help="The run before.", autocompletion=run_ids)],
    candidate: Annotated[str, typer.Argument(help="The run after.", autocompletion=run_ids)],
    case: Annotated[str, typer.Option(help="Only cases whose id fits.")] = "*latency*",
    rounds: Annotated[int, typer.Option(min=2, help="Pairs of fresh processes.")] = 5,
    store: StoreOption = Path(DEFAULT_ROOT),
    json: JsonOption = False,
) -> int:
    """Say why a run is slower than another, by profiling its cases again, both sides in turn."""
    from harness.profiling.causes import causes, sentence
    from harness.profiling.difference import difference
    from harness.store import Store

    opened = Store(store)
    pairs = list(_pairs(opened.find(base), opened.find(candidate), case))
    if not pairs:
        raise InputError(
            f"no case of both runs fits {case!r}", remedy="harness show RUN lists a run's cases"
        )
    answers: list[dict[str, Any]] = []
    for sides in pairs:
        one, other = _profiled(sides, opened.cache.resolve(), rounds)
        for side in (one, other):
            if side.failure is not None:
                raise UnavailableError(
                    f"{side.side.case.id} failed in {side.failure.phase}: {side.failure.reason}"
                )
        for phase in _PHASES:
            change = difference(one.profiles, other.profiles, phase)
            if change is None:
                continue
            found = causes(change, _facts(one), _facts(other))
            answers.append(_plain(sides[1].case.id, change, found, sentence(change, found)))
    if json:
        typer.echo(json_text.dumps(answers))
    else:
        _show(answers)
    return 0


def _pairs(base: Run, candidate: Run, pattern: str) -> Iterator[tuple[Side, Side]]:
    """Yield the cases that both runs have; where each run has one, they are a pair by position."""
    one, other = _sides(base, pattern), _sides(candidate, pattern)
    if len(one) == len(other) == 1:
        yield one[0], other[0]
        return
    by_id = {side.case.id: side for side in one}
    for side in other:
        if side.case.id in by_id:
            yield by_id[side.case.id], side


def _sides(run: Run, pattern: str) -> list[Side]:
    from harness.engine.plan import make_plan
    from harness.engine.profile import Side
    from harness.plugins import add_file
    from harness.spec import Source, Suite

    record = run.record
    files = tuple(Path(name) for name in record.plugin_files)
    for path in files:
        add_file(path)
    suite = Suite.model_validate(record.suite_resolved)
    plan = make_plan(suite, Source(f"run {record.id}", record.suite_text))
    return [
        Side(record.id, plan, case, files)
        for case in plan.cases
        if fnmatch.fnmatch(case.id, pattern) and case.unavailable is None
    ]


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
