import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from harness.cautions import CautionKind, caution
from harness.reading import Reading
from harness.store import Run, Store
from harness.store.record import Failure, Figure, RunRecord
from harness.store.samples import COLUMNS
from harness.testing.runs import example_record
from reports.charts.fastest import FastestChart
from reports.html.report import HtmlReport
from reports.html.report import page as page_of

Stored = Callable[..., Run]

_MEMORY = "smollm2-135m/eager[dtype=bfloat16]/memory"
_VOID = {"meta", "hr", "br", "input"}
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

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

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


def written(record: RunRecord, folder: Path) -> str:
    """The page of a run of this record, as it lies on the disk."""
    with Store(folder / "store").create(record) as writer:
        HtmlReport().write([Run(writer.path)], folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the example."""
    return written(example_record(), tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def found(text: str) -> Page:
    """The page of the example as a browser would read it."""
    return Page(text)


def test_the_page_begins_with_what_when_and_the_answer(found: Page) -> None:
    text = found.text

    assert text.index("default, 2026-11-24 04:15 UTC, 3 rounds") < text.index(
        "eager bfloat16 is 1.78× [1.75, 1.81] faster than eager float32 in latency"
    )
    assert "all tokens agree with the float32 reference" in text
    assert "AMD EPYC 7B13, 2 cores" in text


def test_every_figure_definition_and_the_command_are_in_the_page(
    found: Page,
) -> None:
    record, text = example_record(), found.text

    for metric in record.metrics:
        assert metric.definition in text
    for value in ("27.4 ms", "29.0 ms", "33.2 ms", "MBU 62 %", "MFU 41 %", "658 MiB", "121 tok/s"):
        assert value in text
    assert "harness run default --report html" in text
    assert '"backend.dtype" = ["float32", "bfloat16"]' in text
    assert "others used 0.31 cores" in text
    assert "stop other work on the machine" in text


def test_all_tags_are_closed_and_nothing_is_loaded(found: Page) -> None:
    assert found.open == []
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"link", "img", "iframe", "object", "embed", "form", "base", "image"}
    attributes = {name for _, attrs in found.tags for name in attrs}
    assert not {a for a in attributes if a.startswith("on")} | attributes & {"src", "style"}
    links = {attrs.get("href") or "" for _, attrs in found.tags if "href" in attrs}
    assert all(link.startswith("#") for link in links)


def test_every_link_of_the_page_leads_somewhere_and_no_id_is_used_twice(
    found: Page,
) -> None:
    tags = found.tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    links = {attrs[name] for _, attrs in tags for name in ("href", "xlink:href") if name in attrs}
    clips = {attrs["clip-path"] for _, attrs in tags if "clip-path" in attrs}

    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in links if link} <= set(ids)
    assert {clip[len("url(#") : -1] for clip in clips if clip} <= set(ids)


def test_the_policy_allows_our_style_and_script_and_nothing_else(found: Page, text: str) -> None:
    policy = next(attrs["content"] for tag, attrs in found.tags if attrs.get("http-equiv"))
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)

    def digest(words: str) -> str:
        return base64.b64encode(hashlib.sha256(words.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest(style)}'; "
        f"script-src 'sha256-{digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    assert "url(" not in style
    assert "@import" not in style


def test_every_chart_is_described_in_words_and_drawn_for_desk_and_phone(
    found: Page,
) -> None:
    charts = [attrs for tag, attrs in found.tags if tag == "svg" and attrs.get("role") == "img"]
    questions = [a for tag, a in found.tags if tag == "section" and a.get("class") == "question"]

    assert len(charts) == 2 * len(questions) > 6
    assert "eager bfloat16 itl_ms" in (charts[0]["aria-label"] or "")
    assert "1.78× [1.75, 1.81] of eager float32" in (charts[0]["aria-label"] or "")


def test_what_cannot_be_answered_says_what_it_would_need(found: Page) -> None:
    assert "How did it go over time? needs three runs or more" in found.text
    assert "could not be drawn" not in found.text


def test_a_chart_that_breaks_costs_its_question_and_not_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("<b>no</b>")

    monkeypatch.setattr(FastestChart, "title", broken)
    text = Page(written(example_record(), tmp_path)).text

    assert "Which is fastest? could not be drawn: ValueError: <b>no</b>" in text
    assert "Are the tokens right?" in text


def test_the_data_of_the_charts_is_in_the_page_as_json(
    text: str,
) -> None:
    (json_text,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL
    )
    data = json.loads(json_text)

    table = data["charts"]["fastest"]["data"]
    assert set(table) == set(data["charts"]["fastest"]["columns"])
    assert table["value"][table["label"].index("eager float32")] == 27.4
    assert data["runs"] == [example_record().id]


def test_a_page_of_several_runs_marks_whose_figures_are_whose(stored: Stored) -> None:
    second = example_record(run_id="20261125-041502-default-aaaa")
    second.resumed_at = ["2026-11-25T05:00:00+00:00"]
    text = Page(page_of([stored(), stored(second)])).text

    assert "A, the base" in text
    assert "B · default" in text
    assert "B eager float32 (resumed)" in text
    assert "resumed" in text
    assert "What changed?" in text
    assert "could not be drawn" not in text


def test_a_simulated_figure_is_marked_wherever_it_stands(tmp_path: Path) -> None:
    record = example_record()
    record.cases[0].cautions.append(caution(CautionKind.SIMULATED, "the sensor is simulated"))

    text = Page(written(record, tmp_path)).text

    assert "simulated: 1 of 6 cases" in text
    assert "eager float32 (simulated)" in text


def test_failed_and_incorrect_cases_say_why_with_log_and_command(
    tmp_path: Path,
) -> None:
    incorrect = "smollm2-135m/eager[dtype=bfloat16]/throughput"
    record = example_record(statuses={_MEMORY: "failed", incorrect: "incorrect"})
    text = Page(written(record, tmp_path)).text

    assert "failed in measure: the worker was killed (SIGSEGV)" in text
    assert "Fatal Python error: Segmentation fault" in text
    assert "python -P -m harness.engine.worker task.json" in text
    assert "incorrect: no speed is given; tokens wrong" in text
    assert "1 incorrect and 1 failed without figures" in text


def test_a_run_without_cases_and_a_report_without_runs_are_pages(
    tmp_path: Path,
) -> None:
    record = example_record()
    record.cases = []

    assert "No case has a figure." in Page(written(record, tmp_path)).text
    assert "No run" in Page(page_of([])).text


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
def test_hostile_names_are_only_text(found: Page, word: str, tmp_path: Path) -> None:
    plain, found = found, Page(written(hostile(word), tmp_path))

    assert found.open == []
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in plain.tags} | {"pre", "details"}
    assert sum(tag == "script" for tag, _ in found.tags) == 2
    names = {name for _, attrs in plain.tags for name in attrs}
    assert {name for _, attrs in found.tags for name in attrs} <= names | {"open", "title"}
    assert not set("\x1b\u202e\u2028\ufeff") & set(found.text)
    assert "49" not in re.findall(r"\b49\b", found.text)


@given(st.text(max_size=60))
@settings(max_examples=5, phases=[Phase.explicit, Phase.generate])
def test_no_name_changes_the_structure_of_the_page(word: str) -> None:
    import pandas as pd

    class Stub:
        record, problems, path = hostile(word), [word], Path("/nowhere")
        samples = pd.DataFrame(columns=list(COLUMNS))
        telemetry = pd.DataFrame()

        def log_path(self, *_: object) -> Path:
            return Path("/nowhere")

    Stub.record.cases = [Stub.record.cases[0], Stub.record.cases[-1]]
    page = Page(page_of([Stub()]))  # type: ignore[list-item] # a page reads these and no more

    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"img", "iframe", "b", "i"}
    assert sum(tag == "script" for tag, _ in page.tags) == 2
