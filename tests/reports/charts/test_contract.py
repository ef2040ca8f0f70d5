"""What every chart keeps, whatever it shows: columns, words, widths, themes, the same bytes."""

import io
import xml.etree.ElementTree as ET

import pandas as pd
import pytest
from PIL import Image, ImageChops

from harness.charts import DARK, GREY, LIGHT, chart, charts
from harness.pictures import png, svg
from harness.store import Run
from harness.testing.runs import example_record, scaled_record

ALL = list(charts())
THREE = {"history"}
TWO = {"comparison"}


class Altered:
    """The sample under another id and day, its figures moved by a factor."""

    def __init__(self, run: Run, day: int, factor: float) -> None:
        self.path, self.problems = run.path, []
        self.samples = run.samples.assign(value=run.samples["value"] * factor)
        self.telemetry = run.telemetry
        self.record = scaled_record(run.record, factor)
        self.record.id = f"202611{day}-000000-default-0000"
        self.record.created_at = f"2026-11-{day}T00:00:00+00:00"


@pytest.fixture(scope="module")
def tables(sample: Run, watched: Run) -> dict[str, pd.DataFrame]:
    """Every chart's table over as many runs as it needs."""
    runs = [watched, Altered(sample, 25, 1.1), Altered(sample, 26, 0.9)]
    count = {name: 3 if name in THREE else 2 if name in TWO else 1 for name in ALL}
    return {name: chart(name).data(runs[: count[name]]) for name in ALL}  # type: ignore[arg-type]


def test_there_is_a_chart_for_every_question_and_no_two_ask_the_same() -> None:
    questions = [each.question for each in charts().values()]

    assert len(questions) == len(set(questions)) >= 12


@pytest.mark.parametrize("name", ALL)
def test_a_run_without_cases_gives_an_empty_table_with_all_columns(name: str) -> None:
    class Empty:
        record = example_record().model_copy(update={"cases": []})
        telemetry = pd.DataFrame()

    data = chart(name).data([Empty()])  # type: ignore[list-item] # charts read no more of it

    assert data.empty
    assert list(data.columns) == list(chart(name).columns)


@pytest.mark.parametrize("name", ALL)
def test_the_table_has_the_columns_that_are_documented(
    name: str, tables: dict[str, pd.DataFrame]
) -> None:
    assert not tables[name].empty
    assert list(tables[name].columns) == list(chart(name).columns)
    assert all(meaning for meaning in chart(name).columns.values())


@pytest.mark.parametrize("name", ALL)
def test_title_and_alternative_text_name_what_is_compared(
    name: str, tables: dict[str, pd.DataFrame]
) -> None:
    data = tables[name]

    assert name == "telemetry" or "eager" in chart(name).title(data) + chart(name).alt(data)
    assert "nan" not in (chart(name).title(data) + chart(name).alt(data)).lower()


@pytest.mark.parametrize("theme", [LIGHT, LIGHT.narrowed()], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", ALL)
def test_as_svg_it_is_well_formed_safe_and_says_how_many_samples(
    name: str, tables: dict[str, pd.DataFrame], theme: object
) -> None:
    data = tables[name]
    figure = chart(name).figure(data, theme, titled=False)  # type: ignore[arg-type]

    root = ET.fromstring(svg(figure, prefix=name, label="words", colors=LIGHT.names))

    attributes = {key for element in root.iter() for key in element.attrib}
    assert not attributes & {"style", "class", "onload"}
    texts = " ".join(" ".join(e.itertext()) for e in root.iter() if e.tag.endswith("text"))
    assert "n = " in texts
    assert "$" not in texts
    assert 4_000 < len(ET.tostring(root)) < 150_000


@pytest.mark.parametrize("name", ALL)
def test_the_same_table_gives_the_same_bytes(name: str, tables: dict[str, pd.DataFrame]) -> None:
    data = tables[name]

    def drawn() -> str:
        return svg(chart(name).figure(data), prefix="x", label="x")

    assert drawn() == drawn()


@pytest.mark.parametrize("name", ["fastest", "memory"])
def test_themes_differ_in_their_page_and_grey_has_no_colour(
    name: str, tables: dict[str, pd.DataFrame]
) -> None:
    data = tables[name]
    pictures = [_image(name, data, theme) for theme in (LIGHT, DARK, GREY)]

    assert pictures[0].getpixel((2, 2)) == (255, 255, 255)
    assert pictures[1].getpixel((2, 2)) == (0x14, 0x18, 0x1C)
    red, green, blue = pictures[2].split()
    assert ImageChops.difference(red, green).getbbox() is None
    assert ImageChops.difference(green, blue).getbbox() is None


def _image(name: str, data: pd.DataFrame, theme: object) -> Image.Image:
    figure = chart(name).figure(data, theme)  # type: ignore[arg-type]
    return Image.open(io.BytesIO(png(figure, dpi=72))).convert("RGB")
