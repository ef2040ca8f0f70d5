"""Which cases of a run are profiled in its extra rounds."""

import pytest

from harness.engine.plan import Plan, make_plan
from harness.engine.suites import suite_path
from harness.engine.why import chosen_cases
from harness.errors import InputError
from harness.spec import read_suite


def plan(**settings: object) -> Plan:
    given = {f"profile.{name}": value for name, value in settings.items()}
    return make_plan(*read_suite(suite_path("default"), given))


def test_by_default_the_first_case_of_each_backend_setting() -> None:
    assert [(c.scenario, c.dtype) for c in chosen_cases(plan())] == [
        ("latency", "float32"), ("latency", "bfloat16"),
    ]  # fmt: skip


def test_a_pattern_picks_others_up_to_the_most() -> None:
    assert [c.scenario for c in chosen_cases(plan(case="*memory*"))] == ["memory", "memory"]
    assert len(chosen_cases(plan(case="*", most=3))) == 3


def test_a_pattern_that_fits_nothing_is_said() -> None:
    with pytest.raises(InputError, match="no case fits 'nothing'"):
        chosen_cases(plan(case="nothing"))
