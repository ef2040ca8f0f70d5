"""How quiet the machine was while something was measured: counters read before and after.

No thread and no polling: two snapshots, each well under a millisecond, outside the timed windows.
It must not know what was measured.
"""

import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.cautions import Caution, CautionKind, caution
from harness.environment.cgroup import Cgroup
from harness.environment.facts import AbsentError, cpu_list, text
from harness.reading import Reading

__all__ = [
    "THRESHOLDS",
    "Snapshot",
    "Threshold",
    "cautions_for",
    "quietness",
    "quietness_within",
    "snapshot",
]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# /proc/stat counts ticks of 10 ms per core: over less than this, rounding passes for load.
_SHORTEST_S = 0.5

_Value = float | str
"""A counter's value, or the reason why there is none."""


@dataclass(frozen=True)
class Snapshot:
    """Counters at one moment; a string stands for one that cannot be read, and says why."""

    at_ns: int
    counters: Mapping[str, _Value]


def snapshot(pids: Sequence[int] = (), *, root: Path = Path("/")) -> Snapshot:
    """Read every counter once.

    Args:
        pids: Living processes, besides this one, whose work counts as the worker's own.
        root: Where /proc and /sys are.
    """
    counters: dict[str, _Value] = {}
    for names, read in _READERS:
        try:
            counters |= zip(names, read(root, tuple(pids)), strict=True)
        except (AbsentError, OSError, ValueError, LookupError) as error:
            counters |= dict.fromkeys(names, str(error))
    return Snapshot(time.monotonic_ns(), counters)


def quietness(before: Snapshot, after: Snapshot) -> dict[str, Reading]:
    """Return what the machine did besides, and what was done to the worker, between two snapshots.

    `others_load` and `steal` are cores (CPU seconds per second), `pressure` is the share of time in
    which some task of the machine waited for a CPU, `swap_*` are bytes, `throttled_s` seconds, the
    rest counts; `wall_s` is what they were counted over. Only `others_load`, `steal`, `swap_*`,
    `pressure` and `throttle_events` are of the whole machine, the others of the worker.
    """
    wall_s = (after.at_ns - before.at_ns) / 1e9
    read = {"wall_s": Reading(value=wall_s)}

    def delta(name: str, scale: float = 1.0) -> Reading:
        one, other = before.counters[name], after.counters[name]
        for value in (one, other):
            if isinstance(value, str):
                return Reading.absent(value)
        # Counters of idle time and of sampled ticks may step back by a tick; time does not.
        return Reading(value=max(float(other) - float(one), 0.0) * scale)

    for name in ("major_faults", "minor_faults", "involuntary_switches", "throttled_s"):
        read[name] = delta(name)
    for name in ("swap_in_bytes", "swap_out_bytes", "throttle_events"):
        read[name] = delta(name)
    read["pressure"] = delta("pressure_s", 1 / wall_s) if wall_s > 0 else _TOO_SHORT
    for name, shot in (("mhz_before", before), ("mhz_after", after)):
        value = shot.counters["mhz"]
        read[name] = Reading.absent(value) if isinstance(value, str) else Reading(value=value)
    if wall_s < _SHORTEST_S:
        return read | {"others_load": _TOO_SHORT, "steal": _TOO_SHORT}
    read["steal"] = delta("steal_s", 1 / wall_s)
    busy, own = delta("busy_s"), delta("own_s")
    if busy.value is None or own.value is None:
        read["others_load"] = Reading.absent(busy.reason or own.reason or "unknown")
    else:
        read["others_load"] = Reading(value=max(busy.value - own.value, 0.0) / wall_s)
    return read


