"""A mistake planted in any backend is found by the check that is made for it."""

from collections.abc import Iterator

import pytest

from harness.contracts import Backend
from harness.plugins import find, names
from harness.testing import examine
from harness.testing.cheats import CHEATS

PLANTED = ("wrong-rotary-sign", "stale-cache-row", "rows-swapped", "off-by-one-layer")


def backends() -> Iterator[str]:
    for name in names(Backend):
        backend = find(Backend, name)
        if backend.level == "step" and backend.availability("cpu").ok:
            yield name


@pytest.mark.parametrize("planted", PLANTED)
@pytest.mark.parametrize("name", list(backends()))
def test_a_planted_mistake_is_found(name: str, planted: str) -> None:
    backend = find(Backend, name)
    options = backend.Options.model_validate({**backend.trial, "threads": 1})
    cheat = CHEATS[planted]

    found = examine(cheat.found_by, cheat(backend), options)

    assert not found.ok
    assert not found.detail.startswith("raised")
