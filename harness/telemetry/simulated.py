"""Was a run made with a simulated sensor? Then it is marked, and never shown as a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_simulated", "simulated_by"]

_MARK = "nvmlsim"


def is_simulated(facts: Mapping[str, Any]) -> bool:
    """Say whether what has these facts (a GPU of the fingerprint, a sampler) is simulated."""
    driver = facts.get("driver")
    return isinstance(driver, str) and _MARK in driver


def simulated_by(environment: Mapping[str, Any]) -> str | None:
    """Return what was simulated, or None for a real machine.

    Args:
        environment: A run's fingerprint; the GPUs' driver tells.
    """
    gpus = environment.get("gpus")
    for gpu in gpus if isinstance(gpus, list) else ():
        if is_simulated(gpu):
            return f"NVML (driver {gpu['driver']})"
    return None
