"""Sampled stacks: parsed, merged into a tree, and written as speedscope JSON.

A stack is a line `outermost;…;innermost count`, which py-spy calls raw and others collapsed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = [
    "Node",
    "Stack",
    "merged",
    "of_the_work",
    "parse_raw",
    "self_share",
    "speedscope",
    "tree",
    "without_lines",
]

Stack = tuple[str, ...]
_ABOVE, _BETWEEN = "(harness/engine/profiled.py", "(harness/profiling/collect.py"
_LINE = re.compile(r"^(?P<stack>.+) (?P<count>\d+)$")


def parse_raw(text: str) -> Counter[Stack]:
    """Return samples by stack, outermost frame first; lines that are no stack are passed over."""
    found: Counter[Stack] = Counter()
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            found[tuple(match["stack"].split(";"))] += int(match["count"])
    return found


@dataclass
class Node:
    """A frame, the samples in it and beneath it, and what it called."""

    name: str
    samples: int = 0
    children: dict[str, Node] = field(default_factory=dict)

    @property
    def own(self) -> int:
        """Samples in the frame itself."""
        return self.samples - sum(child.samples for child in self.children.values())


def tree(stacks: Mapping[Stack, int], root: str = "all") -> Node:
    """Merge stacks into a tree."""
    top = Node(root)
    for stack, count in stacks.items():
        node = top
        node.samples += count
        for frame in stack:
            node = node.children.setdefault(frame, Node(frame))
            node.samples += count
    return top


def self_share(stacks: Mapping[Stack, int]) -> dict[str, float]:
    """Return each frame's share of the samples in which it was innermost."""
    total = sum(stacks.values())
    own: Counter[str] = Counter()
    for stack, count in stacks.items():
        own[stack[-1]] += count
    return {frame: count / total for frame, count in own.most_common()} if total else {}


def speedscope(stacks: Mapping[Stack, int], name: str) -> str:
    """Return the stacks in speedscope's file format, as a sampled profile without a unit."""
    frames: dict[str, int] = {}
    samples = [[frames.setdefault(f, len(frames)) for f in stack] for stack in stacks]
    weights = list(stacks.values())
    return json.dumps(
        {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "name": name,
            "exporter": "inference-harness",
            "shared": {"frames": [_frame(frame) for frame in frames]},
            "profiles": [
                {
                    "type": "sampled",
                    "name": name,
                    "unit": "none",
                    "startValue": 0,
                    "endValue": sum(weights),
                    "samples": samples,
                    "weights": weights,
                }
            ],
        }
    )


def _frame(frame: str) -> dict[str, object]:
    match = re.match(r"^(?P<name>.*) \((?P<file>[^()]*?)(?::(?P<line>\d+))?\)$", frame)
    if not match:
        return {"name": frame}
    made: dict[str, object] = {"name": match["name"], "file": match["file"]}
    return made | ({"line": int(match["line"])} if match["line"] else {})


def of_the_work(stacks: Mapping[Stack, int]) -> Counter[Stack]:
    """Return the stacks without what called the profiled work, and without what watches it."""
    found: Counter[Stack] = Counter()
    for stack, count in stacks.items():
        outside = max((n for n, frame in enumerate(stack, 1) if _ABOVE in frame), default=0)
        found[tuple(frame for frame in stack[outside:] if _BETWEEN not in frame)] += count
    del found[()]
    return found


def without_lines(stacks: Mapping[Stack, int]) -> Counter[Stack]:
    """Return the stacks with frames named by function and file alone: lines move, code stays."""
    found: Counter[Stack] = Counter()
    for stack, count in stacks.items():
        found[tuple(re.sub(r":\d+\)$", ")", frame) for frame in stack)] += count
    return found


def merged(many: Iterable[Mapping[Stack, int]]) -> Counter[Stack]:
    """Add up the samples of several processes."""
    total: Counter[Stack] = Counter()
    for stacks in many:
        total.update(stacks)
    return total
