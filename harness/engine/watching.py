"""The sampler process beside a run's visits: whom it follows, and what becomes of its readings.

Where telemetry is off, or the process broke, the visits go on without it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from harness.cautions import Caution, CautionKind, caution
from harness.engine.clock import now_ns
from harness.engine.events import PhaseStarted, Progress
from harness.spec import TelemetrySpec
from harness.store.record import (
    Gap,
    PhaseRecord,
    PhaseTelemetry,
    RoundTelemetry,
    SamplerProcess,
    SamplerRecord,
)
from harness.store.telemetry import IDLE
from harness.telemetry.beside import Beside
from harness.telemetry.lines import Call, Header, Missed, SamplerHeader
from harness.telemetry.process import SamplingTask

if TYPE_CHECKING:
    from harness.store import Telemetry

__all__ = ["Seen", "Watching", "spare_cores"]

_LATE_NS = 2_000_000
_POWER_UNITS = ("W", "J")


@dataclass(frozen=True)
class Seen:
    """What was read during one visit."""

    record: RoundTelemetry
    telemetry: Telemetry | None
    """None where nothing was read."""
    phases: tuple[PhaseRecord, ...]
    """As they were heard of; what the worker says itself is exact."""


class Watching:
    """Starts the sampler process when entered, ends it when left.

    Attributes:
        record: What watches, for the run's record; None where telemetry is off.
    """

    def __init__(
        self,
        spec: TelemetrySpec,
        folder: Path,
        plugin_files: Sequence[Path],
        threads: int,
        devices: tuple[str, ...] = (),
    ) -> None:
        """Prepare to watch.

        Args:
            spec: What the suite asks for.
            folder: Of the run; gets the readings and the sampler's log while it goes on.
            plugin_files: Where samplers of the user's are.
            threads: Most threads that a worker computes with.
            devices: UUIDs of the GPUs that workers use; empty for all that are visible.
        """
        self._spec = spec
        self._folder = folder / "telemetry"
        self._task = SamplingTask(
            parent_pid=os.getpid(),
            hz=spec.hz,
            samplers=spec.samplers,
            plugin_files=list(plugin_files),
            devices=devices,
            cores=spare_cores(threads),
        )
        self._beside: Beside | None = None
        self._idle: tuple[list[Call | Missed], tuple[int, int]] | None = None
        self._heard: list[tuple[PhaseStarted, int]] = []
        self.record: SamplerProcess | None = None

    def __enter__(self) -> Self:
        if not self._spec.enabled:
            return self
        try:
            self._folder.mkdir(exist_ok=True)
            number = len(list(self._folder.glob("*.jsonl")))
            readings = self._folder / f"{number}.jsonl"
            self._beside = Beside(self._task, readings, readings.with_suffix(".log"))
        except OSError as error:
            self.record = SamplerProcess(hz=self._spec.hz, problem=f"did not start: {error}")
            return self
        self.record = _record(self._beside, self._task)
        self._watch_idle()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._beside is None or self.record is None:
            return
        self._beside.stop()
        footer = self._beside.footer
        if footer is not None:
            self.record.ticks, self.record.missed = footer.ticks, footer.missed
            self.record.cpu_s = round(footer.cpu_s, 3)
        self.record.problem = self._beside.problem

    def clear(self) -> None:
        """Remove the lines as they were read: the store has them all."""
        for lines in self._folder.glob("*.jsonl"):
            lines.unlink(missing_ok=True)

    def _watch_idle(self) -> None:
        """Watch the machine before anything runs, where that says what power it takes then."""
        assert self._beside is not None
        assert self.record is not None
        seconds = self._spec.idle_seconds
        if not seconds or not _reads_power(self._beside.header):
            return
        start_ns = now_ns()
        time.sleep(seconds)
        end_ns = now_ns()
        self._beside.mark()
        self._idle = self._beside.take(), (start_ns, end_ns)
        self.record.idle = _idle(self._beside.header, *self._idle)

    def follow(self, worker_pid: int | None) -> None:
        """Watch another worker, or none."""
        if self._beside is not None:
            self._beside.follow(worker_pid)

    def hear(self, event: PhaseStarted | Progress) -> None:
        """Read everything where a phase begins; the worker stands still meanwhile."""
        if isinstance(event, PhaseStarted):
            if self._beside is not None:
                self._beside.mark()
            self._heard.append((event, now_ns()))

    def begin(self) -> None:
        """Begin a visit: what was read before belongs to none."""
        self._heard.clear()
        if self._beside is not None:
            self._beside.mark()
            self._beside.take()

    def elsewhere(self, facts: Mapping[str, Any]) -> Iterator[Caution]:
        """Doubt a round whose worker computed on a GPU that was not watched."""
        used, watched = facts.get("gpu_uuid"), self._task.devices
        if used and watched and not any(uuid.endswith(str(used)) for uuid in watched):
            words = f"computed on GPU {used}; watched was {', '.join(watched)}"
            yield caution(CautionKind.NOT_WATCHED, words)

    def end(self) -> Seen | None:
        """End a visit; return what was read during it, None where telemetry is off."""
        if self._beside is None:
            return None
        self._beside.follow(None)
        self._beside.mark()
        taken = self._beside.take()
        phases = _phases(self._heard, now_ns())
        record = _round(taken, self._spec.hz, self._beside.problem)
        header = self._beside.header
        if header is None:
            return Seen(record, None, phases)
        from harness.telemetry.columns import to_columns

        idle, self._idle = self._idle, None
        calls = [c for c in (*(idle[0] if idle else ()), *taken) if isinstance(c, Call)]
        telemetry = to_columns(header, calls, idle[1] if idle else None) if calls else None
        return Seen(record, telemetry, phases)


def spare_cores(threads: int) -> list[int] | None:
    """Return the cores that workers of so many threads leave over, None where there are none.

    Workers are not pinned; the kernel spreads their threads over all cores but prefers idle ones.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    return sorted(os.sched_getaffinity(0))[threads:] or None


