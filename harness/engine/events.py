"""What a worker says to the harness: one JSON object a line, on a pipe that only it inherits.

stdout and stderr stay free for whatever a backend prints; they go to the case's log.
"""

from __future__ import annotations

import os
import select
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.store.record import BlockRecord, RoundRecord

__all__ = [
    "BLOCK",
    "NEXT",
    "BlockDone",
    "Event",
    "Failed",
    "GarbledError",
    "PhaseStarted",
    "Progress",
    "Ready",
    "Result",
    "SampleRow",
    "Speaker",
    "parse",
]

_ACK_SECONDS = 2.0
_BLOCKS_BY_HAND = 4

BLOCK, NEXT = b"b", b"n"
"""What a side of a duet is told: measure one more block, or go on with the next point."""


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


class SpanRow(_Event):
    """A stretch of a measured iteration in which one kind of work was done."""

    point: str
    kind: Literal["prefill", "decode"]
    start_ns: int
    end_ns: int
    tokens: int


class Ready(_Event):
    """A side of a duet has warmed a point up and waits to be told when to measure."""

    event: Literal["ready"] = "ready"
    point: str


class BlockDone(_Event):
    """A side of a duet has measured one block and waits again."""

    event: Literal["block"] = "block"
    block: BlockRecord


class Result(_Event):
    """All that the worker found."""

    event: Literal["result"] = "result"
    record: RoundRecord
    samples: list[SampleRow]
    spans: list[SpanRow] = Field(default_factory=list)


AnyEvent = PhaseStarted | Progress | Failed | Ready | BlockDone | Result
Event = Annotated[AnyEvent, Field(discriminator="event")]
_ADAPTER: TypeAdapter[AnyEvent] = TypeAdapter(Event)


class GarbledError(Exception):
    """A line on the pipe is not an event."""


def parse(line: bytes) -> AnyEvent:
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
        self._by_hand = 0

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

    def told(self) -> bytes:
        """Wait until told what to do next, however long that is: `BLOCK` or `NEXT`."""
        if self._answers is None:
            self._by_hand += 1
            return NEXT if self._by_hand % (_BLOCKS_BY_HAND + 1) == 0 else BLOCK
        while (byte := os.read(self._answers, 1)) not in (BLOCK, NEXT, b""):
            pass  # an answer to a question that was given up
        return byte or NEXT
