"""The harness's end of the sampler process: start it, follow a worker, take what was read, stop it.

Nothing here raises because a sampler broke: the run goes on, and `problem` says what happened.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness.telemetry.lines import Call, Footer, Header, Missed, parse
from harness.telemetry.process import SamplingTask

__all__ = ["Beside"]

_START_S = 30.0
_ANSWER_S = 1.5
"""Less than a worker waits where a phase begins."""
_STOP_S = 5.0


class Beside:
    """A sampler process; use it as a context manager, or stop it.

    Attributes:
        header: What it reads; None where it did not start.
        footer: What it said last.
        problem: Why there are no readings, or none any more.
    """

    def __init__(self, task: SamplingTask, readings: Path, log: Path) -> None:
        """Start it; return once everything was read a first time, or it is clear that it won't.

        Args:
            task: What to read.
            readings: Gets the JSON lines.
            log: Gets its stderr.
        """
        self.header: Header | None = None
        self.footer: Footer | None = None
        self.problem: str | None = None
        self._marks = 0
        self._answers = b""
        self._unread = b""
        self._log = log
        with readings.open("wb") as out, log.open("wb") as err:
            commands_out, self._commands = os.pipe()
            self._answers_out, answers = os.pipe()
            descriptors = (out.fileno(), commands_out, answers)
            names = ("--readings", "--commands", "--answers")
            flags = [f"{name}={fd}" for name, fd in zip(names, descriptors, strict=True)]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.telemetry.process",
                 task.model_dump_json(), *flags],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
                pass_fds=descriptors,
                env={**os.environ, "PYTHONSAFEPATH": "1"},
                start_new_session=True,  # Ctrl-C is the harness's to handle
            )  # fmt: skip
        os.close(commands_out)
        os.close(answers)
        self._readings = readings.open("rb")
        self._wait_for(b"ready", _START_S)
        self._taken = self._read()

    @property
    def pid(self) -> int:
        """Of the sampler process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the sampler process runs."""
        return self._process.poll() is None

    def follow(self, worker_pid: int | None) -> None:
        """Watch another worker, or none."""
        self._say(f"follow {worker_pid or ''}".strip())

    def mark(self) -> None:
        """Read everything now, and wait until all that was read so far can be taken."""
        self._marks += 1
        self._say(f"mark {self._marks}")
        self._wait_for(str(self._marks).encode(), _ANSWER_S)

    def take(self) -> list[Call | Missed]:
        """Return what was read since the last call."""
        found, self._taken = [*self._taken, *self._read()], []
        return found

    def _read(self) -> list[Call | Missed]:
        """Read on; header and footer are put in their places."""
        *lines, self._unread = (self._unread + self._readings.read()).split(b"\n")
        found: list[Call | Missed] = []
        for line in lines:
            try:
                item = parse(line)
            except ValueError as error:
                self._fail(str(error))
                continue
            match item:
                case Header():
                    self.header = item
                case Footer():
                    self.footer = item
                case _:
                    found.append(item)
        return found

    def stop(self) -> list[Call | Missed]:
        """End it; return what was read since the last `take`. Calling it twice is harmless."""
        if self._readings.closed:
            return []
        self._say("stop")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        self._kill()
        rest = self.take()
        if self.footer is None:
            self._fail("did not end in order")
        self._readings.close()
        os.close(self._commands)
        os.close(self._answers_out)
        return rest

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _say(self, command: str) -> None:
        if self.problem is None:
            try:
                os.write(self._commands, command.encode() + b"\n")
            except BrokenPipeError:
                self._fail("ended")

    def _wait_for(self, answer: bytes, seconds: float) -> None:
        """Wait for a line; where it does not come, say why."""
        deadline = time.monotonic() + seconds
        while self.problem is None:
            *lines, _ = self._answers.split(b"\n")
            if answer in lines:
                self._answers = b""
                return
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._answers_out], [], [], left)
            if not ready:
                self._fail(f"did not answer within {seconds:g} s")
            elif chunk := os.read(self._answers_out, 4096):
                self._answers += chunk
            else:
                self._fail("ended")

    def _fail(self, what: str) -> None:
        if self.problem is not None:
            return
        self.problem = f"the sampler process {what}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(0.5)
            how = signal.Signals(-status).name if status < 0 else f"status {status}"
            self.problem += f" ({how})"
        with contextlib.suppress(OSError):
            if said := self._log.read_text(errors="replace").strip().splitlines():
                self.problem += f": {said[-1]}"

    def _kill(self) -> None:
        """Kill it and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
