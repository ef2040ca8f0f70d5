from pathlib import Path

import pytest

from harness.store import Run

SAMPLE = Path(__file__).parents[3] / "docs" / "sample" / "run"


@pytest.fixture(scope="session")
def sample() -> Run:
    """A real run of the default suite: eager in float32 and bfloat16, three scenarios."""
    return Run(SAMPLE)
