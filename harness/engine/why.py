"""The extra rounds of a run that say where its time goes: after the figures, never part of them.

Each case is profiled in one fresh process, whose profile is on disk before the next begins; a run
that is interrupted here is taken up where it stopped, and its figures stand already.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Protocol

from harness.engine.case import Case
from harness.engine.events import PhaseStarted, Progress
from harness.engine.plan import Plan
from harness.engine.profile import Side, profile_once
from harness.errors import InputError
from harness.profiling.kinds import apart, processes
from harness.profiling.record import Profile
from harness.profiling.stored import profile_stem
from harness.store.durable import write_durably
from harness.store.record import RunRecord

__all__ = ["Onlooker", "chosen_cases", "profile_run"]


class Onlooker(Protocol):
    """Sees profiles go by."""

    def profiles(self, count: int) -> None:
        """So many processes are to come."""

    def profile(self, case_id: str) -> None:
        """One starts on a case."""

    def event(self, event: PhaseStarted | Progress) -> None:
        """Its phase."""

    def profiled(self, made: Profile) -> None:
        """It ended, and what it saw is on disk."""


def chosen_cases(plan: Plan) -> list[Case]:
    """Return the cases that `[profile]` asks for, in the plan's order.

    By default the first case of each model and backend setting: others of it run the same code.

    Raises:
        InputError: where its pattern fits no case.
    """
    spec = plan.suite.profile
    usable = [case for case in plan.cases if case.unavailable is None]
    if spec.case is not None:
        fitting = [case for case in usable if fnmatch.fnmatch(case.id, spec.case)]
        if usable and not fitting:
            raise InputError(
                f"no case fits {spec.case!r}",
                expected=f"a pattern for one of {', '.join(c.id for c in plan.cases[:4])}, …",
            )
        return fitting[: spec.most]
    first: dict[str, Case] = {}
    for case in usable:
        first.setdefault(f"{case.model_label}/{case.backend}/{case.backend_options}", case)
    return list(first.values())[: spec.most]


def profile_run(
    plan: Plan, record: RunRecord, folder: Path, cache: Path, watcher: Onlooker
) -> None:
    """Profile the cases that are asked for, have figures, and were not profiled yet.

    Args:
        plan: Of the run.
        record: The run, its rounds done.
        folder: The run's.
        cache: The store's.
        watcher: Told of each process.
    """
    spec = plan.suite.profile
    files = tuple(Path(name) for name in record.plugin_files)
    left = [
        (case, group, stem)
        for case in chosen_cases(plan)
        if record.case(case.id).status == "done"
        for group in processes(spec.kinds)
        if not (stem := profile_stem(folder, case.id, apart(group))).with_suffix(".json").exists()
    ]
    if left:
        (folder / "profiles").mkdir(exist_ok=True)
    watcher.profiles(len(left))
    for case, group, stem in left:
        watcher.profile(case.id)
        made, failure = profile_once(
            Side(case.id, plan, case, files),
            stem,
            cache,
            kinds=group,
            number=0,
            seconds=spec.seconds,
            listen=watcher.event,
            brief=True,
        )
        if made is None:
            made = Profile(case=case.id, round=0, phases=[], failure=failure)
            write_durably(stem.with_suffix(".json"), made.model_dump_json().encode())
        watcher.profiled(made)
