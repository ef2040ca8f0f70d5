"""A flame graph is one safe SVG whose widths are shares of samples."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.profiling.flame import Look, differential, flame_graph

SVG = "{http://www.w3.org/2000/svg}"


def widths(svg: str) -> dict[str, float]:
    found = {}
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        title, rect = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None
        assert rect is not None
        found[str(title.text).partition(":")[0]] = float(rect.attrib["width"])
    return found


def test_a_frames_width_is_its_share_of_the_samples() -> None:
    seen = widths(flame_graph({("main", "step"): 3, ("main",): 1}, "case"))

    assert seen == pytest.approx({"all": 1200, "main": 1200, "step": 900}, abs=0.6)


def test_children_lie_inside_of_their_caller_and_do_not_overlap() -> None:
    svg = flame_graph({("main", "a"): 1, ("main", "b"): 1}, "case")

    rects = [r.attrib for r in ET.fromstring(svg).iter(f"{SVG}rect")]
    assert [float(r["x"]) for r in rects[2:]] == [0, 600]


@given(st.text(min_size=1))
def test_no_name_of_a_frame_breaks_the_picture(name: str) -> None:
    svg = flame_graph({("main", name): 1}, name)

    assert {element.tag.removeprefix(SVG) for element in ET.fromstring(svg).iter()} <= {
        "svg", "g", "title", "rect", "text",
    }  # fmt: skip


def fills(svg: str) -> dict[str, str]:
    found = {}
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        title, rect = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None
        assert rect is not None
        found[str(title.text)] = rect.attrib["fill"]
    return found


def test_what_grew_is_red_what_shrank_blue_and_the_rest_grey() -> None:
    base = {("a",): 5_000_000, ("b",): 4_000_000, ("c",): 3_000_000}
    cand = {("a",): 9_000_000, ("b",): 2_000_000, ("c",): 3_000_000, ("d",): 1_000_000}

    assert fills(differential(base, cand, "case")) == {
        "all: 15 ms, +3 ms": "#d7301f",
        "a: 9 ms, +4 ms": "#d7301f",
        "b: 2 ms, -2 ms": "#2b7bba",
        "c: 3 ms, +0 ms": "#d9dee4",
        "d: 1 ms, new": "#d7301f",
    }


def test_frames_by_size_stand_the_widest_first() -> None:
    svg = flame_graph({("a",): 1, ("z",): 3}, "case", Look(by_size=True, titled=False))

    rects = [r.attrib for r in ET.fromstring(svg).iter(f"{SVG}rect")]
    assert [float(r["width"]) for r in rects[1:]] == pytest.approx([900, 300], abs=0.6)
