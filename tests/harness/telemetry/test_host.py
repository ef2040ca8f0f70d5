"""Given a process, or a tree of files, when the host is read, then the figures are the kernel's."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.contracts import Quantity, Watched
from harness.telemetry.host.files import busy_ticks, keyed_numbers, pressure_us, process_stat
from harness.telemetry.host.sampler import HostSampler
from harness.testing import sampler_conformance

BUSY = "import time\nend = time.monotonic() + 30\nwhile time.monotonic() < end: pass"
TOUCH = "b = bytearray(64 << 20)\nb[::4096] = b'x' * len(b[::4096])\nprint(1, flush=True)\ninput()"


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", TOUCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def opened(pid: int | None, root: Path = Path("/")) -> tuple[HostSampler, dict[str, Quantity]]:
    sampler = HostSampler(root)
    found = sampler.open(Watched(worker_pid=pid, harness_pid=os.getpid()))
    return sampler, {" ".join(filter(None, q.key)): q for q in found}


def values(sampler: HostSampler, tier: str) -> dict[str, float | None]:
    return {" ".join(filter(None, k)): r.value for k, r in sampler.read(tier).items()}


def test_it_keeps_its_contract() -> None:
    assert [f.detail for f in sampler_conformance(HostSampler()) if not f.ok] == []


def test_a_workers_memory_is_what_psutil_says(worker: subprocess.Popen[bytes]) -> None:
    sampler, _ = opened(worker.pid)
    fast, boundary = values(sampler, "fast"), values(sampler, "boundary")
    expected = psutil.Process(worker.pid).memory_full_info()
    sampler.close()

    assert fast["worker resident_bytes"] == pytest.approx(expected.rss, rel=0.05)
    assert boundary["worker pss_bytes"] == pytest.approx(expected.pss, rel=0.05)
    assert boundary["worker uss_bytes"] == pytest.approx(expected.uss, rel=0.05)
    assert (boundary["worker uss_bytes"] or 0) > 64 << 20


def test_a_workers_children_count_as_its_own() -> None:
    # given a worker that does nothing, with a child that computes
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    try:
        sampler, _ = opened(process.pid)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            sampler.read("slow")  # looks for children
            if (values(sampler, "fast")["worker cpu_s"] or 0) > 0.3:
                break
            time.sleep(0.05)
        # then its CPU time grows, though its first process sleeps
        own = psutil.Process(process.pid).cpu_times()
        assert (values(sampler, "fast")["worker cpu_s"] or 0) > own.user + own.system + 0.1
        sampler.close()
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def test_without_a_worker_its_quantities_are_absent_with_the_reason() -> None:
    sampler, _ = opened(None)
    reading = sampler.read("fast")["worker", "cpu_s"]

    assert (reading.value, reading.reason) == (None, "no worker runs")


def test_a_worker_that_ends_is_absent_and_the_machine_is_still_read(
    worker: subprocess.Popen[bytes],
) -> None:
    sampler, _ = opened(worker.pid)
    assert values(sampler, "fast")["worker cpu_s"] is not None
    worker.kill()
    worker.wait()

    reading = sampler.read("fast")["worker", "cpu_s"]
    slow = values(sampler, "slow")
    sampler.close()

    assert (reading.value, reading.reason) == (None, "the worker has ended")
    assert slow["worker read_bytes"] is None
    assert slow["busy_s"] is not None


def test_another_worker_can_be_followed(worker: subprocess.Popen[bytes]) -> None:
    sampler, _ = opened(None)
    sampler.follow(worker.pid)

    assert (values(sampler, "fast")["worker resident_bytes"] or 0) > 64 << 20
    sampler.close()


def test_what_this_machine_lacks_is_named_with_the_reason(tmp_path: Path) -> None:
    # given a machine with nothing but a list of cores
    online = tmp_path / "sys/devices/system/cpu/online"
    online.parent.mkdir(parents=True)
    online.write_text("0-1\n")

    sampler, found = opened(None, tmp_path)

    assert "no cpufreq" in str(found["clock_mhz"].reason)
    assert found["temperature_c"].reason == "the kernel shows no temperature sensor"
    assert "no such file" in str(found["cpu_wait_s"].reason)
    assert all(q.reason for q in found.values() if q.device != "worker" and "harness" not in q.name
               and "sampler" not in q.name)  # fmt: skip
    sampler.close()


def test_clocks_and_temperatures_are_read_where_the_kernel_shows_them(tmp_path: Path) -> None:
    files = {
        "sys/devices/system/cpu/online": "0-1",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "3400000",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "800000",
        "sys/class/thermal/thermal_zone0/temp": "47500",
        "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp",
        "sys/class/hwmon/hwmon0/temp1_input": "51000",
        "sys/class/hwmon/hwmon0/name": "k10temp",
        "sys/class/hwmon/hwmon0/temp1_label": "Tctl",
        "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "3",
    }
    for name, written in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(written + "\n")

    sampler, _ = opened(None, tmp_path)
    read = values(sampler, "slow")
    sampler.close()

    assert read["cpu0 clock_mhz"] == 3400
    assert read["cpu1 clock_mhz"] == 800
    assert read["x86_pkg_temp thermal_zone0 temperature_c"] == 47.5
    assert read["k10temp Tctl temperature_c"] == 51
    assert read["thermal_throttles"] == 3


def test_a_command_with_brackets_does_not_shift_the_fields() -> None:
    fields = (
        "S 1 1 1 0 -1 4194304 125 9 8 7 20 30 4 5 20 0 3 0 85797 2998272 391 18446744073709551615"
    )
    stat = process_stat(f"42 (a) b (c)) {fields}\n".encode())

    assert (stat.own_ticks, stat.waited_ticks) == (50, 9)
    assert (stat.minor_faults, stat.major_faults) == (125, 8)
    assert (stat.threads, stat.resident_pages) == (3, 391)


def test_busy_is_neither_idle_nor_waiting_for_disks() -> None:
    text = b"cpu  10 2 30 400 500 6 7 8 0 0\ncpu0 10 2 30 400 500 6 7 8 0 0\nintr 1 2 3\n"

    assert busy_ticks(text) == {"cpu": (55, 8), "cpu0": (55, 8)}


def test_pressure_is_read_from_the_line_for_some_tasks() -> None:
    text = b"some avg10=1.00 avg60=0 avg300=0 total=123\nfull avg10=0 avg60=0 avg300=0 total=9\n"

    assert pressure_us(text) == 123


def test_numbers_are_read_with_or_without_a_unit() -> None:
    assert keyed_numbers(b"Rss:   12 kB\nname text\nnr_free 7\n") == {b"Rss": 12, b"nr_free": 7}
