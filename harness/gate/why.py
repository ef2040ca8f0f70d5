"""Why one side is slower than the other: both profiled in turn, and what grew named.

What comes out is data; `harness.gate.outputs.explanation` writes it for people and programs.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UnavailableError
from harness.gate.blame import Blamed, blame
from harness.profiling.causes import Cause, causes, sentence
from harness.profiling.difference import PhaseChange, difference
from harness.profiling.noticed import noticed
from harness.profiling.stacks import Stack, merged, of_the_work, parse_raw, without_lines

if TYPE_CHECKING:
    from harness.engine.events import PhaseStarted, Progress
    from harness.engine.profile import Profiled, Side
    from harness.engine.spawn import Interpreter
    from harness.spec import ProfilerName
    from harness.store import Store
    from harness.store.record import RunRecord

__all__ = ["ROUNDS", "Explained", "PhaseExplained", "explained"]

PHASES = ("decode", "prefill")
ROUNDS = 5
_SAMPLED_SECONDS = 1.0
_PACKAGES = (
    "torch", "numpy", "triton", "onnxruntime", "openvino", "transformers", "llama-cpp-python",
)  # fmt: skip
"""Whose version can make the same calls slower."""


@dataclass(frozen=True)
class PhaseExplained:
    """One phase of one case: the change and its causes, the largest first."""

    phase: str
    sentence: str
    change: PhaseChange
    causes: Sequence[Cause]
    blamed: Sequence[Blamed | None]
    """Of each cause: the commit that brought it, where the project's history tells."""


@dataclass(frozen=True)
class Explained:
    """One case on both sides."""

    case: str
    phases: Sequence[PhaseExplained]
    base_stacks: Mapping[Stack, int]
    """Sampled stacks without line numbers, nanoseconds of one iteration; empty where not asked."""
    cand_stacks: Mapping[Stack, int]
    also: Sequence[str]
    """What else the candidate has more of: nothing that was timed."""
    notes: Sequence[str]
    """What could not be seen."""

    def plain(self) -> list[dict[str, Any]]:
        """Return one JSON object per phase."""
        return [
            {
                "case": self.case,
                "phase": one.phase,
                "sentence": one.sentence,
                "is_sure": one.change.is_sure,
                "ratio": one.change.ratio,
                "low": one.change.low,
                "high": one.change.high,
                "unexplained": one.change.unexplained,
                "causes": [
                    {**asdict(cause), "blamed": asdict(found) if found else None}
                    for cause, found in zip(one.causes, one.blamed, strict=True)
                ],
                "also": list(self.also),
                "rows": [asdict(change) for change in one.change.changes],
            }
            for one in self.phases
        ]


def explained(
    store: Store,
    runs: tuple[RunRecord, RunRecord],
    chosen: Callable[[str], bool],
    rounds: int = ROUNDS,
    *,
    interpreters: tuple[Interpreter, Interpreter] | None = None,
    sampled: bool = False,
    listen: Callable[[PhaseStarted | Progress], None] = lambda _: None,
) -> list[Explained]:
    """Profile cases of two runs in turn; return what changed, and why.

    Args:
        store: Where reference logits are kept.
        runs: Base and candidate.
        chosen: Whether a case of the candidate, or of base, is looked at; by its id.
        rounds: Pairs of fresh processes.
        interpreters: What each side runs on; None for this one.
        sampled: Whether stacks are sampled as well, for a differential flame graph.
        listen: Called for each event of a worker.

    Raises:
        UnavailableError: where a side cannot be profiled.
    """
    kinds: list[ProfilerName] = ["torch", "py-spy"] if sampled else ["torch"]
    # The code of the sides differs only where they run on other paths or from other files.
    differ = interpreters is not None or runs[0].plugin_files != runs[1].plugin_files
    since = _revision(runs[0]) if differ else None
    found = []
    for pair in _pairs(*runs, chosen):
        if interpreters is not None:
            one, other = (
                replace(side, interpreter=interpreter)
                for side, interpreter in zip(pair, interpreters, strict=True)
            )
            pair = one, other
        base, cand = _profiled(pair, store.cache.resolve(), kinds, rounds, listen)
        phases = []
        for phase in PHASES:
            change = difference(base.profiles, cand.profiles, phase)
            if change is not None:
                facts = _facts(base, runs[0], differ), _facts(cand, runs[1], differ)
                phases.append(_phase(change, facts, cand, since))
        notes = dict.fromkeys(n for s in (base, cand) for p in s.profiles for n in p.notes)
        also = list(noticed(base.profiles, cand.profiles))
        stacks = _stacks(base), _stacks(cand)
        found.append(Explained(pair[1].case.id, phases, *stacks, also, list(notes)))
    return found


