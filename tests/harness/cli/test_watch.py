"""`harness watch`: a view, JSON lines, or a file; it ends when told to, with 0."""

import io
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli.watch_view import view
from harness.contracts import Quantity
from harness.telemetry.lines import Call, Footer, Header, SamplerHeader, parse_lines
from harness.telemetry.live import Rolling, sparkline
from tests.harness.engine.conftest import HARNESS

HEADER = Header(
    pid=1, started_ns=0, hz=10.0, priority="nice 0", cores=None,
    samplers=(
        SamplerHeader(
            "host", ok=True,
            quantities=(
                Quantity("cpu_s", "s", "worker", kind="counter"),
                Quantity("free_bytes", "bytes"),
                Quantity("busy_s", "s", "cpu0", kind="counter"),
                Quantity("clock_mhz", "MHz", reason="no cpufreq"),
            ),
        ),
        SamplerHeader("nvml", ok=False, reason="no driver"),
    ),
)  # fmt: skip


def call(at_s: float, *values: float | None) -> Call:
    at_ns = int(at_s * 1e9)
    why = {i: "no worker runs" for i, v in enumerate(values) if v is None}
    return Call(0, "fast", at_ns, at_ns, at_ns, values, why)


def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HARNESS, "watch", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_counters_are_shown_as_rates_and_gauges_as_they_are() -> None:
    rolling = Rolling(HEADER)
    rolling.add(call(0.0, 1.0, 5.0, 0.0))
    rolling.add(call(2.0, 4.0, 6.0, 1.0))

    cpu, free = list(rolling.shown())
    assert (list(cpu.values), cpu.unit) == ([1.5], "cores")
    assert (list(free.values), free.unit) == ([5.0, 6.0], "bytes")
    assert rolling.cores() == [0.5]


def test_a_counter_has_no_rate_across_a_time_without_worker() -> None:
    rolling = Rolling(HEADER)
    for at_s, cpu_s in enumerate((90.0, None, 1.0, 1.5)):
        rolling.add(call(at_s, cpu_s, 5.0, 0.0))

    assert list(next(iter(rolling.shown())).values) == [0.5]


def test_the_view_shows_values_and_says_what_is_not_here() -> None:
    rolling = Rolling(HEADER)
    rolling.add(call(0.0, None, 3 * 2**30, 0.0))
    out = io.StringIO()
    Console(width=100, file=out).print(view(HEADER, rolling, missed=2))
    shown = out.getvalue()

    assert "GiB" in shown
    assert "no worker runs" in shown
    assert "clock_mhz: no cpufreq" in shown
    assert "nvml: no driver" in shown
    assert "2 missed" in shown


GPU = Header(
    pid=1, started_ns=0, hz=10.0, priority="nice 0", cores=None,
    samplers=(
        SamplerHeader(
            "made-up", ok=True,
            quantities=(
                Quantity("others_busy_s", "s", kind="counter"),
                Quantity("stolen_s", "s", kind="counter"),
                Quantity("total_bytes", "bytes"),
                Quantity("power_instant_w", "W", "GPU-a"),
                Quantity("clock_events_bits", "bits", "GPU-a", kind="state"),
                Quantity("pss_bytes", "bytes", "worker", tier="boundary"),
            ),
        ),
    ),
)  # fmt: skip


def test_a_glance_finds_the_gpu_first_in_words_and_what_is_zero_on_one_line() -> None:
    rolling = Rolling(GPU)
    rolling.add(call(0.0, 0.0, 7.0, 64.0, 300.0, 0.0))
    rolling.add(call(1.0, 0.5, 7.0, 64.0, 250.0, 4.0))
    out = io.StringIO()
    Console(width=80, file=out).print(view(GPU, rolling))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]

    assert lines[1] == "GPU-a"
    assert lines[2].split() == ["power", "250", "W", "█▇"]
    assert lines[3].split() == ["clock", "held", "down", "by", "power", "cap"]
    assert lines[4] == "machine"
    assert lines[5].split() == ["others", "0.5", "cores", "█"]
    assert lines[6] == "  0: stolen by the host"
    assert len(lines) == 7  # what does not change, or is read at phases only, takes no line


def test_a_sparkline_spans_the_lowest_and_the_highest() -> None:
    assert sparkline([0, 1, 2, 7]) == "▁▂▃█"
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([0.5, 2.0], low=0, high=1)[-1] == "█"
    assert sparkline([]) == ""


@pytest.mark.slow
def test_each_reading_is_a_line_of_json() -> None:
    ran = harness("--json", "--seconds", "1", "--hz", "20", "--pid", str(os.getpid()))
    lines = [json.loads(line) for line in ran.stdout.splitlines()]

    assert ran.returncode == 0, ran.stderr
    assert {"time_ns", "source", "device", "quantity", "value", "unit"} == set(lines[0])
    cpu = [line for line in lines if (line["device"], line["quantity"]) == ("worker", "cpu_s")]
    assert len(cpu) > 10
    assert all(line["value"] > 0 for line in cpu)


@pytest.mark.slow
def test_readings_are_kept_in_a_file(tmp_path: Path) -> None:
    kept = tmp_path / "readings.jsonl"
    ran = harness("--seconds", "0.5", "--record", str(kept))
    with kept.open("rb") as file:
        items = list(parse_lines(file))

    assert ran.returncode == 0, ran.stderr
    assert isinstance(items[0], Header)
    assert isinstance(items[-1], Footer)
    assert any(isinstance(item, Call) for item in items)
    assert f"kept in {kept}" in ran.stderr


@pytest.mark.slow
def test_ctrl_c_ends_it_with_0() -> None:
    process = subprocess.Popen(
        [*HARNESS, "watch", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--sampler", "hots"], 'no sampler is called "hots"'),
        (["--pid", "999999999"], "--pid: there is no process 999999999"),
        (["--record", "/nowhere/file", "--seconds", "1"], "/nowhere/file: cannot be written"),
        (["--hz", "0"], "--hz"),
    ],
)
def test_what_cannot_be_watched_is_one_line(arguments: list[str], says: str) -> None:
    ran = harness(*arguments)

    assert ran.returncode == 2
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr
