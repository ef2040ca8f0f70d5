"""`harness ab`: two revisions, environments or settings in turn on one machine, and a verdict.

The default for noisy CI: both sides see the same machine at the same time. Exit statuses are those
of `harness gate`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.arguments import PluginOption, StoreOption
from harness.cli.complete import suite_names
from harness.cli.explain import ExplainOption, ExplainRoundsOption, ExplainToOption, with_causes
from harness.cli.gate import (
    GithubOption,
    GitlabOption,
    InconclusiveOption,
    JsonFileOption,
    JunitOption,
    MarkdownOption,
    OnInconclusive,
    conclude,
)
from harness.cli.gate_options import AllowOption, MarginOption, MetricOption, rules_for
from harness.errors import InputError
from harness.store.folder import DEFAULT_ROOT

if TYPE_CHECKING:
    from harness.engine.duet import Turn
    from harness.engine.side import Side

__all__ = ["Which", "ab", "print_turn", "two_sides"]

BaseOption = Annotated[
    str | None, typer.Option(metavar="REV", help="A revision of your project.", show_default=False)
]
CandOption = Annotated[
    str | None,
    typer.Option(metavar="REV", help="The other one; . is the working tree.", show_default="."),
]
InstallOption = Annotated[
    str | None,
    typer.Option(
        metavar="CMD", help="Shell command in each checkout; a .venv that it makes is used."
    ),
]
PathOption = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", help="Folder of the project to import from; none for no such folder.",
        show_default="src, or the project",
    ),
]  # fmt: skip
BudgetOption = Annotated[
    str | None, typer.Option(help="Time for all rounds, e.g. 15m.", show_default=False)
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="For both sides.")
]


def ab(
    suite: Annotated[str, typer.Argument(help="A suite.", autocompletion=suite_names)],
    base: BaseOption = None,
    cand: CandOption = None,
    base_python: Annotated[
        str | None, typer.Option(metavar="PYTHON", help="Interpreter of the base.")
    ] = None,
    cand_python: Annotated[
        str | None, typer.Option(metavar="PYTHON", help="Interpreter of the candidate.")
    ] = None,
    base_set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Setting of the base.")
    ] = None,
    cand_set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Setting of the candidate.")
    ] = None,
    set_: SetOption = None,
    install: InstallOption = None,
    path: PathOption = None,
    plugin: PluginOption = None,
    budget: BudgetOption = None,
    pairs: Annotated[int, typer.Option(min=1, help="Rounds of process pairs at most.")] = 30,
    blocks: Annotated[int, typer.Option(min=1, help="Blocks per side, round and point.")] = 4,
    block_seconds: Annotated[
        float, typer.Option(min=0.0, help="A block lasts so long, and one generation.")
    ] = 0.5,
    drop_straddling: Annotated[
        bool,
        typer.Option(
            "--drop-straddling", help="Leave out pairs where the machine switched states."
        ),
    ] = False,
    margin: MarginOption = None,
    metric: MetricOption = None,
    allow_different: AllowOption = None,
    on_inconclusive: InconclusiveOption = OnInconclusive.FAIL,
    junit: JunitOption = None,
    markdown: MarkdownOption = None,
    json: JsonFileOption = None,
    gitlab: GitlabOption = None,
    github: GithubOption = False,
    explain: ExplainOption = False,
    explain_to: ExplainToOption = None,
    explain_rounds: ExplainRoundsOption = None,
    store: StoreOption = Path(DEFAULT_ROOT),
) -> int:
    """Compare two revisions, Pythons or settings, interleaved. Exit status as harness gate."""
    from harness.engine.duet import DuetPlan
    from harness.engine.suites import suite_path
    from harness.gate.ab import Ab, run_ab
    from harness.plugins import add_file
    from harness.spec import parse_duration
    from harness.store import Store

    for file in plugin or ():
        add_file(file)
    try:
        seconds = parse_duration(budget) if budget is not None else None
    except ValueError as error:
        raise InputError(f"--budget {budget}", expected=str(error)) from error
    which = Which(
        revisions=(base, cand),
        pythons=(base_python, cand_python),
        settings=([*(set_ or []), *(base_set or [])], [*(set_ or []), *(cand_set or [])]),
        own=(base_set or [], cand_set or []),
        plugins=plugin or [],
        install=install,
        path=path,
    )
    with two_sides(which) as sides:
        result = run_ab(
            Store(store),
            Ab(
                suite=suite_path(suite).resolve(),
                sides=sides,
                rules=lambda planned: rules_for(
                    planned.record.suite_resolved,
                    margin=margin,
                    allow=allow_different or (),
                    metrics=metric or (),
                    drop_straddling=drop_straddling,
                ),
                plan=DuetPlan(pairs, blocks, block_seconds, seconds),
                command=("harness", *sys.argv[1:]),
            ),
            told=print_turn,
        )
        judgement = result.judgement
        if explain or explain_to:  # while the revisions' worktrees are there
            interpreters = sides[0].interpreter, sides[1].interpreter
            records = result.runs[0].record, result.runs[1].record
            judgement = with_causes(
                judgement, Store(store), records, interpreters, explain_to or (), explain_rounds
            )
    names = ", ".join(run.id for run in result.runs)
    typer.echo(f"{result.rounds} rounds, kept as {names}", err=True)
    return conclude(
        judgement,
        junit=junit,
        markdown=markdown,
        json=json,
        gitlab=gitlab,
        github=github,
        on_inconclusive=on_inconclusive,
    )


@dataclass(frozen=True)
class Which:
    """What the command line says of both sides: base first."""

    revisions: tuple[str | None, str | None] = (None, None)
    pythons: tuple[str | None, str | None] = (None, None)
    settings: tuple[Sequence[str], Sequence[str]] = ((), ())
    own: tuple[Sequence[str], Sequence[str]] = ((), ())
    """Those settings in which they differ."""
    plugins: Sequence[Path] = ()
    install: str | None = None
    path: str | None = None


@contextlib.contextmanager
def two_sides(which: Which) -> Iterator[tuple[Side, Side]]:
    """Make both sides, with worktrees where revisions are named; they go when this is left.

    Raises:
        InputError: where nothing distinguishes the sides, or a revision or interpreter is none.
    """
    from harness.engine.side import Side
    from harness.engine.spawn import Interpreter
    from harness.gate.worktrees import WORKING_TREE, checkout, project_root
    from harness.settings import parse_setting

    by_revision = any(which.revisions)
    if not (by_revision or any(which.pythons) or any(which.own)):
        raise InputError(
            "nothing tells the two sides apart",
            expected="--base REV, --base-python and --cand-python, or --base-set and --cand-set",
        )
    for given in filter(None, which.pythons):
        if not Path(given).exists():
            raise InputError("no such interpreter", where=given)
    root = project_root(Path.cwd()) if by_revision else Path.cwd()
    with contextlib.ExitStack() as stack:
        sides = []
        for number, name in enumerate(("base", "cand")):
            python = which.pythons[number]
            interpreter, files, project = Interpreter(python or sys.executable), [], root
            labels: list[str] = [python] if python else []
            if by_revision:
                revision = which.revisions[number] or WORKING_TREE
                found = stack.enter_context(checkout(root, revision, which.install))
                interpreter, project = found.interpreter(which.path, python), found.folder
                files = [found.inside(root, file) for file in which.plugins]
                labels.insert(0, found.label)
            labels += which.own[number]
            side = Side(
                name=name,
                label=", ".join(labels) or "as the suite says",
                interpreter=interpreter,
                plugin_files=tuple(files or which.plugins),
                settings=dict(parse_setting(text) for text in which.settings[number]),
                project=project,
            )
            sides.append(side)
        if sides[0].label == sides[1].label and not all(which.pythons):
            raise InputError(f"both sides are {sides[0].label}", expected="two that differ")
        yield sides[0], sides[1]


def print_turn(turn: Turn, case_id: str) -> None:
    """Say on stderr what a round of one case gave."""
    wrong = [
        f"{name} {record.status}"
        for name, record in zip(("base", "candidate"), turn.records, strict=True)
        if record.status != "done"
    ]
    outcome = ", ".join(wrong) or "done"
    typer.echo(f"[{turn.number + 1}] {case_id}: {outcome} ({turn.seconds:.1f} s)", err=True)
