"""Figures as files: SVG for pages and papers, PNG for the rest. It must not know what they show.

matplotlib writes styles as attributes, which a page with a strict policy refuses, and ids that two
figures on one page share. Here they become plain attributes and ids of their own.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

__all__ = ["marked", "png", "svg"]

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"
_DROPPED = {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}
_FONT = re.compile(r"(?:(?P<weight>\d{3}|bold)\s+)?(?P<size>[\d.]+)px\b.*")
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_REFERENCE = re.compile(r"(?<=url\(#)[\w.-]+|(?<=^#)[\w.-]+")
_NUMERIC = {"d", "transform", "points", "x", "y", "width", "height", "stroke-dasharray"}
_MARK = "mark "


def marked(artist: Artist, series: int | None, words: str = "") -> None:
    """Tie what is drawn to a series, and to words that stand beside it when it is pointed at."""
    artist.set_gid(_MARK + quote(f"{'' if series is None else series}\n{words}", safe=""))


def png(figure: Figure, *, dpi: int = 144) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with _quiet():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure, *, prefix: str, label: str, colors: Mapping[str, str] | None = None) -> str:
    """Return a figure as SVG, without ids, styles or fonts of others: fit for a file or a page.

    Args:
        figure: What to write; text stays text.
        prefix: Begins every id: another for each figure of a page. Letters, digits and hyphens.
        label: Alternative text.
        colors: Colour as drawn to a name; where given, colours are `var(--name)` of the page.
    """
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}), _quiet():
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=bool(colors))
    root = ET.fromstring(buffer.getvalue())  # noqa: S314 - matplotlib wrote it a line ago
    used = {name for e in root.iter() for v in e.attrib.values() for name in _REFERENCE.findall(v)}
    for element in list(root.iter()):
        for child in [c for c in element if c.tag in _DROPPED]:
            element.remove(child)
        _plain_attributes(element, prefix, used, colors or {})
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    root.attrib.pop("version", None)
    root.set("role", "img")
    root.set("aria-label", label)
    if not colors:
        root.set("font-family", "DejaVu Sans, Verdana, sans-serif")
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    return ET.tostring(_merged(root), encoding="unicode")


def _plain_attributes(
    element: ET.Element, prefix: str, used: set[str], colors: Mapping[str, str]
) -> None:
    attributes = element.attrib
    attributes.pop("font-family", None)  # the page's own, or the file's
    attributes.update(_declared(attributes.pop("style", "")))
    name = attributes.pop("id", "")
    for key, value in list(attributes.items()):
        if value.startswith("rotate(-0 "):
            del attributes[key]
        elif key == _HREF or "url(#" in value:
            attributes[key] = _REFERENCE.sub(lambda m: f"{prefix}-{m[0]}", value)
        elif value in colors:
            attributes[key] = f"var(--{colors[value]})"
        elif key in _NUMERIC:
            attributes[key] = _NUMBER.sub(_shortened, " ".join(value.split()))
    if name.startswith(_MARK):
        _tie(element, unquote(name.removeprefix(_MARK)))
    elif name in used:
        attributes["id"] = f"{prefix}-{name}"


def _declared(style: str) -> Iterator[tuple[str, str]]:
    """Yield a style's declarations as attributes: `font: bold 9px …` becomes two."""
    for part in style.split(";"):
        key, _, value = (piece.strip() for piece in part.partition(":"))
        font = _FONT.match(value) if key == "font" else None
        if font:
            yield "font-size", font["size"]
            if font["weight"]:
                yield "font-weight", font["weight"]
        elif key and key != "font":
            yield key, value


def _shortened(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _tie(element: ET.Element, mark: str) -> None:
    series, _, words = mark.partition("\n")
    if series:
        element.set("data-series", series)
    if words:
        title = ET.Element(f"{{{_SVG}}}title")
        title.text = words
        element.insert(0, title)


def _merged(root: ET.Element) -> ET.Element:
    """Drop groups and line breaks that say nothing: a quarter of the bytes."""
    group, words = f"{{{_SVG}}}g", {f"{{{_SVG}}}{name}" for name in ("text", "tspan", "title")}
    for element in reversed(list(root.iter())):
        children: list[ET.Element] = []
        for child in element:
            children += list(child) if child.tag == group and not child.attrib else [child]
        element[:] = children
        element.tail = None
        if element.tag not in words:
            element.text = None
    return root


@contextmanager
def _quiet() -> Iterator[None]:
    """A name may hold characters that the font lacks; the page's reader may have them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+", category=UserWarning)
        warnings.filterwarnings(
            "ignore", message=r"constrained_layout not applied", category=UserWarning
        )
        yield
