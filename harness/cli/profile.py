"""`harness profile SUITE`: where the time of its cases goes, in extra processes, untimed."""

from __future__ import annotations

import fnmatch
import json as json_text
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.cli.arguments import JsonOption, PluginOption, StoreOption
from harness.cli.complete import suite_names
from harness.errors import InputError
from harness.profiling.kinds import KINDS, USUAL, parse_kinds
from harness.store.folder import DEFAULT_ROOT

if TYPE_CHECKING:
    from harness.engine.profile import Profiled, Side
    from harness.spec import ProfilerName

__all__ = ["profile"]


def profile(
    suite: Annotated[str, typer.Argument(help="A suite file or name.", autocompletion=suite_names)],
    case: Annotated[str, typer.Option(help="Only cases whose id fits, e.g. '*latency*'.")] = "*",
    with_: Annotated[
        str, typer.Option("--with", help=f"Profilers, by commas: {', '.join(KINDS)}.")
    ] = ",".join(USUAL),
    rounds: Annotated[int, typer.Option(min=1, help="Fresh processes per case.")] = 2,
    seconds: Annotated[float, typer.Option(min=1, help="How long py-spy samples.")] = 3.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for profiles and flame graphs.")
    ] = None,
    plugin: PluginOption = None,
    store: StoreOption = Path(DEFAULT_ROOT),
    json: JsonOption = False,
) -> int:
    """Profile a suite's cases: operators, families and Python stacks. Exit 3 where one failed."""
    from harness.engine.profile import Side
    from harness.engine.suites import suite_path
    from harness.plugins import add_file
    from harness.spec import read_suite
    from harness.store import Store

    kinds = parse_kinds(with_)
    for path in plugin or ():
        add_file(path)
    from harness.engine.plan import make_plan

    read, source = read_suite(suite_path(suite))
    plan = make_plan(read, source)
    chosen = [c for c in plan.cases if fnmatch.fnmatch(c.id, case) and c.unavailable is None]
    if not chosen:
        raise InputError(
            f"no case fits {case!r}",
            expected=f"a pattern for one of {', '.join(c.id for c in plan.cases[:4])}, …",
        )
    opened = Store(store)
    folder = output or opened.root / "profiles" / opened.new_id(plan.suite.name)
    folder.mkdir(parents=True, exist_ok=True)
    sides = [Side(c.id, plan, c, tuple(plugin or ())) for c in chosen]
    found = _profiled(sides, folder, opened.cache.resolve(), kinds, rounds, seconds)
    for one in found:
        _write_flames(one)
    if json:
        typer.echo(json_text.dumps([_plain(one) for one in found]))
    else:
        for one in found:
            _show(one)
        typer.echo(f"profiles in {folder}", err=True)
    return 3 if any(one.failure for one in found) else 0


def _profiled(
    sides: Sequence[Side],
    folder: Path,
    cache: Path,
    kinds: Sequence[ProfilerName],
    rounds: int,
    seconds: float,
) -> list[Profiled]:
    from harness.engine.profile import profile_in_turn

    console = Console(stderr=True)
    with console.status("profiling") as status:
        return profile_in_turn(
            sides,
            folder,
            cache,
            kinds=kinds,
            rounds=rounds,
            seconds=seconds,
            listen=lambda event: status.update(f"profiling: {getattr(event, 'name', '')}"),
        )


def _write_flames(one: Profiled) -> None:
    """Write the stacks of all rounds: as a picture, and as a file that speedscope opens."""
    from harness.profiling.flame import flame_graph
    from harness.profiling.stacks import merged, of_the_work, parse_raw, speedscope

    stacks = of_the_work(merged(parse_raw(text) for text in one.sampled))
    if stacks:
        stem = one.raw[0]
        stem.with_suffix(".svg").write_text(flame_graph(stacks, one.side.case.id))
        stem.with_suffix(".speedscope.json").write_text(speedscope(stacks, one.side.case.id))


def _plain(one: Profiled) -> dict[str, object]:
    return {
        "case": one.side.case.id,
        "failure": one.failure.model_dump() if one.failure else None,
        "profiles": [p.model_dump() for p in one.profiles],
    }


def _show(one: Profiled) -> None:
    console = Console(highlight=False)
    console.print(one.side.case.id, markup=False, style="bold")
    if one.failure is not None:
        console.print(f"  failed in {one.failure.phase}: {one.failure.reason}", markup=False)
        return
    from harness.cli.profile_table import show_profile
    from harness.profiling.average import averaged

    show_profile(console, averaged(one.profiles))
