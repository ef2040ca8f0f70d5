"""A device that throttles on a schedule: a backend that is slower then, a sampler that says so.

Both look at the same clock, so what a run makes of throttling can be held against the truth. Load
it with `--plugin`; it must never stand beside figures that anybody believes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.contracts import Availability, Backend, Quantity, Sampler, Watched
from harness.plugins import find
from harness.reading import Reading
from harness.testing.falsified import Wrapped

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import Model

__all__ = ["PERIOD_NS", "THROTTLED_NS", "ThrottledBackend", "ThrottledSampler", "throttles"]

PERIOD_NS = 600_000_000
THROTTLED_NS = 200_000_000
"""At the end of each period of the monotonic clock."""

_TOKEN_S = 0.004
_SLOWER_S = 0.006
_POWER_CAP = 4
_FULL_W, _CAPPED_W = 300.0, 220.0


def throttles(at_ns: int) -> bool:
    """Whether the device throttles at this time."""
    return at_ns % PERIOD_NS >= PERIOD_NS - THROTTLED_NS


class _Throttled(Wrapped):
    def decode(self) -> Tensor:
        token = super().decode()
        slower = throttles(time.monotonic_ns())
        time.sleep(_TOKEN_S + (_SLOWER_S if slower else 0.0))
        return token


class ThrottledBackend(Backend):
    """Eager on a device that throttles."""

    name = "throttled"
    summary = "eager, slower while a made-up device throttles"

    def availability(self, device: str) -> Availability:
        """It runs on a CPU."""
        return Availability.yes() if device == "cpu" else Availability.no("runs on a CPU only")

    def load(self, model: Model, device: str, options: Any) -> Wrapped:
        """Load eager, and slow it down."""
        eager = find(Backend, "eager")
        own = eager.Options.model_validate(options.model_dump())
        session: Any = eager.load(model, device, own)
        return _Throttled(session)


class ThrottledSampler(Sampler):
    """The made-up device's power and clock events."""

    name = "throttled_sensors"
    summary = "sensors of a made-up device that throttles"

    def availability(self) -> Availability:
        """It is made up, hence here."""
        return Availability.yes()

    def open(self, watched: Watched) -> Sequence[Quantity]:
        """Name power, clock events, and one sensor that the device lacks."""
        del watched
        return [
            Quantity("power_w", "W", "GPU-made-up"),
            Quantity("clock_events_bits", "bits", "GPU-made-up", kind="state"),
            Quantity("energy_j", "J", "GPU-made-up", reason="no such counter", kind="counter"),
        ]

    def facts(self) -> Mapping[str, Any]:
        """Say that it is made up."""
        return {"driver": "made up"}

    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        """Look at the clock."""
        if tier != "fast":
            return {}
        now = throttles(time.monotonic_ns())
        return {
            ("GPU-made-up", "power_w"): Reading(value=_CAPPED_W if now else _FULL_W),
            ("GPU-made-up", "clock_events_bits"): Reading(value=float(_POWER_CAP * now)),
        }
