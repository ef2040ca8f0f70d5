"""An energy with its bound, what it is made from, and what follows from it: per token, net of idle.

Pure types and functions: nothing here reads a sensor.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.reading import Reading

__all__ = ["Count", "Energy", "Watts", "net_joules", "per_token"]


@dataclass(frozen=True, slots=True)
class Count:
    """A reading of an energy counter, taken between two moments."""

    before_s: float
    after_s: float
    joules: float


@dataclass(frozen=True, slots=True)
class Watts:
    """A reading of a power sensor, taken between two moments."""

    before_s: float
    after_s: float
    watts: float


@dataclass(frozen=True)
class Energy:
    """What a device used between two moments."""

    joules: Reading
    """With low and high; absent with the reason."""
    method: str
    """`counter` or `power`: differences of a counter, or power summed up."""
    notes: tuple[str, ...] = ()
    """What a reader should know: what the bound leaves out."""

    @property
    def bound_j(self) -> float | None:
        """Half of what lies between low and high; None where energy is absent."""
        if self.joules.low is None or self.joules.high is None:
            return None
        return (self.joules.high - self.joules.low) / 2

    @classmethod
    def absent(cls, method: str, reason: str) -> Energy:
        """Return that there is none, and why."""
        return cls(Reading.absent(reason), method)


def per_token(energy: Reading, tokens: int) -> Reading:
    """Return joules per token, the interval with it; absent where there was no token."""
    if energy.value is None:
        return energy
    if tokens <= 0:
        return Reading.absent("no token was made")
    low = None if energy.low is None else energy.low / tokens
    high = None if energy.high is None else energy.high / tokens
    return Reading(value=energy.value / tokens, low=low, high=high)


def net_joules(energy: Reading, idle_w: Reading, duration_s: float) -> Reading:
    """Return what was used beyond idling for as long; below 0 where the idle power was too high.

    Args:
        energy: Gross, J.
        idle_w: Power measured before the run, W, with its interval where it has one.
        duration_s: The phase's length.
    """
    if energy.value is None:
        return energy
    if idle_w.value is None:
        return Reading.absent(f"idle power is not known: {idle_w.reason}")
    value = energy.value - idle_w.value * duration_s
    if energy.low is None or energy.high is None:
        return Reading(value=value)
    idle_low, idle_high = (
        (idle_w.low, idle_w.high)
        if idle_w.low is not None and idle_w.high is not None
        else (idle_w.value, idle_w.value)
    )
    return Reading(
        value=value,
        low=energy.low - idle_high * duration_s,
        high=energy.high - idle_low * duration_s,
    )
