from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.store import Run
from harness.store.record import RunRecord
from harness.testing.runs import example_record
from reports.markdown import MarkdownReport, _plain

Stored = Callable[..., Run]
_MEMORY = "smollm2-135m/eager[dtype=bfloat16]/memory"


@pytest.fixture
def text(stored: Stored, tmp_path: Path) -> Callable[..., str]:
    def write(record: RunRecord | None = None) -> str:
        MarkdownReport().write([stored(record)], tmp_path / "report.md")
        return (tmp_path / "report.md").read_text(encoding="utf-8")

    return write


def rendered(source: str) -> str:
    """As a reader of Markdown with tables and links shows it; HTML in it stays HTML."""
    return MarkdownIt("commonmark").enable("table").render(source)


def test_the_answer_is_the_heading_and_the_figures_are_a_table(text: Callable[..., str]) -> None:
    source = text()

    assert source.startswith(
        "### eager bfloat16: itl_ms 15.4 ms ± 1.2 %, 1.78× \\[1.75, 1.81\\] faster than "
        "eager float32 (27.4 ms)\n"
    )
    assert (
        "| | itl_ms | 27.4 ms | ± 1.2 % | 29.0 ms | 33.2 ms | MBU 62 % | |".replace("| |", "|  |")
        in source
    )
    assert "- ⚠ " in source


def test_the_table_renders_with_one_row_per_line_and_eight_cells_each(
    text: Callable[..., str],
) -> None:
    html = rendered(text(example_record(statuses={_MEMORY: "failed"})))

    assert html.count("<table>") == 1
    rows = html.split("<tr>")[2:]
    assert len(rows) == 3 + 2 + 1 + 3 + 2 + 1
    assert {row.count("<td") for row in rows} == {8}
    assert "failed in measure: the worker was killed (SIGSEGV)" in html


def test_a_word_of_the_field_is_readable_in_the_source(text: Callable[..., str]) -> None:
    assert "decode_tokens_per_s batch=4" in text()


@pytest.mark.parametrize(
    "word",
    ["<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](http://x/y.png)", "a | b | c",
     "`code`", "**bold**", "_it_ __it__", "#1", "@user", "https://example.com", "www.example.com",
     "~~x~~", "$x$", "&lt;", ":tada:", "\x1b[31m\u202e", "a\nb\n\n# c", "- x", "+ x", "\\"],
)  # fmt: skip
def test_a_hostile_name_is_only_text(text: Callable[..., str], word: str) -> None:
    record = example_record()
    record.cases[0].id = word
    html = rendered(text(record))

    assert html.count("<td") == 8 * 12
    for tag in ("<script", "<a ", "<img", "<code", "<strong", "<em", "<del", "<h1"):
        assert tag not in html
    assert "\x1b" not in html


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("hf://org/name@main", "hf&#58;//org/name@<!-- -->main"),
        ("see #12", "see \\#<!-- -->12"),
        ("www.example.com", "www&#46;example.com"),
        (":tada: at 04:15", "&#58;tada: at 04:15"),
        ("$x$ ~~y~~", "\\$x\\$ \\~\\~y\\~\\~"),
        ("decode_tokens_per_s __init__", "decode_tokens_per_s \\_\\_init\\_\\_"),
    ],
)
def test_what_github_would_link_or_draw_is_kept_from_it(word: str, written: str) -> None:
    assert _plain(word) == written


@given(st.text(max_size=40).filter(str.strip))
def test_any_text_stays_one_cell_and_reads_as_itself(word: str) -> None:
    from html import unescape

    from harness.shown import printable

    html = rendered(f"| h |\n|---|\n| {_plain(word)} |")

    assert html.count("<td") == 1
    cell = html.split("<td>")[1].split("</td>")[0]
    assert unescape(cell.replace("<!-- -->", "")).strip() == printable(word).strip()
