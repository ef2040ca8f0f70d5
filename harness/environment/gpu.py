"""The GPUs and their driver, through NVML, without CUDA or torch.

It must not know what load they carry: that is a sampler's work.
"""

from collections.abc import Callable
from typing import Any

from harness.environment.facts import absent

__all__ = ["gpus", "read_gpus"]


def gpus() -> list[dict[str, Any]] | dict[str, str]:
    """Return one entry for each GPU in NVML's order, or why there is none."""
    try:
        import pynvml
    except ImportError as error:
        return absent(f"nvidia-ml-py does not import: {error}")
    return read_gpus(pynvml)


def read_gpus(nvml: Any) -> list[dict[str, Any]] | dict[str, str]:
    """Return what `gpus` does; `nvml` is the pynvml module."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return absent(f"NVML: {error}")
    try:
        count = nvml.nvmlDeviceGetCount()
        driver = _field(nvml, nvml.nvmlSystemGetDriverVersion)
        cuda = _field(nvml, lambda: _cuda_version(nvml.nvmlSystemGetCudaDriverVersion_v2()))
        if not count:
            return absent(f"driver {driver} sees no GPU")
        return [
            _gpu(nvml, index) | {"driver": driver, "driver_cuda": cuda} for index in range(count)
        ]
    except nvml.NVMLError as error:
        return absent(f"NVML: {error}")
    finally:
        nvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> dict[str, Any]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    table: dict[str, Callable[[], Any]] = {
        "name": lambda: nvml.nvmlDeviceGetName(handle),
        "uuid": lambda: nvml.nvmlDeviceGetUUID(handle),
        "memory_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total,
        "compute_capability": lambda: ".".join(
            str(part) for part in nvml.nvmlDeviceGetCudaComputeCapability(handle)
        ),
        "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
        "max_sm_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM),
        "max_memory_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM),
        "ecc": lambda: bool(nvml.nvmlDeviceGetEccMode(handle)[0]),
        "mig": lambda: bool(nvml.nvmlDeviceGetMigMode(handle)[0]),
        "persistence": lambda: bool(nvml.nvmlDeviceGetPersistenceMode(handle)),
    }
    return {name: _field(nvml, read) for name, read in table.items()}


def _field(nvml: Any, read: Callable[[], Any]) -> Any:
    """Read one field; a GPU that lacks it (NOT_SUPPORTED) still has the others."""
    try:
        return read()
    except nvml.NVMLError as error:
        return absent(f"NVML: {error}")


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
