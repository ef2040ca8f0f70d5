"""Transformers runs as it would on its own: growing cache, or a static one with compiled steps."""

import pytest
from pydantic import ValidationError

from backends.hf import HfBackend, HfOptions
from harness.testing import examine

pytestmark = pytest.mark.skipif(
    not HfBackend().availability("cpu").ok, reason="the extra [hf] is not installed"
)


@pytest.mark.parametrize(
    "check", ["tokens are correct", "ragged prompts are right", "cache's end is right"]
)
def test_the_static_cache_keeps_the_contract_as_well(check: str) -> None:
    finding = examine(check, HfBackend(), HfOptions(cache="static", threads=1))

    assert finding.ok, finding.detail


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside of torch.compile
def test_compiled_steps_are_right() -> None:
    options = HfOptions(cache="static", compile=True, threads=1)

    finding = examine("ragged prompts are right", HfBackend(), options)

    assert finding.ok, finding.detail


def test_compiling_needs_the_static_cache() -> None:
    with pytest.raises(ValidationError, match='needs cache = "static"'):
        HfOptions(compile=True)
