"""One case in one fresh process: import, load, prepare, verify, warm up, measure, audit, ceilings.

Runs as `python -P -m harness.engine.worker TASK.json --events FD --answers FD`, or by hand with the
task file alone, when its events go to stdout. It must not write results anywhere but to its pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import gc
import os
import random
import signal
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from pydantic import TypeAdapter

from harness.cache import CACHE_VARIABLE
from harness.cautions import Caution, CautionKind, caution
from harness.contracts import (
    Backend,
    Lab,
    MemoryMeter,
    Point,
    Scenario,
    Session,
    StepSession,
    StreamSession,
    Transcript,
)
from harness.engine.case import DuetTask, PlanTask, ProfileTask, ReferenceTask, Task
from harness.engine.clock import now_ns
from harness.engine.events import Failed, PhaseStarted, Result, SampleRow, SpanRow, Speaker
from harness.engine.loading import load_case
from harness.errors import HarnessError, UnavailableError
from harness.model.session import return_freed_pages
from harness.plugins import add_file, find
from harness.reading import Reading
from harness.store.record import (
    BlockRecord,
    CheckRecord,
    PhaseRecord,
    PointRecord,
    RoundRecord,
)

if TYPE_CHECKING:
    from harness.engine.reference import Reference
    from harness.memory import CudaMeter, HostMeter

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_SIZED = ("load", "prepare")
"""Phases whose memory says what weights and cache take."""


def main() -> None:
    """Read the task file named on the command line and do it."""
    parser = argparse.ArgumentParser(prog="python -P -m harness.engine.worker")
    parser.add_argument("task", type=Path)
    parser.add_argument("--events", type=int, default=1, help="file descriptor; stdout by default")
    parser.add_argument("--answers", type=int, default=None, help="file descriptor")
    given = parser.parse_args()
    text = given.task.read_text()
    speaker = Speaker(given.events, given.answers)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    task = TypeAdapter(Task | DuetTask | ReferenceTask | PlanTask | ProfileTask).validate_json(text)
    if task.cache is not None:
        os.environ[CACHE_VARIABLE] = str(task.cache)
    by_hand = given.answers is None
    if not by_hand:
        _end_with(task.parent_pid)
    if isinstance(task, ReferenceTask):
        sys.exit(_reference(task, speaker))
    if isinstance(task, ProfileTask):
        sys.exit(_profile(task, speaker))
    if isinstance(task, PlanTask):
        sys.exit(_plan(task, speaker))
    sys.exit(_CaseWorker(task, speaker).run())


def _end_with(parent_pid: int) -> None:
    """Have the kernel end this process when the harness ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent_pid and os.getppid() != parent_pid:
        # It ended before the request to be told took effect.
        sys.exit(1)


def _reference(task: ReferenceTask, speaker: Speaker) -> int:
    from harness.engine import reference
    from harness.model import open_model

    speaker.say(PhaseStarted(name="reference"))
    try:
        model = open_model(task.model, seed=task.seed)
        reference.compute(model, task.positions, task.dtype, task.threads).save(task.output)
    except Exception as error:  # noqa: BLE001 - a worker has one way to fail: to say so
        traceback.print_exc()
        speaker.say(Failed(phase="reference", reason=_one_line(error)))
        return 1
    return 0


def _profile(task: ProfileTask, speaker: Speaker) -> int:
    from harness.engine.profiled import profile_case
    from harness.store.durable import write_durably

    try:
        write_durably(task.output, profile_case(task, speaker).model_dump_json().encode())
    except Exception as error:  # noqa: BLE001 - whatever a backend raises is the profile's reason
        traceback.print_exc()
        speaker.say(Failed(phase="profile", reason=_one_line(error)))
        return 1
    return 0


def _plan(task: PlanTask, speaker: Speaker) -> int:
    from harness.engine.side import plan_side

    speaker.say(PhaseStarted(name="plan"))
    try:
        for path in task.plugin_files:
            add_file(path)
        task.output.write_text(plan_side(task).model_dump_json())
    except Exception as error:  # noqa: BLE001 - a worker has one way to fail: to say so
        traceback.print_exc()
        speaker.say(Failed(phase="plan", reason=_one_line(error)))
        return 1
    return 0


