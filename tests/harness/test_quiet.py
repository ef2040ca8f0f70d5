import mmap
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cautions import CautionKind
from harness.quiet import (
    THRESHOLDS,
    Snapshot,
    cautions_for,
    quietness,
    quietness_within,
    snapshot,
)
from harness.reading import Reading

_CALM: dict[str, float | str] = {
    "busy_s": 100.0, "steal_s": 1.0, "own_s": 40.0, "major_faults": 3.0, "minor_faults": 5000.0,
    "involuntary_switches": 10.0, "swap_in_bytes": 0.0, "swap_out_bytes": 0.0, "pressure_s": 2.0,
    "throttled_s": 0.0, "mhz": 3000.0, "throttle_events": 0.0,
}  # fmt: skip


def _watched(seconds: float = 10.0, **changes: float | str) -> tuple[Snapshot, Snapshot]:
    """Two snapshots some seconds apart, in which only `changes` (growth, or a reason) happened."""
    before = Snapshot(0, dict(_CALM))
    counters = dict(_CALM)
    for name, change in changes.items():
        start = _CALM[name]
        assert not isinstance(start, str)
        counters[name] = change if isinstance(change, str) else start + change
    return before, Snapshot(int(seconds * 1e9), counters)


def test_a_calm_machine_gives_no_caution():
    quiet = quietness(*_watched(busy_s=20.0, own_s=20.0))
    assert quiet["others_load"].value == 0.0
    assert cautions_for(quiet) == []


def test_load_from_others_is_what_the_machine_did_less_what_we_did():
    # given 25 busy seconds in 10, of which 20 are ours
    quiet = quietness(*_watched(busy_s=25.0, own_s=20.0))
    # then others used half a core
    assert quiet["others_load"].value == pytest.approx(0.5)
    (doubt,) = cautions_for(quiet)
    assert doubt.kind is CautionKind.OTHERS_LOAD
    assert "0.50 cores" in doubt.message
    assert doubt.next_step


def test_rounding_of_ticks_never_makes_a_negative_load():
    assert quietness(*_watched(busy_s=19.98, own_s=20.0))["others_load"].value == 0.0


def test_time_the_hypervisor_took_is_told_apart_from_load():
    quiet = quietness(*_watched(steal_s=0.5))
    assert quiet["steal"].value == pytest.approx(0.05)
    assert quiet["others_load"].value == 0.0
    assert "hypervisor" in cautions_for(quiet)[0].message


def test_over_a_moment_load_is_absent_since_ticks_are_coarse():
    quiet = quietness(*_watched(seconds=0.1, busy_s=0.2))
    assert "too short" in (quiet["others_load"].reason or "")
    assert "too short" in (quiet["steal"].reason or "")


def test_what_cannot_be_read_is_absent_with_its_reason_and_makes_no_caution():
    before, after = _watched(mhz="no cpufreq", own_s="no such process")
    before = replace(before, counters=before.counters | {"mhz": "no cpufreq"})
    quiet = quietness(before, after)
    assert quiet["mhz_before"].reason == "no cpufreq"
    assert quiet["others_load"].reason == "no such process"
    assert cautions_for(quiet) == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"swap_in_bytes": 2e6}, CautionKind.SWAP),
        ({"swap_out_bytes": 2e6}, CautionKind.SWAP),
        ({"major_faults": 11.0}, CautionKind.PAGE_FAULTS),
        ({"minor_faults": 300_000.0}, CautionKind.PAGE_FAULTS),
        ({"involuntary_switches": 1100.0}, CautionKind.DESCHEDULED),
        ({"pressure_s": 1.5}, CautionKind.DESCHEDULED),
        ({"throttled_s": 0.01}, CautionKind.CPU_LIMIT),
        ({"throttle_events": 1.0}, CautionKind.FREQUENCY),
        ({"mhz": -300.0}, CautionKind.FREQUENCY),
    ],
)
def test_each_disturbance_has_its_caution_and_only_that(change, kind):
    assert [doubt.kind for doubt in cautions_for(quietness(*_watched(**change)))] == [kind]


@pytest.mark.parametrize(
    "change",
    [
        {"swap_in_bytes": 4096.0}, {"major_faults": 2.0}, {"minor_faults": 100_000.0},
        {"involuntary_switches": 500.0}, {"pressure_s": 0.5}, {"mhz": -100.0}, {"mhz": 500.0},
        {"steal_s": 0.1},
    ],
)  # fmt: skip
def test_what_every_machine_does_is_no_reason_for_doubt(change):
    assert cautions_for(quietness(*_watched(**change))) == []


def test_every_threshold_says_why_it_is_where_it_is():
    quantities = set(quietness(*_watched())) | {"mhz_drop"}
    for threshold in THRESHOLDS:
        assert threshold.why
        assert threshold.quantity in quantities
        assert threshold.message.format(value=1.0)


