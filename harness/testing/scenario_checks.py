"""Does a scenario measure by its lab's clock, and yield what it declares?

It runs on fakes with declared delays, so that every time it reports has a true value.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.contracts import Lab, Observation, Point, Request, Scenario, Session
from harness.model import ModelConfig
from harness.testing.clock import FakeClock, FakeMeter
from harness.testing.fakes import Delays, FakeSession, FakeStream
from harness.testing.subject import ContractBroken

__all__ = ["SCENARIO_CHECKS", "ScenarioSubject"]

_ITERATIONS = 4
_DELAYS = Delays(prefill_ns=20_000_000, prompt_token_ns=100_000, decode_ns=5_000_000)
_TIME_UNITS = {"ns", "us", "µs", "ms", "s"}


@dataclass
class ScenarioSubject:
    """A scenario, its options, and the model whose shapes it is asked about."""

    scenario: Scenario
    options: Any
    model: ModelConfig
    asked: list[tuple[int, ...]] = field(default_factory=list)
    """Every prompt that sessions were given, in the last observation."""

    def observe(self, delays: Delays = _DELAYS) -> dict[Point, list[Observation]]:
        """Measure each point on a fake session, each with a clock of its own."""
        self.asked = []
        return {
            point: self._observe_point(point, delays)
            for point in self.scenario.points(self.options, self.model)
        }

    def _observe_point(self, point: Point, delays: Delays) -> list[Observation]:
        clock = FakeClock()
        budget = 4 * (
            self.model.weight_bytes("float32")
            + self.model.kv_bytes(point.batch, point.context, "float32")
        )
        memory = FakeMeter(self.model.weight_bytes("float32"), available_bytes=budget)
        phases = {"import": 1_000_000, "load": memory.current_bytes()}
        session = self._session(clock, delays, memory)
        session.prepare(point.batch, point.context)
        lab = Lab(
            model=self.model,
            dtype="float32",
            now_ns=clock.now_ns,
            memory=memory,
            seed=0,
            phase_bytes=phases | {"prepare": memory.current_bytes()},
            budget_bytes=memory.available_bytes(),
            phase_s={
                name: share * delays.prefill_ns / 1e9
                for name, share in {"import": 100, "load": 10, "prepare": 20, "verify": 5}.items()
            },
        )
        measured = self.scenario.measure(session, point, self.options, lab)
        return list(itertools.islice(measured, 1 if point.once else _ITERATIONS))

    def _session(self, clock: FakeClock, delays: Delays, memory: FakeMeter) -> Session:
        vocab = self.model.vocab_size
        if self.scenario.level == "stream":
            return _NotingStream(self.asked, clock, delays, vocab_size=vocab)
        return _NotingSession(
            self.asked,
            clock,
            delays,
            vocab_size=vocab,
            meter=memory,
            position_bytes=self.model.kv_bytes(1, 1, "float32"),
        )


class _NotingSession(FakeSession):
    def __init__(self, asked: list[tuple[int, ...]], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._asked = asked

    def prefill(self, tokens: Any, lengths: Any) -> Any:
        for prompt, length in zip(tokens.tolist(), lengths.tolist(), strict=True):
            self._asked.append(tuple(prompt[:length]))
        return super().prefill(tokens, lengths)


class _NotingStream(FakeStream):
    def __init__(self, asked: list[tuple[int, ...]], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._asked = asked

    def stream(self, requests: Sequence[Request]) -> Any:
        self._asked.extend(request.prompt_ids for request in requests)
        return super().stream(requests)


def metrics_are_declared(subject: ScenarioSubject) -> str:
    """Every metric has a unit and a definition, names differ, exactly one is primary."""
    metrics = subject.scenario.metrics
    names = Counter(m.name for m in metrics)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ContractBroken(f"{twice[0]} is declared twice")
    for metric in metrics:
        for what in ("unit", "definition", "pooled"):
            if not getattr(metric, what).strip():
                raise ContractBroken(f"{metric.name} has no {what}")
        if metric.achieved and metric.achieved not in names:
            raise ContractBroken(f"{metric.name} is achieved by {metric.achieved}, not declared")
    primary = [m.name for m in metrics if m.primary]
    if len(primary) != 1:
        raise ContractBroken(f"primary metrics are {primary}, expected exactly one")
    return f"{len(metrics)} metrics, primary {primary[0]}"


def points_fit_the_model(subject: ScenarioSubject) -> str:
    """At least one point, labels differ, none passes the model's context."""
    points = subject.scenario.points(subject.options, subject.model)
    labels = [p.label for p in points]
    if not labels or len(set(labels)) != len(labels):
        raise ContractBroken(
            f"points are labelled {labels}, expected one or several, all different"
        )
    for point in points:
        if point.batch < 1 or not 1 <= point.context <= subject.model.max_context:
            raise ContractBroken(
                f"point {point} does not fit a {subject.model.max_context} context"
            )
    return f"{len(points)} points"


