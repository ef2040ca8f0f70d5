"""`harness explain BASE CAND`: profile both in turn, and name what made one slower."""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from harness.cli.arguments import JsonOption, StoreOption
from harness.cli.complete import run_ids
from harness.errors import HarnessError, InputError
from harness.store.folder import DEFAULT_ROOT

if TYPE_CHECKING:
    from harness.engine.events import PhaseStarted, Progress
    from harness.engine.spawn import Interpreter
    from harness.gate.judgement import Judgement
    from harness.gate.why import Explained
    from harness.store import Store
    from harness.store.record import RunRecord

__all__ = [
    "ExplainOption",
    "ExplainRoundsOption",
    "ExplainToOption",
    "explain",
    "profiling",
    "with_causes",
]


def _known_forms(paths: list[Path] | None) -> list[Path] | None:
    """Refuse a file whose form is unknown before minutes are spent."""
    from harness.gate.outputs.explanation import explanation_writer

    for path in paths or ():
        explanation_writer(path)
    return paths


ExplainRoundsOption = Annotated[
    int | None,
    typer.Option(
        "--explain-rounds",
        min=2,
        help="Pairs of fresh processes to explain with.",
        show_default="5",
    ),
]
ExplainToOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--explain-to",
        metavar="FILE",
        help="--explain, written out too: .html, .md or .json.",
        callback=_known_forms,
    ),
]
ExplainOption = Annotated[
    bool, typer.Option("--explain", help="On a regression, profile both sides and say why.")
]


def explain(
    base: Annotated[str, typer.Argument(help="The run before.", autocompletion=run_ids)],
    candidate: Annotated[str, typer.Argument(help="The run after.", autocompletion=run_ids)],
    case: Annotated[str, typer.Option(help="Only cases whose id fits.")] = "*latency*",
    rounds: Annotated[int, typer.Option(min=2, help="Pairs of fresh processes.")] = 5,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Also write it: .html, .md or .json.",
            callback=_known_forms,
        ),
    ] = None,
    store: StoreOption = Path(DEFAULT_ROOT),
    json: JsonOption = False,
) -> int:
    """Say why a run is slower than another, by profiling its cases again, both sides in turn."""
    from harness.gate.outputs.explanation import explanation_json, explanation_writer
    from harness.gate.why import explained
    from harness.store import Store as TheStore
    from harness.store.durable import write_durably

    opened = TheStore(store)
    writers = [(path, explanation_writer(path)) for path in output or ()]
    runs = opened.find(base).record, opened.find(candidate).record
    with profiling() as listen:
        found = explained(
            opened,
            runs,
            lambda name: fnmatch.fnmatch(name, case),
            rounds,
            sampled=any(path.suffix == ".html" for path, _ in writers),
            listen=listen,
        )
    if not any(one.phases for one in found):
        raise InputError(
            f"no case of both runs fits {case!r}", remedy="harness show RUN lists a run's cases"
        )
    for path, write in writers:
        write_durably(path, write(found).encode())
    if json:
        typer.echo(explanation_json(found))
    else:
        _show(found)
    return 0


@contextlib.contextmanager
def profiling() -> Iterator[Callable[[PhaseStarted | Progress], None]]:
    """Show on a terminal's stderr that both sides are profiled, and in which phase."""
    console = Console(stderr=True)
    with console.status("profiling both sides in turn") as status:
        yield lambda event: status.update(
            f"profiling both sides in turn: {getattr(event, 'name', '')}"
        )


def with_causes(
    judgement: Judgement,
    store: Store,
    runs: tuple[RunRecord, RunRecord],
    interpreters: tuple[Interpreter, Interpreter] | None = None,
    outputs: Sequence[Path] = (),
    rounds: int | None = None,
) -> Judgement:
    """Return a judgement with a note on why, for each case that it found slower.

    Where a case cannot be explained the note says so: the verdict stands without.

    Args:
        judgement: What was found.
        store: Where reference logits are kept.
        runs: Base and candidate.
        interpreters: What each side runs on; None for this one.
        outputs: Files that get the whole explanation, by their suffix.
        rounds: Pairs of fresh processes; None for the usual number.
    """
    from harness.gate.outputs.explanation import explanation_writer
    from harness.gate.why import ROUNDS, explained
    from harness.store.durable import write_durably

    writers = [(path, explanation_writer(path)) for path in outputs]
    slower = {row.case for row in judgement.rows if row.primary and row.verdict == "regression"}
    if not slower:
        return judgement
    try:
        with profiling() as listen:
            found = explained(
                store,
                runs,
                slower.__contains__,
                rounds or ROUNDS,
                interpreters=interpreters,
                sampled=any(path.suffix == ".html" for path in outputs),
                listen=listen,
            )
    except (HarnessError, ValidationError) as error:  # other tools' records hold no suite
        notes = [f"why: could not be profiled: {error}"]
    else:
        notes = [
            f"why: {one.case}: {phase.sentence}"
            for one in found
            for phase in one.phases
            if phase.change.is_sure
        ]
        if not notes:
            notes = ["why: profiled again, no phase of these cases was surely slower"]
        for path, write in writers:
            write_durably(path, write(found).encode())
    return judgement.model_copy(update={"notes": [*judgement.notes, *notes]})


def _show(found: Sequence[Explained]) -> None:
    console = Console(highlight=False)
    for one in found:
        console.print(one.case, style="bold", markup=False)
        for phase in one.phases:
            console.print(f"  {phase.sentence}", markup=False)
            for cause, blamed in list(zip(phase.causes, phase.blamed, strict=True))[1:4]:
                brought = f", {blamed.words}" if blamed else ""
                console.print(f"    {cause.share:5.0%} {cause.words}{brought}", markup=False)
        for words in one.also:
            console.print(f"  also {words}", markup=False)
