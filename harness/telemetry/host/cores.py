"""What is read of the cores: load of others, clocks, temperatures, throttling."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from harness.contracts import Quantity
from harness.environment.facts import AbsentError, cpu_list, text
from harness.telemetry.host.files import KernelFile, busy_ticks, first_number
from harness.telemetry.host.groups import Context, Group, Name, OneFile, quantities_of
from harness.telemetry.host.tree import GoneError, Tree

__all__ = ["CoreClock", "Cores", "HarnessUse", "Temperature", "ThermalThrottling"]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

_MACHINE: tuple[Name, ...] = (
    ("others_busy_s", "s", "counter"),
    ("busy_s", "s", "counter"),
    ("stolen_s", "s", "counter"),
)


class Cores(OneFile):
    """Seconds busy of each core, and of all what was neither the worker's nor the harness's."""

    names = (("busy_s", "s", "counter"),)

    def open(self) -> None:
        """Note how things stand, so that what ran before does not count as others'."""
        self._zero = self._highest = 0.0
        super().open()
        self._zero, self._highest = self._highest, 0.0

    def place(self) -> Path:
        """Ticks of all cores."""
        return self.context.root / "proc/stat"

    def quantities(self) -> list[Quantity]:
        """Name three of the machine, then one for each core."""
        cores = [name for name in busy_ticks(self._file.read()) if name != "cpu"]
        each = [quantities_of(core, self.tier, self.names) for core in cores]
        return [*quantities_of("", self.tier, _MACHINE), *chain.from_iterable(each)]

    def parse(self, written: bytes) -> Sequence[float]:
        """Return them in that order."""
        rows = busy_ticks(written)
        busy, stolen = rows.pop("cpu")
        machine_s = busy / _TICKS_PER_S
        # The harness's count has the workers in it that it has waited for.
        ours_s = (
            sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
            + _spent_s(self.context.harness)
            + _spent_s(self.context.worker)
        )
        # Sampled ticks may step back by a few; what others have used does not.
        self._highest = max(self._highest, machine_s - ours_s - self._zero)
        cores = (ticks / _TICKS_PER_S for ticks, _ in rows.values())
        return self._highest, machine_s, stolen / _TICKS_PER_S, *cores


def _spent_s(tree: Tree) -> float:
    try:
        return tree.cpu_s()
    except GoneError:
        return 0.0


class HarnessUse(Group):
    """What the harness and this sampler take themselves."""

    names = (("harness_cpu_s", "s", "counter"), ("sampler_cpu_s", "s", "counter"))

    def read(self) -> Sequence[float]:
        """Without the workers that the harness has waited for."""
        sampler = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        return self.context.harness.own_cpu_s(), sampler


class CoreClock(Group):
    """The clock of one core, as its governor last saw it."""

    names = (("clock_mhz", "MHz", "gauge"),)

    def __init__(self, context: Context, core: int | None = None) -> None:
        self.core = core
        self.device = "" if core is None else f"cpu{core}"
        super().__init__(context)

    @classmethod
    def of(cls, context: Context) -> list[Group]:
        """Return one for each core with a clock to read."""
        found: list[Group] = []
        for core in cpu_list(text(context.root, "sys/devices/system/cpu/online")):
            try:
                found.append(cls(context, core))
            except AbsentError:
                continue
        # Not /proc/cpuinfo's "cpu MHz": under a hypervisor that is always the nominal clock.
        if not found:
            raise AbsentError("no cpufreq: the clock is the firmware's or the hypervisor's")
        return found

    def open(self) -> None:
        """Open the file."""
        place = f"sys/devices/system/cpu/cpu{self.core}/cpufreq/scaling_cur_freq"
        self._file = KernelFile(self.context.root / place, 64)

    def read(self) -> Sequence[float]:
        """The file says kHz."""
        return (first_number(self._file.read()) / 1000,)

    def close(self) -> None:
        """Close it."""
        self._file.close()


class ThermalThrottling(OneFile):
    """How often the processor lowered its clock for its temperature."""

    names = (("thermal_throttles", "1", "counter"),)

    def place(self) -> Path:
        """Intel's count, of the first core's package."""
        core = "sys/devices/system/cpu/cpu0/thermal_throttle"
        return self.context.root / core / "package_throttle_count"

    def parse(self, written: bytes) -> Sequence[float]:
        """Times."""
        return (first_number(written),)


class Temperature(Group):
    """One thermal zone, or one sensor of a hardware monitor."""

    names = (("temperature_c", "°C", "gauge"),)

    def __init__(self, context: Context, path: Path, label: str) -> None:
        self._path = path
        self.device = label
        super().__init__(context)

    @classmethod
    def of(cls, context: Context) -> list[Group]:
        """Return one for each sensor that answers."""
        found: list[Group] = []
        for path, label in _temperature_files(context.root):
            try:
                sensor = cls(context, path, label)
                sensor.read()
            except (AbsentError, OSError, ValueError, LookupError):
                continue
            if all(other.device != sensor.device for other in found):
                found.append(sensor)
        if not found:
            raise AbsentError("the kernel shows no temperature sensor")
        return found

    def open(self) -> None:
        """Open the file."""
        self._file = KernelFile(self._path, 64)

    def read(self) -> Sequence[float]:
        """The file says thousandths of a degree."""
        return (first_number(self._file.read()) / 1000,)

    def close(self) -> None:
        """Close it."""
        self._file.close()


def _temperature_files(root: Path) -> list[tuple[Path, str]]:
    found = [
        (zone / "temp", f"{_line(zone / 'type')} {zone.name}".strip())
        for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    ]
    for sensor in sorted((root / "sys/class/hwmon").glob("hwmon*/temp*_input")):
        label = _line(sensor.with_name(sensor.name.replace("_input", "_label"))) or sensor.name
        found.append((sensor, f"{_line(sensor.with_name('name'))} {label}".strip()))
    return found


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
