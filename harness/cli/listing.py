"""`harness list`: what there is, whether it can run here, and what would help where it cannot."""

from __future__ import annotations

import json as json_text
import tomllib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.cli.arguments import JsonOption, PluginOption, StoreOption
from harness.cli.table import stdout
from harness.contracts import Availability, Backend, Chart, Report, Sampler, Scenario, Site
from harness.environment.gpu import gpus
from harness.model.presets import PRESETS
from harness.plugins import Broken, add_file, load_all, suite_folders
from harness.shown import number, printable, quantity
from harness.store import BrokenRun, Run, Store
from harness.store.folder import DEFAULT_ROOT
from harness.store.migrate import plain
from harness.store.writer import is_live

__all__ = ["Kind", "listing"]

Row = dict[str, Any]


class Kind(StrEnum):
    """What can be listed."""

    BACKENDS = "backends"
    SCENARIOS = "scenarios"
    MODELS = "models"
    SUITES = "suites"
    RUNS = "runs"
    METRICS = "metrics"
    REPORTS = "reports"
    CHARTS = "charts"
    SAMPLERS = "samplers"


def listing(
    kind: Annotated[Kind, typer.Argument(help="What to list.", show_default=False)],
    json: JsonOption = False,
    store: StoreOption = Path(DEFAULT_ROOT),
    plugin: PluginOption = None,
) -> None:
    """List what there is, whether it can run here, and what would help where it cannot."""
    for file in plugin or []:
        add_file(file)
    rows = list(_runs(store) if kind is Kind.RUNS else _ROWS[kind]())
    if json:
        typer.echo(json_text.dumps(plain(rows), indent=1))
    elif not rows:
        typer.echo(f"no {kind.value}", err=True)
    elif kind is Kind.METRICS:
        stdout().print(_definitions(rows))
    else:
        stdout().print(_table(rows))
        if kind is Kind.MODELS:
            typer.echo("\nalso: a Hugging Face folder, a .gguf file, or hf://org/name")


def _available(backend: Backend, device: str) -> Availability:
    """Ask a backend, unless there is no GPU anyway: only torch knows more, and it takes seconds."""
    if device == "cuda" and isinstance(found := gpus(), dict):
        return Availability.no(f"no NVIDIA GPU ({found['absent']})", "harness doctor says more")
    try:
        return backend.availability(device)
    except Exception as error:  # noqa: BLE001 - a third party's; it must not hide the other rows
        return Availability.no(f"availability raised {type(error).__name__}: {error}")


def _backends() -> Iterator[Row]:
    for name, backend in load_all(Backend).items():
        if isinstance(backend, Broken):
            yield {"name": name, "cpu": "no", "cuda": "no", "summary": backend.reason}
            continue
        cpu, cuda = (_available(backend, device) for device in ("cpu", "cuda"))
        help_needed = [_why(a) for a in (cpu, cuda) if not a.ok]
        yield {
            "name": name,
            "cpu": _yes(cpu),
            "cuda": _yes(cuda),
            "summary": backend.summary,
            "needs": "; ".join(dict.fromkeys(help_needed)),
            "options": backend.Options.model_json_schema()["properties"],
        }


def _scenarios() -> Iterator[Row]:
    for name, scenario in load_all(Scenario).items():
        if isinstance(scenario, Broken):
            yield {"name": name, "summary": scenario.reason}
            continue
        primary = [m.name for m in scenario.metrics if m.primary]
        yield {
            "name": name,
            "level": scenario.level,
            "primary": ", ".join(primary),
            "summary": scenario.summary,
            "metrics": [m.name for m in scenario.metrics],
        }


def _models() -> Iterator[Row]:
    for name, config in PRESETS.items():
        yield {
            "name": name,
            "parameters": f"{number(config.parameters / 1e6)} M",
            "float32": quantity(config.weight_bytes("float32"), "bytes"),
            "bfloat16": quantity(config.weight_bytes("bfloat16"), "bytes"),
            "context": f"{config.max_context:,}",
        }


def _suites() -> Iterator[Row]:
    for path in sorted(p for folder in suite_folders() for p in folder.glob("*.toml")):
        try:
            said = tomllib.loads(path.read_text(encoding="utf-8")).get("description", "")
        except (OSError, ValueError) as error:
            said = f"cannot be read: {error}"
        yield {"name": path.stem, "summary": said, "path": str(path)}


