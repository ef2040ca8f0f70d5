"""The live view of `harness watch`: a line a quantity, with its last readings as a sparkline.

Made to be read at a glance on 80 columns and 24 lines: words instead of names, bars from zero, what
has been zero all along on one line, and only what is watched now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.shown import printable, quantity
from harness.telemetry.clock_events import throttling
from harness.telemetry.lines import Call, Header
from harness.telemetry.live import Rolling, sparkline

if TYPE_CHECKING:
    from harness.telemetry.beside import Beside
    from harness.telemetry.live import Row

__all__ = ["LiveView", "view"]

_NAME, _VALUE = 26, 12
_WORDS = {
    "available_bytes": "memory available",
    "busy_s": "all cores",
    "cgroup_throttled_s": "stopped by the CPU quota",
    "cgroup_throttles": "stops by the CPU quota",
    "clock_events_bits": "clock held down by",
    "cpu_s": "cores used",
    "cpu_wait_s": "tasks waiting for a core",
    "ecc_corrected": "memory errors, corrected",
    "ecc_uncorrected": "memory errors",
    "energy_j": "power, by the counter",
    "harness_cpu_s": "harness",
    "io_wait_s": "tasks waiting for a disk",
    "major_faults": "page faults, from disk",
    "memory_clock_mhz": "memory clock",
    "memory_free_bytes": "memory free",
    "memory_temperature_c": "memory temperature",
    "memory_used_bytes": "memory used",
    "memory_utilization_percent": "memory was accessed",
    "memory_wait_s": "tasks waiting for memory",
    "minor_faults": "page faults",
    "others_busy_s": "others",
    "power_average_w": "power, 1 s average",
    "power_instant_w": "power",
    "power_usage_w": "power",
    "read_bytes": "read from disks",
    "resident_bytes": "memory",
    "sampler_cpu_s": "this sampler",
    "sm_clock_mhz": "SM clock",
    "stolen_s": "stolen by the host",
    "swap_in_bytes": "from swap",
    "swap_out_bytes": "to swap",
    "swap_used_bytes": "swap used",
    "temperature_c": "temperature",
    "thermal_throttles": "thermal throttles",
    "utilization_percent": "some kernel ran",
    "written_bytes": "written to disks",
}
"""What a quantity is to somebody who watches; others keep their name."""
_STILL = {"total_bytes", "memory_total_bytes", "memory_reserved_bytes", "mig_enabled"}
"""They do not change while one looks."""


class LiveView:
    """Draws on the terminal; on anything else it prints the last view when it is left."""

    def __init__(self, header: Header, console: Console | None = None) -> None:
        self._header = header
        self._console = console or Console(markup=False, highlight=False, emoji=False)
        # Drawn when asked: no thread that refreshes takes a core from whoever is watched.
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._missed = 0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if not self._console.is_terminal:
            self._console.print()

    def show(self, beside: Beside, rolling: Rolling) -> None:
        """Take new readings in and draw."""
        for item in beside.take():
            if isinstance(item, Call):
                rolling.add(item)
            else:
                self._missed += item.ticks
        self._live.update(view(self._header, rolling, self._missed), refresh=True)


def view(header: Header, rolling: Rolling, missed: int = 0) -> RenderableType:
    """Return the view: GPUs, then the process that is watched, the machine, what is not here."""
    parts: list[RenderableType] = [Text(_title(header, missed), style="dim")]
    rows = [row for row in rolling.shown() if _is_live(row)]
    for device, found in groupby(sorted(rows, key=_order), key=lambda row: row.quantity.device):
        parts += _device(device, list(found), rolling)
    parts += _absent(header, rolling)
    return Group(*parts)


def _is_live(row: Row) -> bool:
    """Whether there will be more than a reading of it while one looks."""
    q = row.quantity
    return q.tier != "boundary" and q.name not in _STILL and not q.name.endswith("_update_s")


def _order(row: Row) -> tuple[int, str]:
    device = row.quantity.device
    if device.startswith(("GPU-", "MIG-")):
        return 0, device
    return {"worker": 1, "": 2}.get(device, 3), device


def _device(device: str, rows: Sequence[Row], rolling: Rolling) -> Iterator[RenderableType]:
    name = printable({"": "machine", "worker": "process"}.get(device, device))
    reasons = {row.reason for row in rows}
    if len(reasons) == 1 and None not in reasons:
        yield _line(f"{name}: {printable(reasons.pop())}")
        return
    yield Text(name, style="bold cyan")
    moving = [row for row in rows if any(row.values) or row.reason]
    yield _table(moving, rolling.cores() if not device else [])
    zero = [_named(row) for row in rows if row.values and row not in moving]
    if zero:
        yield _line(f"  0: {', '.join(zero)}")


def _absent(header: Header, rolling: Rolling) -> Iterator[Text]:
    reasons: dict[str, dict[str, None]] = {}
    for _, q in rolling.absent:
        reasons.setdefault(q.reason or "", {})[q.name] = None
    for sampler in header.samplers:
        if not sampler.ok:
            reasons.setdefault(sampler.reason or "", {})[sampler.name] = None
    for reason, names in reasons.items():
        yield _line(f"– {', '.join(names)}: {reason}")


def _line(words: str) -> Text:
    """One line whatever the width: `harness doctor` says it in full."""
    return Text(printable(words), style="dim", no_wrap=True, overflow="ellipsis")


def _title(header: Header, missed: int) -> str:
    lost = f", {missed} missed" if missed else ""
    return f"{header.hz:g} readings a second{lost}, {header.priority}; Ctrl-C ends"


def _table(rows: Sequence[Row], cores: Sequence[float]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(width=1)
    table.add_column(width=_NAME, no_wrap=True)
    table.add_column(width=_VALUE, justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="crop")
    for row in rows:
        name = Text(_named(row))
        if row.reason:
            table.add_row("", name, "–", Text(printable(row.reason), style="dim"))
        elif row.quantity.name == "clock_events_bits":
            held = ", ".join(throttling(row.values[-1])) or "nothing"
            table.add_row("", name, "", Text(held, style="red" if held != "nothing" else ""))
        else:
            bars = sparkline(row.values, 0.0, max(row.values))
            table.add_row("", name, quantity(row.values[-1], row.unit), Text(bars, style="green"))
    if cores:
        table.add_row("", "each core", "", Text(sparkline(cores, 0.0, 1.0), style="green"))
    return table


def _named(row: Row) -> str:
    return printable(_WORDS.get(row.quantity.name, row.quantity.name))
