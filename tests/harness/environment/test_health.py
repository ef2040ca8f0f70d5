from pathlib import Path

import pytest

from harness.environment.health import Finding, machine_findings


def _findings(root: Path) -> dict[str, Finding]:
    return {finding.check: finding for finding in machine_findings(root)}


@pytest.mark.parametrize(
    ("check", "status", "said", "remedy"),
    [
        ("clock policy", "note", "powersave", "cpupower frequency-set -g performance"),
        ("SMT", "note", "8 logical cores share 4", "backend.threads=4"),
        ("huge pages", "note", "never", "transparent_hugepage/enabled"),
        ("clock source", "note", "hpet", "clocksource=tsc"),
        ("swap", "note", "7.0 GiB in use", "swapoff"),
        ("attach a profiler", "note", "only to processes", "ptrace_scope=0"),
        ("perf events", "missing", "level 4", "perf_event_paranoid=1"),
        ("CPU quota", "ok", "none", None),
    ],
)
def test_what_hinders_on_a_server_comes_with_the_command_that_helps(
    machine, check, status, said, remedy
):
    finding = _findings(machine("xeon"))[check]
    assert finding.status == status
    assert said in finding.finding
    assert (remedy is None and finding.remedy is None) or remedy in finding.remedy


def test_a_quota_below_the_cores_names_the_threads_to_set(machine):
    finding = _findings(machine("graviton"))["CPU quota"]
    assert (finding.status, finding.remedy) == ("note", "--set backend.threads=2")


def test_the_memory_left_in_a_container_is_what_its_limit_leaves(machine):
    assert "2.0 GiB left within" in _findings(machine("graviton"))["memory"].finding


def test_no_swap_is_fine(machine):
    assert _findings(machine("graviton"))["swap"].status == "ok"


def test_the_performance_governor_is_fine(machine):
    files = {
        f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_governor": "performance" for n in range(8)
    }
    assert _findings(machine("xeon", files))["clock policy"].status == "ok"


def test_root_may_attach_and_count_whatever_the_settings(machine):
    root = machine("xeon", {"proc/self/status": "CapEff:\t000001ffffffffff\n"})
    found = _findings(root)
    assert (found["attach a profiler"].status, found["perf events"].status) == ("ok", "ok")


def test_fewer_cores_than_there_are_is_worth_a_note(machine):
    finding = _findings(machine("docker-v1"))["usable cores"]
    assert (finding.status, finding.finding) == ("note", "2 of 4 may be used (affinity)")


def test_a_machine_that_shows_nothing_breaks_no_check(machine):
    assert {f.status for f in machine_findings(machine("bare"))} <= {"ok", "note", "missing"}


def test_this_machine_has_a_finding_for_every_check():
    assert len(_findings(Path("/"))) == 10
