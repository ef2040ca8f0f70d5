"""Energy of several stretches of time together: the sum, its bound, and how it was found."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.reading import Reading
from harness.telemetry.energy import Energy

__all__ = ["EnergySum"]


@dataclass
class EnergySum:
    """Energy of one device, over the stretches so far."""

    seconds: float = 0.0
    tokens: int = 0
    parts: int = 0
    methods: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    reason: str | None = None
    """Why there is no sum."""
    _value: float = 0.0
    _low: float = 0.0
    _high: float = 0.0

    def add(self, energy: Energy, seconds: float, tokens: int) -> None:
        """Add a stretch; a sum with a part missing is no sum."""
        joules = energy.joules
        self.seconds += seconds
        self.tokens += tokens
        self.parts += 1
        self.methods[energy.method] = None
        self.notes |= dict.fromkeys(energy.notes)
        if joules.value is None or joules.low is None or joules.high is None:
            self.reason = joules.reason
            return
        self._value += joules.value
        self._low += joules.low
        self._high += joules.high

    @property
    def joules(self) -> Reading:
        """The sum, its bounds the sums of the parts'."""
        if self.reason is not None:
            return Reading.absent(self.reason)
        return Reading(value=self._value, low=self._low, high=self._high)

    @property
    def method(self) -> str:
        """`counter`, `power`, or both."""
        return " and ".join(filter(None, self.methods))
