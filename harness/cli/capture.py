"""`harness doctor --capture BACKEND`: may its step be captured as a CUDA graph? Asked on a CPU."""

import json as json_
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from harness.cli.table import stdout
from harness.shown import printable

if TYPE_CHECKING:
    from harness.testing.capture import CaptureReport, Hazard

__all__ = ["complete_backends", "show_capture"]

_UNSAFE = 3


def complete_backends(incomplete: str) -> list[str]:
    """Return the names of backends that begin so."""
    from harness.contracts import Backend
    from harness.plugins import names

    return [name for name in names(Backend) if name.startswith(incomplete)]


def show_capture(names: Sequence[str], plugin_files: Sequence[Path], *, json: bool) -> None:
    """Look at each backend's step and print what stands in the way.

    Raises:
        Exit: with 3 where anything was found, or a look could not be taken.
        UnavailableError: where a backend has no step that could be captured.
    """
    from harness.testing.capture import check_capture

    console = stdout()
    if json:
        reports = check_capture(names, plugin_files=plugin_files)
        shown = [{**report.model_dump(), "safe": report.safe} for report in reports]
        typer.echo(json_.dumps({"captures": shown}, indent=1))
    else:
        with console.status(f"looking at {printable(', '.join(names))}"):
            reports = check_capture(names, plugin_files=plugin_files)
        for report in reports:
            for line in _lines(report):
                console.print(line)
    if not all(report.safe for report in reports):
        raise typer.Exit(_UNSAFE)


def _lines(report: "CaptureReport") -> Sequence[Text]:
    name = printable(report.backend)
    if report.safe:
        looks = f"{report.operations} operations, the same ones in place in each step"
        return [Text.assemble((name, "bold"), ": ", ("safe to capture", "green"), f"; {looks}")]
    count = len(report.hazards)
    found = f"{count} hazard{'s' * (count != 1)}" if count else "not known to be safe"
    lines = [Text.assemble((name, "bold"), ": ", (found, "red"))]
    for hazard in report.hazards:
        lines += _hazard_lines(hazard)
    for look, reason in report.not_looked.items():
        lines.append(Text(f"  not looked at: {look}: {printable(reason)}", style="yellow"))
    return lines


def _hazard_lines(hazard: "Hazard") -> Sequence[Text]:
    from harness.testing.capture import HAZARDS

    kind = HAZARDS[hazard.kind]
    place = f"{_short(hazard.file)}:{hazard.line}" if hazard.file else "no line of its own"
    lines = [Text.assemble("  ", (printable(place), "cyan"), f"  {kind.why}")]
    if hazard.source:
        lines.append(Text(f"      {printable(hazard.source)}", style="dim"))
    lines.append(Text(f"      {printable(hazard.seen)} ({hazard.found_by})"))
    lines.append(Text(f"      → {kind.remedy}", style="bold"))
    return lines


def _short(file: str) -> str:
    """Name a file from the working folder, where it lies below it."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except ValueError:
        return file
