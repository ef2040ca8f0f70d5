from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

import pytest

from harness.contracts import Scenario
from harness.model import PRESETS
from harness.plugins import find
from harness.spec import read_suite

SUITES = [Path(str(p)) for p in files("scenarios.suites").iterdir() if p.name.endswith(".toml")]


def test_the_shipped_suites_are_these() -> None:
    assert {path.stem for path in SUITES} >= {"default", "quick", "backends"}


def test_the_suite_of_backends_leaves_none_out() -> None:
    suite, _ = read_suite(next(path for path in SUITES if path.stem == "backends"))

    ours = distribution("inference-harness").entry_points.select(group="harness.backends")
    assert {backend.name for backend in suite.backend} >= {point.name for point in ours}


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_shipped_suite_is_understood_and_fits_its_models(path: Path) -> None:
    suite, _ = read_suite(path)

    assert suite.name == path.stem
    assert suite.description
    for spec in suite.scenario:
        scenario = find(Scenario, spec.name)
        options = scenario.Options.model_validate(spec.__pydantic_extra__ or {})
        for model in suite.model:
            assert scenario.points(options, PRESETS[model.name])


def test_the_default_suite_runs_all_three_scenarios_in_both_precisions() -> None:
    suite, _ = read_suite(next(path for path in SUITES if path.stem == "default"))

    assert [s.name for s in suite.scenario] == ["latency", "throughput", "memory"]
    assert suite.sweep.axes() == {"backend.dtype": ["float32", "bfloat16"]}
    assert suite.run.rounds == 3
