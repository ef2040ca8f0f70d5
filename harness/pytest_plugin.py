"""`inference_benchmark`: a case of the harness under pytest-benchmark, with its own options.

    # conftest.py
    pytest_plugins = ["harness.pytest_plugin"]

    # test_speed.py
    def test_decode(inference_benchmark):
        inference_benchmark(model="tiny", backend="eager", scenario="latency", new_tokens=16)

Correct first, as everywhere: outputs that differ from the float32 reference fail the test before
anything is timed. The whole test is one process, so its rounds say nothing of the next process:
run it several times and give `harness gate` all the files.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.contracts import Session
    from harness.engine.case import Case
    from harness.engine.plan import Plan

__all__ = ["InferenceBenchmark", "inference_benchmark"]


class InferenceBenchmark:
    """Call it once per test with a model, a backend, a scenario and the scenario's options."""

    def __init__(self, benchmark: Any) -> None:
        self._benchmark = benchmark

    def __call__(
        self,
        *,
        model: str,
        backend: str = "eager",
        scenario: str = "latency",
        backend_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> dict[str, float]:
        """Time one observation of the scenario per call; return its metrics' medians.

        They stand in `extra_info` as well, with the case's id and its check.

        Args:
            model: Preset, folder, .gguf or hf://….
            backend: Name of a backend.
            scenario: Name of a scenario; it must measure a single shape.
            backend_options: As in a suite: dtype, threads, ….
            options: The scenario's.

        Raises:
            InputError: where a name or an option is wrong, or the scenario has several points.
        """
        plan, case = _planned(model, backend, scenario, dict(backend_options or {}), options)
        from harness.contracts import Backend
        from harness.plugins import find

        opened = plan.model(case)
        own = find(Backend, case.backend)
        session = own.load(opened, case.device, own.Options.model_validate(case.backend_options))
        try:
            return self._timed(plan, case, session)
        finally:
            session.close()

    def _timed(self, plan: Plan, case: Case, session: Session) -> dict[str, float]:
        (point,) = plan.points[case.id]
        session.prepare(point.batch, point.context)
        check = _checked(plan, case, session)
        observations = _observations(plan, case, session)
        seen: dict[str, list[float]] = {}

        def observe() -> None:
            for metric, values in next(observations).values.items():
                seen.setdefault(metric, []).extend(values)

        self._benchmark(observe)
        medians = {metric: statistics.median(values) for metric, values in seen.items()}
        self._benchmark.extra_info.update(
            case=case.id, top1_agreement=check.top1_agreement, metrics=medians
        )
        return medians


@pytest.fixture
def inference_benchmark(benchmark: Any) -> InferenceBenchmark:
    """Time a case of the harness with pytest-benchmark."""
    return InferenceBenchmark(benchmark)


def _planned(
    model: str,
    backend: str,
    scenario: str,
    backend_options: dict[str, Any],
    options: dict[str, Any],
) -> tuple[Plan, Case]:
    from harness.engine.plan import make_plan
    from harness.source import Source
    from harness.spec import Suite

    suite = Suite.model_validate(
        {
            "name": "pytest",
            "model": [{"name": model}],
            "backend": [{"name": backend, **backend_options}],
            "scenario": [{"name": scenario, **options}],
        }
    )
    plan = make_plan(suite, Source("inference_benchmark", ""))
    (case,) = plan.cases
    if case.unavailable:
        pytest.skip(case.unavailable)
    if len(plan.points[case.id]) != 1:
        shapes = ", ".join(p.label for p in plan.points[case.id])
        raise InputError(
            f"{case.id} measures several shapes: {shapes}", expected="one shape per test"
        )
    return plan, case


def _checked(plan: Plan, case: Case, session: Session) -> Any:
    """Fail the test where outputs are wrong; return the check where they are right."""
    from harness.contracts import StepSession, StreamSession
    from harness.engine.check import verify_steps, verify_stream
    from harness.engine.reference import MOST_POSITIONS, compute

    (point,) = plan.points[case.id]
    positions = min(MOST_POSITIONS, point.context)
    reference = compute(plan.model(case), positions, case.dtype, case.threads)
    if isinstance(session, StepSession):
        check = verify_steps(session, point.batch, reference)
        session.reset()
    else:
        assert isinstance(session, StreamSession)
        check = verify_stream(session, reference)
    if not check.passed:
        pytest.fail(f"{case.id}: tokens wrong: {check.detail}")
    return check


def _observations(plan: Plan, case: Case, session: Session) -> Iterator[Any]:
    from harness.contracts import Lab, Scenario, StepSession
    from harness.engine.clock import now_ns
    from harness.engine.stream import StepAsStream
    from harness.memory import meter
    from harness.plugins import find

    scenario = find(Scenario, case.scenario)
    (point,) = plan.points[case.id]
    config = plan.model(case).config
    if scenario.level == "stream" and isinstance(session, StepSession):
        session = StepAsStream(session)
    lab = Lab(config, case.dtype, now_ns, meter(case.device), plan.suite.run.seed)
    options = scenario.Options.model_validate(case.scenario_options)
    return scenario.measure(session, point, options, lab)
