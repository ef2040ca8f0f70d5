"""The slowdowns that benchmarks/attribution.py plants still fit the code they are planted in."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def _seeds() -> Any:
    spec = importlib.util.spec_from_file_location("seeds_of_ours", ROOT / "benchmarks" / "seeds.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


ALL = [*_seeds().SEEDS, *_seeds().KEPT_ASIDE]


@pytest.mark.parametrize("seed", ALL, ids=lambda seed: seed.name)
def test_each_patch_is_found_once_and_leaves_a_module_that_compiles(seed: Any) -> None:
    file = ROOT.joinpath(*seed.module.split(".")).with_suffix(".py")
    text = file.read_text()

    for before, after in seed.patches:
        assert text.count(before) == 1, before
        text = text.replace(before, after)

    compile(text, str(file), "exec")


def test_each_seed_differs_from_its_base() -> None:
    assert len(ALL) >= 20
    assert len({seed.name for seed in ALL}) == len(ALL)
    assert all(seed.patches or seed.base != seed.cand for seed in ALL)
