"""Start a worker, sleep until it speaks, and say how it ended, whichever way it ended.

The harness blocks in poll() while a worker measures: it wakes only for an event or a deadline.
A worker that takes turns with another one is frozen while it rests: threads of its own may spin.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.engine.case import PlanTask, ProfileTask, ReferenceTask, Task
from harness.engine.clock import now_ns
from harness.engine.events import (
    BlockDone,
    Failed,
    GarbledError,
    PhaseStarted,
    Progress,
    Ready,
    Result,
    parse,
)
from harness.errors import SessionError, UnavailableError
from harness.store.record import Failure

__all__ = [
    "Ended",
    "Interpreter",
    "LiveWorker",
    "run_worker",
    "worker_command",
    "worker_environment",
]

_LOG_TAIL_LINES = 20
_LOG_TAIL_CHARACTERS = 4000
_DUMP_SECONDS = 0.5
_EXIT_SECONDS = 10.0
_FREEZE_SECONDS = 5.0
_LONGEST_LINE = 256 * 2**20
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Interpreter:
    """Which Python a worker runs on, and what it finds before all that is installed there."""

    python: str = sys.executable
    path: tuple[str, ...] = ()
    """Folders put first on its module path."""


_OURS = Interpreter()


@dataclass(frozen=True)
class Ended:
    """How a worker ended: with a result, without one where none was due, or with a failure."""

    pid: int
    result: Result | None
    failure: Failure | None
    unavailable: bool = False


def worker_command(task_file: Path, interpreter: Interpreter = _OURS) -> list[str]:
    """Return the command that runs a task by hand; -P keeps the working folder off sys.path."""
    return [interpreter.python, "-P", "-m", "harness.engine.worker", str(task_file)]


def worker_environment(
    threads: int, base: Mapping[str, str] = os.environ, interpreter: Interpreter = _OURS
) -> dict[str, str]:
    """Return the environment of a worker: the user's, with threads set and the path kept safe."""
    path = [*interpreter.path, *filter(None, [base.get("PYTHONPATH")])]
    return {
        **base,
        **({"PYTHONPATH": os.pathsep.join(path)} if path else {}),
        **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def run_worker(
    task: Task | ReferenceTask | PlanTask | ProfileTask,
    task_file: Path,
    log: Path,
    *,
    threads: int,
    time_limit: float,
    listen: Callable[[PhaseStarted | Progress], None],
    started: Callable[[int], None] = lambda _: None,
    interpreter: Interpreter = _OURS,
    within: Sequence[str] = (),
) -> Ended:
    """Run one task in a fresh interpreter; return how it ended. No worker outlives this call.

    Args:
        task: What to do; written to `task_file`.
        task_file: Kept, so that the worker can be run again by hand.
        log: Gets the worker's stdout and stderr.
        threads: For the thread pools that read it from the environment.
        time_limit: Seconds without an event after which the worker counts as hung.
        listen: Called for each event while the worker waits for the answer.
        started: Called with the worker's process id as soon as it has one.
        interpreter: Which Python runs it.
        within: A command that starts it, where it is to be watched from outside.
    """
    task_file.write_text(task.model_dump_json(indent=1))
    kills_before = _oom_kills()
    with _started(task_file, log, threads, interpreter, within) as (process, events, answers):
        started(process.pid)
        conversation = _Conversation(listen, answers, time_limit, log)
        conversation.follow(process, events)
        status = _end(process)
    if status == 0 and conversation.failure is None and not isinstance(task, Task):
        return Ended(process.pid, None, None)
    return _concluded(process.pid, conversation, status, kills_before, log)


class LiveWorker:
    """A worker that stays loaded and measures a block when told to; frozen while it rests.

    `advance` returns where it waits next, or how it ended.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        events: int,
        answers: int,
        log: Path,
        time_limit: float,
        listen: Callable[[PhaseStarted | Progress], None],
    ) -> None:
        self._process = process
        self._events = events
        self._answers = answers
        self._log = log
        self._kills_before = _oom_kills()
        self._conversation = _Conversation(listen, answers, time_limit, log)
        self.ended: Ended | None = None

    @classmethod
    @contextlib.contextmanager
    def start(
        cls,
        task: Task,
        task_file: Path,
        log: Path,
        *,
        threads: int,
        time_limit: float,
        listen: Callable[[PhaseStarted | Progress], None],
        interpreter: Interpreter = _OURS,
    ) -> Iterator[LiveWorker]:
        """Start one; it is killed when the context is left, frozen or not. As `run_worker`."""
        task_file.write_text(task.model_dump_json(indent=1))
        with _started(task_file, log, threads, interpreter) as (process, events, answers):
            yield cls(process, events, answers, log, time_limit, listen)

    def advance(self, told: bytes | None = None) -> Ready | BlockDone | Ended:
        """Tell it what to do, and follow it until it waits again or ends."""
        if self.ended is not None:
            return self.ended
        self.thaw()
        conversation = self._conversation
        conversation.waiting = None
        if told is not None:
            with contextlib.suppress(BrokenPipeError):  # it died meanwhile: follow says how
                os.write(self._answers, told)
        conversation.follow(self._process, self._events)
        if conversation.waiting is not None:
            return conversation.waiting
        status = _end(self._process)
        self.ended = _concluded(
            self._process.pid, conversation, status, self._kills_before, self._log
        )
        return self.ended

    def freeze(self) -> None:
        """Stop it and all it started, and return once every thread of it stands still.

        Raises:
            SessionError: where it cannot be stopped: the other side would not be alone.
        """
        if self.ended is not None:
            return
        os.killpg(self._process.pid, signal.SIGSTOP)
        deadline = now_ns() + int(_FREEZE_SECONDS * 1e9)
        while os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOHANG) is None:
            if self._process.poll() is not None:
                return  # it died: the next advance says how
            if now_ns() > deadline:
                raise SessionError(f"worker {self._process.pid} cannot be stopped by SIGSTOP")
            time.sleep(0.0002)

    def thaw(self) -> None:
        """Let it go on."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGCONT)


def _concluded(
    pid: int, conversation: _Conversation, status: int, kills_before: int | None, log: Path
) -> Ended:
    if conversation.result is not None:
        return Ended(pid, conversation.result, None)
    failure = conversation.failure or _ending(status, kills_before, conversation.phase)
    return Ended(
        pid,
        None,
        failure.model_copy(update={"log_tail": _tail(log)}),
        conversation.unavailable,
    )


@contextlib.contextmanager
def _started(
    task_file: Path,
    log: Path,
    threads: int,
    interpreter: Interpreter,
    within: Sequence[str] = (),
) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    events, events_in = os.pipe()
    answers_out, answers = os.pipe()
    command = [
        *within,
        *worker_command(task_file, interpreter),
        *("--events", str(events_in), "--answers", str(answers_out)),
    ]
    try:
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                pass_fds=(events_in, answers_out),
                env=worker_environment(threads, interpreter=interpreter),
                start_new_session=True,  # Ctrl-C is the harness's to handle
            )
    finally:
        os.close(events_in)
        os.close(answers_out)
    try:
        yield process, events, answers
    finally:
        _kill(process)
        os.close(events)
        os.close(answers)