def test_cautions_need_only_what_is_there():
    assert cautions_for({}) == []
    assert cautions_for({"others_load": Reading.absent("unknown")}) == []


def _burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_our_own_work_is_not_load_from_others():
    # given a burst of work of a known length in this process
    before = snapshot()
    _burn(0.6)
    after = snapshot()
    # then it is counted as ours: what others get is what remains of the machine's busy time
    own, busy = (float(after.counters[n]) - float(before.counters[n]) for n in ("own_s", "busy_s"))
    assert 0.6 <= own <= 1.0
    reading = quietness(before, after)["others_load"].value
    assert reading == pytest.approx(max(busy - own, 0) / ((after.at_ns - before.at_ns) / 1e9))


def test_a_strangers_work_is_load_and_a_childs_is_not():
    # given a process that burns a core until it is told to stop
    code = "import sys, threading, os\nprint('on', flush=True)\nwhile True: pass"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        # when it is watched as a stranger and as one of ours
        before, before_ours = snapshot(), snapshot([child.pid])
        time.sleep(0.8)
        after, after_ours = snapshot(), snapshot([child.pid])
    finally:
        child.kill()
        child.communicate()
    stranger = quietness(before, after)["others_load"].value
    ours = quietness(before_ours, after_ours)["others_load"].value
    assert stranger is not None
    assert ours is not None
    # then it is load only as a stranger: what it used is the difference, whatever else ran here
    used = float(after_ours.counters["own_s"]) - float(before_ours.counters["own_s"])
    assert used > 0.05
    assert stranger - ours == pytest.approx(used / 0.8, abs=0.15)


def test_a_process_that_is_gone_is_a_reason():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert isinstance(snapshot([gone.pid]).counters["own_s"], str)


def test_touching_new_memory_shows_as_page_faults():
    before = snapshot()
    # Mapped anew: from malloc it may be pages that an earlier test freed and glibc kept.
    with mmap.mmap(-1, 16 * 2**20) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
    faults = quietness(before, snapshot())["minor_faults"].value
    assert faults is not None
    # then there is at least one fault per huge page, whatever the page size is
    assert faults >= 8


def test_a_recorded_machine_is_read(tmp_path: Path):
    files = {
        "proc/stat": "cpu  1000 100 500 9000 300 50 50 400 200 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n",
        "proc/vmstat": "pgfault 5\npswpin 7\npswpout 9\n",
        "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        "proc/77/stat": "77 (a ) b) R 1 1 1 0 -1 0 0 0 0 0 300 200 0 0 20 0 1 0 5 0 0\n",
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/cpu.stat": "usage_usec 1\nthrottled_usec 250000\n",
        "sys/devices/system/cpu/online": "0-1\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2000000\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3000000\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "4\n",
    }
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    counters = snapshot([77], root=tmp_path).counters
    # user + nice + system + irq + softirq; guest (200) is in user already, steal stands alone
    ticks = os.sysconf("SC_CLK_TCK")
    assert counters["busy_s"] == 1700 / ticks
    assert counters["steal_s"] == 400 / ticks
    own = snapshot(root=tmp_path).counters["own_s"]
    assert float(counters["own_s"]) - float(own) == pytest.approx(500 / ticks, abs=0.1)
    assert counters["swap_in_bytes"] == 7 * os.sysconf("SC_PAGE_SIZE")
    assert counters["pressure_s"] == 2.5
    assert counters["throttled_s"] == 0.25
    assert counters["mhz"] == 2500.0
    assert counters["throttle_events"] == 4


def test_an_old_kernel_gives_reasons_for_what_it_lacks(tmp_path: Path):
    counters = snapshot(root=tmp_path).counters
    for name in ("busy_s", "swap_in_bytes", "pressure_s", "throttled_s", "mhz"):
        assert isinstance(counters[name], str)
        assert counters[name]


def test_several_stretches_count_together_and_what_lay_between_does_not():
    one = _watched(seconds=2.0, busy_s=3.0, own_s=2.0)
    # between the two somebody else computed for an hour
    later = {k: v + 3600 if isinstance(v, float) else v for k, v in _CALM.items()}
    moved = replace(one[1], counters={**later, "busy_s": 3702.0, "own_s": 3641.0})
    other = (replace(one[0], counters=later), moved)

    quiet = quietness_within([one, other])

    assert quiet["wall_s"].value == 4.0
    assert quiet["others_load"].value == pytest.approx((1.0 + 1.0) / 4.0)


def test_a_counter_that_one_stretch_lacks_is_absent_for_all():
    quiet = quietness_within([_watched(), _watched(mhz="no cpufreq")])

    assert quiet["mhz_after"].reason == "no cpufreq"
