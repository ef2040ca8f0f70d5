"""All scenarios on the real eager backend and a tiny model: figures hang together."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from backends.eager import EagerBackend
from harness.contracts import Lab, Observation, Scenario, StepSession
from harness.engine.stream import StepAsStream
from harness.memory import meter
from harness.model import Model, open_model
from scenarios.latency import LatencyOptions, LatencyScenario
from scenarios.memory import MemoryOptions, MemoryScenario
from scenarios.throughput import ThroughputOptions, ThroughputScenario
from scenarios.workload import Fixed


@pytest.fixture(scope="module")
def model() -> Model:
    return open_model("tiny")


@pytest.fixture
def session(model: Model) -> Iterator[StepSession]:
    backend = EagerBackend()
    session = backend.load(model, "cpu", backend.Options(threads=1))
    assert isinstance(session, StepSession)
    yield session
    session.close()


def observe(
    scenario: Scenario, session: StepSession, options: Any, model: Model, count: int
) -> list[Observation]:
    (point,) = scenario.points(options, model.config)
    session.prepare(point.batch, point.context)
    lab = Lab(model.config, "float32", time.monotonic_ns, meter("cpu"), seed=0)
    seen: Any = StepAsStream(session) if scenario.level == "stream" else session
    return list(itertools.islice(scenario.measure(seen, point, options, lab), count))


def greedy(session: StepSession, prompt: tuple[int, ...], new_tokens: int) -> list[int]:
    import torch

    session.prepare(1, len(prompt) + new_tokens)
    session.reset()
    made = [session.prefill(torch.tensor([prompt]), torch.tensor([len(prompt)])).tolist()[0]]
    made += [session.decode().tolist()[0] for _ in range(new_tokens - 1)]
    return made


def test_a_request_takes_what_its_parts_take(session: StepSession, model: Model) -> None:
    options = LatencyOptions(prompt_tokens=Fixed(tokens=20), new_tokens=Fixed(tokens=8))

    for seen in observe(LatencyScenario(), session, options, model, 3):
        values = {name: sum(v) for name, v in seen.values.items()}
        assert values["ttft_ms"] + values["itl_ms"] == pytest.approx(values["e2e_ms"])
        assert values["itl_ms"] == pytest.approx(7 * values["tpot_ms"])
        assert all(v > 0 for v in values.values())


def test_rows_of_a_batch_make_the_tokens_they_make_alone(
    session: StepSession, model: Model
) -> None:
    options = ThroughputOptions.model_validate(
        {
            "batch": 3,
            "prompt_tokens": {"distribution": "uniform", "low": 4, "high": 30},
            "new_tokens": 8,
        }
    )

    *_, last = observe(ThroughputScenario(), session, options, model, 2)

    for transcript in last.transcripts:
        assert list(transcript.token_ids) == greedy(session, transcript.prompt_ids, 8)


def test_memory_is_seen_and_a_shape_that_fits_is_found(session: StepSession, model: Model) -> None:
    options = MemoryOptions(
        context=256, prompt_tokens=32, growth_tokens=64, search_batch=4, memory_budget=2**33
    )

    (seen,) = observe(MemoryScenario(), session, options, model, 1)

    assert seen.values["peak_bytes"][0] > seen.values["computed_weights_bytes"][0]
    assert seen.values["max_batch"] == [4]
    assert seen.values["max_context"] == seen.values["model_context"]
    (transcript,) = seen.transcripts
    assert list(transcript.token_ids) == greedy(session, transcript.prompt_ids, 33)
