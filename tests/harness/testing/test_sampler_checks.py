"""The checks for samplers."""

from collections.abc import Mapping

import pytest

from harness.contracts import Availability, Sampler
from harness.reading import Reading
from harness.testing import sampler_conformance


class Thermometer(Sampler):
    """Honest: one quantity is there, one is absent with its reason."""

    summary = "temperatures"

    def availability(self) -> Availability:
        return Availability.yes()

    def quantities(self) -> Mapping[str, str]:
        return {"core_celsius": "°C", "board_celsius": "°C"}

    def read(self) -> Mapping[str, Reading]:
        return {
            "core_celsius": Reading(value=41.5),
            "board_celsius": Reading.absent("no sensor on this board"),
        }


class NoReason(Thermometer):
    def availability(self) -> Availability:
        return Availability(ok=False)


class NoUnit(Thermometer):
    def quantities(self) -> Mapping[str, str]:
        return {"core_celsius": "", "board_celsius": "°C"}


class Nothing(Thermometer):
    def quantities(self) -> Mapping[str, str]:
        return {}


class LeavesOut(Thermometer):
    def read(self) -> Mapping[str, Reading]:
        return {"core_celsius": Reading(value=41.5)}


class NotANumber(Thermometer):
    def read(self) -> Mapping[str, Reading]:
        return {**super().read(), "board_celsius": Reading(value=float("nan"))}


class PlainNumbers(Thermometer):
    def read(self) -> Mapping[str, Reading]:
        return {"core_celsius": 41.5, "board_celsius": 0.0}  # type: ignore[dict-item]


def test_an_honest_sampler_has_no_finding() -> None:
    found = sampler_conformance(Thermometer())
    assert [f.detail for f in found if not f.ok] == []
    assert found[-1].detail == "2 quantities, 1 absent with a reason"


@pytest.mark.parametrize(
    ("sampler", "check", "detail"),
    [
        (NoReason, "availability has a reason", "no without a reason"),
        (NoUnit, "quantities have units", '"core_celsius" has the unit ""'),
        (Nothing, "quantities have units", "names no quantity"),
        (LeavesOut, "readings match quantities", "differ in: board_celsius"),
        (NotANumber, "readings match quantities", "finite"),
        (PlainNumbers, "readings match quantities", "41.5, not a Reading"),
    ],
)
def test_each_check_can_fail(sampler: type[Sampler], check: str, detail: str) -> None:
    broken = {f.name: f.detail for f in sampler_conformance(sampler()) if not f.ok}
    assert detail in broken[check]
