"""The sampler process: `python -P -m harness.telemetry.process TASK --commands FD --answers FD`.

It opens the samplers, says what they read, and reads them until it is told to stop or the harness
is gone. By hand, without the two pipes, it writes to stdout until Ctrl-C.

Commands are lines: `follow PID`, `follow` (no worker), `mark N` and `stop`; each of them reads
everything once, and a mark is answered by N once all that was read until then is written.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from harness.contracts import Sampler, Watched
from harness.errors import PluginError
from harness.plugins import add_file, find, names
from harness.telemetry.lines import Footer, Header, SamplerHeader
from harness.telemetry.loop import Beat, Loop, Opened
from harness.telemetry.priority import take_turns

__all__ = ["SamplingTask", "main"]

_PR_SET_PDEATHSIG = 1
_MOST_WAITING = 10_000
"""Calls kept in memory before they become lines even while somebody measures: some minutes."""
_FEW = 16


class SamplingTask(BaseModel):
    """What to read, how often, and whose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parent_pid: int
    """The harness; this process ends when it does."""
    hz: float = Field(gt=0)
    samplers: list[str] | None = None
    """By name; None for all that are registered."""
    plugin_files: list[Path] = []
    worker_pid: int | None = None
    devices: tuple[str, ...] = ()
    """UUIDs of the GPUs in use; empty for all that are visible."""
    cores: list[int] | None = None
    """Cores to stay on; None leaves it to the kernel."""
    live: bool = False
    """Whether somebody looks: each tick is then written at once rather than when asked for."""


def main() -> None:
    """Read the task named on the command line and do it."""
    parser = argparse.ArgumentParser(prog="python -P -m harness.telemetry.process")
    parser.add_argument("task", help="JSON, or a file that holds it")
    parser.add_argument("--readings", type=int, default=1, help="descriptor; stdout by default")
    parser.add_argument("--commands", type=int, default=None, help="descriptor")
    parser.add_argument("--answers", type=int, default=None, help="descriptor")
    given = parser.parse_args()
    text = given.task if given.task.startswith("{") else Path(given.task).read_text()
    task = SamplingTask.model_validate_json(text)
    if given.commands is not None:
        _end_with(task.parent_pid)
    process = _Process(task, given.readings, given.commands, given.answers)
    process.run()


def _end_with(parent_pid: int) -> None:
    """Have the kernel end this process when the harness ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        # It ended before the request to be told took effect.
        sys.exit(1)


class _Process:
    """Holds the three descriptors and what is read."""

    def __init__(
        self, task: SamplingTask, readings: int, commands: int | None, answers: int | None
    ) -> None:
        self._task = task
        self._readings = readings
        self._commands = commands
        self._answers = answers
        self._unheard = bytearray()
        self._opened: list[Opened] = []

    def run(self) -> None:
        self._write(self._open().line())
        # What is alive now stays; a collection would be a tick late.
        gc.collect()
        gc.freeze()
        gc.disable()
        beat = Beat(time.monotonic_ns(), self._task.hz)
        loop = Loop(self._opened, beat)
        why = "interrupted"
        try:
            why = self._sample(loop, beat)
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:
            return
        for opened in self._opened:
            _guarded(opened.sampler.close)
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        footer = Footer(time.monotonic_ns(), why, beat.ticks, beat.missed, used)
        self._write(loop.lines() + footer.line())

    def _open(self) -> Header:
        task = self._task
        for path in task.plugin_files:
            _add(path)
        if task.cores is not None:
            os.sched_setaffinity(0, task.cores)
        wanted = names(Sampler) if task.samplers is None else task.samplers
        found = [self._open_one(place, name) for place, name in enumerate(wanted)]
        priority = take_turns()  # from here on: opening may take long
        return Header(
            pid=os.getpid(),
            started_ns=time.monotonic_ns(),
            hz=task.hz,
            priority=priority,
            cores=None if task.cores is None else tuple(task.cores),
            samplers=tuple(found),
        )

    def _open_one(self, place: int, name: str) -> SamplerHeader:
        """Open a sampler; whatever it raises is why it is not read, and harms no other."""
        task = self._task
        try:
            sampler = find(Sampler, name)
            can = sampler.availability()
            if not can.ok:
                return SamplerHeader(name, ok=False, reason=can.reason, remedy=can.remedy)
            quantities = sampler.open(Watched(task.worker_pid, task.parent_pid, task.devices))
            facts = dict(sampler.facts())
        except PluginError as error:
            return SamplerHeader(name, ok=False, reason=str(error))
        except Exception as error:  # noqa: BLE001 - a third party's
            return SamplerHeader(name, ok=False, reason=f"{type(error).__name__}: {error}")
        self._opened.append(Opened.of(sampler, place, quantities))
        return SamplerHeader(name, ok=True, quantities=tuple(quantities), facts=facts)

    def _sample(self, loop: Loop, beat: Beat) -> str:
        """Read until there is a reason to stop, and return it."""
        waited_on = [] if self._commands is None else [self._commands]
        loop.boundary()
        self._write(loop.lines())
        self._answer(b"ready")
        while True:
            left_ns = beat.next_ns - time.monotonic_ns()
            # select() waits until an absolute time of the kernel's, to the microsecond.
            ready, _, _ = select.select(waited_on, [], [], max(0, left_ns) / 1e9)
            for command in self._heard() if ready else ():
                if command == b"stop":
                    loop.boundary()
                    return "told to stop"
                if command == b"":
                    return "the harness is gone"
                self._obey(command, loop)
            if time.monotonic_ns() >= beat.next_ns:
                loop.tick()
                if self._task.live:
                    self._write(loop.lines())
                elif loop.waiting > _MOST_WAITING:
                    self._write(loop.lines(_FEW))

    def _heard(self) -> Iterator[bytes]:
        """Yield commands; an empty one where the harness has closed its end."""
        assert self._commands is not None
        chunk = os.read(self._commands, 4096)
        if not chunk:
            yield b""
            return
        *lines, rest = bytes(self._unheard + chunk).split(b"\n")
        self._unheard = bytearray(rest)
        yield from lines

    def _obey(self, command: bytes, loop: Loop) -> None:
        name, _, argument = command.partition(b" ")
        if name == b"follow":
            pid = int(argument) if argument else None
            for opened in self._opened:
                _guarded(partial(opened.sampler.follow, pid))
        loop.boundary()
        if name == b"mark":
            self._write(loop.lines())
            self._answer(argument)

    def _answer(self, words: bytes) -> None:
        if self._answers is not None:
            os.write(self._answers, words + b"\n")

    def _write(self, lines: bytes) -> None:
        left = memoryview(lines)
        while left:
            left = left[os.write(self._readings, left) :]


def _guarded(call: Callable[[], None]) -> None:
    """Call a third party's code; what it raises goes to the log and harms no other sampler."""
    try:
        call()
    except Exception:  # noqa: BLE001 - whatever it is
        traceback.print_exc()


def _add(path: Path) -> None:
    """Load plugins from a file; one that is broken stands as a sampler that is not registered."""
    try:
        add_file(path)
    except PluginError as error:
        print(f"{path}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
