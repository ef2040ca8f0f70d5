"""Energy of CPU packages and memory through RAPL, as the kernel's powercap shows it.

The counters wrap around after a range the kernel names; each reading adds what passed since the one
before, so what comes out only grows. It must not know about phases or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.contracts import Availability, Quantity, Sampler, Watched
from harness.reading import Reading

__all__ = ["RaplSampler", "Zone", "zones"]

_PLACE = "sys/class/powercap"
# What a zone measures, by the first word of its name. `core` and `uncore` are parts of `package`,
# and intel-rapl-mmio shows the same packages again: adding those up would count twice.
_WANTED = ("package", "dram", "psys")
_REMEDY = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"


@dataclass(frozen=True)
class Zone:
    """One counter."""

    device: str
    """`package-0`, `dram-0`, `psys`."""
    place: Path
    range_j: float
    """Where it wraps around."""


def zones(root: Path) -> list[Zone]:
    """Return the counters of packages, memory and platform; empty where the kernel shows none."""
    found = []
    for place in sorted((root / _PLACE).glob("intel-rapl:*")):
        try:
            name = (place / "name").read_text(encoding="ascii").strip()
            range_j = int((place / "max_energy_range_uj").read_text(encoding="ascii")) / 1e6
        except (OSError, ValueError):
            continue  # a zone without name or range holds no counter
        if not name.startswith(_WANTED):
            continue
        if ":" in place.name.removeprefix("intel-rapl:"):
            name = f"{name}-{place.name.split(':')[1]}"  # a part of that package
        found.append(Zone(name, place, range_j))
    return found


class RaplSampler(Sampler):
    """Reads what CPU packages and memory have used."""

    summary = "CPU packages and memory: energy through RAPL"

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._zones: list[Zone] = []
        self._last_j: dict[str, float] = {}
        self._total_j: dict[str, float] = {}

    def availability(self) -> Availability:
        """Yes where at least one counter can be read."""
        found = zones(self._root)
        if not found:
            return Availability.no(_nothing(self._root))
        reasons = [reason for zone in found if (reason := _why_not(zone))]
        if len(reasons) == len(found):
            return Availability.no(reasons[0], _REMEDY)
        return Availability.yes()

    def open(self, watched: Watched) -> Sequence[Quantity]:
        """Probe each counter once."""
        del watched  # these counters are the machine's
        self.close()
        found = zones(self._root)
        if not found:
            return [Quantity("energy_j", "J", "package-0", reason=_nothing(self._root))]
        quantities = []
        for zone in found:
            reason = _why_not(zone)
            quantities.append(Quantity("energy_j", "J", zone.device, reason=reason, kind="counter"))
            if reason is None:
                self._zones.append(zone)
        return quantities

    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        """Read each counter; its value is what passed since the first reading."""
        if tier != "fast":
            return {}
        return {(zone.device, "energy_j"): self._read(zone) for zone in self._zones}

    def close(self) -> None:
        """Forget the counters."""
        self._zones = []
        self._last_j.clear()
        self._total_j.clear()

    def _read(self, zone: Zone) -> Reading:
        try:
            now_j = _joules(zone)
        except (OSError, ValueError) as error:
            return Reading.absent(f"{zone.place}: {error}")
        last_j = self._last_j.get(zone.device, now_j)
        passed_j = now_j - last_j
        if passed_j < 0:
            passed_j += zone.range_j  # it wrapped around; twice between two readings is hours
        self._last_j[zone.device] = now_j
        total_j = self._total_j.get(zone.device, 0.0) + passed_j
        self._total_j[zone.device] = total_j
        return Reading(value=total_j)


def _joules(zone: Zone) -> float:
    return int((zone.place / "energy_uj").read_text(encoding="ascii")) / 1e6


def _why_not(zone: Zone) -> str | None:
    try:
        _joules(zone)
    except PermissionError:
        return f"{zone.place}/energy_uj: only root may read it"
    except (OSError, ValueError) as error:
        return f"{zone.place}/energy_uj: {error}"
    return None


def _nothing(root: Path) -> str:
    if not (root / _PLACE).is_dir():
        return "this kernel shows no power counters (/sys/class/powercap is not there)"
    return "this machine has no RAPL counters (none in /sys/class/powercap; usual in a VM)"
