"""A run as it goes by: a live line on a terminal, plain lines elsewhere, nothing for `--json`.

It draws only when the engine calls it, between samples; there is no thread that refreshes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from harness.engine.events import PhaseStarted, Progress
from harness.engine.schedule import Visit
from harness.profiling.record import Profile
from harness.store.record import PointRecord, RoundRecord

__all__ = ["LiveProgress", "PlainProgress", "SilentProgress"]


class SilentProgress:
    """Says nothing."""

    def begin(self, visits: Sequence[Visit]) -> None:
        """Say nothing."""

    def visit(self, number: int, case_id: str) -> None:
        """Say nothing."""

    def event(self, event: PhaseStarted | Progress) -> None:
        """Say nothing."""

    def visited(self, record: RoundRecord) -> None:
        """Say nothing."""

    def profiles(self, count: int) -> None:
        """Say nothing."""

    def profile(self, case_id: str) -> None:
        """Say nothing."""

    def profiled(self, made: Profile) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


class PlainProgress(SilentProgress):
    """One line per visit, when it is over: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total = 0
        self._done = 0
        self._started = 0.0
        self._case = ""

    def begin(self, visits: Sequence[Visit]) -> None:
        """Note how many there are."""
        self._total = len(visits)

    def visit(self, number: int, case_id: str) -> None:
        """Note what begins."""
        self._case = f"{case_id} round {number + 1}"
        self._started = time.monotonic()

    def visited(self, record: RoundRecord) -> None:
        """Say what it gave."""
        self._done += 1
        took = time.monotonic() - self._started
        self._console.print(
            f"[{self._done}/{self._total}] {self._case}: {_outcome(record)} ({took:.1f} s)",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def profiles(self, count: int) -> None:
        """Note how many more there are."""
        self._total += count

    def profile(self, case_id: str) -> None:
        """Note what begins."""
        self._case = f"{case_id} profile"
        self._started = time.monotonic()

    def profiled(self, made: Profile) -> None:
        """Say whether it was seen."""
        self._done += 1
        took = time.monotonic() - self._started
        self._console.print(
            f"[{self._done}/{self._total}] {self._case}: {_seen(made)} ({took:.1f} s)",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


class LiveProgress(SilentProgress):
    """Two lines that stay in place: the run as a bar, the case with phase and current figure."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._total = 0
        self._done = 0
        self._began = 0.0
        self._case = ""
        self._phase = ""
        self._figure = ""

    def begin(self, visits: Sequence[Visit]) -> None:
        """Draw the empty bar."""
        self._total = len(visits)
        self._began = time.monotonic()
        self._live.start()
        self._draw()

    def visit(self, number: int, case_id: str) -> None:
        """Show what begins."""
        self._case, self._phase, self._figure = f"{case_id} · round {number + 1}", "start", ""
        self._draw()

    def event(self, event: PhaseStarted | Progress) -> None:
        """Show phase or figure."""
        if isinstance(event, PhaseStarted):
            self._phase, self._figure = " ".join(filter(None, [event.name, event.point])), ""
        else:
            spread = _spread(event.half_width)
            count = f"{event.iterations} samples"
            self._figure = f"{event.metric} {event.value:.4g}{spread} · {count}"
        self._draw()

    def visited(self, record: RoundRecord) -> None:
        """Count it; a case without figures stays on the screen."""
        self._done += 1
        if record.status != "done":
            self._live.console.print(f"{escape(self._case)}: {escape(_outcome(record))}")
        self._draw()

    def profiles(self, count: int) -> None:
        """Count them in."""
        self._total += count

    def profile(self, case_id: str) -> None:
        """Show what begins."""
        self._live.start()
        self._case, self._phase, self._figure = f"{case_id} · profile", "start", ""
        self._draw()

    def profiled(self, made: Profile) -> None:
        """Count it; a case that could not be seen stays on the screen."""
        self._done += 1
        if made.failure:
            self._live.console.print(f"{escape(self._case)}: {escape(_seen(made))}")
        self._draw()

    def end(self) -> None:
        """Leave the screen as it was."""
        self._live.stop()

    def _draw(self) -> None:
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(self._total, 1), completed=self._done, width=24)
        grid.add_row(bar, f"{self._done}/{self._total}{self._left()}")
        shown = " · ".join(filter(None, [self._phase, self._figure]))
        self._live.update(_Stack(grid, f"{escape(self._case)}\n  {escape(shown)}"), refresh=True)

    def _left(self) -> str:
        if not self._done:
            return ""
        seconds = (time.monotonic() - self._began) / self._done * (self._total - self._done)
        return f" · about {int(seconds // 60)}:{int(seconds % 60):02d} left"


def _Stack(grid: Table, text: str) -> Table:  # noqa: N802 - reads as the renderable it makes
    stack = Table.grid()
    stack.add_row(grid)
    stack.add_row(text)
    return stack


def _seen(made: Profile) -> str:
    return f"failed in {made.failure.phase}: {made.failure.reason}" if made.failure else "done"


def _outcome(record: RoundRecord) -> str:
    if record.failure:
        return f"{record.status} in {record.failure.phase}: {record.failure.reason}"
    if record.status == "incorrect":
        wrong = next(c for c in (record.check, record.audit) if c and not c.passed)
        return f"incorrect: {wrong.detail}"
    return f"done, {', '.join(_point(p) for p in record.points)}"


def _point(point: PointRecord) -> str:
    label = f"{point.label}: " if point.label else ""
    spread = _spread(point.half_width)
    return f"{label}{point.measured_iterations} samples{spread} ({point.stopped})"


def _spread(half_width: float | None) -> str:
    """Return a relative half-width to read; two or three samples make it astronomical."""
    if half_width is None:
        return ""
    return f" ± {half_width:.1%}" if half_width < 1 else " ± over 100%"
