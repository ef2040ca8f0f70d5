"""Profiles in a run's folder: where they lie, and what is read of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.profiling.average import averaged
from harness.profiling.record import Profile
from harness.profiling.stacks import Stack, merged, of_the_work, parse_raw
from harness.store.run import file_name

if TYPE_CHECKING:
    from harness.store import Run
    from harness.store.record import CaseRecord

__all__ = ["Seen", "profile_stem", "profiles_of"]


@dataclass(frozen=True)
class Seen:
    """All that profilers saw of one case of a run."""

    case: str
    profile: Profile
    """The mean of its processes."""
    stacks: Mapping[Stack, int] = field(default_factory=dict)
    """Samples of all its processes."""


def profile_stem(folder: Path, case_id: str, which: str = "") -> Path:
    """Return the path, without suffix, of a process that profiled a case of the run in `folder`.

    Args:
        folder: The run's.
        case_id: The case.
        which: Tells apart several processes of one case.
    """
    name = file_name(case_id).replace(".", "_")  # suffixes begin at a full stop
    return folder / "profiles" / "-".join(filter(None, [name, which]))


def profiles_of(run: Run) -> list[Seen]:
    """Return what was seen of each profiled case, in the run's order, without damaged files.

    Ceilings that the run measured stand in for those that a profile lacks.
    """
    found: dict[str, list[Profile]] = defaultdict(list)
    stacks: dict[str, list[Mapping[Stack, int]]] = defaultdict(list)
    for file in sorted((run.path / "profiles").glob("*.json")):
        if file.name.endswith((".task.json", ".trace.json")):
            continue
        try:
            profile = Profile.model_validate_json(file.read_bytes())
            raw = file.with_suffix(".raw")
            text = raw.read_text(errors="replace") if raw.exists() else ""
        except (OSError, ValidationError):
            continue
        found[profile.case].append(profile)
        stacks[profile.case].append(parse_raw(text))
    return [
        Seen(
            case.id,
            averaged([_with_ceilings(profile, case) for profile in found[case.id]]),
            of_the_work(merged(stacks[case.id])),
        )
        for case in run.record.cases
        if case.id in found
    ]


def _with_ceilings(profile: Profile, case: CaseRecord) -> Profile:
    if profile.ceilings:
        return profile
    values: dict[str, list[float]] = defaultdict(list)
    for round_ in case.rounds:
        for name, reading in round_.ceilings.items():
            if reading.value is not None:
                values[name].append(reading.value)
    # The best of all rounds: whatever disturbs a ceiling can only lower it.
    return profile.model_copy(update={"ceilings": {n: max(v) for n, v in values.items()}})
