"""Everything here needs an NVIDIA GPU; without one, one line says why it is skipped."""

import os
from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest

from harness.telemetry.nvml_door import Nvml

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
    if os.environ.get("NVMLSIM_SCRIPT"):
        return "no NVIDIA GPU: NVML is simulated"
    can = Nvml().availability()
    return None if can.ok else f"no NVIDIA GPU: {can.reason}"
