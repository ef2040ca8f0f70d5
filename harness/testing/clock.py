"""Time and memory that obey: a clock that moves only when told, and one that really waits."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "FakeClock", "FakeMeter", "WallClock"]

_SPIN_NS = 1_000_000


class Clock(Protocol):
    """Monotonic nanoseconds, and a way to let some pass. `now_ns` serves as `Lab.now_ns`."""

    def now_ns(self) -> int:
        """Return the time."""

    def pass_ns(self, duration_ns: int) -> None:
        """Return when this much time has passed."""


class FakeClock:
    """A clock on which time passes only when told to."""

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return the time."""
        return self._now_ns

    def pass_ns(self, duration_ns: int) -> None:
        """Move the clock forward; ValueError for a negative duration."""
        if duration_ns < 0:
            raise ValueError(f"time does not run backwards: {duration_ns} ns")
        self._now_ns += duration_ns


class WallClock:
    """The machine's monotonic clock; waiting sleeps for the greater part and spins at the end."""

    def now_ns(self) -> int:
        """Return the time."""
        return time.monotonic_ns()

    def pass_ns(self, duration_ns: int) -> None:
        """Wait; the end is met to a few microseconds where the machine has a core free."""
        end_ns = time.monotonic_ns() + duration_ns
        if duration_ns > _SPIN_NS:
            time.sleep((duration_ns - _SPIN_NS) / 1e9)
        while time.monotonic_ns() < end_ns:
            pass


class FakeMeter:
    """A memory meter that knows only what it is told."""

    def __init__(self, current_bytes: int = 0, available_bytes: int = 2**30) -> None:
        self._current = self._peak = current_bytes
        self._total = current_bytes + available_bytes

    def take(self, size_bytes: int) -> None:
        """Use more (or, negative, less) memory."""
        self._current += size_bytes
        self._peak = max(self._peak, self._current)

    def current_bytes(self) -> int:
        """What is in use now."""
        return self._current

    def peak_bytes(self) -> int:
        """The most that was in use since `reset_peak`."""
        return self._peak

    def reset_peak(self) -> None:
        """Start a new peak."""
        self._peak = self._current

    def available_bytes(self) -> int:
        """What is left of the declared total."""
        return self._total - self._current
