"""Profiles of cases: extra, untimed rounds in fresh processes, sides taken in turn."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.engine.case import Case, ProfileTask
from harness.engine.events import PhaseStarted, Progress
from harness.engine.plan import Plan
from harness.engine.reference import MOST_POSITIONS, reference_path
from harness.engine.run import compute_reference
from harness.engine.spawn import Interpreter, run_worker
from harness.errors import UnavailableError
from harness.profiling.kinds import apart, processes
from harness.spec import ProfilerName

if TYPE_CHECKING:
    from harness.profiling.record import Profile
    from harness.store.record import Failure

__all__ = ["Profiled", "Side", "profile_in_turn", "profile_once"]


@dataclass(frozen=True)
class Side:
    """A case to profile, and what its workers need."""

    name: str
    """`base`, `candidate`, or the case's id."""
    plan: Plan
    case: Case
    plugin_files: tuple[Path, ...] = ()
    interpreter: Interpreter = field(default_factory=Interpreter)


@dataclass
class Profiled:
    """What a side's workers brought back."""

    side: Side
    profiles: list[Profile] = field(default_factory=list)
    raw: list[Path] = field(default_factory=list)
    """Files of collapsed stacks, where they were sampled."""
    sampled: list[str] = field(default_factory=list)
    """What they hold."""
    failure: Failure | None = None


def profile_in_turn(
    sides: Sequence[Side],
    folder: Path,
    cache: Path,
    *,
    kinds: Sequence[ProfilerName],
    rounds: int,
    seconds: float,
    listen: Callable[[PhaseStarted | Progress], None],
) -> list[Profiled]:
    """Profile each side in `rounds` fresh processes, in the order ABBA; return what was seen.

    A side that fails is not tried again; its failure says why.

    Args:
        sides: What to profile.
        folder: Gets tasks, logs and profiles; it exists.
        cache: The store's, with the reference logits.
        kinds: Of profilers, as `harness.profiling.kinds` has them.
        rounds: Fresh processes of each side.
        seconds: How long py-spy samples each.
        listen: Called for each event.
    """
    from harness.profiling.record import Profile

    found = [Profiled(side) for side in sides]
    for number, one in _turns(found, rounds):
        for group in processes(kinds):
            if one.failure is not None:
                continue
            name = "-".join(filter(None, [f"{found.index(one)}-{number}", apart(group)]))
            stem = folder / name
            made, failure = profile_once(
                one.side, stem, cache, kinds=group, number=number, seconds=seconds, listen=listen
            )
            if made is None and apart(group):  # the others have seen what they look at
                made = Profile(case=one.side.case.id, round=number, phases=[], failure=failure)
            if made is None:
                one.failure = failure
            else:
                one.profiles.append(made)
                raw = stem.with_suffix(".raw")
                if raw.exists():
                    one.raw.append(raw)
                    one.sampled.append(raw.read_text(errors="replace"))
    return found


def profile_once(
    side: Side,
    stem: Path,
    cache: Path,
    *,
    kinds: Sequence[ProfilerName],
    number: int,
    seconds: float,
    listen: Callable[[PhaseStarted | Progress], None],
    brief: bool = False,
) -> tuple[Profile | None, Failure | None]:
    """Profile a side in one fresh process; return what was seen, or why nothing was.

    Args:
        side: What to profile.
        stem: Of the files of this process: task, log, profile, stacks.
        cache: The store's.
        kinds: Of profilers.
        number: Of the round.
        seconds: How long py-spy samples.
        listen: Called for each event.
        brief: Whether each way of looking is taken once, and the tokens, which rounds of the same
            run have checked, are not checked again.
    """
    from harness.profiling import nsys
    from harness.profiling.record import Profile

    case = side.case
    try:
        within = nsys.command(stem) if "nsys" in kinds else []
    except UnavailableError as error:
        return Profile(case=case.id, round=number, phases=[], notes=[str(error)]), None
    if "compile" in kinds:  # else there would be nothing to see but hits
        cache_of_worker = stem.with_suffix(".cache")
        cache_of_worker.mkdir(exist_ok=True)
    else:
        cache_of_worker = cache
    task = ProfileTask(
        parent_pid=0 if within else os.getpid(),
        plugin_files=list(side.plugin_files),
        cache=cache_of_worker.resolve(),
        case=case,
        round=number,
        point=side.plan.points[case.id][0].label,
        kinds=list(kinds),
        sampled_seconds=seconds,
        brief=brief,
        seed=side.plan.suite.run.seed,
        reference=None,
        positions=_positions(side),
        output=stem.with_suffix(".json"),
    )
    if not brief:
        path, failure = _reference(side, task, cache, stem, listen)
        if failure is not None:
            return None, failure
        task = task.model_copy(update={"reference": path})
    ended = run_worker(
        task,
        stem.with_suffix(".task.json"),
        stem.with_suffix(".log"),
        threads=case.threads,
        time_limit=side.plan.suite.run.time_limit,
        listen=listen,
        interpreter=side.interpreter,
        within=within,
    )
    shutil.rmtree(stem.with_suffix(".cache"), ignore_errors=True)
    if ended.failure is not None:
        return None, ended.failure
    made = Profile.model_validate_json(task.output.read_bytes())
    if within and nsys.report_of(stem).exists():
        made.notes.append(f"nsys: {nsys.report_of(stem)}, to be opened in Nsight Systems")
    elif within:
        made.notes.append(f"nsys: it left no report; what it said is in {stem.with_suffix('.log')}")
    return made, None


def _turns(found: Sequence[Profiled], rounds: int) -> Iterator[tuple[int, Profiled]]:
    for number in range(rounds):
        for one in found if number % 2 == 0 else reversed(found):
            yield number, one


def _positions(side: Side) -> int:
    return min(MOST_POSITIONS, *(p.context for p in side.plan.points[side.case.id]))


def _reference(
    side: Side,
    task: ProfileTask,
    cache: Path,
    stem: Path,
    listen: Callable[[PhaseStarted | Progress], None],
) -> tuple[Path, Failure | None]:
    """Have the model's reference logits, made where they are not there yet."""
    case = side.case
    digest = side.plan.model(case).digest
    path = reference_path(cache, digest, task.positions, case.dtype)
    if path.exists():
        return path, None
    ended = compute_reference(
        case,
        path,
        task.positions,
        stem.with_suffix(".json"),
        stem.with_suffix(".log"),
        plugin_files=side.plugin_files,
        time_limit=side.plan.suite.run.time_limit,
        listen=listen,
    )
    return path, ended.failure
