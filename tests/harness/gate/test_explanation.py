"""An explanation written out: safe, offline, the same in each form."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.gate.blame import Blamed
from harness.gate.outputs.explanation import (
    explanation_html,
    explanation_json,
    explanation_markdown,
    explanation_writer,
)
from harness.gate.why import Explained, PhaseExplained
from harness.profiling.causes import causes, sentence
from harness.profiling.difference import difference
from harness.profiling.record import PhaseProfile, Profile, Row

HOSTILE = "</title><script>alert(1)</script>|x"
BLAMED = Blamed("cache.py", 41, "1a2b3c4d5", "Some | one", "2026-11-24", HOSTILE)


def profiles(copy_ns: float) -> list[Profile]:
    made = []
    for number in range(4):
        rows = [
            Row(operator=name, function=f"m/cache.py:{HOSTILE}", line=41, family="copy", calls=30,
                ns=ns * (1 + 0.01 * number))
            for name, ns in (("aten::linear", 9e6), ("aten::copy_", copy_ns))
        ]  # fmt: skip
        total = sum(row.ns for row in rows)
        phase = PhaseProfile(phase="decode", plain_ns=total, profiled_ns=total, rows=rows)
        made.append(Profile(case="case", round=number, phases=[phase]))
    return made


@pytest.fixture
def found() -> list[Explained]:
    change = difference(profiles(1e6), profiles(3e6), "decode")
    assert change is not None
    named = causes(change)
    words = sentence(change, named, BLAMED.words)
    phase = PhaseExplained("decode", words, change, named, [BLAMED for _ in named])
    stacks = {("step (d.py)",): 10_000_000}, {("step (d.py)", HOSTILE): 12_000_000}
    return [Explained(f"tiny/{HOSTILE}", [phase], *stacks, [HOSTILE], [HOSTILE])]


def test_the_first_sentence_names_the_commit(found: list[Explained]) -> None:
    text = found[0].phases[0].sentence

    assert text.startswith("decode +20.0 %")
    assert "aten::copy_ called from m/cache.py:41" in text
    assert "new since 1a2b3c4d5" in text


@pytest.mark.parametrize("write", [explanation_html, explanation_markdown])
def test_no_name_can_break_out(
    found: list[Explained], write: Callable[[list[Explained]], str]
) -> None:
    assert "<script" not in write(found).replace("\\<", "")


def test_the_page_has_the_flames_and_asks_for_nothing(found: list[Explained]) -> None:
    page = explanation_html(found)

    assert page.count("<svg") == 2
    assert "src=" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_table_shows_before_after_and_change(found: list[Explained]) -> None:
    line = next(
        line for line in explanation_markdown(found).splitlines() if line.startswith("| aten::copy")
    )
    assert "1.01 ms | 3.04 ms | +2.03 ms | 30 |" in line


def test_json_has_every_row_and_who_brought_it(found: list[Explained]) -> None:
    (phase,) = json.loads(explanation_json(found))

    assert {row["operator"] for row in phase["rows"]} == {"aten::linear", "aten::copy_"}
    assert phase["causes"][0]["blamed"]["commit"] == "1a2b3c4d5"


def test_a_form_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="names no form"):
        explanation_writer(Path("why.pdf"))