def _phase(
    change: PhaseChange,
    facts: tuple[Mapping[str, Any], Mapping[str, Any]],
    cand: Profiled,
    since: str | None,
) -> PhaseExplained:
    found = causes(change, *facts)
    blamed = [_blamed(cause, cand, since) for cause in found]
    words = sentence(change, found, blamed[0].words if blamed and blamed[0] else "")
    return PhaseExplained(change.phase, words, change, found, blamed)


def _blamed(cause: Cause, cand: Profiled, since: str | None) -> Blamed | None:
    """Return who brought a cause; only what grew was brought by somebody."""
    if since is None or cause.ns <= 0 or not cause.changes:
        return None
    top = cause.changes[0]
    name, _, function = top.function.rpartition(":")
    file = cand.profiles[-1].files.get(name)
    return blame(Path(file), function, top.line, since) if file else None


def _revision(record: RunRecord) -> str | None:
    facts = record.environment.get("git")
    revision = facts.get("revision") if isinstance(facts, dict) else None
    return revision if isinstance(revision, str) else None


def _stacks(side: Profiled) -> Mapping[Stack, int]:
    """Return sampled stacks as nanoseconds of one iteration without a profiler."""
    samples = without_lines(of_the_work(merged(parse_raw(raw) for raw in side.sampled)))
    whole = sum(samples.values())
    times = [p.iteration_ns for p in side.profiles if p.iteration_ns is not None]
    if not whole or not times:
        return {}
    scale = sum(times) / len(times) / whole
    return Counter({stack: round(count * scale) for stack, count in samples.items()})


def _pairs(
    base: RunRecord, cand: RunRecord, chosen: Callable[[str], bool]
) -> Iterator[tuple[Side, Side]]:
    """Yield the chosen cases that both runs have, by id; a single one of each is a pair as well.

    Where a setting tells the runs apart, ids differ: then the n-th case is the n-th.
    """
    all_base, all_cand = _sides(base), _sides(cand)
    one = [side for side in all_base if chosen(side.case.id)]
    other = [side for side in all_cand if chosen(side.case.id)]
    by_id = {side.case.id: side for side in one}
    if len(one) == len(other) == 1:
        yield one[0], other[0]
    elif not one and len(all_base) == len(all_cand):
        yield from (pair for pair in zip(all_base, all_cand, strict=True) if pair[1] in other)
    else:
        yield from ((by_id[s.case.id], s) for s in other if s.case.id in by_id)


def _sides(record: RunRecord) -> list[Side]:
    from harness.engine.plan import make_plan
    from harness.engine.profile import Side
    from harness.plugins import add_file
    from harness.spec import Source, Suite

    files = tuple(Path(name) for name in record.plugin_files)
    for path in files:
        add_file(path)
    suite = Suite.model_validate(record.suite_resolved)
    plan = make_plan(suite, Source(f"run {record.id}", record.suite_text))
    return [Side(record.id, plan, case, files) for case in plan.cases if case.unavailable is None]


def _profiled(
    sides: tuple[Side, Side],
    cache: Path,
    kinds: Sequence[ProfilerName],
    rounds: int,
    listen: Callable[[PhaseStarted | Progress], None],
) -> list[Profiled]:
    from harness.engine.profile import profile_in_turn

    with tempfile.TemporaryDirectory() as name:
        found = profile_in_turn(
            sides,
            Path(name),
            cache,
            kinds=kinds,
            rounds=rounds,
            seconds=_SAMPLED_SECONDS,
            listen=listen,
        )
    for side in found:
        if side.failure is not None:
            raise UnavailableError(
                f"{side.side.case.id} failed in {side.failure.phase}: {side.failure.reason}"
            )
    return found


def _facts(side: Profiled, record: RunRecord, differ: bool) -> dict[str, Any]:
    """Return what a side was set to; also its packages, where the sides may have others."""
    options = side.side.case.backend_options
    installed = record.environment.get("packages")
    packages = installed if differ and isinstance(installed, dict) else {}
    return {
        **side.profiles[-1].facts,
        "threads": options["threads"],
        "dtype": options["dtype"],
        **{f"package {name}": packages[name] for name in _PACKAGES if name in packages},
    }