def _reads_power(header: Header | None) -> bool:
    samplers = header.samplers if header else ()
    return any(q.unit in _POWER_UNITS and not q.reason for s in samplers for q in s.quantities)


def _record(beside: Beside, task: SamplingTask) -> SamplerProcess:
    header = beside.header
    return SamplerProcess(
        hz=task.hz,
        pid=beside.pid,
        priority=header.priority if header else "",
        cores=task.cores,
        devices=list(task.devices),
        samplers=[_sampler(s) for s in header.samplers] if header else [],
        problem=beside.problem,
    )


def _sampler(header: SamplerHeader) -> SamplerRecord:
    return SamplerRecord(
        name=header.name,
        ok=header.ok,
        reason=header.reason,
        remedy=header.remedy,
        quantities=sum(q.reason is None for q in header.quantities),
        absent={" ".join(filter(None, q.key)): q.reason for q in header.quantities if q.reason},
        facts=dict(header.facts),
    )


def _round(taken: Sequence[Call | Missed], hz: float, problem: str | None) -> RoundTelemetry:
    """Return how well a visit was watched: one tick is one due time, whoever was called for it."""
    late_ns: dict[int, int] = {}
    for call in taken:
        if isinstance(call, Call) and call.due_ns is not None:
            late_ns.setdefault(call.due_ns, call.before_ns - call.due_ns)
    missed = [item for item in taken if isinstance(item, Missed)]
    gaps = [Gap(from_ns=m.from_ns, to_ns=m.to_ns, ticks=m.ticks) for m in missed]
    return RoundTelemetry(
        hz=hz,
        ticks=len(late_ns),
        missed=sum(gap.ticks for gap in gaps),
        late=sum(late > _LATE_NS for late in late_ns.values()),
        gaps=gaps,
        problem=problem,
    )


def _phases(heard: Sequence[tuple[PhaseStarted, int]], end_ns: int) -> tuple[PhaseRecord, ...]:
    ends = [*(at_ns for _, at_ns in heard[1:]), end_ns]
    return tuple(
        PhaseRecord(name=event.name, point=event.point, start_ns=start_ns, end_ns=end)
        for (event, start_ns), end in zip(heard, ends, strict=False)
        if event.name != "end"
    )


def _idle(
    header: Header | None, taken: Sequence[Call | Missed], idle_ns: tuple[int, int]
) -> PhaseTelemetry | None:
    from harness.telemetry.columns import series_of, to_columns
    from harness.telemetry.summary import Watch, is_core, phase_telemetry

    if header is None:
        return None
    read = series_of(to_columns(header, (c for c in taken if isinstance(c, Call)), idle_ns))
    series = {key: readings for key, readings in read.items() if not is_core(key.device)}
    missed = sum(m.ticks for m in taken if isinstance(m, Missed))
    return phase_telemetry(IDLE, "", [Watch(*idle_ns, series, missed)])
