"""`harness selftest`: the same code on both sides, to learn what this machine can tell apart.

Exit 0, or as `harness gate` where even the same code does not pass.
"""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from harness.cli.ab import SetOption, print_turn
from harness.cli.arguments import JsonOption, PluginOption, StoreOption
from harness.cli.complete import suite_names
from harness.cli.gate_options import MarginOption, rules_for
from harness.cli.table import stdout
from harness.errors import InputError
from harness.shown import printable
from harness.store.folder import DEFAULT_ROOT

if TYPE_CHECKING:
    from harness.engine.duet import Turn
    from harness.gate.ab import AbResult

__all__ = ["selftest"]

_FEWEST = 6


def selftest(
    suite: Annotated[
        str, typer.Argument(help="What to measure.", autocompletion=suite_names)
    ] = "quick",
    scenario: Annotated[
        list[str] | None, typer.Option(help="Only these scenarios.", show_default="latency")
    ] = None,
    pairs: Annotated[int, typer.Option(min=_FEWEST, help="Pairs of processes to take.")] = 10,
    blocks: Annotated[int, typer.Option(min=1, help="Blocks per side, round and point.")] = 4,
    block_seconds: Annotated[float, typer.Option(min=0.0, help="Length of a block.")] = 0.5,
    set_: SetOption = None,
    margin: MarginOption = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
    store: StoreOption = Path(DEFAULT_ROOT),
) -> int:
    """Run A/A here: what change can this machine show, with how many pairs, in what time."""
    from harness.engine.duet import DuetPlan
    from harness.engine.side import Side
    from harness.engine.suites import suite_path
    from harness.gate.ab import Ab, run_ab
    from harness.plugins import add_file
    from harness.settings import parse_setting
    from harness.store import Store

    for file in plugin or ():
        add_file(file)
    settings = dict(parse_setting(text) for text in set_ or ())
    sides = tuple(
        Side(name=name, label="the same code", plugin_files=tuple(plugin or ()), settings=settings)
        for name in ("base", "cand")
    )
    seconds: list[float] = []

    def told(turn: Turn, case: str) -> None:
        seconds.append(turn.seconds)
        print_turn(turn, case)

    result = run_ab(
        Store(store),
        Ab(
            suite=suite_path(suite).resolve(),
            sides=(sides[0], sides[1]),
            rules=lambda planned: rules_for(planned.record.suite_resolved, margin=margin),
            plan=DuetPlan(pairs, blocks, block_seconds),
            scenarios=tuple(scenario or ["latency"]),
            early_stop=False,
        ),
        told=told,
    )
    rows = _rows(result, sum(seconds) / max(result.rounds, 1), margin)
    if json:
        typer.echo(json_text.dumps({"verdict": result.judgement.verdict, "rows": rows}, indent=1))
    else:
        _print(result, rows)
    return result.judgement.exit_status(inconclusive_passes=True)


def _rows(result: AbResult, seconds: float, margin: float | None) -> list[dict[str, Any]]:
    from harness.gate.evidence import evidence_of
    from harness.gate.paired import pairs_of
    from harness.stats import NoDetectable, detectable

    base, cand = (evidence_of(run) for run in result.runs)
    rules = rules_for(cand.record.suite_resolved, margin=margin)
    rows: list[dict[str, Any]] = []
    for key, series in cand.series.items():
        if not series.metric.primary or series.exact or key not in base.series:
            continue
        pairs = pairs_of(base, cand, key, key)
        found = detectable(pairs.base, pairs.cand, margin=rules.margin_of(series))
        if isinstance(found, NoDetectable):
            raise InputError(f"{key.case} {key.metric}: {found.reason}")
        rows += [
            {
                "case": key.case,
                "metric": key.metric,
                "point": key.point,
                "pairs": each.pairs,
                "seconds": each.pairs * seconds,
                "smallest_change": each.change,
                "smallest_margin": each.margin,
            }
            for each in found
        ]
    return rows


def _print(result: AbResult, rows: list[dict[str, Any]]) -> None:
    console = stdout()
    verdict = result.judgement.verdict
    console.print(Text(f"the same code on both sides: {verdict}, {result.rounds} pairs"))
    for case, metric, point in dict.fromkeys((r["case"], r["metric"], r["point"]) for r in rows):
        name = " ".join(filter(None, [case, metric, point]))
        console.print(Text(printable(name), style="bold cyan"), soft_wrap=True)
        table = Table(box=None, padding=(0, 2, 0, 0))
        for column in ("pairs", "takes about", "finds a slowdown of", "passes within a margin of"):
            table.add_column(column, justify="right")
        for row in rows:
            if (row["case"], row["metric"], row["point"]) == (case, metric, point):
                table.add_row(
                    str(row["pairs"]),
                    f"{row['seconds'] / 60:.1f} min",
                    f"{row['smallest_change']:.1%}",
                    f"{row['smallest_margin']:.1%}",
                )
        console.print(table)
    console.print(Text("each in 95 of 100 comparisons", style="dim"))