class _CaseWorker:
    """Takes a case through its phases; holds what the phases hand on."""

    def __init__(self, task: Task, speaker: Speaker) -> None:
        self._task = task
        self._case = task.case
        self._speaker = speaker
        self._phase = "import"
        self._meter: MemoryMeter | None = None
        self._phases: list[PhaseRecord] = []
        self._points: list[PointRecord] = []
        self._samples: list[SampleRow] = []
        self._spans: list[SpanRow] = []
        self._cautions: list[Caution] = []
        self._quiet: dict[str, Reading] = {}
        self._transcripts: list[Transcript] = []
        self._checks: list[CheckRecord] = []
        self._digests: list[str] = []
        self._blocks: list[BlockRecord] = []
        self._facts: dict[str, Any] = {}

    def run(self) -> int:
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            record = self._record(started_at)
        except Exception as error:  # noqa: BLE001 - whatever a backend raises is the case's reason
            traceback.print_exc()
            gone = isinstance(error, UnavailableError)
            self._speaker.say(Failed(phase=self._phase, reason=_one_line(error), unavailable=gone))
            return 1
        self._speaker.ask(PhaseStarted(name="end"))  # whoever watches reads once more
        self._speaker.say(Result(record=record, samples=self._samples, spans=self._spans))
        return 0

    def _record(self, started_at: str) -> RoundRecord:
        from harness.engine.stream import observer_ns

        case = self._case
        with self._in_phase("import"):
            for path in self._task.plugin_files:
                add_file(path)
            backend = find(Backend, case.backend)
            scenario = find(Scenario, case.scenario)
            options = backend.Options.model_validate(case.backend_options)
            import torch

            from harness.memory import meter

            torch.set_num_threads(case.threads)
            self._meter = meter(case.device)
        session = self._load(backend, options)
        passed = self._measure(scenario, session)
        self._facts |= {**session.facts(), "tokens_digest": "".join(self._digests)}
        if case.device == "cuda":
            self._facts["gpu_uuid"] = str(torch.cuda.get_device_properties(0).uuid)
        with self._in_phase("close"):
            session.close()
            del session
            gc.collect()
        # In a duet the first round is audited; the others must give the same tokens.
        thorough = not isinstance(self._task, DuetTask) or self._task.thorough
        audited = self._audit() if passed and thorough else None
        wanted = passed and thorough and (audited is None or audited.passed)
        ceilings = self._ceilings() if wanted else {}
        worst = next((c for c in self._checks if not c.passed), self._checks[0])
        right = worst.passed and (audited is None or audited.passed)
        return RoundRecord(
            round=self._task.round,
            status="done" if right else "incorrect",
            pid=os.getpid(),
            started_at=started_at,
            order=0,
            check=worst,
            audit=audited,
            phases=self._phases,
            points=self._points,
            ceilings=ceilings,
            observer_ns=observer_ns() if right else None,
            quiet=self._quiet,
            facts=self._facts,
            cautions=self._cautions,
            blocks=self._blocks,
        )

    def _load(self, backend: Backend, options: Any) -> Session:
        with self._in_phase("load"):
            session, self._config = load_case(self._case, backend, options)
            return session

    def _measure(self, scenario: Scenario, session: Session) -> bool:
        """Take every point from prepare to measure; False where its outputs are wrong."""
        from harness.engine.measure import measure_point, primary_of
        from harness.engine.stream import StepAsStream
        from harness.engine.turns import measure_in_turns
        from harness.stats.stopping import StoppingRule

        task, run = self._task, self._task.run
        options = scenario.Options.model_validate(self._case.scenario_options)
        rule = StoppingRule(
            min_samples=run.min_samples,
            max_samples=run.max_samples,
            target=run.target,
            max_seconds=task.max_seconds,
            higher_is_faster=primary_of(scenario).better == "higher",
        )
        for point in scenario.points(options, self._config):
            with self._in_phase("prepare", point.label):
                session.prepare(point.batch, point.context)
            with self._in_phase("verify", point.label):
                check = self._verify(session, point)
            self._checks.append(check)
            if not check.passed:
                return False
            seen: Session = session
            if scenario.level == "stream" and isinstance(session, StepSession):
                seen = StepAsStream(session)
            assert self._meter is not None
            lab = Lab(
                model=self._config,
                dtype=self._case.dtype,
                now_ns=now_ns,
                memory=self._meter,
                seed=run.seed,
                phase_bytes={
                    p.name: p.current_bytes for p in self._phases if p.current_bytes is not None
                },
                phase_mapped_bytes={
                    p.name: p.mapped_bytes for p in self._phases if p.mapped_bytes is not None
                },
                phase_s={p.name: (p.end_ns - p.start_ns) / 1e9 for p in self._phases},
                cold=task.cold,
            )
            gc.collect()
            gc.freeze()  # what is alive now need not be walked while timing
            with self._in_phase("measure", point.label):
                if isinstance(task, DuetTask):
                    speaker, seconds, device = self._speaker, task.block_seconds, task.case.device
                    result = measure_in_turns(
                        scenario, seen, point, options, lab, rule, speaker, seconds, device
                    )
                else:
                    ask = self._speaker.ask
                    result = measure_point(scenario, seen, point, options, lab, rule, ask)
            self._split_warmup(point, result.steady_at_ns)
            lag = self._lag_s
            self._points.append(result.record.model_copy(update={"lag_s": lag}))
            self._samples += result.samples
            self._spans += result.spans
            self._quiet |= {
                f"{point.label}:{k}" if point.label else k: v for k, v in result.quiet.items()
            }
            self._cautions += result.cautions
            self._transcripts += result.transcripts
            self._digests.append(result.tokens_digest)
            self._blocks += result.blocks
        return True

    def _verify(self, session: Session, point: Point) -> CheckRecord:
        from harness.engine.check import probe_synchronize, verify_steps, verify_stream

        reference = self._reference()
        self._lag_s: float | None = None
        if isinstance(session, StepSession):
            check = verify_steps(session, point.batch, reference)
            if check.passed:
                prompt = max((p.prompt for p in reference.prompts), key=len)
                self._lag_s = probe_synchronize(session, prompt, point.batch)
            session.reset()
            return check
        assert isinstance(session, StreamSession)
        return verify_stream(session, reference)

    def _reference(self) -> Reference:
        from harness.engine.reference import Reference, check_prompts

        prompts = check_prompts(self._config, self._task.positions)
        return Reference.load(self._task.reference, prompts)

    def _audit(self) -> CheckRecord | None:
        """Score tokens that were made while timed with the reference, now that there is room."""
        from harness.engine.check import Tolerance, audit
        from harness.engine.reference import score
        from harness.model import open_model

        if not self._transcripts:
            return None
        rng = random.Random(f"{self._task.run.seed}/{self._task.round}/{self._case.id}")  # noqa: S311 - not for secrets
        chosen = rng.sample(self._transcripts, min(2, len(self._transcripts)))
        needed = self._config.weight_bytes("float32")
        assert self._meter is not None
        with self._in_phase("audit"):
            from harness.memory import meter

            free = meter("cpu").available_bytes()
            if needed * 1.2 > free:
                self._cautions.append(
                    caution(
                        CautionKind.NOT_AUDITED,
                        f"tokens made while timed were not audited: the float32 reference takes "
                        f"{needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free",
                        round=self._task.round,
                    )
                )
                return None
            model = open_model(self._case.model, seed=self._case.model_seed)
            scores = score(model, [t.prompt_ids + t.token_ids for t in chosen], self._case.threads)
            return audit(chosen, scores, Tolerance.of(self._reference()))

    def _ceilings(self) -> dict[str, Reading]:
        from harness.ceilings import measure_ceilings

        with self._in_phase("ceilings"):
            return measure_ceilings(self._case.dtype, self._case.threads, self._case.device)

    @contextlib.contextmanager
    def _in_phase(self, name: str, point: str = "") -> Iterator[None]:
        self._phase = name
        # Whoever watches reads while we stand still: its readings are then those of the edge.
        self._speaker.ask(PhaseStarted(name=name, point=point))
        if self._meter:
            self._meter.reset_peak()
        start = now_ns()
        yield
        end = now_ns()
        if name in _SIZED:
            # What was freed is not in use, whatever the C library keeps of it.
            return_freed_pages()
        self._phases.append(
            PhaseRecord(
                name=name,
                point=point,
                start_ns=start,
                end_ns=end,
                current_bytes=self._meter.current_bytes() if self._meter else None,
                mapped_bytes=self._meter.mapped_bytes() if _maps_files(self._meter) else None,
                peak_bytes=self._meter.peak_bytes() if self._meter else None,
                allocator=self._meter.allocator() if _has_allocator(self._meter) else {},
            )
        )

    def _split_warmup(self, point: Point, steady_at_ns: int) -> None:
        """Which iterations were warm-up is known only afterwards."""
        whole = self._phases.pop()
        warm = whole.model_copy(update={"name": "warm-up", "end_ns": steady_at_ns})
        if steady_at_ns > whole.start_ns and not point.once:
            self._phases.append(warm)
            whole = whole.model_copy(update={"start_ns": steady_at_ns})
        self._phases.append(whole)


def _maps_files(meter: MemoryMeter | None) -> TypeGuard[HostMeter]:
    return hasattr(meter, "mapped_bytes")


def _has_allocator(meter: MemoryMeter | None) -> TypeGuard[CudaMeter]:
    return hasattr(meter, "allocator")


def _one_line(error: Exception) -> str:
    text = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:500]


if __name__ == "__main__":
    main()
