import hashlib

import pytest

from harness.environment.facts import collect
from harness.environment.system import MEMORY, OS


def test_memory_is_bytes_and_no_swap_is_zero_bytes_of_it(machine):
    facts = collect(MEMORY, machine("graviton"))
    assert facts["total"] == 32_000_000 * 1024
    assert facts["swap"] == 0


def test_a_row_that_the_kernel_lacks_is_absent_and_not_zero(machine):
    assert "no SwapTotal" in collect(MEMORY, machine("docker-v1"))["swap"]["absent"]


def test_the_choice_of_huge_pages_is_the_marked_one(machine):
    facts = collect(MEMORY, machine("xeon"))
    assert facts["transparent_hugepages"] == "never"
    assert facts["transparent_hugepages_defrag"] == "madvise"


def test_the_machine_is_known_by_a_hash_that_does_not_give_its_id_away(machine):
    # given the id that machine-id(5) calls confidential
    machine_id = "0123456789abcdef0123456789abcdef"
    # then neither it, nor a plain hash of it, nor a host's name is in the facts
    found = str(collect(OS, machine("xeon")))
    assert machine_id not in found
    assert hashlib.sha256(machine_id.encode()).hexdigest()[:16] not in found


def test_the_hash_of_a_machine_is_always_the_same(machine):
    first = collect(OS, machine("xeon"))["machine"]
    assert collect(OS, machine("xeon"))["machine"] == first
    other = machine("xeon", {"etc/machine-id": "f" * 32})
    assert collect(OS, other)["machine"] != first


@pytest.mark.parametrize("content", ["", "uninitialized\n"])
def test_an_image_that_was_never_booted_has_no_id(machine, content):
    assert "no id" in collect(OS, machine("xeon", {"etc/machine-id": content}))["machine"]["absent"]


@pytest.mark.parametrize(
    ("name", "seen"),
    [("xeon", "none seen"), ("graviton", "Amazon EC2 m7g.xlarge"), ("docker-v1", "unnamed")],
)
def test_a_hypervisor_is_seen_by_its_name_or_by_the_cpus_flag(machine, name, seen):
    assert collect(OS, machine(name))["hypervisor"] == seen
