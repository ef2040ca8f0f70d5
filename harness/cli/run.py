"""`harness run`: suite -> plan -> visits -> figures -> table, and the exit status."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.cli.complete import backend_names, model_names, run_ids, scenario_names, suite_names
from harness.errors import SpecError

if TYPE_CHECKING:
    from harness.engine.plan import Plan
    from harness.engine.schedule import Visit
    from harness.spec import Source
    from harness.store import RunWriter, Store
    from harness.store.record import RunRecord

__all__ = ["run", "run_suite"]

EXIT_NO_FIGURE = 3
_PROFILERS = "torch,py-spy"


def run(
    suite: Annotated[
        str | None,
        typer.Argument(
            help="A suite file, or the name of one that ships (harness list suites).",
            autocompletion=suite_names,
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of the suite's models: preset, folder, .gguf or hf://…",
            autocompletion=model_names,
        ),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="Only these backends.", autocompletion=backend_names),
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(help="Only these scenarios.", autocompletion=scenario_names),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="e.g. run.rounds=5, eager.threads=1"),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Fresh processes per case.", show_default=False)
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="For the whole run, e.g. 10m.", show_default=False)
    ] = None,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Then profile a case of each backend, untimed: where time goes."
        ),
    ] = False,
    profile_with: Annotated[
        str | None,
        typer.Option(
            metavar="KINDS", help="By which profilers, by commas.", show_default="torch,py-spy"
        ),
    ] = None,
    profile_case: Annotated[
        str | None,
        typer.Option(metavar="GLOB", help="Which cases instead, e.g. '*latency*'."),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Where runs are kept.", envvar="HARNESS_STORE", show_default=".harness"),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Complete an interrupted run.", autocompletion=run_ids, show_default=False
        ),
    ] = None,
    plugin: Annotated[
        list[Path] | None, typer.Option(help="Load a plugin from this Python file.")
    ] = None,
    report: Annotated[
        str | None, typer.Option(help="Write this report at the end, e.g. html.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the cases and what they will take.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
) -> int:
    """Run a suite; print its figures. Exit 3 where a case has no figure."""
    from harness.plugins import add_file
    from harness.spec import parse_setting
    from harness.store import Store

    for path in plugin or ():
        add_file(path)
    settings = dict(parse_setting(text) for text in set_ or ())
    if rounds is not None:
        settings["run.rounds"] = rounds
    if budget is not None:
        settings["run.budget"] = budget
    settings |= _profile_settings(profile, profile_with, profile_case)
    opened = Store(store)
    if resume is not None:
        if suite or model or backend or scenario or settings:
            raise SpecError(
                "--resume takes the suite of the run it completes", remedy="give no other"
            )
        record = _resume(opened, resume, quiet=json_)
    else:
        plan, source = _plan(suite, settings, model or [], backend or [], scenario or [])
        if dry_run:
            return _show_plan(plan, json_=json_)
        record = _start(opened, plan, source, plugin or [], quiet=json_)
    return _conclude(opened, record, report, json_=json_)


def _profile_settings(
    wanted: bool,
    kinds: str | None,
    case: str | None,
) -> dict[str, object]:
    """Return `--profile…` as settings of the suite, so that a resumed run knows them.

    Raises:
        InputError: where a profiler is unknown.
    """
    from harness.profiling.kinds import parse_kinds

    if not wanted and kinds is None and case is None:
        return {}
    named = parse_kinds(_PROFILERS if kinds is None else kinds)
    settings: dict[str, object] = {"profile.kinds": named}
    return settings | ({"profile.case": case} if case is not None else {})


def run_suite(
    store: Store, suite: str, settings: Sequence[str] = (), plugins: Sequence[Path] = ()
) -> RunRecord:
    """Run a suite for another verb, with the same progress; return its record as stored.

    Raises:
        InputError: where the suite or a setting is wrong.
    """
    from harness.plugins import add_file
    from harness.spec import parse_setting

    for path in plugins:
        add_file(path)
    plan, source = _plan(suite, dict(parse_setting(text) for text in settings), [], [], [])
    return _start(store, plan, source, plugins, quiet=False)


def _plan(
    suite: str | None,
    settings: dict[str, object],
    models: Sequence[str],
    backends: Sequence[str],
    scenarios: Sequence[str],
) -> tuple[Plan, Source]:
    from harness.engine.plan import make_plan
    from harness.engine.suites import suite_path
    from harness.spec import read_suite

    if suite is None:
        raise SpecError("no suite is named", remedy="harness run quick, or harness list suites")
    read, source = read_suite(suite_path(suite), settings)
    plan = make_plan(read, source, models=models, backends=backends, scenarios=scenarios)
    if read.profile.kinds:
        from harness.engine.why import chosen_cases

        chosen_cases(plan)  # a pattern that fits nothing is said now, not after the rounds
    return plan, source


def _start(
    store: Store, plan: Plan, source: Source, plugins: Sequence[Path], *, quiet: bool
) -> RunRecord:
    from harness.engine.run import new_record

    command = ["harness", *sys.argv[1:]]
    record = new_record(plan, source, store.new_id(plan.suite.name), command, plugins)
    with store.create(record) as writer:
        return _visit(plan, record, writer, store, set(), quiet=quiet)


def _resume(store: Store, reference: str, *, quiet: bool) -> RunRecord:
    from harness.engine.plan import make_plan
    from harness.plugins import add_file
    from harness.spec import Source, Suite

    record, finished, writer = store.resume(reference)
    with writer:
        for path in record.plugin_files:
            add_file(Path(path))
        suite = Suite.model_validate(record.suite_resolved)
        plan = make_plan(suite, Source(f"run {record.id}", record.suite_text))
        return _visit(plan, record, writer, store, {(n, c) for c, n in finished}, quiet=quiet)


def _visit(
    plan: Plan,
    record: RunRecord,
    writer: RunWriter,
    store: Store,
    finished: set[Visit],
    *,
    quiet: bool,
) -> RunRecord:
    from harness.engine.run import run_visits

    watcher = _watcher(record, quiet=quiet)
    try:
        if record.status != "finished":
            record = run_visits(plan, record, writer, store, watcher, finished=finished)
        if plan.suite.profile.kinds:
            from harness.engine.why import profile_run

            profile_run(plan, record, writer.path, store.cache.resolve(), watcher)
    except KeyboardInterrupt:
        watcher.end()
        _err().print(
            f"interrupted; what is finished is kept: harness run --resume {record.id}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        raise
    finally:
        watcher.end()
    return record


def _watcher(record: RunRecord, *, quiet: bool):  # type: ignore[no-untyped-def] # one of three classes
    from harness.cli.progress import LiveProgress, PlainProgress, SilentProgress

    if quiet:
        return SilentProgress()
    console = _err()
    console.print(
        f"run {record.id}: {len(record.cases)} cases, {record.rounds} rounds, "
        f"{len(record.order)} workers",
        markup=False,
        highlight=False,
    )
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)


def _err() -> Console:
    return Console(stderr=True)


def _show_plan(plan: Plan, *, json_: bool) -> int:
    from harness.cli.plan_table import print_plan

    print_plan(plan, json_=json_)
    return 0


def _conclude(store: Store, record: RunRecord, report: str | None, *, json_: bool) -> int:
    from harness.cli.report import write_report
    from harness.cli.show import print_run

    opened = store.find(record.id)
    print_run(opened, json_=json_)
    if report is not None:
        path = write_report([opened], report, opened.path / "report")
        _err().print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)
    elif not json_:
        hint = shlex.join(["harness", "report", record.id])
        _err().print(f"stored in {opened.path}; for a page: {hint}", markup=False, soft_wrap=True)
    done = all(case.status == "done" for case in record.cases)
    return 0 if done else EXIT_NO_FIGURE
