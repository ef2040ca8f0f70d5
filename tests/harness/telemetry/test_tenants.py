"""Who is on a GPU."""

import os
import subprocess
import sys

from harness.telemetry.tenants import TENANT_UNITS, Tenant, family, living, tenants

MIB = 2**20


def test_the_workers_family_and_others_are_told_apart() -> None:
    listed = [Tenant(10, 5 * MIB), Tenant(11, 2 * MIB), Tenant(99, 7 * MIB)]
    found = tenants(listed, ours={10, 11}, known={10, 11, 99})
    assert found == {
        "worker_memory_bytes": 7.0 * MIB,
        "other_processes": 1.0,
        "other_processes_memory_bytes": 7.0 * MIB,
    }


def test_an_empty_gpu_is_zero_because_it_is_known() -> None:
    assert set(tenants([], ours={10}, known=set()).values()) == {0.0}


def test_a_process_of_unknown_size_makes_the_sum_unknown() -> None:
    found = tenants([Tenant(10, None), Tenant(99, MIB)], ours={10}, known={10, 99})
    assert "does not say" in str(found["worker_memory_bytes"])
    assert found["other_processes_memory_bytes"] == float(MIB)


def test_strange_ids_without_ones_own_are_another_namespace() -> None:
    found = tenants([Tenant(4_000_000, MIB)], ours={10}, known=set())
    assert set(found) == set(TENANT_UNITS)
    assert all("container" in str(reason) for reason in found.values())


def test_a_strange_id_beside_ones_own_is_another_process() -> None:
    found = tenants([Tenant(10, MIB), Tenant(4_000_000, MIB)], ours={10}, known={10})
    assert found["other_processes"] == 1.0


def test_children_belong_to_the_family() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert {os.getpid(), child.pid} <= family([os.getpid()])
        assert living([child.pid, 4_194_303]) == {child.pid}
        child.communicate(b"\n")
    assert child.pid not in family([child.pid])
