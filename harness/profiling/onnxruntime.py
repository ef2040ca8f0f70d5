"""onnxruntime's own profile of whatever sessions a backend opens, cut at the calls of each phase.

A backend need not know: while this is entered, sessions are opened with profiling on. Where a
backend ends a session's profile itself, the session is opened again with a new one. Times of day
tie the engine's events to our calls, since onnxruntime stamps its own start in those.
"""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from harness.profiling.families import HOST, family_of
from harness.profiling.operators import HOST_OPERATOR
from harness.profiling.record import Phase, PhaseProfile, Row

__all__ = ["EngineProfiles", "Event", "events_of", "phases_of", "rows_of"]

EngineCall = tuple[Phase, int, int]
"""Phase, start and end, nanoseconds of the time of day."""


class EngineProfiles:
    """Has onnxruntime profile each session that is opened while this is entered.

    Args:
        stem: Begins the names of the engine's files.
    """

    def __init__(self, stem: Path) -> None:
        self._stem = stem
        self.opened: list[Any] = []
        self._ours: Any = None

    def __enter__(self) -> Self:
        try:
            import onnxruntime
        except ImportError:
            return self
        self._ours = onnxruntime.InferenceSession
        onnxruntime.InferenceSession = _profiled(self._ours, self._stem, self.opened)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours is not None:
            import onnxruntime

            onnxruntime.InferenceSession = self._ours

    def finish(self) -> list[Event]:
        """End all profiles; return the operators that ran. The sessions go on without."""
        events: list[Event] = []
        for session in self.opened:
            start_ns = session.get_profiling_start_time_ns()
            file = Path(session.finish_profiling())
            events += events_of(json.loads(file.read_text()), start_ns)
            file.unlink()
        return events


def phases_of(
    events: Sequence[Event], calls: Sequence[EngineCall], plain_ns: Callable[[Phase], float | None]
) -> list[PhaseProfile]:
    """Return the phases by the engine's operators; a phase in which none ran is left out.

    Args:
        events: Of all sessions.
        calls: When the phases were called.
        plain_ns: How long a call of a phase takes while nothing is profiled.
    """
    found = []
    for phase in dict.fromkeys(name for name, _, _ in calls):
        windows = [(start, end) for name, start, end in calls if name == phase]
        profiled_ns, rows = rows_of(events, windows)
        if len(rows) > 1:
            found.append(
                PhaseProfile(
                    phase=phase,
                    plain_ns=plain_ns(phase) or profiled_ns,
                    profiled_ns=profiled_ns,
                    rows=rows,
                )
            )
    return found


Event = tuple[str, str, int, int]
"""Operator, node without its numbers, start and duration in nanoseconds."""


def events_of(document: Sequence[dict[str, Any]], start_ns: int) -> list[Event]:
    """Return the operators that ran, of a profile that began at `start_ns`."""
    return [
        (
            str(event["args"]["op_name"]),
            re.sub(r"\d+", "*", str(event["name"]).removesuffix("_kernel_time")),
            start_ns + int(event["ts"]) * 1000,
            int(event["dur"]) * 1000,
        )
        for event in document
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time")
    ]


def rows_of(events: Sequence[Event], windows: Sequence[tuple[int, int]]) -> tuple[float, list[Row]]:
    """Return the mean call of the quieter half in nanoseconds, and its rows, which add up to it."""
    windows = sorted(windows, key=lambda w: w[1] - w[0])[: (len(windows) + 1) // 2]
    ns: dict[tuple[str, str], float] = defaultdict(float)
    count: dict[tuple[str, str], int] = defaultdict(int)
    for operator, node, start, duration in events:
        if any(begin <= start <= end for begin, end in windows):
            ns[operator, node] += duration
            count[operator, node] += 1
    n = max(1, len(windows))
    whole = statistics.fmean(end - begin for begin, end in windows) if windows else 0.0
    rows = [
        Row(
            operator=operator,
            function=node,
            family=family_of(operator),
            calls=count[operator, node] / n,
            ns=total / n,
        )
        for (operator, node), total in ns.items()
    ]
    rest = max(0.0, whole - sum(row.ns for row in rows))
    rows.append(Row(operator=HOST_OPERATOR, function="", family=HOST, calls=1, ns=rest))
    return whole, sorted(rows, key=lambda row: -row.ns)


def _profiled(plain: type[Any], stem: Path, opened: list[Any]) -> type[Any]:
    class Profiled(plain):  # type: ignore[misc]  # whatever class is installed
        def __init__(self, model: Any, sess_options: Any = None, *rest: Any, **more: Any) -> None:
            import onnxruntime

            self._given = (model, sess_options or onnxruntime.SessionOptions(), rest, more)
            self._times = 0
            self._number = len(opened)
            self._open()
            opened.append(self)

        def _open(self) -> None:
            model, options, rest, more = self._given
            options.enable_profiling = True
            options.profile_file_prefix = f"{stem}.onnx-{self._number}-{self._times}"
            super().__init__(model, options, *rest, **more)

        def end_profiling(self) -> Any:
            file = super().end_profiling()
            self._times += 1
            self._open()
            return file

        def finish_profiling(self) -> Any:
            return super().end_profiling()

    return Profiled
