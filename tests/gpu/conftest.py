"""Everything here needs an NVIDIA GPU; without one, one line says why it is skipped."""

from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest

from harness.telemetry.nvml_door import Nvml
from harness.telemetry.simulated import is_simulated

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if _HERE in item.path.parents and (reason := _why_not()):
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and _HERE in item.path.parents and (reason := _why_not()):
        report.longrepr = (str(_HERE), 0, reason)  # the same place for all: pytest folds them
    return report


@cache
def _why_not() -> str | None:
    nvml = Nvml()
    can = nvml.availability()
    if not can.ok:
        return f"no NVIDIA GPU: {can.reason}"
    nvml.start()
    try:
        # Another test of this process may have loaded the simulator: then it is the only NVML here.
        driver = nvml.call("nvmlSystemGetDriverVersion")
    finally:
        nvml.stop()
    return "no NVIDIA GPU: NVML is simulated" if is_simulated({"driver": driver}) else None
