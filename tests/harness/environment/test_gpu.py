from types import SimpleNamespace
from typing import Any

from harness.environment.gpu import gpus, read_gpus


class NVMLError(Exception):
    """As pynvml raises it."""


def _refuse(*_: Any) -> Any:
    raise NVMLError("Not Supported")


def _nvml(count: int = 1, **changes: Any) -> Any:
    """pynvml's functions as an A100 answers them; only what `changes` names differs."""
    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: count,
        "nvmlSystemGetDriverVersion": lambda: "550.54.15",
        "nvmlSystemGetCudaDriverVersion_v2": lambda: 12040,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda _: "NVIDIA A100-SXM4-40GB",
        "nvmlDeviceGetUUID": lambda index: f"GPU-{index}",
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=42949672960),
        "nvmlDeviceGetCudaComputeCapability": lambda _: (8, 0),
        "nvmlDeviceGetEnforcedPowerLimit": lambda _: 400_000,
        "nvmlDeviceGetMaxClockInfo": lambda _, kind: {1: 1410, 2: 1215}[kind],
        "nvmlDeviceGetEccMode": lambda _: [1, 1],
        "nvmlDeviceGetMigMode": lambda _: [0, 0],
        "nvmlDeviceGetPersistenceMode": lambda _: 1,
        "NVML_CLOCK_SM": 1,
        "NVML_CLOCK_MEM": 2,
        "NVMLError": NVMLError,
    }
    return SimpleNamespace(**{**answers, **changes})


def test_a_gpu_is_described_with_its_driver():
    found = read_gpus(_nvml())
    assert isinstance(found, list)
    assert found[0] == {
        "name": "NVIDIA A100-SXM4-40GB", "uuid": "GPU-0", "memory_bytes": 42949672960,
        "compute_capability": "8.0", "power_limit_w": 400.0, "max_sm_mhz": 1410,
        "max_memory_mhz": 1215, "ecc": True, "mig": False, "persistence": True,
        "driver": "550.54.15", "driver_cuda": "12.4",
    }  # fmt: skip


def test_a_field_that_a_gpu_lacks_is_absent_and_the_others_stay():
    found = read_gpus(_nvml(nvmlDeviceGetEccMode=_refuse))
    assert isinstance(found, list)
    assert found[0]["ecc"] == {"absent": "NVML: Not Supported"}
    assert found[0]["name"] == "NVIDIA A100-SXM4-40GB"


def test_a_driver_without_gpus_is_a_reason():
    assert read_gpus(_nvml(count=0)) == {"absent": "driver 550.54.15 sees no GPU"}


def test_a_gpu_that_is_lost_is_a_reason():
    found = read_gpus(_nvml(nvmlDeviceGetHandleByIndex=_refuse))
    assert found == {"absent": "NVML: Not Supported"}


def test_a_library_that_does_not_start_is_a_reason():
    assert read_gpus(_nvml(nvmlInit=_refuse)) == {"absent": "NVML: Not Supported"}


def test_this_machine_has_gpus_or_a_reason():
    found = gpus()
    assert found if isinstance(found, list) else found["absent"]
