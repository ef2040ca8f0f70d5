"""Profiles of cases: extra, untimed rounds in fresh processes, sides taken in turn."""

from __future__ import annotations

import os
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

if TYPE_CHECKING:
    from harness.profiling.record import Profile
    from harness.store.record import Failure

__all__ = ["Side", "profile_in_turn"]


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
    failure: Failure | None = None


def profile_in_turn(
    sides: Sequence[Side],
    folder: Path,
    cache: Path,
    *,
    kinds: Sequence[str],
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
        kinds: Of profilers: `torch`, `py-spy`.
        rounds: Fresh processes of each side.
        seconds: How long py-spy samples each.
        listen: Called for each event.
    """
    from harness.profiling.record import Profile

    found = [Profiled(side) for side in sides]
    for number, one in _turns(found, rounds):
        if one.failure is not None:
            continue
        case = one.side.case
        stem = folder / f"{found.index(one)}-{number}"
        task = ProfileTask(
            parent_pid=os.getpid(),
            plugin_files=list(one.side.plugin_files),
            cache=cache,
            case=case,
            round=number,
            point=one.side.plan.points[case.id][0].label,
            kinds=list(kinds),
            sampled_seconds=seconds,
            seed=one.side.plan.suite.run.seed,
            reference=cache / "none",
            positions=_positions(one.side),
            output=stem.with_suffix(".json"),
        )
        path, one.failure = _reference(one.side, task, stem, listen)
        if one.failure is None:
            task = task.model_copy(update={"reference": path})
            ended = run_worker(
                task,
                stem.with_suffix(".task.json"),
                stem.with_suffix(".log"),
                threads=case.threads,
                time_limit=one.side.plan.suite.run.time_limit,
                listen=listen,
                interpreter=one.side.interpreter,
            )
            one.failure = ended.failure
        if one.failure is None:
            one.profiles.append(Profile.model_validate_json(task.output.read_bytes()))
            raw = task.output.with_suffix(".raw")
            one.raw += [raw] if raw.exists() else []
    return found


def _turns(found: Sequence[Profiled], rounds: int) -> Iterator[tuple[int, Profiled]]:
    for number in range(rounds):
        for one in found if number % 2 == 0 else reversed(found):
            yield number, one


def _positions(side: Side) -> int:
    return min(MOST_POSITIONS, *(p.context for p in side.plan.points[side.case.id]))


def _reference(
    side: Side,
    task: ProfileTask,
    stem: Path,
    listen: Callable[[PhaseStarted | Progress], None],
) -> tuple[Path, Failure | None]:
    """Have the model's reference logits, made where they are not there yet."""
    case = side.case
    digest = side.plan.model(case).digest
    path = reference_path(task.cache or stem, digest, task.positions, case.dtype)
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
