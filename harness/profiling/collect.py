"""A session whose calls are profiled, each iteration in another way, and nothing else changed.

    plain     a clock around each call: what the profiler's own slow-down is measured against
    timed     torch.profiler, no stack
    stacked   torch.profiler with Python's stack
    lines     a dispatch mode that looks at the stack
    ranged    a named range around each call, for a profiler that looks from outside
    engine    the time of day around each call: where an engine's own profile is cut
    warm      nothing, for a window's length
    none      nothing, to the iteration's end: calls are counted

A scenario drives it like any other session, so that what is profiled is what is measured.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.contracts import StepSession
from harness.profiling.operators import MARK, Call, calls_of, joined, rows
from harness.profiling.record import Phase, PhaseProfile

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Pass", "ProfiledSession", "WindowDone"]

Pass = Literal["warm", "plain", "timed", "stacked", "lines", "ranged", "engine", "none"]

_SKIPPED = 2
"""Decode calls of an iteration before the window: the first ones after a prompt are cold."""
_WINDOW = 8
"""Decode calls in a window: enough for a mean, few enough that events stay small."""


class WindowDone(BaseException):
    """Ends an iteration whose window is closed: what would follow is not watched.

    No `Exception`, so that a scenario that handles those cannot take it for a failure.
    """


class ProfiledSession(StepSession):
    """Passes every call on; what `current` says decides how it is watched.

    Args:
        session: What is watched.
        clock: Nanoseconds.
        traces: Where Chrome traces go, the last timed window of each phase, the suffix replaced.
        window: Decode calls of an iteration that are watched.
    """

    def __init__(
        self,
        session: StepSession,
        clock: Callable[[], int],
        traces: Path | None = None,
        window: int = _WINDOW,
    ) -> None:
        self._session = session
        self._window_calls = window
        self._traces = traces
        self._clock = clock
        self.current: Pass = "none"
        self._decoded = 0
        self._window: Any = None
        self._plain: dict[Phase, list[int]] = defaultdict(list)
        self._timed: dict[Phase, list[Call]] = defaultdict(list)
        self._stacked: dict[Phase, list[Call]] = defaultdict(list)
        self._lines: dict[Phase, Any] = {}
        self._line_calls: dict[Phase, int] = defaultdict(int)
        self.engine_calls: list[tuple[Phase, int, int]] = []
        """Phase, start and end in nanoseconds of the time of day."""
        self.counted: dict[Phase, int] = defaultdict(int)
        """Calls of iterations that ran to their end."""
        self.entered: Callable[[Phase], None] = lambda _: None
        """Called as each call of a phase begins."""
        self.ranged: Callable[[str], contextlib.AbstractContextManager[None]] = lambda _: (
            contextlib.nullcontext()
        )
        """Marks a call of a phase, for who looks on from outside."""

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Pass on, watched: every prompt is a window of its own."""
        if self.current == "none":
            self.counted["prefill"] += 1
        self._decoded = 0
        self.entered("prefill")
        with self._watched("prefill"):
            return self._marked("prefill", lambda: self._session.prefill(tokens, lengths))

    def decode(self) -> Tensor:
        """Pass on; the calls from the third to the window's last are watched.

        Raises:
            WindowDone: after the last one.
        """
        if self.current == "none":
            self.counted["decode"] += 1
        self._decoded += 1
        self.entered("decode")
        if self._decoded == _SKIPPED + 1 and self.current != "none":
            self._window = contextlib.ExitStack()
            self._window.enter_context(self._watched("decode"))
        if self._window is None:
            return self._session.decode()
        result = self._marked("decode", self._session.decode)
        if self._decoded == _SKIPPED + self._window_calls:
            self.end_window()
            raise WindowDone
        return result

    def end_window(self) -> None:
        """Close a window that an iteration shorter than it left open."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _marked(self, phase: Phase, work: Callable[[], Tensor]) -> Tensor:
        from torch.profiler import record_function

        if self.current in ("timed", "stacked", "ranged"):
            ranged = self.current == "ranged"
            with self.ranged(phase) if ranged else record_function(f"{MARK}{phase}"):
                result = work()
                self._session.synchronize()
            return result
        start, started = self._clock(), time.time_ns()
        result = work()
        self._session.synchronize()
        if self.current == "plain":
            self._plain[phase].append(self._clock() - start)
        elif self.current == "lines":
            self._line_calls[phase] += 1
        elif self.current == "engine":
            self.engine_calls.append((phase, started, time.time_ns()))
        return result

    @contextlib.contextmanager
    def _watched(self, phase: Phase) -> Iterator[None]:
        if self.current in ("timed", "stacked"):
            kept = self._timed if self.current == "timed" else self._stacked
            with _profiler(stack=self.current == "stacked") as profiler:
                yield
            kept[phase] += calls_of(profiler.events(), f"{MARK}{phase}")
            if self._traces is not None and self.current == "timed":
                trace = self._traces.with_suffix(f".{phase}.trace.json")
                profiler.export_chrome_trace(str(trace))
        elif self.current == "lines":
            from harness.profiling.lines import Lines

            with self._lines.setdefault(phase, Lines()):
                yield
        else:
            yield

    def profiles(self) -> tuple[list[PhaseProfile], list[str]]:
        """Return what was seen of each phase, and notes on what was not."""
        from harness.profiling.lines import with_lines

        found, notes = [], []
        for phase in list(self._plain):
            plain_ns = self.plain_ns(phase)
            assert plain_ns is not None
            calls, note = joined(self._timed[phase], self._stacked[phase])
            if note:
                notes.append(f"{phase}: {note}")
            if not calls:
                continue
            inner: dict[tuple[str, str], set[str]] = defaultdict(set)
            for op in calls[0].ops:
                inner[op.name, op.function].update(op.inner)
            calls = _quieter(calls)
            made = rows(calls)
            if self._line_calls[phase]:
                made = with_lines(
                    made,
                    self._lines[phase],
                    lambda name, function, inner=inner: inner[name, function],  # type: ignore[misc]
                    self._line_calls[phase],
                )
            found.append(
                PhaseProfile(
                    phase=phase,
                    plain_ns=plain_ns,
                    profiled_ns=statistics.fmean(call.ns for call in calls),
                    rows=made,
                )
            )
        return found, notes

    def plain_ns(self, phase: Phase) -> float | None:
        """Return the median of the quieter half of plain calls; None where there was none."""
        plain = sorted(self._plain[phase])
        return statistics.median(plain[: (len(plain) + 1) // 2]) if plain else None

    def prepare(self, batch: int, context: int) -> None:
        """Pass on."""
        self._session.prepare(batch, context)

    def reset(self) -> None:
        """Pass on."""
        self._session.reset()

    def feed(self, tokens: Tensor) -> None:
        """Pass on."""
        self._session.feed(tokens)

    def logits(self) -> Tensor:
        """Pass on."""
        return self._session.logits()

    def synchronize(self) -> None:
        """Pass on."""
        self._session.synchronize()

    def close(self) -> None:
        """Pass on."""
        self._session.close()


def _quieter(calls: Sequence[Call]) -> list[Call]:
    """Return the faster half: a call that was interrupted would count for all the others."""
    return sorted(calls, key=lambda call: call.ns)[: (len(calls) + 1) // 2]


def _profiler(*, stack: bool) -> Any:
    import torch
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    verbose = torch._C._profiler._ExperimentalConfig(verbose=True)  # noqa: SLF001  (or no stack is kept)
    return profile(
        activities=activities,
        with_stack=stack,
        experimental_config=verbose if stack else None,
        acc_events=True,
    )
