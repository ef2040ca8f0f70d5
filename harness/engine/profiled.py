"""The worker's side of a profile: one case in one fresh process that is watched, never timed.

import → load → prepare → verify → warm up → iterate, each time watched in another way → close.
"""

from __future__ import annotations

import itertools
import resource
import statistics
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from harness.contracts import Backend, Lab, Point, Scenario, Session, StepSession
from harness.engine.case import ProfileTask
from harness.engine.clock import now_ns, seconds_since
from harness.engine.events import PhaseStarted, Speaker
from harness.errors import SessionError, UnavailableError
from harness.plugins import add_file, find

if TYPE_CHECKING:
    from harness.profiling.collect import Pass
    from harness.profiling.record import Profile

__all__ = ["profile_case"]

_WARM = 2
_ALONE = 3
_PASSES: tuple[Pass, ...] = (
    "plain", "timed", "plain", "stacked", "plain", "timed", "plain", "lines", "timed", "plain",
)  # fmt: skip


def profile_case(task: ProfileTask, speaker: Speaker) -> Profile:
    """Profile one case.

    Raises:
        SessionError: where its tokens are wrong: what is wrong is not worth explaining.
        UnavailableError: where the backend cannot run here.
    """
    case = task.case
    speaker.say(PhaseStarted(name="import"))
    for path in task.plugin_files:
        add_file(path)
    backend, scenario = find(Backend, case.backend), find(Scenario, case.scenario)
    backend_options = backend.Options.model_validate(case.backend_options)
    options = scenario.Options.model_validate(case.scenario_options)
    import torch

    torch.set_num_threads(case.threads)
    speaker.say(PhaseStarted(name="load"))
    can = backend.availability(case.device)
    if not can.ok:
        raise UnavailableError(can.reason or "is not available here", remedy=can.remedy)
    from harness.model import open_model

    model = open_model(case.model, seed=case.model_seed)
    session = backend.load(model, case.device, backend_options)
    point = next((p for p in scenario.points(options, model.config) if p.label == task.point), None)
    if point is None:
        raise SessionError(f"has no point {task.point!r}")
    speaker.say(PhaseStarted(name="prepare", point=point.label))
    session.prepare(point.batch, point.context)
    speaker.say(PhaseStarted(name="verify", point=point.label))
    _verify(session, point, task, model.config)
    return _profile(task, speaker, scenario, session, point, options, model.config)


def _verify(session: Session, point: Point, task: ProfileTask, config: Any) -> None:
    from harness.engine.check import verify_steps
    from harness.engine.reference import Reference, check_prompts

    if not isinstance(session, StepSession):
        return
    reference = Reference.load(task.reference, check_prompts(config, task.positions))
    check = verify_steps(session, point.batch, reference)
    session.reset()
    if not check.passed:
        raise SessionError(f"its tokens are wrong ({check.detail}): nothing is profiled")


def _profile(
    task: ProfileTask,
    speaker: Speaker,
    scenario: Scenario,
    session: Session,
    point: Point,
    options: Any,
    config: Any,
) -> Profile:
    from harness.ceilings import measure_ceilings
    from harness.engine.stream import StepAsStream
    from harness.memory import meter
    from harness.profiling.collect import ProfiledSession
    from harness.profiling.record import Profile

    lab = Lab(
        model=config,
        dtype=task.case.dtype,
        now_ns=now_ns,
        memory=meter(task.case.device),
        seed=task.seed,
    )
    traces = task.output if "trace" in task.kinds else None
    watched = None
    if isinstance(session, StepSession):
        watched = ProfiledSession(session, now_ns, traces)
    driven: Session = watched or session
    if scenario.level == "stream" and isinstance(driven, StepSession):
        driven = StepAsStream(driven)
    iterations = iter(scenario.measure(driven, point, options, lab))
    made = Profile(case=task.case.id, round=task.round, phases=[], facts=dict(session.facts()))
    speaker.say(PhaseStarted(name="warm-up", point=point.label))
    for _ in itertools.islice(iterations, _WARM):
        pass
    if "torch" in task.kinds and watched is not None:
        speaker.say(PhaseStarted(name="profile", point=point.label))
        for one in _PASSES:
            watched.current = one
            next(iterations)
            watched.end_window()
        watched.current = "none"
        made.phases, made.notes = watched.profiles()
    elif "torch" in task.kinds:
        made.notes.append("torch: this backend is seen as a stream of tokens, not step by step")
    made.counters = _counted(iterations)
    if "roofline" in task.kinds:
        speaker.say(PhaseStarted(name="ceilings", point=point.label))
        measured = measure_ceilings(task.case.dtype, task.case.threads, task.case.device)
        made.ceilings = {n: r.value for n, r in measured.items() if r.value is not None}
        made.notes += [f"{n}: {r.reason}" for n, r in measured.items() if r.value is None]
    if "py-spy" in task.kinds:
        speaker.say(PhaseStarted(name="py-spy", point=point.label))
        _sample(made, task, lambda: next(iterations))
    session.close()
    return made


def _sample(made: Profile, task: ProfileTask, iterate: Callable[[], Any]) -> None:
    """Let py-spy look on; note what its looking costs, against iterations just before."""
    from harness.profiling.pyspy import sample_self

    def timed() -> float:
        start = now_ns()
        iterate()
        return seconds_since(start)

    alone = [timed() for _ in range(_ALONE)]
    watched: list[float] = []
    try:
        sample_self(
            lambda: watched.append(timed()), task.output.with_suffix(".raw"), task.sampled_seconds
        )
    except UnavailableError as error:
        made.notes.append(str(error))
        return
    made.counters["py_spy_slowdown"] = statistics.median(watched) / statistics.median(alone)


def _counted(iterations: Iterator[Any]) -> dict[str, float]:
    """Return what the kernel counts over one iteration, per token that it made."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    observation = next(iterations)
    after = resource.getrusage(resource.RUSAGE_SELF)
    tokens = sum(len(t.token_ids) for t in observation.transcripts)
    if not tokens:
        return {}
    read: dict[str, Callable[[Any], float]] = {
        "minor_faults": lambda r: r.ru_minflt,
        "major_faults": lambda r: r.ru_majflt,
        "voluntary_switches": lambda r: r.ru_nvcsw,
        "involuntary_switches": lambda r: r.ru_nivcsw,
        "user_ms": lambda r: r.ru_utime * 1e3,
        "system_ms": lambda r: r.ru_stime * 1e3,
    }
    return {name: (of(after) - of(before)) / tokens for name, of in read.items()}
