"""RAPL over a made-up /sys: which counters count, wrap-around, permission."""

import os
from pathlib import Path

import pytest

from harness.contracts import Watched
from harness.telemetry.rapl import RaplSampler

WATCHED = Watched(worker_pid=None, harness_pid=1)
RANGE_UJ = 262_143_328_850


class Powercap:
    """/sys/class/powercap with one package, its parts and what repeats it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.zone("intel-rapl:0", "package-0", 1_000_000)
        self.zone("intel-rapl:0:0", "core", 400_000)
        self.zone("intel-rapl:0:1", "dram", 200_000)
        self.zone("intel-rapl:1", "psys", 3_000_000)
        self.zone("intel-rapl-mmio:0", "package-0", 1_000_000)

    def zone(self, folder: str, name: str, energy_uj: int) -> None:
        place = self.root / "sys/class/powercap" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / "name").write_text(f"{name}\n")
        (place / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (place / "energy_uj").write_text(f"{energy_uj}\n")

    def set(self, folder: str, energy_uj: int) -> None:
        (self.root / "sys/class/powercap" / folder / "energy_uj").write_text(f"{energy_uj}\n")


@pytest.fixture
def powercap(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path)


def test_packages_memory_and_platform_are_read_and_nothing_twice(powercap: Powercap) -> None:
    found = RaplSampler(powercap.root).open(WATCHED)
    assert [q.device for q in found] == ["package-0", "dram-0", "psys"]
    assert {(q.name, q.unit, q.kind) for q in found} == {("energy_j", "J", "counter")}


def test_a_counter_gives_what_passed_since_it_was_opened(powercap: Powercap) -> None:
    sampler = RaplSampler(powercap.root)
    sampler.open(WATCHED)
    assert sampler.read("fast")["package-0", "energy_j"].value == 0
    powercap.set("intel-rapl:0", 3_500_000)
    assert sampler.read("fast")["package-0", "energy_j"].value == 2.5


def test_a_counter_that_wraps_around_goes_on_growing(powercap: Powercap) -> None:
    powercap.set("intel-rapl:0", RANGE_UJ - 2_000_000)
    sampler = RaplSampler(powercap.root)
    sampler.open(WATCHED)
    sampler.read("fast")
    powercap.set("intel-rapl:0", 1_000_000)
    assert sampler.read("fast")["package-0", "energy_j"].value == pytest.approx(3.0)
    powercap.set("intel-rapl:0", 2_000_000)
    assert sampler.read("fast")["package-0", "energy_j"].value == pytest.approx(4.0)


def test_a_counter_that_goes_away_is_absent_and_the_others_stay(powercap: Powercap) -> None:
    sampler = RaplSampler(powercap.root)
    sampler.open(WATCHED)
    (powercap.root / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    readings = sampler.read("fast")
    assert "No such file" in str(readings["package-0", "energy_j"].reason)
    assert readings["psys", "energy_j"].value == 0


def test_only_the_fast_tier_has_something(powercap: Powercap) -> None:
    sampler = RaplSampler(powercap.root)
    sampler.open(WATCHED)
    assert sampler.read("slow") == sampler.read("boundary") == {}


def test_a_machine_without_counters_says_so(tmp_path: Path) -> None:
    assert "not there" in str(RaplSampler(tmp_path).availability().reason)
    (tmp_path / "sys/class/powercap").mkdir(parents=True)
    assert "no RAPL counters" in str(RaplSampler(tmp_path).availability().reason)
    (quantity,) = RaplSampler(tmp_path).open(WATCHED)
    assert "no RAPL counters" in str(quantity.reason)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_counters_that_only_root_may_read_come_with_the_command(powercap: Powercap) -> None:
    for file in powercap.root.glob("sys/class/powercap/*/energy_uj"):
        file.chmod(0)
    can = RaplSampler(powercap.root).availability()
    assert "only root may read it" in str(can.reason)
    assert "chmod a+r" in str(can.remedy)


def test_a_counter_that_is_not_a_number_is_a_reason(powercap: Powercap) -> None:
    for file in powercap.root.glob("sys/class/powercap/*/energy_uj"):
        file.write_text("busy\n")
    can = RaplSampler(powercap.root).availability()
    assert not can.ok
    assert "invalid literal" in str(can.reason)
