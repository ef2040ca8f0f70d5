"""The NVML sampler keeps the contract, on a machine with GPUs and on one without."""

import os

import pytest

from harness.contracts import Watched
from harness.telemetry.gauges import BATCHES, GAUGES, MEANINGS, kind_of
from harness.telemetry.nvml import NvmlSampler
from harness.testing import sampler_conformance
from harness.testing.nvmlsim import SimulatedNvml

_TWO = "clock set\ndevice 0\ndevice 1 uuid=GPU-b\nat 0 0 power=100\n"


def _sampler(simulator: SimulatedNvml, **environment: str) -> NvmlSampler:
    return NvmlSampler(environment=environment, now_ns=simulator.now_ns, sleep=simulator.pass_s)


@pytest.mark.parametrize(
    "script",
    [
        _TWO,
        "clock set",
        "clock set\ndevice 0\nfault 0 * gpu_is_lost 0 -",
        "clock set\ndevice 0\nfault 0 nvmlDeviceGetFieldValues function_not_found 0 -",
        "clock set\ndevice 0\nmig 0 gi=1",
        "clock set\ndevice 0 gpm=1\nfault 0 nvmlDeviceGetMemoryInfo_v2 function_not_found 0 -",
    ],
)
def test_it_keeps_the_contract(simulator: SimulatedNvml, script: str) -> None:
    simulator.play(script)
    found = sampler_conformance(_sampler(simulator, HARNESS_NVML="gpm,pcie"))
    assert [finding.detail for finding in found if not finding.ok] == []


def test_a_process_that_is_followed_later_is_the_worker_from_then_on(
    simulator: SimulatedNvml,
) -> None:
    simulator.play(f"clock set\ndevice 0 uuid=GPU-a\nprocess 0 0 - pid={os.getpid()} mib=10")
    sampler = _sampler(simulator)
    sampler.open(Watched(worker_pid=None, harness_pid=1))
    assert sampler.read("boundary")["GPU-a", "other_processes"].value == 1
    sampler.follow(os.getpid())
    assert sampler.read("boundary")["GPU-a", "other_processes"].value == 0
    sampler.close()


def test_driver_and_devices_are_recorded(simulator: SimulatedNvml) -> None:
    simulator.play(_TWO)
    sampler = _sampler(simulator, CUDA_VISIBLE_DEVICES="GPU-b")
    sampler.open(Watched(worker_pid=None, harness_pid=1))
    facts = sampler.facts()
    assert facts["driver"] == "570.00-nvmlsim"
    assert facts["used"] == ["GPU-b"]
    assert len(facts["gpus"]) == 2
    sampler.close()


def test_a_sensor_that_is_not_there_is_asked_once(simulator: SimulatedNvml) -> None:
    simulator.play("clock set\ndevice 0 uuid=GPU-a ecc=0\nfault 0 field:186 not_supported 0 5")
    sampler = _sampler(simulator)
    sampler.open(Watched(worker_pid=None, harness_pid=1))
    simulator.set_s(6)
    names = {name for tier in ("fast", "slow") for _, name in sampler.read(tier)}
    assert "power_average_w" in names
    assert not names & {"power_instant_w", "ecc_corrected"}
    sampler.close()


def test_counters_and_states_are_told_from_gauges() -> None:
    assert kind_of("energy_j") == kind_of("ecc_uncorrected") == "counter"
    assert kind_of("clock_events_bits") == kind_of("energy_j_update_s") == "state"
    assert kind_of("power_instant_w") == "gauge"
    # whatever counts joules or errors only grows, whichever call it comes from
    counted = {
        (name, unit) for gauge in (*GAUGES, *BATCHES) for name, unit in gauge.units.items()
        if unit in ("J", "errors")
    }  # fmt: skip
    assert len(counted) == 4
    assert {kind_of(name) for name, _ in counted} == {"counter"}


def test_utilization_says_what_it_is_not() -> None:
    assert "not how full" in MEANINGS["utilization_percent"]
