import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from harness.pictures import marked, png, svg
from harness.theme import DARK, GREY, LIGHT, powers

NAMESPACE = "{http://www.w3.org/2000/svg}"


def figure(words: str = "words", theme: object = LIGHT) -> Figure:
    with theme.applied():  # type: ignore[attr-defined]
        made, (axes,) = theme.axes(height=1.5)  # type: ignore[attr-defined]
        line = axes.plot([0, 1], [0, 1], color=theme.series[0], label=words, marker="o")  # type: ignore[attr-defined]
        marked(line[0], 3, words)
        axes.set_title(words)
    return made


@pytest.mark.parametrize(
    "words", ["</text><script>alert(1)</script>", "$x_{$", "a\u202eb", "%s {x}"]
)
def test_words_are_words_whatever_they_hold(words: str) -> None:
    root = ET.fromstring(svg(figure(words), prefix="a", label=words))

    assert root.get("aria-label") == words
    assert not [e for e in root.iter() if "script" in e.tag]
    assert any(e.text == words for e in root.iter(f"{NAMESPACE}title"))


@given(st.text(st.characters(exclude_categories=["C"]), max_size=40))
@settings(max_examples=10)
def test_any_printable_name_gives_well_formed_svg(words: str) -> None:
    ET.fromstring(svg(figure(words), prefix="a", label=words))


def test_a_series_is_found_again_by_its_number_and_has_its_words() -> None:
    root = ET.fromstring(svg(figure("said"), prefix="a", label="x"))

    (group,) = [e for e in root.iter() if e.get("data-series") == "3"]
    assert group.findtext(f"{NAMESPACE}title") == "said"


def test_two_figures_of_a_page_share_no_id() -> None:
    ids = [
        {e.get("id") for e in ET.fromstring(svg(figure(), prefix=p, label="x")).iter()} - {None}
        for p in ("one", "two")
    ]

    assert ids[0]
    assert not ids[0] & ids[1]


def test_on_a_page_colours_are_the_page_s() -> None:
    text = svg(figure(), prefix="a", label="x", colors=LIGHT.names)

    assert 'stroke="var(--c0)"' in text
    assert "#" + LIGHT.series[0].lstrip("#") not in text
    assert "style=" not in text


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert png(figure()) == png(figure())
    assert svg(figure(), prefix="a", label="x") == svg(figure(), prefix="a", label="x")


def contrast(one: str, other: str) -> float:
    """WCAG 2.1, 1.4.3: relative luminance of the lighter over that of the darker."""

    def luminance(color: str) -> float:
        parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK, GREY], ids=lambda theme: theme.name)
def test_words_and_series_stand_out_from_the_page(theme: object) -> None:
    page = theme.page  # type: ignore[attr-defined]
    for words in (theme.ink, theme.soft, theme.bad, theme.good):  # type: ignore[attr-defined]
        assert contrast(words, page) >= 4.5
    for color in theme.series:  # type: ignore[attr-defined]
        assert contrast(color, page) >= 3.0


@pytest.mark.parametrize("theme", [LIGHT, DARK, GREY], ids=lambda theme: theme.name)
def test_no_two_of_many_series_look_the_same(theme: object) -> None:
    styles = [theme.style(n) for n in range(28)]  # type: ignore[attr-defined]

    assert len({(s.color, s.marker, str(s.dash), s.filled) for s in styles}) == 28


def test_ticks_of_a_logarithmic_axis_are_words() -> None:
    assert [powers(10.0**n) for n in (-9, 0, 12)] == ["10⁻⁹", "10⁰", "10¹²"]
    assert powers(3.0) == ""
