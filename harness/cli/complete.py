"""Tab completion: names come from metadata and folders; pressing tab imports nothing heavy."""

from __future__ import annotations

__all__ = [
    "backend_names",
    "model_names",
    "report_names",
    "run_ids",
    "sampler_names",
    "scenario_names",
    "suite_names",
]


def _starting(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def suite_names(incomplete: str) -> list[str]:
    """Suites that ship; the shell itself completes files."""
    from harness.engine.suites import shipped

    return _starting(list(shipped()), incomplete)


def backend_names(incomplete: str) -> list[str]:
    """Registered backends."""
    from harness.contracts import Backend
    from harness.plugins import names

    return _starting(names(Backend), incomplete)


def scenario_names(incomplete: str) -> list[str]:
    """Registered scenarios."""
    from harness.contracts import Scenario
    from harness.plugins import names

    return _starting(names(Scenario), incomplete)


def sampler_names(incomplete: str) -> list[str]:
    """Registered samplers."""
    from harness.contracts import Sampler
    from harness.plugins import names

    return _starting(names(Sampler), incomplete)


def report_names(incomplete: str) -> list[str]:
    """Registered reports."""
    from harness.contracts import Report
    from harness.plugins import names

    return _starting(names(Report), incomplete)


def model_names(incomplete: str) -> list[str]:
    """Presets; the shell itself completes files."""
    from harness.model.presets import PRESETS

    return _starting(list(PRESETS), incomplete)


def run_ids(incomplete: str) -> list[str]:
    """Runs of the default store, and `latest`."""
    from harness.store import Store

    return _starting(["latest", *Store().ids()], incomplete)
