"""A backend that breaks down: killed, crashed, hung, garbling or raising, wherever it is told to.

For tests of what a run makes of it: `harness run SUITE --plugin harness/testing/faults.py`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from harness.contracts import Availability, Backend, BackendOptions, StepSession
from harness.errors import SessionError
from harness.plugins import find
from harness.testing.falsified import Wrapped

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import Model

__all__ = ["BREAKDOWNS", "FaultyBackend", "FaultyOptions"]

_NEVER = 3600.0


def _raise() -> NoReturn:
    raise ValueError("a declared breakdown")


def _garble() -> None:
    """Write to every pipe this process has, as a library that prints to a stray descriptor does."""
    for entry in Path("/proc/self/fd").iterdir():
        fd = int(entry.name)
        try:
            is_pipe = str(entry.readlink()).startswith("pipe:")
        except OSError:
            continue
        if fd > 2 and is_pipe:
            _write_if_writable(fd)


def _write_if_writable(fd: int) -> None:
    try:
        os.write(fd, b"\x00\xff this is no event\n")
    except OSError:
        return


BREAKDOWNS: dict[str, Callable[[], object]] = {
    "raise": _raise,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "hang": lambda: time.sleep(_NEVER),
    "garble": _garble,
    "exit": lambda: os._exit(0),
}
"""What can happen, by name."""


class FaultyOptions(BackendOptions):
    """Which breakdown, and when."""

    how: Literal["raise", "kill", "segfault", "hang", "garble", "exit"] = "raise"
    """What happens."""
    when: Literal["load", "prepare", "decode"] = "load"
    """Where it happens."""
    after: int = 0
    """How many decodes go well before."""
    only: int | None = None
    """Happens in the worker of this number alone, counted from 0 in `flags`; None for all."""
    flags: Path | None = None
    """A folder in which each worker leaves a file."""


class FaultyBackend(Backend):
    """Eager until it breaks down."""

    name: ClassVar[str] = "faulty"
    summary = "breaks down where it is told to"
    Options = FaultyOptions

    def availability(self, device: str) -> Availability:
        """As eager."""
        return find(Backend, "eager").availability(device)

    def load(self, model: Model, device: str, options: Any) -> StepSession:
        """Load eager, or break down."""
        if options.when == "load":
            _break_down(options)
        eager = find(Backend, "eager")
        own = eager.Options.model_validate(
            options.model_dump(include=set(BackendOptions.model_fields))
        )
        session = eager.load(model, device, own)
        if not isinstance(session, StepSession):
            raise SessionError("eager is not a step backend")
        return _FaultySession(session, options)


class _FaultySession(Wrapped):
    def __init__(self, honest: StepSession, options: FaultyOptions) -> None:
        super().__init__(honest)
        self._options = options
        self._decodes = 0

    def prepare(self, batch: int, context: int) -> None:
        if self._options.when == "prepare":
            _break_down(self._options)
        super().prepare(batch, context)

    def decode(self) -> Tensor:
        if self._options.when == "decode" and self._decodes == self._options.after:
            _break_down(self._options)
        self._decodes += 1
        return super().decode()


def _break_down(options: FaultyOptions) -> None:
    if options.flags is not None:
        number = len(list(options.flags.iterdir()))
        (options.flags / str(number)).touch()
        if number != options.only:
            return
    BREAKDOWNS[options.how]()
