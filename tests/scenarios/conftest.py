from collections.abc import Callable

import pytest

from harness.contracts import Lab
from harness.model import PRESETS
from harness.testing import FakeClock, FakeMeter

TINY = PRESETS["tiny"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_lab(clock: FakeClock) -> Callable[..., Lab]:
    def make(**more: object) -> Lab:
        given: dict[str, object] = {
            "model": TINY,
            "dtype": "float32",
            "now_ns": clock.now_ns,
            "memory": FakeMeter(),
            "seed": 0,
        }
        return Lab(**(given | more))  # type: ignore[arg-type]  # a test names what it needs

    return make
