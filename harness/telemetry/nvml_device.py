"""One GPU or MIG device: its gauges probed once, then read; left alone once it is lost.

It must not know which devices there are, or when it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.contracts import Quantity
from harness.reading import Reading
from harness.telemetry.gauges import FIELDS, Gauge, Values, batch, kind_of
from harness.telemetry.nvml_door import Nvml, Refusal, RefusedError
from harness.telemetry.stand_ins import stand_ins

__all__ = ["Device"]


class Device:
    """A device that is watched.

    Attributes:
        lost: Why it is not asked any more; None while it answers.
    """

    def __init__(self, nvml: Nvml, uuid: str, handle: Any) -> None:
        self.uuid = uuid
        self.handle = handle
        self.lost: str | None = None
        self._nvml = nvml
        self._gauges: list[Gauge] = []

    def probe(self, gauges: Sequence[Gauge]) -> list[Quantity]:
        """Try each gauge once and keep what may answer later; say what is here and what is not.

        Where a driver does not know a call, an older one stands in for it.
        """
        found: dict[str, Quantity] = {}
        tried = list(gauges)
        stood_in: set[tuple[str, ...]] = set()  # one that is refused as well has none of its own
        while tried:
            gauge = tried.pop(0)
            final = _final(self._ask(gauge.read, gauge.units))
            kept = [name for name in gauge.units if name not in final]
            if kept:
                self._gauges.append(_narrowed(gauge, kept))
            for name, unit in gauge.units.items():
                reason = final[name].reason if name in final else None
                found[name] = Quantity(name, unit, self.uuid, gauge.tier, reason, kind_of(name))
            for other in () if self.lost else stand_ins(self._nvml, self.handle, final):
                if tuple(other.units) not in stood_in:
                    stood_in.add(tuple(other.units))
                    tried.append(other)
        return list(found.values())

    def reads(self, name: str) -> bool:
        """Whether a quantity is read here."""
        return any(name in gauge.units for gauge in self._gauges)

    def read(self, tier: str) -> dict[tuple[str, str], Reading]:
        """Read what is here of a tier; once the device is lost, the reason, uncalled."""
        found: dict[tuple[str, str], Reading] = {}
        for gauge in self._gauges:
            if gauge.tier == tier:
                values = self._ask(gauge.read, gauge.units)
                found |= {(self.uuid, name): _reading(values[name]) for name in gauge.units}
        return found

    def _ask(self, read: Callable[[Nvml, Any], Values], names: Iterable[str]) -> Values:
        """Call NVML; one refusal of the whole call stands for each quantity."""
        if self.lost:
            return dict.fromkeys(names, RefusedError(Refusal.LOST, self.lost))
        try:
            values = read(self._nvml, self.handle)
        except RefusedError as error:
            values = dict.fromkeys(names, error)
        for value in values.values():
            if isinstance(value, RefusedError) and value.kind is Refusal.LOST:
                self.lost = value.reason
        return values


def _final(values: Values) -> Mapping[str, RefusedError]:
    """Return the refusals that asking again can't help."""
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, RefusedError) and value.kind.final
    }


def _reading(value: float | RefusedError) -> Reading:
    if isinstance(value, RefusedError):
        return Reading.absent(value.reason)
    return Reading(value=value)


def _narrowed(gauge: Gauge, kept: Sequence[str]) -> Gauge:
    """Return a gauge that gives, and if it is a batch of fields asks for, only what is here."""
    if len(kept) == len(gauge.units):
        return gauge  # a stand-in has a field's name and another way to read it
    fields = [field for field in FIELDS if field.name in kept]
    if fields:
        return batch(fields)
    return replace(gauge, units={name: gauge.units[name] for name in kept})
