"""`harness gate`: a candidate against a baseline, with an exit status for CI.

0 pass or improvement, 1 regression, 2 bad input, 3 a case has no figure, 4 inconclusive,
5 incomparable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.arguments import PluginOption, StoreOption
from harness.cli.complete import run_ids, suite_names
from harness.cli.explain import ExplainOption, ExplainRoundsOption, ExplainToOption, with_causes
from harness.cli.gate_options import AllowOption, MarginOption, MetricOption, rules_for
from harness.errors import InputError
from harness.store.folder import DEFAULT_ROOT

if TYPE_CHECKING:
    from harness.gate.judgement import Judgement
    from harness.store import Store
    from harness.store.record import RunRecord

__all__ = ["OnInconclusive", "conclude", "gate"]


class OnInconclusive(StrEnum):
    """What an inconclusive comparison is to CI."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"


JunitOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write JUnit XML: a test per figure.")
]
MarkdownOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the table as Markdown.")
]
JsonFileOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the judgement; - prints it.")
]
GitlabOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write a GitLab code-quality report.")
]
GithubOption = Annotated[
    bool, typer.Option("--github", help="Annotate the workflow run and write its step summary.")
]
InconclusiveOption = Annotated[
    OnInconclusive, typer.Option(help="Whether an inconclusive comparison exits 0 or 4.")
]


def gate(
    suite: Annotated[
        str | None,
        typer.Argument(
            help="Run this suite now as the candidate.",
            autocompletion=suite_names,
            show_default=False,
        ),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A baseline, a run, or other tools' JSON files (once per file).",
            autocompletion=run_ids,
        ),
    ] = None,
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="What to judge, likewise.",
            show_default="latest",
            autocompletion=run_ids,
        ),
    ] = None,
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
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="For the suite, as in harness run."),
    ] = None,
    plugin: PluginOption = None,
    store: StoreOption = Path(DEFAULT_ROOT),
) -> int:
    """Judge a run against a baseline. Exit 1 regression, 3 no figure, 4 unsure, 5 incomparable."""
    from harness.gate.judge import judge
    from harness.gate.sources import earlier_runs, side_of, two_sides
    from harness.store import Store as TheStore

    if not baseline:
        raise InputError(
            "no baseline is named", remedy="--baseline NAME; harness baseline set NAME makes one"
        )
    if suite and candidate:
        raise InputError(
            f"both a suite to run ({suite}) and --candidate {candidate[0]}", expected="one of them"
        )
    opened = TheStore(store)
    if suite:
        side_of(opened, baseline)  # before minutes are spent on the candidate
        candidate = [_run_now(opened, suite, set_ or [], plugin or [])]
    one, other = two_sides(opened, baseline, candidate or ["latest"])
    rules = rules_for(
        other.record.suite_resolved,
        margin=margin,
        allow=allow_different or (),
        metrics=metric or (),
    )
    labels = ", ".join(baseline), ", ".join(candidate or ["latest"])
    judgement = judge(one, other, rules, labels=labels, history=earlier_runs(opened, one, other))
    if explain or explain_to:
        judgement = _with_causes(
            judgement, opened, one.record, other.record, explain_to or (), explain_rounds
        )
    return conclude(
        judgement,
        junit=junit,
        markdown=markdown,
        json=json,
        gitlab=gitlab,
        github=github,
        on_inconclusive=on_inconclusive,
    )


def conclude(
    judgement: Judgement,
    *,
    junit: Path | None,
    markdown: Path | None,
    json: Path | None,
    gitlab: Path | None,
    github: bool,
    on_inconclusive: OnInconclusive,
) -> int:
    """Print a judgement, write what CI reads, and return the exit status."""
    from harness.cli.judgement import judgement_json, print_judgement
    from harness.gate.outputs import code_quality, github_report, junit_xml, markdown_table
    from harness.store.durable import write_durably

    to_stdout = json is not None and str(json) == "-"
    print_judgement(judgement, json_=to_stdout)
    tolerant = on_inconclusive is OnInconclusive.PASS
    files: tuple[tuple[Path | None, Callable[[], bytes]], ...] = (
        (junit, lambda: junit_xml(judgement, inconclusive_passes=tolerant)),
        (markdown, lambda: markdown_table(judgement).encode()),
        (gitlab, lambda: code_quality(judgement)),
        (None if to_stdout else json, lambda: judgement_json(judgement).encode()),
    )
    for path, text in files:
        if path is not None:
            write_durably(path, text())
    if github:
        for line in github_report(judgement):
            typer.echo(line, err=to_stdout)
    return judgement.exit_status(inconclusive_passes=tolerant)


def _with_causes(
    judgement: Judgement,
    store: Store,
    base: RunRecord,
    cand: RunRecord,
    outputs: Sequence[Path],
    rounds: int | None,
) -> Judgement:
    """Profile base's revision, checked out, beside the working tree; note why it is slower."""
    from harness.engine.spawn import Interpreter
    from harness.gate.worktrees import checkout, project_root

    revision = judgement.base.revision
    if judgement.verdict != "regression" or revision in (None, judgement.cand.revision):
        return with_causes(judgement, store, (base, cand), outputs=outputs, rounds=rounds)
    try:
        root = project_root(Path.cwd())
        with checkout(root, str(revision), None) as found:
            files = [str(found.inside(root, Path(name))) for name in base.plugin_files]
            base = base.model_copy(update={"plugin_files": files})
            interpreters = found.interpreter(None), Interpreter()
            return with_causes(judgement, store, (base, cand), interpreters, outputs, rounds)
    except InputError as error:
        notes = [*judgement.notes, f"why: base cannot be profiled: {error}"]
        return judgement.model_copy(update={"notes": notes})


def _run_now(store: Store, suite: str, settings: list[str], plugins: list[Path]) -> str:
    from harness.cli.run import run_suite

    return run_suite(store, suite, settings, plugins).id
