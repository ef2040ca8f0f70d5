import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cautions import CautionKind, caution
from harness.reading import Reading
from harness.store import Run
from harness.store.record import Failure, Figure, RunRecord
from harness.testing.runs import example_record
from reports.html import HtmlReport, _page, _scale

Stored = Callable[..., Run]

_MEMORY = "smollm2-135m/eager[dtype=bfloat16]/memory"
_VOID = {"meta", "hr", "line", "circle", "br"}
_HOSTILE = "</style><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e\x1b[31m&amp;"


class Page(HTMLParser):
    """What a browser would make of it: tags, attributes, text; and whether tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def page(stored: Stored, tmp_path: Path) -> Callable[..., Page]:
    def write(record: RunRecord | None = None) -> Page:
        HtmlReport().write([stored(record)], tmp_path / "report.html")
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return write


def test_the_page_begins_with_what_when_and_the_answer(page: Callable[..., Page]) -> None:
    text = page().text

    assert text.index("default, 2026-11-24 04:15 UTC, 3 rounds") < text.index(
        "eager bfloat16: itl_ms 15.4 ms ± 1.2 %, 1.78× [1.75, 1.81] faster than eager float32"
    )
    assert "all tokens agree with the float32 reference" in text
    assert "AMD EPYC 7B13, 2 cores" in text


def test_every_figure_definition_and_the_command_are_in_the_page(
    page: Callable[..., Page],
) -> None:
    record = example_record()
    text = page(record).text

    for metric in record.metrics:
        assert metric.definition in text
    for value in ("27.4 ms", "29.0 ms", "33.2 ms", "MBU 62 %", "MFU 41 %", "658 MiB", "121 tok/s"):
        assert value in text
    assert "harness run default --report html" in text
    assert '"backend.dtype" = ["float32", "bfloat16"]' in text
    assert "others used 0.31 cores" in text
    assert "stop other work on the machine" in text


def test_all_tags_are_closed_and_nothing_is_loaded_or_run(page: Callable[..., Page]) -> None:
    found = page()

    assert found.open == []
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "a"}
    attributes = {name for _, attrs in found.tags for name in attrs}
    assert not {a for a in attributes if a.startswith("on")} | attributes & {"src", "href", "style"}


def test_the_policy_allows_this_style_and_nothing_else(
    page: Callable[..., Page], tmp_path: Path
) -> None:
    policy = next(attrs["content"] for tag, attrs in page().tags if attrs.get("http-equiv"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)

    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_plots_are_described_in_words_and_show_what_the_figures_say(
    page: Callable[..., Page],
) -> None:
    plots = [attrs for tag, attrs in page().tags if tag == "svg" and attrs.get("role") == "img"]

    assert len(plots) == 2 + 4 + 2
    assert plots[0]["aria-label"] == ("eager bfloat16 15.4 ms, 95 % interval 15.2 ms to 15.6 ms")


def test_dots_are_placed_as_far_from_zero_as_their_values(page: Callable[..., Page]) -> None:
    dots = [float((attrs["cx"] or "").rstrip("%")) for tag, attrs in page().tags if tag == "circle"]

    assert dots[1] / dots[0] == pytest.approx(1.78, rel=0.01)
    assert all(0 <= dot <= 100 for dot in dots)


def test_an_interval_of_enormous_width_does_not_press_the_dots_together(
    page: Callable[..., Page],
) -> None:
    record = example_record()
    figure = next(f for f in record.cases[0].figures if f.metric == "itl_ms")
    figure.reading = Reading(value=27.4, low=1e-6, high=1e9)

    found = page(record)

    places = [
        float(attrs[name].rstrip("%"))  # type: ignore[union-attr] # they have the attribute
        for tag, attrs in found.tags
        for name in ("x1", "x2", "cx")
        if name in attrs
    ]
    assert all(0 <= place <= 100 for place in places)
    assert "without an end cap where they go on" in found.text


def test_failed_and_incorrect_cases_say_why_with_log_and_command(
    page: Callable[..., Page],
) -> None:
    incorrect = "smollm2-135m/eager[dtype=bfloat16]/throughput"
    text = page(example_record(statuses={_MEMORY: "failed", incorrect: "incorrect"})).text

    assert "failed in measure: the worker was killed (SIGSEGV)" in text
    assert "Fatal Python error: Segmentation fault" in text
    assert "python -P -m harness.engine.worker task.json" in text
    assert "incorrect: no speed is given; tokens wrong" in text
    assert "1 incorrect and 1 failed without figures" in text


def test_a_run_without_cases_and_a_report_without_runs_are_pages(
    page: Callable[..., Page],
) -> None:
    record = example_record()
    record.cases = []

    assert "No case has a figure." in page(record).text
    assert "No run" in Page(_page([])).text


def hostile(word: str) -> RunRecord:
    """The example with `word` wherever a file, a plugin or a worker has a say."""
    record = example_record(statuses={_MEMORY: "failed"})
    record.suite = record.suite_text = record.harness_version = word
    record.command = [word]
    record.environment = {word: word, "cpu": {"model": word}}
    case = record.cases[0]
    case.id = case.model = case.backend = word
    case.backend_options = {word: word, "dtype": word}
    case.figures.append(
        Figure(metric=word, point=word, statistic="p50", reading=Reading.absent(word or "why"))
    )
    case.cautions.append(caution(CautionKind.SWAP, word, metric=word, point=word))
    record.cases[-1].rounds[0].failure = Failure(
        phase=word, reason=word, signal=word, log_tail=f"{word}\n{word}"
    )
    record.metrics[0] = record.metrics[0].model_copy(
        update={"definition": word, "pooled": word, "unit": word}
    )
    record.metrics[1] = record.metrics[1].model_copy(update={"name": word, "definition": word})
    for figure in case.figures:
        figure.metric = word if figure.metric == "itl_ms" else figure.metric
    return record


@pytest.mark.parametrize("word", [_HOSTILE, "x" * 10_000, "{{ 7*7 }}{% raw %}", "\u2028\ufeff"])
def test_hostile_names_are_only_text(page: Callable[..., Page], word: str, tmp_path: Path) -> None:
    plain, found = page(), None
    (tmp_path / "store" / "runs" / plain_id()).rename(tmp_path / "elsewhere")
    found = page(hostile(word))

    assert found.open == []
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in plain.tags} | {"pre", "details"}
    names = {name for _, attrs in plain.tags for name in attrs}
    assert {name for _, attrs in found.tags for name in attrs} <= names | {"open", "title"}
    assert not set("\x1b\u202e\u2028\ufeff") & set(found.text)
    assert "49" not in re.findall(r"\b49\b", found.text)


def plain_id() -> str:
    return example_record().id


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=25)
def test_no_name_changes_the_structure_of_the_page(word: str) -> None:
    class Stub:
        record, problems = hostile(word), [word]

    page = Page(_page([Stub()]))  # type: ignore[list-item] # a page reads these two and no more

    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "img", "a", "iframe"}


@given(st.floats(1e-6, 1e12), st.sampled_from(["ms", "bytes"]))
def test_an_axis_ends_at_or_just_above_the_largest_value_in_few_steps(
    most: float, unit: str
) -> None:
    top, step = _scale(most, unit)

    assert most <= top * (1 + 1e-9)
    assert top <= 2.6 * most
    assert 1 <= round(top / step) <= 5