def quietness_within(stretches: Sequence[tuple[Snapshot, Snapshot]]) -> dict[str, Reading]:
    """Return `quietness` over several stretches together, leaving out what lay between them.

    Raises:
        ValueError: where there is no stretch.
    """
    if not stretches:
        raise ValueError("no stretch to look at")
    first, last = stretches[0][0], stretches[-1][1]
    before: dict[str, _Value] = {}
    after: dict[str, _Value] = {}
    for name, value in last.counters.items():
        ends = [(one.counters[name], other.counters[name]) for one, other in stretches]
        reason = next((v for pair in ends for v in pair if isinstance(v, str)), None)
        if reason is not None:
            before[name] = after[name] = reason
        elif name == "mhz":  # a level, not a counter
            before[name], after[name] = first.counters[name], value
        else:
            before[name], after[name] = 0.0, sum(float(b) - float(a) for a, b in ends)
    spent_ns = sum(other.at_ns - one.at_ns for one, other in stretches)
    return quietness(Snapshot(0, before), Snapshot(spent_ns, after))


_TOO_SHORT = Reading.absent(f"watched for less than {_SHORTEST_S:g} s, too short for 10 ms ticks")


@dataclass(frozen=True)
class Threshold:
    """From which value on a quantity makes a figure doubtful."""

    quantity: str
    above: float
    kind: CautionKind
    message: str
    """What is said, with {value}."""
    why: str
    """Why this value and no other."""
    per_second: bool = False
    """Whether the quantity is divided by the time it was counted over."""


THRESHOLDS = (
    Threshold(
        "others_load", 0.05, CautionKind.OTHERS_LOAD,
        "other processes used {value:.2f} cores while this was measured",
        "an idle Linux machine stays below 0.02; a twentieth of a core is 2.5 % of a two-core run",
    ),
    Threshold(
        "steal", 0.02, CautionKind.OTHERS_LOAD,
        "the hypervisor withheld {value:.2f} cores while this was measured",
        "time that no guest can see or win back: 1 % of a two-core run",
    ),
    Threshold(
        "pressure", 0.10, CautionKind.DESCHEDULED,
        "some task waited for a CPU in {value:.0%} of the time",
        "threads of ours equal to the cores give a few percent; a tenth is somebody else's",
    ),
    Threshold(
        "swap_in_bytes", 2**20, CautionKind.SWAP,
        "{value:,.0f} bytes were read back from swap while this was measured",
        "under a megabyte is somebody's cold page; more is weights or cache coming back",
    ),
    Threshold(
        "swap_out_bytes", 2**20, CautionKind.SWAP,
        "{value:,.0f} bytes were written to swap while this was measured",
        "the machine is short of memory; what goes out will have to come back",
    ),
    Threshold(
        "major_faults", 10, CautionKind.PAGE_FAULTS,
        "{value:.0f} page faults waited for the disk while this was measured",
        "each takes 0.1 to 10 ms; a lazily loaded code page or two is usual, ten are not",
    ),
    Threshold(
        "minor_faults", 20_000, CautionKind.PAGE_FAULTS,
        "{value:,.0f} page faults per second while this was measured",
        "at 0.5 µs each, 20,000 a second are 1 % of the time",
        per_second=True,
    ),
    Threshold(
        "involuntary_switches", 100, CautionKind.DESCHEDULED,
        "the worker was descheduled {value:.0f} times per second",
        "the scheduler's own housekeeping gives some ten a second; at 0.1 ms each, 100 are 1 %",
        per_second=True,
    ),
    Threshold(
        "throttled_s", 0.0, CautionKind.CPU_LIMIT,
        "the control group's CPU quota stopped the worker for {value:.2f} s",
        "one stop lasts up to a period of 100 ms: the length of several tokens",
    ),
    Threshold(
        "throttle_events", 0.0, CautionKind.FREQUENCY,
        "the processor throttled {value:.0f} times for its temperature",
        "each event lowers the clock for at least a millisecond, usually for seconds",
    ),
    Threshold(
        "mhz_drop", 0.05, CautionKind.FREQUENCY,
        "the CPU clock fell by {value:.0%} while this was measured",
        "a clock under load moves by a step or two of 25 to 100 MHz; 5 % is a state of its own",
    ),
)  # fmt: skip


