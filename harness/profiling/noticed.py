"""What else differs between two sides, beside the time of rows: breaks, graphs, faults, switches.

It is said beside a cause and never named as one: nothing here was timed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from harness.profiling.record import Profile
from harness.shown import number

__all__ = ["noticed"]

_COUNTED = {
    "minor_faults": "page faults",
    "major_faults": "page faults that read the disk",
    "voluntary_switches": "waits",
    "instructions": "instructions",
}
_LEAST = 1.0
"""Per token: fewer are no news."""
_TIMES = 1.5


def noticed(base: Sequence[Profile], cand: Sequence[Profile]) -> Iterator[str]:
    """Yield a sentence for each thing that the candidate has more of than base.

    A count is told only where every process of the candidate has more than any of base.
    """
    before = set(_breaks(base))
    yield from (f"new graph break: {found}" for found in _breaks(cand) if found not in before)
    graphs = [max((_graphs(profile) for profile in side), default=0) for side in (base, cand)]
    if graphs[1] > graphs[0] > 0:
        yield f"{graphs[0]} graphs were compiled before, now {graphs[1]}: something recompiles"
    for name, words in _COUNTED.items():
        old, new = ([p.counters[name] for p in side if name in p.counters] for side in (base, cand))
        if old and new and min(new) > max(old):
            was, now = median(old), median(new)
            if now - was >= _LEAST and now >= _TIMES * was:
                yield f"more {words}: {number(was)} a token before, now {number(now)}"


def _breaks(side: Sequence[Profile]) -> Iterator[str]:
    seen = set()
    for profile in side:
        found = profile.facts.get("graph_breaks")
        for place in found if isinstance(found, list) else ():
            if place not in seen:
                seen.add(place)
                yield str(place)


def _graphs(profile: Profile) -> int:
    found = profile.facts.get("graphs")
    return found if isinstance(found, int) else 0
