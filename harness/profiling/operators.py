"""torch.profiler's events become rows: a call's outermost operators, and the host between them.

Two passes over the same calls. One without Python's stack, whose times are the least disturbed; one
with it, which says which function called the n-th operator. They are joined by that n: a step makes
the same operators each time. Where it does not, the times of the second pass are used and a note
says so.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.profiling.families import HOST, family_of
from harness.profiling.record import Row

__all__ = ["HOST_OPERATOR", "MARK", "Call", "calls_of", "joined", "rows"]

MARK = "harness::"
"""Prefix of the annotation around a profiled call."""
HOST_OPERATOR = "(host)"
_WORTH_A_LOOK_US = 20.0
"""Shorter gaps between operators are ordinary dispatch, whose is the caller's."""
_PYTHON = re.compile(r"^(?P<file>.+)\((?P<line>\d+)\): (?P<name>.+)$")
_HERE = str(Path(__file__).parent)
_NOT_USERS = ("torch/", "<frozen", "contextlib.py", "harness/profiling/", "importlib", _HERE)
"""How the names of files begin that are nobody's code to explain; PyTorch cuts `sys.path` off."""


@dataclass(frozen=True)
class Op:
    """One outermost operator inside a call."""

    name: str
    gap_ns: float
    """Of the host, from the end of the operator before (or the start of the call) to its start."""
    ns: float
    function: str = ""
    inner: tuple[str, ...] = ()
    """Names of the operators that it called and that called none in turn."""
    before: str = ""
    """Function that most of the time before it was spent in, where one can be told."""


@dataclass(frozen=True)
class Call:
    """One profiled call: its operators in order, and the host's time behind the last."""

    ns: float
    ops: tuple[Op, ...]
    tail_ns: float
    tail_function: str = ""


def calls_of(events: Iterable[Any], mark: str) -> list[Call]:
    """Return the annotated calls among torch.profiler's function events."""
    return [_call(event) for event in events if event.name == mark]


def _call(event: Any) -> Call:
    ops: list[Op] = []
    start = at = event.time_range.start
    functions = list(_functions(event))
    for child, function in _outermost(event, ""):
        begin, end = child.time_range.start, child.time_range.end
        gap = max(0.0, begin - at)
        before = _longest(functions, at, begin) if gap > _WORTH_A_LOOK_US else ""
        inner = tuple(_leaves(child))
        ops.append(Op(child.name, gap * 1e3, (end - begin) * 1e3, function, inner, before))
        at = end
    stop = event.time_range.end
    return Call((stop - start) * 1e3, tuple(ops), max(0.0, stop - at) * 1e3)


def _outermost(event: Any, function: str) -> Iterator[tuple[Any, str]]:
    """Yield the outermost operators beneath an event, each with the user's function around it."""
    for child in event.cpu_children:
        python = _PYTHON.match(child.name)
        if python:
            yield from _outermost(child, _function(python) or function)
        elif child.name.startswith(("<built-in", "nn.Module", MARK)) or not child.name:
            yield from _outermost(child, function)
        else:
            yield child, function


def _functions(event: Any) -> Iterator[_Function]:
    """Yield every call of a user's function beneath an event, with its own inner calls."""
    for child in event.cpu_children:
        python = _PYTHON.match(child.name)
        name = _function(python) if python else None
        if name:
            inner = tuple(_functions(child))
            yield _Function(child.time_range.start, child.time_range.end, name, inner)
        else:
            yield from _functions(child)


@dataclass(frozen=True)
class _Function:
    """One call of a user's function."""

    start: float
    end: float
    name: str
    inner: tuple[_Function, ...]

    def within(self, start: float, end: float) -> float:
        return max(0.0, min(end, self.end) - max(start, self.start))

    def own(self, start: float, end: float) -> Iterator[tuple[float, str]]:
        """Yield the time that it and what it called spent in an interval, each its own."""
        whole = self.within(start, end)
        if whole == 0:
            return
        yield whole - sum(f.within(start, end) for f in self.inner), self.name
        for function in self.inner:
            yield from function.own(start, end)


def _longest(functions: Sequence[_Function], start: float, end: float) -> str:
    """Return the function in which most of the time between two operators was spent."""
    took: dict[str, float] = defaultdict(float)
    for function in functions:
        for own, name in function.own(start, end):
            took[name] += own
    name = max(took, key=lambda name: took[name], default="")
    return name if took[name] > 0.5 * (end - start) else ""


def _leaves(event: Any) -> Iterator[str]:
    if not event.cpu_children:
        yield event.name
    for child in event.cpu_children:
        yield from _leaves(child)


def _function(match: re.Match[str]) -> str | None:
    file = match["file"]
    if file.startswith(_NOT_USERS):
        return None
    return f"{short(file)}:{match['name']}"


def short(file: str) -> str:
    """Return the last two folders and the name: enough to tell, the same on every machine.

    What `sys.path` holds is cut off first, as PyTorch does with the names that it gives.
    """
    for root in sorted(map(os.path.abspath, filter(None, sys.path)), reverse=True):
        if file.startswith(root + os.sep):
            file = file[len(root) + 1 :]
            break
    return "/".join(Path(file).parts[-3:]).lstrip("/")


def joined(timed: Sequence[Call], seen: Sequence[Call]) -> tuple[list[Call], str | None]:
    """Give timed calls the functions seen in the other pass.

    Returns:
        The calls, and a note where the two passes did not make the same operators.
    """
    if not seen:
        return list(timed), "no Python stack was seen"
    names = [op.name for op in seen[-1].ops]
    if any([op.name for op in call.ops] != names for call in (*timed, *seen)):
        return list(seen), "operators differ from call to call: times include the stack's cost"
    return [
        Call(
            call.ns,
            tuple(
                replace(op, function=known.function, before=known.before)
                for op, known in zip(call.ops, seen[-1].ops, strict=True)
            ),
            call.tail_ns,
            seen[-1].ops[-1].function if names else "",
        )
        for call in timed
    ], None


def rows(calls: Sequence[Call]) -> list[Row]:
    """Return the mean over calls: a row per operator and function, and the host by function.

    The rows' times add up to the mean time of a call.
    """
    ns: dict[tuple[str, str], float] = defaultdict(float)
    count: dict[tuple[str, str], float] = defaultdict(float)
    for call in calls:
        for op in call.ops:
            ns[op.name, op.function] += op.ns
            count[op.name, op.function] += 1
            ns[HOST_OPERATOR, op.before or op.function] += op.gap_ns
            count[HOST_OPERATOR, op.before or op.function] += 1
        ns[HOST_OPERATOR, call.tail_function] += call.tail_ns
    n = max(1, len(calls))
    made = [
        Row(
            operator=operator,
            function=function,
            family=HOST if operator == HOST_OPERATOR else family_of(operator),
            calls=count[operator, function] / n,
            ns=total / n,
        )
        for (operator, function), total in ns.items()
    ]
    total, whole = math.fsum(row.ns for row in made), math.fsum(c.ns for c in calls) / n
    assert math.isclose(total, whole, rel_tol=1e-3, abs_tol=2e3), (total, whole)
    return sorted(made, key=lambda row: -row.ns)