def cautions_for(quiet: Mapping[str, Reading]) -> list[Caution]:
    """Return a caution for each quantity past its threshold; what is absent makes none."""
    values = {name: reading.value for name, reading in quiet.items() if reading.value is not None}
    wall_s = values.get("wall_s", 0.0)
    if values.get("mhz_before") and "mhz_after" in values:
        values["mhz_drop"] = 1 - values["mhz_after"] / values["mhz_before"]
    found = []
    for threshold in THRESHOLDS:
        value = values.get(threshold.quantity)
        if value is not None and threshold.per_second:
            value = value / wall_s if wall_s > 0 else None
        if value is not None and value > threshold.above:
            found.append(caution(threshold.kind, threshold.message.format(value=value)))
    return found


def _machine_cpu(root: Path, _pids: tuple[int, ...]) -> tuple[float, float]:
    """Return seconds all cores were busy, and seconds stolen. Guest time is in user already."""
    with (root / "proc/stat").open("rb") as file:
        fields = file.readline().split()
    user, nice, system, _idle, _iowait, irq, softirq = (int(field) for field in fields[1:8])
    steal = int(fields[8]) if len(fields) > 8 else 0
    return (user + nice + system + irq + softirq) / _TICKS_PER_S, steal / _TICKS_PER_S


def _own_cpu(root: Path, pids: tuple[int, ...]) -> tuple[float]:
    """Return seconds used by this process, the children it has waited for, and `pids`."""
    total = sum(
        usage.ru_utime + usage.ru_stime
        for usage in (
            resource.getrusage(resource.RUSAGE_SELF),
            resource.getrusage(resource.RUSAGE_CHILDREN),
        )
    )
    for pid in pids:
        if pid == os.getpid():
            continue
        # The command in brackets may hold blanks and brackets: count fields from its end.
        fields = (root / f"proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return (total,)


def _own_faults(_root: Path, _pids: tuple[int, ...]) -> tuple[float, float, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_majflt, usage.ru_minflt, usage.ru_nivcsw


def _swap(root: Path, _pids: tuple[int, ...]) -> tuple[float, float]:
    rows = dict(line.split() for line in text(root, "proc/vmstat").splitlines())
    return int(rows["pswpin"]) * _PAGE_BYTES, int(rows["pswpout"]) * _PAGE_BYTES


def _pressure(root: Path, _pids: tuple[int, ...]) -> tuple[float]:
    some = text(root, "proc/pressure/cpu").splitlines()[0]
    return (int(some.rpartition("total=")[2]) / 1e6,)


@cache
def _cgroup(root: Path) -> Cgroup:
    return Cgroup(root)


def _throttled(root: Path, _pids: tuple[int, ...]) -> tuple[float]:
    return (_cgroup(root).throttled_s(),)


@cache
def _clock_files(root: Path) -> tuple[str, ...]:
    cpus = cpu_list(text(root, "sys/devices/system/cpu/online"))
    allowed = os.sched_getaffinity(0) & set(cpus) if root == Path("/") else cpus
    places = [f"sys/devices/system/cpu/cpu{c}/cpufreq/scaling_cur_freq" for c in sorted(allowed)]
    return tuple(place for place in places[:8] if (root / place).exists())


def _mhz(root: Path, _pids: tuple[int, ...]) -> tuple[float]:
    # Not /proc/cpuinfo's "cpu MHz": under a hypervisor that is the nominal clock, always the same.
    places = _clock_files(root)
    if not places:
        raise AbsentError("no cpufreq: the clock is the firmware's or the hypervisor's")
    return (sum(int(text(root, place)) for place in places) / len(places) / 1000,)


def _thermal(root: Path, _pids: tuple[int, ...]) -> tuple[float]:
    place = "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"
    return (int(text(root, place)),)


_READERS: tuple[
    tuple[tuple[str, ...], Callable[[Path, tuple[int, ...]], tuple[float, ...]]], ...
] = (
    (("busy_s", "steal_s"), _machine_cpu),
    (("own_s",), _own_cpu),
    (("major_faults", "minor_faults", "involuntary_switches"), _own_faults),
    (("swap_in_bytes", "swap_out_bytes"), _swap),
    (("pressure_s",), _pressure),
    (("throttled_s",), _throttled),
    (("mhz",), _mhz),
    (("throttle_events",), _thermal),
)
