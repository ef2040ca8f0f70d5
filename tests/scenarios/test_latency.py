import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from harness.contracts import Lab, Observation, Request, TokenEvent
from harness.errors import SessionError, SpecError
from harness.model import PRESETS
from harness.testing import (
    Delays,
    FakeClock,
    FakeStream,
    fake_continuation,
    scenario_conformance,
)
from scenarios.latency import LatencyOptions, LatencyScenario
from scenarios.workload import WORKLOADS, Fixed

TINY = PRESETS["tiny"]
DELAYS = Delays(prefill_ns=20_000_000, prompt_token_ns=100_000, decode_ns=5_000_000)


def observe(session: Any, lab: Lab, count: int = 1, **options: Any) -> list[Observation]:
    given = LatencyOptions(**({"prompt_tokens": 10, "new_tokens": 4} | options))
    scenario = LatencyScenario()
    (point,) = scenario.points(given, TINY)
    session.prepare(point.batch, point.context)
    return list(itertools.islice(scenario.measure(session, point, given, lab), count))


def test_it_keeps_the_contract_of_scenarios() -> None:
    broken = [f for f in scenario_conformance(LatencyScenario()) if not f.ok]

    assert broken == []


def test_declared_delays_are_reported_to_the_nanosecond(
    clock: FakeClock, make_lab: Callable[..., Lab]
) -> None:
    (seen,) = observe(FakeStream(clock, DELAYS), make_lab())

    assert seen.values["ttft_ms"] == [21.0]
    assert seen.values["itl_ms"] == [5.0, 5.0, 5.0]
    assert seen.values["tpot_ms"] == [5.0]
    assert seen.values["e2e_ms"] == [36.0]


def test_rates_are_what_must_be_read_and_computed_over_the_time_it_took(
    clock: FakeClock, make_lab: Callable[..., Lab]
) -> None:
    (seen,) = observe(FakeStream(clock, DELAYS), make_lab())

    read = sum(TINY.decode_bytes(1, context, "float32") for context in (11, 12, 13))
    assert seen.values["decode_bytes_per_s"] == pytest.approx([read / 0.015])
    assert seen.values["prefill_flop_per_s"] == pytest.approx([TINY.prefill_flops(10) / 0.021])


def test_a_gap_is_a_gap_however_uneven(clock: FakeClock, make_lab: Callable[..., Lab]) -> None:
    class Uneven(FakeStream):
        def stream(self, requests: Sequence[Request]) -> Iterator[TokenEvent]:
            for wait in (10, 1, 7, 2):
                self.clock.pass_ns(wait * 1_000_000)
                yield TokenEvent(0, 5, self.clock.now_ns())

    (seen,) = observe(Uneven(clock), make_lab())

    assert seen.values["itl_ms"] == [1.0, 7.0, 2.0]
    assert seen.values["tpot_ms"] == pytest.approx([10 / 3])


def test_transcripts_say_what_was_asked_and_made(
    clock: FakeClock, make_lab: Callable[..., Lab]
) -> None:
    (seen,) = observe(FakeStream(clock, DELAYS), make_lab())

    (transcript,) = seen.transcripts
    assert len(transcript.prompt_ids) == 10
    assert list(transcript.token_ids) == fake_continuation(transcript.prompt_ids, 4)


def test_drawn_lengths_vary_and_are_the_same_in_every_process(
    make_lab: Callable[..., Lab],
) -> None:
    def shapes() -> list[tuple[int, int]]:
        options = {"prompt_tokens": {"distribution": "uniform", "low": 5, "high": 50}}
        seen = observe(
            FakeStream(clock := FakeClock(), DELAYS), make_lab(now_ns=clock.now_ns), 8, **options
        )
        return [(len(o.transcripts[0].prompt_ids), len(o.values["itl_ms"])) for o in seen]

    assert shapes() == shapes()
    assert len({prompt for prompt, _ in shapes()}) > 3


class Cheating(FakeStream):
    """Yields the events it is told to."""

    def __init__(self, clock: FakeClock, offsets_ms: Sequence[int], request: int = 0) -> None:
        super().__init__(clock)
        self._offsets, self._request = offsets_ms, request

    def stream(self, requests: Sequence[Request]) -> Iterator[TokenEvent]:
        submitted = self.clock.now_ns()
        self.clock.pass_ns(50_000_000)
        for offset in self._offsets:
            yield TokenEvent(self._request, 1, submitted + offset * 1_000_000)


@pytest.mark.parametrize(
    ("offsets_ms", "said"),
    [
        ([10, 15, 20], "3 tokens came"),
        ([10, 15, 20, 25, 30], "5 tokens came"),
        ([], "0 tokens came"),
        ([10, 15, 12, 20], "out of order"),
        ([-5, 15, 20, 25], "before they were asked for"),
        ([10, 15, 20, 60], "in the future"),
        ([30, 30, 30, 30], "no time passed"),
        ([0, 10, 20, 30], "no time passed"),
    ],
)
def test_events_that_cannot_be_true_are_an_error(
    clock: FakeClock, make_lab: Callable[..., Lab], offsets_ms: list[int], said: str
) -> None:
    with pytest.raises(SessionError, match=said):
        observe(Cheating(clock, offsets_ms), make_lab())


def test_a_token_of_another_request_is_an_error(
    clock: FakeClock, make_lab: Callable[..., Lab]
) -> None:
    with pytest.raises(SessionError, match="one request"):
        observe(Cheating(clock, [10, 15, 20, 25], request=1), make_lab())


def test_a_workload_brings_its_own_lengths() -> None:
    options = LatencyOptions(workload="chat")

    assert (options.prompt_tokens, options.new_tokens) == WORKLOADS["chat"]


def test_options_survive_being_stored() -> None:
    for options in (LatencyOptions(workload="code"), LatencyOptions()):
        assert LatencyOptions.model_validate(options.model_dump(mode="json")) == options


def test_without_a_workload_lengths_have_defaults() -> None:
    assert LatencyOptions(workload=None).prompt_tokens == Fixed(tokens=128)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workload": "chat", "prompt_tokens": 5}, 'no prompt_tokens beside workload = "chat"'),
        ({"workload": "qa", "new_tokens": 5}, 'no new_tokens beside workload = "qa"'),
        ({"workload": "chats"}, "'chat'"),
        ({"new_tokens": 1}, "at least 2 new tokens"),
        ({"promt_tokens": 5}, "Extra inputs"),
    ],
)
def test_options_that_contradict_are_an_error(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        LatencyOptions(**options)


def test_the_point_has_room_for_the_longest_request() -> None:
    options = LatencyOptions(
        prompt_tokens={"distribution": "uniform", "low": 5, "high": 50},
        new_tokens=Fixed(tokens=7),
    )

    (point,) = LatencyScenario().points(options, TINY)

    assert (point.batch, point.context, point.label, point.once) == (1, 57, "", False)


def test_a_request_longer_than_the_context_is_an_error() -> None:
    options = LatencyOptions(prompt_tokens=Fixed(tokens=1000), new_tokens=Fixed(tokens=25))

    with pytest.raises(SpecError, match=r"1025 positions; expected at most .* 1024"):
        LatencyScenario().points(options, TINY)
