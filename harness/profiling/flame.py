"""Stacks as a picture: one SVG that needs no script, no font and no network.

A frame's width is its share of the whole, what called it above it, the outermost on top; a frame's
title shows on hover. Flame graphs of samples, icicles of phases, families and operators, and the
difference of two flame graphs are the same picture in other colours.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape

from harness.profiling.stacks import Node, Stack, tree
from harness.shown import printable

__all__ = ["FILE", "Look", "differential", "flame_graph"]

_ROW = 17
_LEAST = 0.5
"""Narrower frames, in pixels, are left out: their time is the bare part of the frame above."""
_CHARACTER = 6.6
_HUES = ("#f4a582", "#fddbc7", "#fdb863", "#e8c39e", "#f6b48f", "#fee0b6")

Colour = Callable[[Stack], tuple[str, float]]
"""From a frame with those that called it to a colour and its opacity."""


def _warm(stack: Stack) -> tuple[str, float]:
    name = stack[-1] if stack else ""
    return _HUES[zlib.crc32(name.encode("utf-8", "replace")) % len(_HUES)], 1.0


def _samples(_: Stack, node: Node, whole: int) -> str:
    return f"{node.samples / whole:.1%}, of which itself {node.own / whole:.1%}"


@dataclass(frozen=True)
class Look:
    """How a graph is drawn."""

    width: float = 1200.0
    colour: Colour = _warm
    words: Callable[[Stack, Node, int], str] = _samples
    """What a frame's title says behind its name, of a whole of so many samples."""
    ink: str = "#1b1f24"
    """Of names in frames."""
    unit: str = "samples"
    by_size: bool = False
    """Whether frames stand by their width rather than by name."""
    titled: bool = True
    root: str = "all"
    """Name of the outermost frame."""


FILE = Look()
"""As a file of its own."""


def flame_graph(stacks: Mapping[Stack, int], title: str, look: Look = FILE) -> str:
    """Return the graph; names are escaped, and cut to what fits."""
    root = tree(stacks, look.root)
    scale = look.width / max(1, root.samples)
    frames = list(_frames(root, (), 0.0, scale, look))
    top = _ROW if look.titled else 0
    height = (1 + max((len(stack) for *_, stack in frames), default=0)) * _ROW + top + 6
    drawn = "".join(
        _drawn(node, x, width, stack, root.samples, look, top) for node, x, width, stack in frames
    )
    words = escape(printable(title))
    said = f'<text x="4" y="12">{words}, {root.samples} {look.unit}</text>' if look.titled else ""
    font = ' font-family="monospace"' if look.titled else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {look.width:g} {height}"{font} '
        f'font-size="11" role="img" aria-label="{words}">{said}{drawn}</svg>\n'
    )


def differential(
    base: Mapping[Stack, int], cand: Mapping[Stack, int], title: str, look: Look = FILE
) -> str:
    """Return the candidate's flame graph, coloured by what grew and shrank since base.

    Args:
        base: In the unit of `cand`, say nanoseconds of an iteration; frames without line numbers,
            which move from one revision to the next.
        cand: Likewise.
        title: Of the graph.
        look: Its colours are not used: red grew, blue shrank, the fuller the more of the whole.
    """
    before, totals = _totals(base), _totals(cand)
    whole = max(1, sum(base.values()), sum(cand.values()))
    strongest = max((abs(now - before.get(stack, 0)) for stack, now in totals.items()), default=0)

    def colour(stack: Stack, now: int) -> tuple[str, float]:
        change = now - before.get(stack, 0)
        if abs(change) < 0.01 * whole:
            return "#d9dee4", 1.0
        return ("#d7301f" if change > 0 else "#2b7bba"), 0.15 + 0.6 * abs(change) / strongest

    made = replace(
        look,
        colour=lambda stack: colour(stack, totals.get(stack, 0)),
        words=lambda stack, node, _: _change_words(node.samples, before.get(stack, 0)),
    )
    return flame_graph(cand, title, made)


def _change_words(now: int, before: int) -> str:
    change = (now - before) / 1e6
    return f"{now / 1e6:.3g} ms, {'new' if not before else f'{change:+.3g} ms'}"


def _totals(stacks: Mapping[Stack, int]) -> dict[Stack, int]:
    found: dict[Stack, int] = {}
    for stack, count in stacks.items():
        for depth in range(len(stack) + 1):
            found[stack[:depth]] = found.get(stack[:depth], 0) + count
    return found


def _frames(
    node: Node, stack: Stack, x: float, scale: float, look: Look
) -> Iterator[tuple[Node, float, float, Stack]]:
    width = node.samples * scale
    if width < _LEAST:
        return
    yield node, x, width, stack
    for child in sorted(
        node.children.values(), key=lambda c: (-c.samples if look.by_size else 0, c.name)
    ):
        yield from _frames(child, (*stack, child.name), x, scale, look)
        x += child.samples * scale


def _drawn(
    node: Node, x: float, width: float, stack: Stack, whole: int, look: Look, top: int
) -> str:
    name = printable(node.name)
    shown = name[: int((width - 4) / _CHARACTER)] if width > 4 * _CHARACTER else ""
    y = len(stack) * _ROW + top
    fill, opacity = look.colour(stack)
    faint = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
    label = (
        f'<text x="{x + 3:.1f}" y="{y + 12}" fill="{look.ink}">{escape(shown)}</text>'
        if shown
        else ""
    )
    return (
        f"<g><title>{escape(name)}: {escape(look.words(stack, node, whole))}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.3):.1f}" height="{_ROW - 1}" '
        f'fill="{fill}"{faint}/>{label}</g>'
    )
