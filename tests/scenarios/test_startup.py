"""Start-up is read from the phases, told apart by whether the cache was new."""

from collections.abc import Callable

import pytest

from harness.contracts import Lab, Observation
from harness.errors import SpecError
from harness.model import PRESETS
from harness.testing import FakeClock, FakeStream, fake_continuation, scenario_conformance
from scenarios.startup import StartupOptions, StartupScenario

TINY = PRESETS["tiny"]
PHASES = {"import": 1.5, "load": 0.25, "prepare": 4.0, "verify": 0.5}


def observe(make_lab: Callable[..., Lab], clock: FakeClock, *, cold: bool) -> Observation:
    scenario, options = StartupScenario(), StartupOptions(batch=2)
    (point,) = scenario.points(options, TINY)
    session = FakeStream(clock)
    session.prepare(point.batch, point.context)
    lab = make_lab(phase_s=PHASES, cold=cold)
    return next(scenario.measure(session, point, options, lab))


def test_it_keeps_the_contract_of_scenarios() -> None:
    broken = [f for f in scenario_conformance(StartupScenario()) if not f.ok]

    assert broken == []


def test_ready_is_load_and_prepare(make_lab: Callable[..., Lab], clock: FakeClock) -> None:
    values = observe(make_lab, clock, cold=False).values

    assert values["ready_s"] == [4.25]
    assert {name: values[f"{name}_s"] for name in PHASES} == {k: [v] for k, v in PHASES.items()}


def test_a_cold_start_is_never_mixed_with_warm_ones(
    make_lab: Callable[..., Lab], clock: FakeClock
) -> None:
    cold, warm = (observe(make_lab, clock, cold=cold).values for cold in (True, False))

    assert all(name.startswith("cold_") for name in cold)
    assert not any(name.startswith("cold_") for name in warm)
    assert cold["cold_ready_s"] == warm["ready_s"]


def test_the_answer_it_asks_for_is_handed_over_for_the_audit(
    make_lab: Callable[..., Lab], clock: FakeClock
) -> None:
    transcripts = observe(make_lab, clock, cold=False).transcripts

    assert len(transcripts) == 2
    for transcript in transcripts:
        made = list(transcript.token_ids)
        assert len(made) == 8
        assert len(transcript.prompt_ids) == 24
        assert made == fake_continuation(transcript.prompt_ids, 8)


def test_without_a_second_round_the_warm_start_is_absent_and_says_why() -> None:
    derived = StartupScenario().derive({})

    assert derived["ready_s"].value is None
    assert "second round" in str(derived["ready_s"].reason)
    assert "cold_ready_s" not in derived


@pytest.mark.parametrize("wrong", [{"context": 5000}, {"context": 32, "prompt_tokens": 30}])
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SpecError):
        StartupScenario().points(StartupOptions.model_validate(wrong), TINY)
