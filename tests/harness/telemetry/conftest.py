"""The simulated NVML, built once a session."""

from pathlib import Path

import pytest

from harness.testing.nvmlsim import SimulatedNvml, build

SOURCE = Path(__file__).parents[2] / "nvmlsim"


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(SOURCE, tmp_path_factory.mktemp("nvmlsim"))


@pytest.fixture(scope="session")
def simulator(nvml_library: Path) -> SimulatedNvml:
    return SimulatedNvml(nvml_library)
