"""What a user names becomes evidence: a baseline, a run, or another tool's file.

It must not know what is done with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.bridges import read_files
from harness.errors import InputError
from harness.gate.comparable import run_differences
from harness.gate.evidence import Evidence, evidence_of, evidence_of_samples
from harness.store import BrokenRun, Store
from harness.store.baselines import Baselines
from harness.store.record import RunRecord

__all__ = [
    "MOST_EARLIER",
    "counts_beside",
    "earlier_runs",
    "knows_its_code",
    "side_of",
    "two_sides",
]

MOST_EARLIER = 20
"""So many runs say enough of the spread between runs."""


def side_of(store: Store, references: Sequence[str]) -> Evidence:
    """Return what a baseline's name, a run's name, or other tools' files have to show.

    Raises:
        InputError: where there is no such thing, or several names that are not all files.
    """
    files = [Path(r) for r in references if r.endswith(".json") and Path(r).is_file()]
    foreign = [path for path in files if path.name != "run.json"]
    if foreign and len(foreign) == len(references):
        record, samples = read_files(foreign)
        return evidence_of_samples(record, samples)
    if len(references) != 1:
        raise InputError(
            f"{len(references)} names for one side",
            expected="one run or baseline, or several JSON files of one benchmark, a process each",
        )
    return evidence_of(Baselines(store).run(references[0]))


def two_sides(store: Store, base: Sequence[str], cand: Sequence[str]) -> tuple[Evidence, Evidence]:
    """Return both sides.

    Raises:
        InputError: where one is not there, or both are the same run, which would always pass.
    """
    sides = side_of(store, base), side_of(store, cand)
    if sides[0].record.id == sides[1].record.id:
        raise InputError(
            f"base and candidate are the same run, {sides[0].record.id}",
            remedy="name another one, or run the suite again: harness gate --baseline NAME SUITE",
        )
    return sides


def earlier_runs(store: Store, base: Evidence, cand: Evidence) -> list[Evidence]:
    """Return other runs of the base's code on its machine, oldest first.

    They show how far runs of the same code lie apart. Runs of other revisions may differ for a
    reason, and do not count; nor do those of a project that had uncommitted changes.
    """
    if not knows_its_code(base):
        return []
    found: list[Evidence] = []
    for run in store.runs():  # newest first
        if not isinstance(run, BrokenRun) and counts_beside(run.record, base, cand):
            found.append(evidence_of(run))
        if len(found) == MOST_EARLIER:
            break
    return found[::-1]


def knows_its_code(side: Evidence) -> bool:
    """Whether a run says which revision it was made from, and nothing was uncommitted."""
    return side.revision is not None and not _dirty(side)


def counts_beside(record: RunRecord, base: Evidence, cand: Evidence) -> bool:
    """Whether a run of the base's code tells how far such runs lie apart; see `earlier_runs`."""
    if record.status != "finished" or record.duet:
        return False
    if record.id in (base.record.id, cand.record.id) or record.suite != base.record.suite:
        return False
    mere = Evidence(record)
    if mere.revision != base.revision or _dirty(mere):
        return False
    return not run_differences(base.record, record)


def _dirty(evidence: Evidence) -> bool:
    git = evidence.record.environment.get("git")
    return not isinstance(git, dict) or git.get("dirty") is not False
