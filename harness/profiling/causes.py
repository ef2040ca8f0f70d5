"""From rows that changed to what a senior engineer would say: causes, the largest first.

Rows of one function belong together: a loop written into it shows as more calls of several
operators and as more of the host's time. Settings that differ (threads, packages) come before rows
when what changed is what they would change: each call slower, none more of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.profiling.difference import CONFIDENCE, Change, PhaseChange, together
from harness.profiling.families import HOST
from harness.profiling.operators import HOST_OPERATOR
from harness.profiling.words import place_words

__all__ = ["Cause", "causes", "sentence"]

_SETTINGS = ("threads", "torch", "linear", "attention", "sdpa", "dtype")


@dataclass(frozen=True)
class Cause:
    """One thing that explains a share of a phase's change."""

    words: str
    """`aten::copy_ called from cache.py:41 (bump), new: 30 calls per token`."""
    share: float
    """Of the phase's change."""
    ns: float
    """Per call of the phase."""
    changes: tuple[Change, ...]

    @property
    def where(self) -> str:
        """File and line of its largest row, empty for a setting."""
        return place_words(self.changes[0].function, self.changes[0].line) if self.changes else ""


def causes(
    change: PhaseChange,
    base: Mapping[str, Any] | None = None,
    cand: Mapping[str, Any] | None = None,
) -> list[Cause]:
    """Return what explains a phase's change; empty where nothing does surely.

    Args:
        change: The phase's difference.
        base: Facts of base's worker (threads, graph breaks, …) and versions of packages.
        cand: Likewise of the candidate.
    """
    settings = _differing(base or {}, cand or {})
    steady = [c for c in change.explained if _same_calls(c)]
    found: list[Cause] = []
    rest = list(change.explained)
    if settings and change.is_sure and not rest:
        steady = _surely_slower(change)
    if settings and steady:
        ns = sum(c.ns for c in steady)
        found.append(
            Cause(
                words=f"{', '.join(settings)}: the same calls, each {_slower(ns)}",
                share=ns / change.profiled_ns,
                ns=ns,
                changes=tuple(steady),
            )
        )
        rest = [c for c in rest if c not in steady]
    for group in _by_function(rest):
        ns = sum(c.ns for c in group)
        found.append(Cause(_words(group), ns / change.profiled_ns, ns, tuple(group)))
    return sorted(found, key=lambda cause: -abs(cause.ns))


def sentence(change: PhaseChange, found: Sequence[Cause], brought: str = "") -> str:
    """Return the first sentence: how much, and the largest part of why.

    Args:
        change: The phase's difference.
        found: Its causes.
        brought: Who brought the first of them: `new since 1a2b3c4d5 (…)`; empty if unknown.
    """
    percent = (change.ratio - 1) * 100
    text = (
        f"{change.phase} {percent:+.1f} % "
        f"[{(change.low - 1) * 100:+.1f}, {(change.high - 1) * 100:+.1f}]"
    )
    if not change.is_sure:
        return f"{text}: no change is shown, so no cause is named"
    if not found:
        return f"{text}: no operator or function changed surely; more rounds may show it"
    top = found[0]
    more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
    since = f", {brought}" if brought else ""
    rest = 1.0 - sum(cause.share for cause in found)
    left = f"; {rest:.0%} unexplained" if abs(rest) >= 0.1 else ""
    return f"{text}: {min(top.share, 9.99):.0%} of it in {top.words}{since}{more}{left}"


def _by_function(changes: Sequence[Change]) -> list[list[Change]]:
    grouped: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        grouped[change.function or change.operator].append(change)
    return [sorted(group, key=lambda c: -abs(c.ns)) for group in grouped.values()]


def _words(group: Sequence[Change]) -> str:
    # Operators say more than the host's time around them, unless that is nearly all there is.
    whole = sum(c.ns for c in group)
    operators = [c for c in group if c.family != HOST]
    top = operators[0] if operators and operators[0].ns > 0.2 * whole else group[0]
    place = place_words(top.function, top.line)
    if top.operator == HOST_OPERATOR:
        return f"the host's own time (Python, dispatch) in {place}"
    what = f"{top.operator} called from {place}" if place else top.operator
    before, after = top.calls
    if top.is_new:
        return f"{what}, new: {_calls(after)}"
    if not _same_calls(top):
        return f"{what}: {_calls(before)} became {after:g}"
    old, new = top.dtypes
    if old != new:
        return f"{what}: {old} became {new}"
    return f"{what}: the same {_calls(after)}, {'each ' * (after != 1)}{_slower(top.ns)}"


def _slower(ns: float) -> str:
    return "slower" if ns > 0 else "faster"


def _surely_slower(change: PhaseChange) -> list[Change]:
    """Return the rows of the same calls, where they surely changed in sum, though none alone."""
    same = [c for c in change.changes if _same_calls(c)]
    if not same:
        return []
    ns, low, high = together(same, CONFIDENCE)
    return same if (low > 0 or high < 0) and ns * change.change_ns > 0 else []


def _calls(number: float) -> str:
    return f"{number:g} call{'' if number == 1 else 's'}"


def _same_calls(change: Change) -> bool:
    before, after = change.calls
    return abs(after - before) < 0.01 * max(before, after)


def _differing(base: Mapping[str, Any], cand: Mapping[str, Any]) -> list[str]:
    keys = sorted(k for k in base.keys() & cand.keys() if k in _SETTINGS or k.startswith("package"))
    return [f"{k} {base[k]} → {cand[k]}" for k in keys if base[k] != cand[k]]
