"""Why a GPU's clock is where it is: NVML's bits in words, and which of them are throttling.

Source: nvmlClocksEventReasons in nvml.h.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CLOCK_EVENTS", "ClockEvent", "clock_events", "throttling"]


@dataclass(frozen=True)
class ClockEvent:
    """One bit of `clock_events_bits`."""

    bit: int
    name: str
    throttles: bool
    """Whether it holds the clock below what the load asks for."""
    meaning: str


CLOCK_EVENTS = (
    ClockEvent(0x001, "idle", False, "nothing runs, the clock has dropped"),
    ClockEvent(0x002, "application clocks", False, "the clock is set by the user"),
    ClockEvent(0x004, "power cap", True, "the power limit holds the clock down"),
    ClockEvent(0x008, "hardware slowdown", True, "temperature, power brake or supply"),
    ClockEvent(0x010, "sync boost", True, "held to the slowest GPU of its group"),
    ClockEvent(0x020, "thermal, software", True, "the driver holds the temperature down"),
    ClockEvent(0x040, "thermal, hardware", True, "too hot: the clock is halved or worse"),
    ClockEvent(0x080, "power brake", True, "the supply asked for less: halved or worse"),
    ClockEvent(0x100, "display clocks", False, "held to what a display needs"),
    ClockEvent(0x200, "board limit", True, "the board's own power limit holds the clock down"),
    ClockEvent(0x400, "reliability", True, "the voltage the chip is good for holds the clock down"),
)


def clock_events(bits: float) -> tuple[ClockEvent, ...]:
    """Return the events that a reading of `clock_events_bits` stands for; unknown bits too."""
    left = int(bits)
    found = [event for event in CLOCK_EVENTS if left & event.bit]
    for event in found:
        left &= ~event.bit
    if left:
        found.append(ClockEvent(left, f"unknown 0x{left:x}", True, "newer than this table"))
    return tuple(found)


def throttling(bits: float) -> tuple[str, ...]:
    """Return the names of the events that hold the clock below what the load asks for."""
    return tuple(event.name for event in clock_events(bits) if event.throttles)
