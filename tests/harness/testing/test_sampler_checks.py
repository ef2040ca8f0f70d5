"""The checks for samplers."""

from collections.abc import Mapping, Sequence

import pytest

from harness.contracts import Availability, Quantity, Sampler, Watched
from harness.reading import Reading
from harness.testing import sampler_conformance

CORE, BOARD, SPUN = ("", "core_c"), ("board", "board_c"), ("fan", "turns")


class Thermometer(Sampler):
    """Honest: a gauge and a counter that are here, one that is absent now, one that never is."""

    summary = "temperatures"
    turns = 0

    def availability(self) -> Availability:
        return Availability.yes()

    def open(self, watched: Watched) -> Sequence[Quantity]:
        return [
            Quantity("core_c", "°C"),
            Quantity("board_c", "°C", "board", "slow"),
            Quantity("turns", "1", "fan", "slow", kind="counter"),
            Quantity("socket_c", "°C", reason="this board has no such sensor"),
        ]

    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        self.turns += 1
        slow = {BOARD: Reading.absent("asleep"), SPUN: Reading(value=float(self.turns))}
        return {"fast": {CORE: Reading(value=41.5)}, "slow": slow}.get(tier, {})


class NoReason(Thermometer):
    def availability(self) -> Availability:
        return Availability(ok=False)


class NoUnit(Thermometer):
    def open(self, watched: Watched) -> Sequence[Quantity]:
        return [Quantity("core_c", "")]


class Nothing(Thermometer):
    def open(self, watched: Watched) -> Sequence[Quantity]:
        return []


class Twice(Thermometer):
    def open(self, watched: Watched) -> Sequence[Quantity]:
        return [*super().open(watched), Quantity("board_c", "°C", "board", "fast")]


class Seldom(Thermometer):
    def open(self, watched: Watched) -> Sequence[Quantity]:
        return [Quantity("core_c", "°C", tier="yearly")]  # type: ignore[arg-type]


class LeavesOut(Thermometer):
    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        return {k: r for k, r in super().read(tier).items() if k != BOARD}


class ReadsTheAbsent(Thermometer):
    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        return {**super().read(tier), ("", "socket_c"): Reading(value=0.0)}


class NotANumber(Thermometer):
    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        return {CORE: Reading(value=float("nan"))}


class PlainNumbers(Thermometer):
    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        return {CORE: 41.5} if tier == "fast" else super().read(tier)  # type: ignore[dict-item]


class TurnsBack(Thermometer):
    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        self.turns -= 2
        return super().read(tier)


class OnlyWithWorker(Thermometer):
    def follow(self, worker_pid: int | None) -> None:
        if worker_pid is None:
            raise TypeError("no worker")


def test_an_honest_sampler_has_no_finding() -> None:
    found = sampler_conformance(Thermometer())
    assert [f.detail for f in found if not f.ok] == []
    said = {f.name: f.detail for f in found}
    assert said["readings match quantities"] == ("6 readings, 2 absent; 1 quantities are not here")


@pytest.mark.parametrize(
    ("sampler", "check", "detail"),
    [
        (NoReason, "availability has a reason", "no without a reason"),
        (NoUnit, "quantities have units", '"core_c" has the unit ""'),
        (Nothing, "quantities have units", "names no quantity"),
        (Twice, "quantities have units", "board board_c is named twice"),
        (Seldom, "quantities have units", 'of the tier "yearly"'),
        (LeavesOut, "readings match quantities", "differ in: board board_c"),
        (ReadsTheAbsent, "readings match quantities", "differ in: socket_c"),
        (NotANumber, "readings match quantities", "finite"),
        (PlainNumbers, "readings match quantities", "41.5, not a Reading"),
        (TurnsBack, "counters only grow", "fan turns fell from"),
        (OnlyWithWorker, "goes on without a worker", "no worker"),
    ],
)
def test_each_check_can_fail(sampler: type[Sampler], check: str, detail: str) -> None:
    broken = {f.name: f.detail for f in sampler_conformance(sampler()) if not f.ok}
    assert detail in broken[check]
