"""Sampled stacks as a flame graph: one SVG that needs no script, no font and no network.

A frame's width is its share of all samples, the outermost on top; a frame's title shows on hover.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from html import escape

from harness.profiling.stacks import Node, Stack, tree
from harness.shown import printable

__all__ = ["flame_graph"]

_WIDTH = 1200.0
_ROW = 17
_LEAST = 0.5
"""Narrower frames, in pixels, are left out: their time is the bare part of the frame above."""
_CHARACTER = 6.6
_HUES = ("#f4a582", "#fddbc7", "#fdb863", "#e8c39e", "#f6b48f", "#fee0b6")


def flame_graph(stacks: Mapping[Stack, int], title: str) -> str:
    """Return the graph; names are escaped, and cut to what fits."""
    root = tree(stacks)
    frames = list(_frames(root, 0.0, 0, _WIDTH / max(1, root.samples)))
    height = (2 + max((depth for *_, depth in frames), default=0)) * _ROW + 6
    drawn = "".join(_drawn(node, x, width, depth, root.samples) for node, x, width, depth in frames)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {height}" '
        f'font-family="monospace" font-size="11" role="img" '
        f'aria-label="{escape(printable(title))}">'
        f'<text x="4" y="12">{escape(printable(title))}, {root.samples} samples</text>'
        f"{drawn}</svg>\n"
    )


def _frames(
    node: Node, x: float, depth: int, scale: float
) -> Iterator[tuple[Node, float, float, int]]:
    width = node.samples * scale
    if width < _LEAST:
        return
    yield node, x, width, depth
    for child in sorted(node.children.values(), key=lambda child: child.name):
        yield from _frames(child, x, depth + 1, scale)
        x += child.samples * scale


def _drawn(node: Node, x: float, width: float, depth: int, whole: int) -> str:
    name = printable(node.name)
    shown = name[: int((width - 4) / _CHARACTER)] if width > 4 * _CHARACTER else ""
    y = (depth + 1) * _ROW
    hue = _HUES[zlib.crc32(node.name.encode("utf-8", "replace")) % len(_HUES)]
    label = f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(shown)}</text>' if shown else ""
    return (
        f"<g><title>{escape(name)}: {node.samples / whole:.1%}, of which itself "
        f"{node.own / whole:.1%}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - 1}" fill="{hue}"/>'
        f"{label}</g>"
    )
