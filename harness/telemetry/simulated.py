"""Was a run made with a simulated sensor? Then it is marked, and never shown as a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["simulated_by"]

_MARK = "nvmlsim"


def simulated_by(environment: Mapping[str, Any]) -> str | None:
    """Return what was simulated, or None for a real machine.

    Args:
        environment: A run's fingerprint: the GPUs' driver tells.
    """
    gpus = environment.get("gpus", ())
    for gpu in gpus if isinstance(gpus, list) else ():
        driver = gpu.get("driver")
        if isinstance(driver, str) and _MARK in driver:
            return f"NVML (driver {driver})"
    return None
