"""The live view of `harness watch`: a line a quantity, with its last readings as a sparkline."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.shown import printable, quantity
from harness.telemetry.lines import Call, Header
from harness.telemetry.live import Rolling, sparkline

if TYPE_CHECKING:
    from harness.telemetry.beside import Beside
    from harness.telemetry.live import Row

__all__ = ["LiveView", "view"]

_NAME, _VALUE = 30, 14


class LiveView:
    """Draws on the terminal; on anything else it prints the last view when it is left."""

    def __init__(self, header: Header, console: Console | None = None) -> None:
        self._header = header
        self._console = console or Console(markup=False, highlight=False, emoji=False)
        # Drawn when asked: no thread that refreshes takes a core from whoever is watched.
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if not self._console.is_terminal:
            self._console.print()

    def show(self, beside: Beside, rolling: Rolling) -> None:
        """Take new readings in and draw."""
        missed = 0
        for item in beside.take():
            if isinstance(item, Call):
                rolling.add(item)
            else:
                missed += item.ticks
        self._live.update(view(self._header, rolling, missed), refresh=True)


def view(header: Header, rolling: Rolling, missed: int = 0) -> RenderableType:
    """Return the view: devices one under the other, then what is not here."""
    parts: list[RenderableType] = [Text(_title(header, missed), style="dim")]
    by_device = groupby(
        sorted(rolling.shown(), key=lambda row: row.quantity.device),
        key=lambda row: row.quantity.device,
    )
    for device, found in by_device:
        rows, name = list(found), printable(device or "machine")
        reasons_here = {row.reason for row in rows}
        if len(reasons_here) == 1 and None not in reasons_here:
            parts.append(Text(f"{name}: {printable(reasons_here.pop())}", style="dim"))
            continue
        parts += [Text(name, style="bold cyan"), _table(rows)]
        if not device and (cores := rolling.cores()):
            parts.append(Text(f"  {'cores':{_NAME}}{sparkline(cores, 0, 1)}"))
    reasons: dict[str, list[str]] = {}
    for _, q in rolling.absent:
        reasons.setdefault(q.reason or "", []).append(" ".join(filter(None, q.key)))
    for sampler in header.samplers:
        if not sampler.ok:
            reasons.setdefault(sampler.reason or "", []).append(sampler.name)
    for reason, names in reasons.items():
        parts.append(Text(printable(f"– {', '.join(names)}: {reason}"), style="dim"))
    return Group(*parts)


def _title(header: Header, missed: int) -> str:
    lost = f", {missed} missed" if missed else ""
    return f"{header.hz:g} readings a second{lost}, {header.priority}; Ctrl-C ends"


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(width=2)
    table.add_column(width=_NAME, no_wrap=True)
    table.add_column(width=_VALUE, justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="crop")
    for row in rows:
        name = Text(printable(row.quantity.name))
        if row.reason or not row.values:
            table.add_row("", name, "–", Text(printable(row.reason or "not yet"), style="dim"))
        else:
            shown = Text(quantity(row.values[-1], row.unit))
            table.add_row("", name, shown, Text(sparkline(row.values), style="green"))
    return table
