"""A value, or absent with a reason: never 0 or NaN for what is unknown."""

import math
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

__all__ = ["Reading"]


class Reading(BaseModel):
    """One figure as it is stored and shown.

    Exactly one of `value` and `reason` is set. An interval is there only where there is something
    to take it from; `no_interval` says why it is not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None = None
    """The figure, in its metric's unit; None where it is absent."""
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    """Upper end of the 95 % interval."""
    n: int | None = None
    """How many samples stand behind the value."""
    processes: int | None = None
    """How many fresh processes stand behind the value: the unit of the interval."""
    reason: str | None = None
    """Why the value is absent."""
    no_interval: str | None = None
    """Why a value that is there has no interval."""

    @model_validator(mode="after")
    def _value_or_reason(self) -> Self:
        if (self.value is None) == (self.reason is None):
            raise ValueError("a reading has either a value or the reason why it has none")
        numbers = (self.value, self.low, self.high)
        if any(x is not None and not math.isfinite(x) for x in numbers):
            raise ValueError("a reading is finite; what is unknown is absent with a reason")
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has both ends")
        if self.low is not None and self.value is None:
            raise ValueError("an interval stands beside a value")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("an interval's low end is not above its high end")
        return self

    @classmethod
    def absent(cls, reason: str) -> "Reading":
        """Return a reading without a value, saying why."""
        return cls(reason=reason)

    @property
    def half_width(self) -> float | None:
        """Half the interval's length relative to the value; None without interval or at 0."""
        if self.low is None or self.high is None or not self.value:
            return None
        return abs((self.high - self.low) / 2 / self.value)
