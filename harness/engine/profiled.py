"""The worker's side of a profile: one case in one fresh process that is watched, never timed.

import → load → prepare → verify → warm up → iterate, each time watched in another way → close.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.contracts import Backend, Lab, Point, Scenario, Session, StepSession
from harness.engine.case import ProfileTask
from harness.engine.clock import now_ns, seconds_since
from harness.engine.events import PhaseStarted, Speaker
from harness.engine.loading import load_case
from harness.errors import SessionError, UnavailableError
from harness.plugins import add_file, find

if TYPE_CHECKING:
    from pathlib import Path

    from harness.profiling.collect import Pass, ProfiledSession
    from harness.profiling.memory import Ledger
    from harness.profiling.onnxruntime import EngineProfiles
    from harness.profiling.record import Profile

__all__ = ["profile_case"]

_ALONE = 3
_PASSES: tuple[Pass, ...] = (
    "warm", "warm",
    "plain", "timed", "plain", "stacked", "plain", "timed", "plain", "lines", "timed", "plain",
)  # fmt: skip
_BRIEF: tuple[Pass, ...] = ("warm", "plain", "timed", "stacked", "lines")
_WINDOW, _BRIEF_WINDOW = 8, 4
"""Decode calls of an iteration that are watched: PyTorch takes long to hand over each."""


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
    with contextlib.ExitStack() as looking:
        ledger, engines = _from_the_start(task, looking)
        _phase(speaker, ledger, "load")
        session, config = load_case(case, backend, backend_options)
        points = scenario.points(options, config)
        point = next((p for p in points if p.label == task.point), None)
        if point is None:
            raise SessionError(f"has no point {task.point!r}")
        _phase(speaker, ledger, "prepare", point.label)
        session.prepare(point.batch, point.context)
        if task.reference is not None:
            _phase(speaker, ledger, "verify", point.label)
            _verify(session, point, task, config)
        watched = _Watched.of(task, speaker, scenario, session, point, options, config)
        made = watched.profile(ledger, engines)
        session.close()
    if "compile" in task.kinds:
        from harness.profiling.compiler import compiled

        made.compiled = compiled(task.output.with_suffix(".code") if "code" in task.kinds else None)
        if not made.compiled.graphs:
            made.notes.append("compile: this backend had torch.compile make no graph")
    return made


def _from_the_start(
    task: ProfileTask, looking: contextlib.ExitStack
) -> tuple[Ledger | None, EngineProfiles | None]:
    """Set up what must be there when a backend is loaded."""
    ledger = engines = None
    if "memory" in task.kinds:
        from harness.profiling.memory import Ledger, device_history

        if task.case.device != "cpu":
            looking.enter_context(device_history(_history(task)))
        ledger = looking.enter_context(Ledger())
    if "onnx" in task.kinds:
        from harness.profiling.onnxruntime import EngineProfiles

        engines = looking.enter_context(EngineProfiles(task.output.with_suffix("")))
    return ledger, engines


def _phase(speaker: Speaker, ledger: Ledger | None, name: str, point: str = "") -> None:
    speaker.say(PhaseStarted(name=name, point=point))
    if ledger is not None:
        ledger.begin(name)


def _verify(session: Session, point: Point, task: ProfileTask, config: Any) -> None:
    from harness.engine.check import verify_steps
    from harness.engine.reference import Reference, check_prompts

    if not isinstance(session, StepSession):
        return
    assert task.reference is not None
    reference = Reference.load(task.reference, check_prompts(config, task.positions))
    check = verify_steps(session, point.batch, reference)
    session.reset()
    if not check.passed:
        raise SessionError(f"its tokens are wrong ({check.detail}): nothing is profiled")


@dataclass
class _Watched:
    """A case that is loaded and prepared, and the ways to look at it."""

    task: ProfileTask
    speaker: Speaker
    point: Point
    session: ProfiledSession | None
    """None where the backend is seen as a stream."""
    begin: Callable[[], Iterator[Any]]
    """Starts the scenario's iterations anew."""
    made: Profile

    @classmethod
    def of(
        cls,
        task: ProfileTask,
        speaker: Speaker,
        scenario: Scenario,
        session: Session,
        point: Point,
        options: Any,
        config: Any,
    ) -> _Watched:
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
        watched = None
        if isinstance(session, StepSession):
            traces = task.output if "trace" in task.kinds else None
            window = _BRIEF_WINDOW if task.brief else _WINDOW
            watched = ProfiledSession(session, now_ns, traces, window)
        driven: Session = watched or session
        if scenario.level == "stream" and isinstance(driven, StepSession):
            driven = StepAsStream(driven)
        return cls(
            task,
            speaker,
            point,
            watched,
            lambda: iter(scenario.measure(driven, point, options, lab)),
            Profile(case=task.case.id, round=task.round, phases=[], facts=dict(session.facts())),
        )

    def profile(self, ledger: Ledger | None, engines: EngineProfiles | None) -> Profile:
        """Look in each way that was asked for."""
        kinds, made = self.task.kinds, self.made
        if ledger is not None:
            self._alone(ledger)
            return made
        if "nsys" in kinds:
            self._ranges()
            return made
        if engines is not None:
            self._engine(engines)
        if "torch" in kinds and not made.phases:
            self._operators()
        iterations = self.begin()
        if {"torch", "py-spy", "native"} & set(kinds):
            self._whole(iterations)
        if "counters" in kinds:
            self._counters(iterations)
        if "roofline" in kinds:
            self._ceilings()
        if {"py-spy", "native"} & set(kinds):
            self._sample(iterations, native="native" in kinds)
        self._place_files()
        return made

    def _say(self, name: str) -> None:
        self.speaker.say(PhaseStarted(name=name, point=self.point.label))

    def _operators(self) -> None:
        if self.session is None:
            self.made.notes.append(
                "torch: this backend is seen as a stream of tokens, not step by step"
            )
            return
        self._say("profile")
        self._passes(_BRIEF if self.task.brief else _PASSES)
        self.made.phases, notes = self.session.profiles()
        self.made.notes += notes

    def _passes(self, passes: tuple[Pass, ...]) -> None:
        from harness.profiling.collect import WindowDone

        assert self.session is not None
        iterations = self.begin()
        for one in passes:
            self.session.current = one
            try:
                next(iterations)
            except WindowDone:
                iterations = self.begin()
            except Exception as error:
                if one != "lines":
                    raise
                # Compiled code may refuse to run beneath a dispatch mode; the others have run.
                self.made.notes.append(f"lines of operators are not known: {_first_line(error)}")
                iterations = self.begin()
            self.session.end_window()
        self.session.current = "none"

    def _ranges(self) -> None:
        """Mark phases and layers for Nsight Systems, which looks on from outside."""
        from harness.profiling.nsys import nvtx

        if self.session is None:
            self.made.notes.append("nsys: this backend is seen as a stream: no ranges")
            return
        self._say("nsys")
        try:
            self.session.ranged = nvtx().call
        except UnavailableError as error:
            self.made.notes.append(str(error))
        self._passes(("warm", "ranged", "ranged"))

    def _engine(self, engines: EngineProfiles) -> None:
        """Cut the engine's own profile at the calls of each phase."""
        if self.session is None or not engines.opened:
            self.made.notes.append("onnx: this backend has onnxruntime open no session")
            return
        from harness.profiling.onnxruntime import phases_of

        self._say("onnx")
        self._passes(("warm", "engine", "engine"))
        events = engines.finish()
        self._passes(("warm", "plain", "plain"))
        session = self.session
        self.made.phases = phases_of(events, session.engine_calls, session.plain_ns)

    def _whole(self, iterations: Iterator[Any]) -> None:
        """Let iterations run to their end: how many calls one has, and what the kernel counts."""
        from harness.profiling.counted import counted

        took: list[float] = []

        def iterate() -> Any:
            start = now_ns()
            observation = next(iterations)
            took.append(float(now_ns() - start))
            return observation

        self.made.counters |= counted(iterate)
        for _ in range(0 if self.task.brief else _ALONE):
            iterate()
        self.made.iteration_ns = statistics.median(took)
        if self.session is not None:
            for phase in self.made.phases:
                phase.per_iteration = self.session.counted[phase.phase] / len(took)

    def _counters(self, iterations: Iterator[Any]) -> None:
        from harness.profiling.counters import hardware_counters

        try:
            self.made.counters |= hardware_counters(lambda: next(iterations))
        except UnavailableError as error:
            self.made.notes.append(str(error))

    def _ceilings(self) -> None:
        from harness.ceilings import measure_ceilings

        self._say("ceilings")
        case = self.task.case
        measured = measure_ceilings(case.dtype, case.threads, case.device)
        self.made.ceilings = {n: r.value for n, r in measured.items() if r.value is not None}
        self.made.notes += [f"{n}: {r.reason}" for n, r in measured.items() if r.value is None]

    def _sample(self, iterations: Iterator[Any], *, native: bool) -> None:
        """Let py-spy look on; note what its looking costs, against iterations just before."""
        from harness.profiling.pyspy import sample_self

        self._say("py-spy")
        watched: list[float] = []

        def iterate() -> None:
            start = now_ns()
            next(iterations)
            watched.append(seconds_since(start))

        raw = self.task.output.with_suffix(".raw")
        try:
            sample_self(iterate, raw, self.task.sampled_seconds, native=native)
        except UnavailableError as error:
            self.made.notes.append(str(error))
            return
        assert self.made.iteration_ns is not None
        alone_s = self.made.iteration_ns / 1e9
        self.made.counters["py_spy_slowdown"] = statistics.median(watched) / alone_s

    def _alone(self, ledger: Ledger) -> None:
        """Note allocations of one window, the phases apart."""
        from harness.profiling.collect import WindowDone

        if self.session is not None:
            self.session.entered = ledger.begin
            self.session.current = "warm"
        self._say("memory")
        ledger.begin("iteration")
        with contextlib.suppress(WindowDone):
            for _ in itertools.islice(self.begin(), 1):
                pass
        self.made.memory, notes = ledger.close()
        self.made.notes += notes
        if self.task.case.device != "cpu":
            self.made.notes.append(f"memory: {_history(self.task)}, for pytorch.org/memory_viz")

    def _place_files(self) -> None:
        """Note where the files lie that rows name, for who asks who wrote a line."""
        from harness.profiling.operators import short

        named = {row.function.rpartition(":")[0] for p in self.made.phases for row in p.rows}
        files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
        self.made.files = {short(f): f for f in files if isinstance(f, str) and short(f) in named}


def _history(task: ProfileTask) -> Path:
    """Return where the GPU's allocations go."""
    return task.output.with_suffix(".snapshot.pickle")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
