"""The door: refusals told apart."""

from collections.abc import Iterator

import pytest

from harness.telemetry.nvml_door import Nvml, Refusal, RefusedError
from harness.testing.nvmlsim import SimulatedNvml


@pytest.fixture
def nvml(simulator: SimulatedNvml) -> Iterator[Nvml]:
    door = Nvml(simulator.now_ns)
    yield door
    door.stop()


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        ("function_not_found", Refusal.OLD_DRIVER, "this driver does not know nvmlDeviceGetName"),
        ("not_supported", Refusal.NOT_SUPPORTED, "this GPU does not have it"),
        ("no_permission", Refusal.NOT_PERMITTED, "this user may not read it"),
        ("gpu_is_lost", Refusal.LOST, "the GPU is lost"),
        ("reset_required", Refusal.LOST, "the GPU is lost"),
        ("unknown", Refusal.PASSING, "nvmlDeviceGetName: Unknown Error"),
        ("timeout", Refusal.PASSING, "nvmlDeviceGetName: Timeout"),
    ],
)
def test_each_refusal_is_told_from_the_others(
    simulator: SimulatedNvml, nvml: Nvml, error: str, kind: Refusal, says: str
) -> None:
    simulator.play(f"clock set\ndevice 0\nfault 0 nvmlDeviceGetName {error} 0 -")
    nvml.start()
    handle = nvml.call("nvmlDeviceGetHandleByIndex", 0)
    with pytest.raises(RefusedError, match=says) as caught:
        nvml.call("nvmlDeviceGetName", handle)
    assert caught.value.kind is kind


def test_only_what_may_pass_is_asked_again() -> None:
    assert [kind for kind in Refusal if not kind.final] == [Refusal.PASSING]


def test_a_function_that_the_binding_lacks_is_an_old_one(
    simulator: SimulatedNvml, nvml: Nvml
) -> None:
    simulator.play("clock set\ndevice 0")
    nvml.start()
    with pytest.raises(RefusedError, match="nvidia-ml-py does not know nvmlTellFortune"):
        nvml.call("nvmlTellFortune")


def test_the_slowest_call_is_remembered_until_asked(simulator: SimulatedNvml, nvml: Nvml) -> None:
    simulator.play("clock set\ndevice 0\nslow 0 nvmlDeviceGetName 150 0 -")
    nvml.start()
    handle = nvml.call("nvmlDeviceGetHandleByIndex", 0)
    nvml.call("nvmlDeviceGetName", handle)
    nvml.call("nvmlDeviceGetUUID", handle)
    assert nvml.forget_slowest() == ("nvmlDeviceGetName", 150_000_000)
    assert nvml.forget_slowest() == ("", 0)


def test_starting_and_stopping_twice_is_harmless(simulator: SimulatedNvml, nvml: Nvml) -> None:
    simulator.play("clock set\ndevice 0")
    nvml.start()
    nvml.start()
    nvml.stop()
    nvml.stop()
    assert nvml.availability().ok
