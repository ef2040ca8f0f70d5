"""`harness bisect`: the commit that made a metric worse, found by interleaved comparisons.

Exit 0 where one commit was found, 4 where a range is left, else as `harness gate`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.ab import InstallOption, PathOption, SetOption, Which, print_turn, two_sides
from harness.cli.arguments import PluginOption, StoreOption
from harness.cli.complete import suite_names
from harness.cli.gate_options import AllowOption, MarginOption, rules_for
from harness.errors import InputError
from harness.shown import printable
from harness.store.folder import DEFAULT_ROOT

if TYPE_CHECKING:
    from harness.gate.judgement import Judgement

__all__ = ["bisect"]

_UNCERTAIN = 4


def bisect(
    suite: Annotated[str, typer.Argument(help="A suite.", autocompletion=suite_names)],
    good: Annotated[str, typer.Option(metavar="REV", help="A revision before the change.")],
    bad: Annotated[str, typer.Option(metavar="REV", help="One after it.")],
    metric: Annotated[str, typer.Option("--metric", "-m", help="The metric that got worse.")],
    set_: SetOption = None,
    install: InstallOption = None,
    path: PathOption = None,
    plugin: PluginOption = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs per comparison at most.")] = 30,
    blocks: Annotated[int, typer.Option(min=1, help="Blocks per side, round and point.")] = 4,
    block_seconds: Annotated[float, typer.Option(min=0.0, help="Length of a block.")] = 0.5,
    margin: MarginOption = None,
    allow_different: AllowOption = None,
    store: StoreOption = Path(DEFAULT_ROOT),
) -> int:
    """Find the commit that made a metric worse; every step is a comparison with the good one."""
    from harness.engine.duet import DuetPlan
    from harness.engine.suites import suite_path
    from harness.gate.ab import Ab, run_ab
    from harness.gate.bisect import Outcome, search
    from harness.gate.worktrees import commits_between, git, project_root
    from harness.plugins import add_file
    from harness.store import Store

    for file in plugin or ():
        add_file(file)
    root = project_root(Path.cwd())
    commits = commits_between(root, good, bad)
    opened = Store(store)

    def against_good(commit: str) -> Judgement:
        which = Which(
            revisions=(good, commit),
            settings=(set_ or [], set_ or []),
            plugins=plugin or [],
            install=install,
            path=path,
        )
        with two_sides(which) as sides:
            ab = Ab(
                suite=suite_path(suite).resolve(),
                sides=sides,
                rules=lambda planned: rules_for(
                    planned.record.suite_resolved,
                    margin=margin,
                    allow=allow_different or (),
                    metrics=[metric],
                ),
                plan=DuetPlan(pairs, blocks, block_seconds),
            )
            return run_ab(opened, ab, told=print_turn).judgement

    def ask(number: int) -> Outcome:
        name = _told(git(root, "show", "-s", "--format=%h %s", commits[number]))
        try:
            verdict = against_good(commits[number]).verdict
        except InputError as error:  # a commit that does not install or plan is left aside
            typer.echo(f"{name}: cannot be judged: {error}", err=True)
            return "unknown"
        typer.echo(f"{name}: {verdict}", err=True)
        if verdict == "regression":
            return "bad"
        return "good" if verdict in ("pass", "improvement") else "unknown"

    whole = against_good(commits[-1])
    if whole.verdict != "regression":
        from harness.cli.judgement import print_judgement

        print_judgement(whole)
        typer.echo(f"{bad} is no regression against {good}: nothing to look for", err=True)
        return whole.exit_status()
    found = search(len(commits), ask)
    if found.certain:
        typer.echo(f"first bad commit: {_told(git(root, *_SHOW, commits[found.first_bad]))}")
        return 0
    typer.echo("the first bad commit is one of")
    for commit in commits[found.last_good + 1 : found.first_bad + 1]:
        typer.echo(f"  {_told(git(root, *_SHOW, commit))}")
    return _UNCERTAIN


_SHOW = ("show", "-s", "--format=%H %an, %as: %s")


def _told(text: str) -> str:
    """Return a line of git's, harmless to a terminal."""
    return printable(text.strip())
