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
from harness.store.folder import DEFAULT_ROOT

if TYPE_CHECKING:
    from harness.engine.profile import Profiled, Side
    from harness.profiling.record import PhaseProfile, Row

__all__ = ["KINDS", "profile"]

KINDS = ("torch", "roofline", "py-spy", "trace")
_USUAL = ("torch", "roofline", "py-spy")
_SHOWN = 8


def profile(
    suite: Annotated[str, typer.Argument(help="A suite file or name.", autocompletion=suite_names)],
    case: Annotated[str, typer.Option(help="Only cases whose id fits, e.g. '*latency*'.")] = "*",
    with_: Annotated[
        str, typer.Option("--with", help=f"Profilers, by commas: {', '.join(KINDS)}.")
    ] = ",".join(_USUAL),
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
    found = _profiled(sides, folder, opened.cache.resolve(), _kinds(with_), rounds, seconds)
    for one in found:
        _write_flames(one)
    if json:
        typer.echo(json_text.dumps([_plain(one) for one in found]))
    else:
        for one in found:
            _show(one)
        typer.echo(f"profiles in {folder}", err=True)
    return 3 if any(one.failure for one in found) else 0


def _kinds(text: str) -> list[str]:
    kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"--with {kind}", expected=f"one of {', '.join(KINDS)}")
    return kinds


def _profiled(
    sides: Sequence[Side], folder: Path, cache: Path, kinds: list[str], rounds: int, seconds: float
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
    """Write sampled stacks beside themselves: a picture, and a file that speedscope opens."""
    from harness.profiling.flame import flame_graph
    from harness.profiling.stacks import parse_raw, speedscope

    for raw in one.raw:
        stacks = parse_raw(raw.read_text())
        if stacks:
            raw.with_suffix(".svg").write_text(flame_graph(stacks, one.side.case.id))
            raw.with_suffix(".speedscope.json").write_text(speedscope(stacks, one.side.case.id))


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
    last = one.profiles[-1]
    for phase in last.phases:
        _show_phase(console, phase, last.ceilings)
    for note in last.notes:
        console.print(f"  ! {note}", markup=False)


def _show_phase(console: Console, phase: PhaseProfile, ceilings: dict[str, float]) -> None:
    from harness.shown import quantity

    console.print(
        f"  {phase.phase}: {quantity(phase.plain_ns / 1e6, 'ms')} a call; "
        f"{phase.slowdown:.2f}× slower while profiled",
        markup=False,
    )
    whole = phase.profiled_ns
    families: dict[str, float] = {}
    for row in phase.rows:
        families[row.family] = families.get(row.family, 0.0) + row.ns
    shares = sorted(families.items(), key=lambda item: -item[1])
    console.print(
        "    " + ", ".join(f"{name} {ns / whole:.0%}" for name, ns in shares if ns / whole > 0.01),
        markup=False,
    )
    for row in phase.rows[:_SHOWN]:
        file, _, function = row.function.rpartition(":")
        place = f"{file}:{row.line}" if row.line else file
        console.print(
            f"    {row.ns / whole:5.1%} {row.operator:32.32s} ×{row.calls:<6g} {place} {function}"
            + _roofline(row, ceilings),
            markup=False,
            soft_wrap=True,
        )


def _roofline(row: Row, ceilings: dict[str, float]) -> str:
    """Return a row's bandwidth, and how near it is to what the machine could do."""
    bound = row.bound_ns(ceilings)
    if not bound or row.bytes is None:
        return ""
    return f"  {row.bytes / row.ns:.1f} GB/s, {bound / row.ns:.0%} of its roofline"