class _Conversation:
    """Reads a worker's events until it closes its pipe, breaks the protocol or falls silent."""

    def __init__(
        self,
        listen: Callable[[PhaseStarted | Progress], None],
        answers: int,
        time_limit: float,
        log: Path,
    ) -> None:
        self._listen = listen
        self._log = log
        self._answers = answers
        self._time_limit = time_limit
        self.phase = "start"
        self.waiting: Ready | BlockDone | None = None
        self.result: Result | None = None
        self.failure: Failure | None = None
        self.unavailable = False

    def follow(self, process: subprocess.Popen[bytes], events: int) -> None:
        poll = select.poll()
        poll.register(events, select.POLLIN | select.POLLHUP)
        pending = bytearray()
        deadline = now_ns() + int(self._time_limit * 1e9)
        while True:
            left_ms = max(0, (deadline - now_ns()) // 1_000_000)
            if not poll.poll(left_ms):
                self._hung(process)
                return
            chunk = os.read(events, 1 << 16)
            if not chunk:
                return
            pending += chunk
            if b"\n" not in chunk:
                if len(pending) > _LONGEST_LINE:
                    self._fail("printed garbage on its event pipe: a line without end")
                    return
                continue
            *lines, rest = pending.split(b"\n")
            pending = bytearray(rest)
            for line in lines:
                if not self._hear(bytes(line)):
                    return
            deadline = now_ns() + int(self._time_limit * 1e9)

    def _hear(self, line: bytes) -> bool:
        """Deal with one line; False where the conversation is over."""
        try:
            event = parse(line)
        except GarbledError as error:
            self._fail(str(error))
            return False
        match event:
            case PhaseStarted() | Progress():
                if isinstance(event, PhaseStarted):
                    self.phase = event.name
                self._listen(event)
                with contextlib.suppress(BrokenPipeError):
                    os.write(self._answers, b"\n")
            case Failed():
                self.failure = Failure(phase=event.phase, reason=event.reason)
                self.unavailable = event.unavailable
            case Ready() | BlockDone():
                # It says nothing more until it is told to go on.
                self.waiting = event
                return False
            case Result():
                self.result = event
        return True

    def _hung(self, process: subprocess.Popen[bytes]) -> None:
        # The worker answers this signal by writing every thread's stack to its log.
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGUSR1)
        time.sleep(_DUMP_SECONDS)
        at = _traced(process.pid, self._log)
        self._fail(
            f"hung{at}: nothing was heard of it for {self._time_limit:g} s "
            "(run.time_limit); its stacks are in the log"
        )

    def _fail(self, reason: str) -> None:
        self.failure = Failure(phase=self.phase, reason=reason)


def _traced(pid: int, log: Path) -> str:
    """Have py-spy write a hung worker's stacks to its log; return where its main thread stands.

    The worker's own answer may never come: a signal's handler waits for C code to return, and
    faulthandler cannot see a thread that Python does not know.
    """
    from harness.profiling.pyspy import dump

    try:
        text = dump(pid)
    except UnavailableError as error:
        text = f"{error}\n"
    with contextlib.suppress(OSError), log.open("a") as out:
        out.write(f"\n{text}")
    main = text.partition('"MainThread"')[2].splitlines()[1:2]
    return f" in {main[0].strip()}" if main else ""


def _end(process: subprocess.Popen[bytes]) -> int:
    """Wait for a worker that has closed its pipe; kill one that stays."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_EXIT_SECONDS)
    _kill(process)
    return process.returncode


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the worker and every process it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ending(status: int, kills_before: int | None, phase: str) -> Failure:
    if status >= 0:
        return Failure(
            phase=phase, reason=f"ended with status {status} and no result", exit_code=status
        )
    name = signal.Signals(-status).name
    kills = _oom_kills()
    why = ""
    if -status == signal.SIGKILL and kills is not None and kills_before is not None:
        why = ": out of memory" if kills > kills_before else ": from outside, not for memory"
    return Failure(phase=phase, reason=f"killed by {name}{why}", signal=name)


def _oom_kills() -> int | None:
    """How many processes the kernel killed for memory so far; None where it does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None


def _tail(log: Path) -> str:
    with contextlib.suppress(OSError):
        text = log.read_bytes()[-_LOG_TAIL_CHARACTERS:].decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-_LOG_TAIL_LINES:])
    return ""
