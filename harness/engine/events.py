"""What a worker says to the harness: one JSON object a line, on a pipe that only it inherits.

stdout and stderr stay free for whatever a backend prints; they go to the case's log.
"""

from __future__ import annotations

import os
import select
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.store.record import RoundRecord

__all__ = [
    "Event",
    "Failed",
    "GarbledError",
    "PhaseStarted",
    "Progress",
    "Result",
    "SampleRow",
    "Speaker",
    "parse",
]

_ACK_SECONDS = 2.0


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PhaseStarted(_Event):
    """A phase begins; should the worker die, this is where it died."""

    event: Literal["phase"] = "phase"
    name: str
    point: str = ""


class Progress(_Event):
    """Between two iterations; the worker waits for the answer, so drawing disturbs no sample."""

    event: Literal["progress"] = "progress"
    point: str
    iterations: int
    metric: str
    value: float
    half_width: float | None


class Failed(_Event):
    """The worker caught an error and ends."""

    event: Literal["failed"] = "failed"
    phase: str
    reason: str
    unavailable: bool = False


class SampleRow(_Event):
    """The samples of one metric from one iteration, in order."""

    point: str
    phase: Literal["warmup", "measure", "disturbed"]
    iteration: int
    metric: str
    values: list[float]


class Result(_Event):
    """All that the worker found."""

    event: Literal["result"] = "result"
    record: RoundRecord
    samples: list[SampleRow]


Event = Annotated[PhaseStarted | Progress | Failed | Result, Field(discriminator="event")]
_ADAPTER: TypeAdapter[PhaseStarted | Progress | Failed | Result] = TypeAdapter(Event)


class GarbledError(Exception):
    """A line on the pipe is not an event."""


def parse(line: bytes) -> PhaseStarted | Progress | Failed | Result:
    """Read one line.

    Raises:
        GarbledError: where it is not an event.
    """
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError as error:
        shown = line[:60].decode("utf-8", "replace")
        raise GarbledError(f"printed garbage on its event pipe: {shown!r}") from error


class Speaker:
    """The worker's end of the pipe."""

    def __init__(self, events_fd: int, answers_fd: int | None) -> None:
        self._events = events_fd
        self._answers = answers_fd

    def say(self, event: _Event) -> None:
        """Send one event."""
        data = event.model_dump_json().encode() + b"\n"
        while data:
            data = data[os.write(self._events, data) :]

    def ask(self, event: _Event) -> None:
        """Send one event and wait until it was dealt with."""
        self.say(event)
        if self._answers is None:
            return
        ready, _, _ = select.select([self._answers], [], [], _ACK_SECONDS)
        if ready:
            os.read(self._answers, 64)