def _runs(store: Path) -> Iterator[Row]:
    for run in Store(store).runs():
        if isinstance(run, BrokenRun):
            yield {"name": run.id, "status": "broken", "cases": run.reason, "path": str(run.path)}
            continue
        yield {
            "name": run.id,
            "status": _status(run),
            "cases": _cases(run),
            "path": str(run.path),
        }


def _status(run: Run) -> str:
    status = run.record.status
    if status == "running" and not is_live(run.path):
        status = "interrupted"
    return f"{status}, resumed" if run.resumed else status


def _cases(run: Run) -> str:
    states = [case.status for case in run.record.cases]
    return ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))


def _metrics() -> Iterator[Row]:
    rows: dict[str, Row] = {}
    for name, scenario in load_all(Scenario).items():
        for metric in () if isinstance(scenario, Broken) else scenario.metrics:
            row = rows.setdefault(metric.name, {**metric.model_dump(mode="json"), "scenarios": []})
            row["scenarios"].append(name)
    yield from rows.values()


def _reports() -> Iterator[Row]:
    for name, report in load_all(Report).items():
        broken = isinstance(report, Broken)
        yield {
            "name": name,
            "suffix": "" if isinstance(report, Broken) else report.suffix,
            "summary": report.reason if isinstance(report, Broken) else report.summary,
        } | ({"broken": True} if broken else {})

    for name, site in load_all(Site).items():
        broken = isinstance(site, Broken)
        said = site.reason if isinstance(site, Broken) else site.summary
        yield {"name": name, "suffix": "/", "summary": said} | ({"broken": True} if broken else {})


def _charts() -> Iterator[Row]:
    for name, chart in load_all(Chart).items():
        if isinstance(chart, Broken):
            yield {"name": name, "question": chart.reason, "broken": True}
        else:
            yield {"name": name, "question": chart.question, "shown": f"needs {chart.needs}"}


def _samplers() -> Iterator[Row]:
    for name, sampler in load_all(Sampler).items():
        if isinstance(sampler, Broken):
            yield {"name": name, "here": "no", "summary": sampler.reason}
            continue
        can = sampler.availability()
        yield {"name": name, "here": _yes(can), "summary": sampler.summary, "needs": _why(can)}


_ROWS: dict[Kind, Callable[[], Iterator[Row]]] = {
    Kind.BACKENDS: _backends,
    Kind.SCENARIOS: _scenarios,
    Kind.MODELS: _models,
    Kind.SUITES: _suites,
    Kind.METRICS: _metrics,
    Kind.REPORTS: _reports,
    Kind.CHARTS: _charts,
    Kind.SAMPLERS: _samplers,
}


def _yes(availability: Availability) -> str:
    return "yes" if availability.ok else "no"


def _why(availability: Availability) -> str:
    return "; ".join(filter(None, [availability.reason, availability.remedy]))


_JSON_ONLY = {"options", "metrics", "path"}


def _table(rows: list[Row]) -> Table:
    """One line a row; `path` and nested values are for --json, reasons go beneath their row."""
    columns = [k for k in dict.fromkeys(k for row in rows for k in row) if k not in _JSON_ONLY]
    columns = [k for k in columns if k != "needs"]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for place, name in enumerate(columns):
        last = place == len(columns) - 1
        table.add_column(name, overflow="fold", no_wrap=not last and name != "name")
    for row in rows:
        table.add_row(*(Text(printable(row.get(name, ""))) for name in columns))
        if row.get("needs"):
            blank = [""] * (len(columns) - 1)
            table.add_row(*blank, Text(printable(row["needs"]), style="dim"))
    return table


def _definitions(rows: list[Row]) -> Group:
    """Each metric with everything that fixes its meaning."""
    parts: list[RenderableType] = []
    for row in rows:
        facts = [row["unit"], f"{row['better']} is better", row["pooled"]]
        facts.append(" ".join(row["statistics"]))
        facts += [f"share of {row['ceiling']}"] if row["ceiling"] else []
        facts += [f"implies {row['achieved']}"] if row["achieved"] else []
        facts.append(f"in {', '.join(row['scenarios'])}")
        parts.append(Text(printable(row["name"]), style="bold"))
        for words, style in ((", ".join(filter(None, facts)), "dim"), (row["definition"], "")):
            parts.append(Padding(Text(printable(words, 2000), style), (0, 0, 0, 4)))
    return Group(*parts)