def values_are_declared_and_finite(subject: ScenarioSubject) -> str:
    """Only declared metrics, every value finite, none negative, the primary in each iteration."""
    declared = {m.name for m in subject.scenario.metrics}
    primary = next((m.name for m in subject.scenario.metrics if m.primary), None)
    seen = 0
    for point, observations in subject.observe().items():
        if not observations:
            raise ContractBroken(f"point {point.label!r} yields no observation")
        for observation in observations:
            if unknown := set(observation.values) - declared:
                raise ContractBroken(f"yields {sorted(unknown)[0]}, which it does not declare")
            if not point.once and not observation.values.get(str(primary)):
                raise ContractBroken(f"an iteration of {point.label!r} gives no {primary}")
            for name, values in observation.values.items():
                wrong = [v for v in values if not math.isfinite(v) or v < 0]
                if wrong:
                    raise ContractBroken(f"{name} is {wrong[0]}")
                seen += len(values)
    return f"{seen} values"


def prompts_never_repeat(subject: ScenarioSubject) -> str:
    """No prompt is used twice, so that no cache of answers can help."""
    subject.observe()
    if not subject.asked:
        return "no prompt used"
    prompt, count = Counter(subject.asked).most_common(1)[0]
    if count > 1 and len(prompt) > 1:
        raise ContractBroken(f"a prompt of {len(prompt)} tokens is used {count} times")
    return f"{len(subject.asked)} prompts"


def prompts_are_the_same_for_all(subject: ScenarioSubject) -> str:
    """A second process, and a slower backend, get the same prompts."""
    subject.observe()
    first = list(subject.asked)
    subject.observe(_times(3))
    if subject.asked != first:
        raise ContractBroken("prompts differ from one process to the next")
    return f"{len(first)} prompts twice"


def times_follow_the_clock(subject: ScenarioSubject) -> str:
    """With every delay twice as long, times are exactly twice, rates half, all else the same."""
    units = {m.name: m.unit for m in subject.scenario.metrics}
    once, twice = subject.observe(), subject.observe(_times(2))
    compared = 0
    for point, observations in once.items():
        for one, two in zip(observations, twice[point], strict=True):
            for name, values in one.values.items():
                factor = _factor(units.get(name, ""))
                for a, b in zip(values, two.values[name], strict=True):
                    if not math.isclose(a * factor, b, rel_tol=1e-9, abs_tol=1e-12):
                        raise ContractBroken(
                            f"{name} goes from {a:.6g} to {b:.6g} when all delays double, "
                            f"expected {a * factor:.6g}"
                        )
                    compared += 1
    return f"{compared} values"


def transcripts_are_what_was_made(subject: ScenarioSubject) -> str:
    """What it hands over for the audit is what the session was asked and made."""
    from harness.testing.fakes import fake_continuation

    count = 0
    for observations in subject.observe().values():
        for transcript in itertools.chain.from_iterable(o.transcripts for o in observations):
            made = list(transcript.token_ids)
            expected = fake_continuation(transcript.prompt_ids, len(made), subject.model.vocab_size)
            if made != expected:
                raise ContractBroken(f"a transcript holds {made[:4]}…, made were {expected[:4]}…")
            if transcript.prompt_ids not in subject.asked:
                raise ContractBroken("a transcript's prompt was never asked")
            count += 1
    return f"{count} transcripts"


def _times(factor: int) -> Delays:
    return Delays(
        prefill_ns=factor * _DELAYS.prefill_ns,
        prompt_token_ns=factor * _DELAYS.prompt_token_ns,
        decode_ns=factor * _DELAYS.decode_ns,
    )


def _factor(unit: str) -> float:
    if unit in _TIME_UNITS:
        return 2.0
    return 0.5 if unit.endswith("/s") else 1.0


SCENARIO_CHECKS: dict[str, Callable[[ScenarioSubject], str]] = {
    "metrics are declared": metrics_are_declared,
    "points fit the model": points_fit_the_model,
    "values are declared and finite": values_are_declared_and_finite,
    "prompts never repeat": prompts_never_repeat,
    "prompts are the same for all": prompts_are_the_same_for_all,
    "times follow the clock": times_follow_the_clock,
    "transcripts are what was made": transcripts_are_what_was_made,
}
