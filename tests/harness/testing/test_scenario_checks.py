"""The checks for scenarios, and that ours report declared delays exactly."""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.contracts import Lab, Observation, Options, Point, Request, Scenario, Transcript
from harness.metrics import Metric
from harness.model import ModelConfig
from harness.plugins import find, names
from harness.testing import FakeClock, scenario_conformance
from harness.testing.fakes import Delays
from harness.testing.scenario_checks import SCENARIO_CHECKS, ScenarioSubject

E2E = Metric(
    name="e2e_ms",
    unit="ms",
    better="lower",
    definition="from submission to the last token",
    pooled="per request",
    primary=True,
)


class Honest(Scenario):
    """One request of four tokens at a time."""

    summary = "the smallest honest scenario"
    metrics = (E2E,)
    Options = Options

    def points(self, options: Any, model: ModelConfig) -> Sequence[Point]:
        return [Point(batch=1, context=8)]

    def measure(self, session: Any, point: Point, options: Any, lab: Lab) -> Iterator[Observation]:
        for iteration in itertools.count():
            prompt = self.prompt(iteration, lab)
            start_ns = self.now_ns(lab)
            made = [event.token for event in session.stream([Request(prompt, 4)])]
            yield Observation(
                {"e2e_ms": [(self.now_ns(lab) - start_ns) / 1e6]},
                [Transcript(prompt, tuple(made))],
            )

    def prompt(self, iteration: int, lab: Lab) -> tuple[int, ...]:
        return (iteration % 512, 2, 3, 4)

    def now_ns(self, lab: Lab) -> int:
        return lab.now_ns()


class OwnClock(Honest):
    def now_ns(self, lab: Lab) -> int:
        return time.monotonic_ns()


class RepeatsPrompts(Honest):
    def prompt(self, iteration: int, lab: Lab) -> tuple[int, ...]:
        return (1, 2, 3, 4)


class PromptsFromTheClock(Honest):
    def prompt(self, iteration: int, lab: Lab) -> tuple[int, ...]:
        return (iteration, lab.now_ns() // 10**6 % 500, 3, 4)


class TwoPrimaries(Honest):
    metrics = (E2E, E2E.model_copy(update={"name": "other_ms"}))


class NoDefinition(Honest):
    metrics = (E2E.model_copy(update={"definition": " "}),)


class AchievesNothing(Honest):
    metrics = (E2E.model_copy(update={"achieved": "decode_bytes_per_s"}),)


class TooLong(Honest):
    def points(self, options: Any, model: ModelConfig) -> Sequence[Point]:
        return [Point(batch=1, context=model.max_context + 1)]


class SameLabels(Honest):
    def points(self, options: Any, model: ModelConfig) -> Sequence[Point]:
        return [Point(1, 8), Point(1, 12)]


class _Altered(Honest):
    def measure(self, *given: Any) -> Iterator[Observation]:
        return (self.altered(observation) for observation in super().measure(*given))

    def altered(self, observation: Observation) -> Observation:
        raise NotImplementedError


class Undeclared(_Altered):
    def altered(self, observation: Observation) -> Observation:
        return replace(observation, values={**observation.values, "surprise_ms": [1.0]})


class Negative(_Altered):
    def altered(self, observation: Observation) -> Observation:
        return replace(observation, values={"e2e_ms": [-1.0]})


class NotANumber(_Altered):
    def altered(self, observation: Observation) -> Observation:
        return replace(observation, values={"e2e_ms": [float("nan")]})


class NoPrimary(_Altered):
    def altered(self, observation: Observation) -> Observation:
        return replace(observation, values={})


class InventsTokens(_Altered):
    def altered(self, observation: Observation) -> Observation:
        transcript = replace(observation.transcripts[0], token_ids=(1, 2, 3, 4))
        return replace(observation, transcripts=[transcript])


def test_an_honest_scenario_has_no_finding() -> None:
    found = scenario_conformance(Honest())
    assert [f.name for f in found] == list(SCENARIO_CHECKS)
    assert [f.detail for f in found if not f.ok] == []


@pytest.mark.parametrize(
    ("scenario", "check", "detail"),
    [
        (OwnClock, "times follow the clock", "when all delays double"),
        (RepeatsPrompts, "prompts never repeat", "used 4 times"),
        (PromptsFromTheClock, "prompts are the same for all", "differ"),
        (TwoPrimaries, "metrics are declared", "expected exactly one"),
        (NoDefinition, "metrics are declared", "has no definition"),
        (AchievesNothing, "metrics are declared", "decode_bytes_per_s, not declared"),
        (TooLong, "points fit the model", "does not fit"),
        (SameLabels, "points fit the model", "all different"),
        (Undeclared, "values are declared and finite", "surprise_ms"),
        (Negative, "values are declared and finite", "e2e_ms is -1.0"),
        (NotANumber, "values are declared and finite", "e2e_ms is nan"),
        (NoPrimary, "values are declared and finite", "gives no e2e_ms"),
        (InventsTokens, "transcripts are what was made", "a transcript holds"),
    ],
)
def test_each_check_can_fail(scenario: type[Scenario], check: str, detail: str) -> None:
    broken = {f.name: f.detail for f in scenario_conformance(scenario()) if not f.ok}
    assert detail in broken[check]


@pytest.mark.parametrize("name", names(Scenario))
def test_every_scenario_of_ours_keeps_the_contract(name: str) -> None:
    found = scenario_conformance(find(Scenario, name))
    assert [f"{f.name}: {f.detail}" for f in found if not f.ok] == []


def observed(name: str, delays: Delays, **options: Any) -> dict[str, list[float]]:
    from harness.model import open_model

    scenario = find(Scenario, name)
    subject = ScenarioSubject(
        scenario, scenario.Options.model_validate(options), open_model("tiny").config
    )
    (observations,) = subject.observe(delays).values()
    return {k: list(v) for k, v in observations[-1].values.items()}


DELAYS = Delays(prefill_ns=30_000_000, prompt_token_ns=100_000, decode_ns=4_000_000)


def test_latency_reports_declared_delays_exactly() -> None:
    values = observed("latency", DELAYS, prompt_tokens=20, new_tokens=11)
    ttft = 30 + 20 * 0.1
    assert values["ttft_ms"] == pytest.approx([ttft], rel=1e-12)
    assert values["itl_ms"] == pytest.approx([4.0] * 10, rel=1e-12)
    assert values["tpot_ms"] == pytest.approx([4.0], rel=1e-12)
    assert values["e2e_ms"] == pytest.approx([ttft + 40], rel=1e-12)


def test_throughput_reports_declared_delays_exactly() -> None:
    values = observed("throughput", DELAYS, prompt_tokens=20, new_tokens=11, batch=[4])
    assert values["prefill_tokens_per_s"] == pytest.approx([4 * 20 / 0.032], rel=1e-12)
    assert values["decode_tokens_per_s"] == pytest.approx([4 * 10 / 0.040], rel=1e-12)


def test_a_lab_takes_the_fake_clock() -> None:
    from harness.model import open_model
    from harness.testing import FakeMeter

    clock = FakeClock(5)
    lab = Lab(open_model("tiny").config, "float32", clock.now_ns, FakeMeter(), seed=0)
    clock.pass_ns(2)
    assert lab.now_ns() == 7
