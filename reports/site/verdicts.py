"""What the gate says of a run beside the one before it: the words of `harness compare`, kept.

Each run is held against the run before it of the same suite on the same machine; how far runs of
the base's code lie apart is learned from those before both, as the gate does. Nothing is judged
here: `harness.gate` does, and the site only keeps what it said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.shown import printable
from reports.site.extract import slug

if TYPE_CHECKING:
    from harness.gate.evidence import Evidence
    from harness.gate.judgement import Judgement

__all__ = ["Pair", "pairs", "said_of"]

_KEPT = 24
"""So many runs stay read: a candidate, its base, and what tells the spread between runs."""


@dataclass(frozen=True)
class Pair:
    """A run, the one it is held against, and those that tell how far such runs lie apart."""

    cand: str
    base: str
    earlier: tuple[str, ...]
    """Oldest first."""

    @property
    def made_of(self) -> str:
        """Another digest means: other runs are held against each other than before."""
        text = "\n".join((self.cand, self.base, *self.earlier))
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def pairs(runs: Sequence[Mapping[str, Any]]) -> Iterator[Pair]:
    """Yield what is held against what, oldest first.

    Args:
        runs: Lines of the index, in any order. Unfinished runs and sides of a duet are left out:
            a duet's other side is what it is held against.
    """
    from harness.gate.sources import MOST_EARLIER

    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in sorted(runs, key=lambda r: (r["created_at"] or "", r["id"])):
        if run.get("broken") or run["duet"] or run["status"] != "finished":
            continue
        before = groups.setdefault((run["suite"], run["machine"]), [])
        if before:
            base = before[-1]
            alike = [r["id"] for r in before[:-1] if r["code"] and r["code"] == base["code"]]
            yield Pair(run["id"], base["id"], tuple(alike[-MOST_EARLIER:]))
        before.append(run)


def said_of(store: str, pair: Pair) -> dict[str, Any]:
    """Return what the gate says of a pair, as plain JSON values; all text is printable."""
    from harness.gate.judge import judge
    from harness.gate.rules import Rules
    from harness.gate.sources import counts_beside, knows_its_code

    said: dict[str, Any] = {"run": pair.base, "rows": [], "counts": {}}
    try:
        base, cand = _evidence(store, pair.base), _evidence(store, pair.cand)
        earlier = [_evidence(store, name) for name in pair.earlier] if knows_its_code(base) else []
        rules = Rules.of_suite(cand.record.suite_resolved)
        judgement = judge(
            base,
            cand,
            # What decides, and nothing that is only explored: the verdicts are the same.
            replace(rules, only=_primary(base, cand), tails=False),
            history=[one for one in earlier if counts_beside(one.record, base, cand)],
        )
    except (HarnessError, ValueError) as error:  # a damaged file of samples, a gate that is none
        return said | {"verdict": "no-figure", "method": printable(f"not compared: {error}")}
    rows = list(_rows(judgement))
    return {
        **said,
        "created_at": base.record.created_at,
        "revision": printable(base.revision[:12]) if base.revision else None,
        "verdict": judgement.verdict,
        "method": printable(judgement.method),
        "counts": {
            verdict: sum(row["verdict"] == verdict for row in rows)
            for verdict in dict.fromkeys(row["verdict"] for row in rows)
        },
        "differences": [printable(d.words()) for d in judgement.differences],
        "notes": [printable(note) for note in judgement.notes],
        "rows": rows,
    }


def _rows(judgement: Judgement) -> Iterator[dict[str, Any]]:
    for row in judgement.rows:
        if row.primary:
            figures = row.model_dump(include={"ratio", "low", "high", "base"}, exclude_none=True)
            yield figures | {
                "slug": slug(row.case),
                "case": printable(row.case),
                "metric": printable(row.metric, 80),
                "point": printable(row.point, 80),
                "verdict": row.verdict,
                "reason": printable(row.reason, 300),
            }


def _primary(base: Evidence, cand: Evidence) -> tuple[str, ...]:
    return tuple({m.name for side in (base, cand) for m in side.record.metrics if m.primary})


@lru_cache(maxsize=_KEPT)
def _evidence(store: str, name: str) -> Evidence:
    from harness.gate.evidence import centres_of
    from harness.store import Run

    return centres_of(Run(Path(store) / "runs" / name))
