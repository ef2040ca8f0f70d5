from pathlib import Path

import pytest

from harness.environment.cpu import CPU, last_level_cache_bytes
from harness.environment.facts import AbsentError, collect


def test_sockets_cores_and_threads_are_told_apart(machine):
    facts = collect(CPU, machine("xeon"))
    assert (facts["sockets"], facts["physical_cores"], facts["logical_cores"]) == (2, 4, 8)
    assert facts["smt"] is True
    assert facts["numa_nodes"] == 2


def test_a_cache_counts_once_however_many_cores_share_it(machine):
    root = machine("xeon")
    caches = collect(CPU, root)["caches"]
    assert caches["L3"] == {
        "bytes_each": 107520 * 1024,
        "bytes_total": 2 * 107520 * 1024,
        "instances": 2,
        "cpus_each": 4,
    }
    assert caches["L1d"]["instances"] == 4
    assert last_level_cache_bytes(root) == 2 * 107520 * 1024


def test_the_clock_policy_is_read(machine):
    facts = collect(CPU, machine("xeon"))
    assert (facts["governor"], facts["scaling_driver"]) == ("powersave", "intel_pstate")
    assert (facts["min_mhz"], facts["max_mhz"], facts["boost"]) == (800.0, 3800.0, True)


def test_governors_that_differ_from_core_to_core_are_all_named(machine):
    root = machine("xeon", {"sys/devices/system/cpu/cpu5/cpufreq/scaling_governor": "performance"})
    assert collect(CPU, root)["governor"] == "performance/powersave"


def test_only_instructions_that_matter_are_kept(machine):
    flags = collect(CPU, machine("xeon"))["flags"]
    assert flags == ["sse4_2", "avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16"]


def test_an_arm_core_is_named_by_its_part_number(machine):
    facts = collect(CPU, machine("graviton"))
    assert facts["model"] == "Arm Neoverse-V1"
    assert facts["flags"] == ["asimd", "asimdhp", "sve", "i8mm", "bf16"]


def test_an_unknown_arm_part_is_given_as_it_is(machine):
    root = machine("graviton", {"proc/cpuinfo": "CPU implementer : 0x61\nCPU part : 0x032\n"})
    assert collect(CPU, root)["model"] == "implementer 0x61 part 0x032"


def test_a_virtual_machine_without_cpufreq_has_no_governor_but_a_reason(machine):
    facts = collect(CPU, machine("graviton"))
    for name in ("governor", "scaling_driver", "min_mhz", "max_mhz"):
        assert "no cpufreq" in facts[name]["absent"]
    assert "package" in facts["sockets"]["absent"]


def test_a_hybrid_processor_shows_its_two_kinds_of_cores(machine):
    facts = collect(CPU, machine("hybrid"))
    assert facts["kinds"] == {"cpu_core": "0-3", "cpu_atom": "4-7"}
    assert (facts["physical_cores"], facts["logical_cores"]) == (6, 8)
    assert facts["max_mhz"] == 4400.0


def test_affinity_is_the_cores_that_may_be_used(machine):
    assert collect(CPU, machine("docker-v1"))["affinity"] == [0, 2]


def test_a_machine_that_shows_nothing_gives_a_reason_for_every_fact(machine):
    facts = collect(CPU, machine("bare"))
    assert all(list(fact) == ["absent"] and fact["absent"] for fact in facts.values()), facts


def test_rubbish_in_the_files_is_a_reason_and_no_crash(machine):
    rubbish = dict.fromkeys(("proc/cpuinfo", "sys/devices/system/cpu/online"), "\x00rubbish")
    facts = collect(CPU, machine("xeon", rubbish))
    assert "absent" in facts["model"]
    assert "absent" in facts["logical_cores"]


def test_this_machine_has_cores_and_a_model():
    facts = collect(CPU, Path("/"))
    assert facts["logical_cores"] >= len(facts["affinity"]) >= 1
    assert facts["model"]


def test_without_caches_there_is_no_last_level(machine):
    with pytest.raises(AbsentError, match="no caches"):
        last_level_cache_bytes(machine("graviton"))
