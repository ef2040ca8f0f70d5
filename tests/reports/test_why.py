"""Where the time goes, on the page: from stored profiles, escaped, small, and absent without."""

import base64
import json
import re
from collections.abc import Callable

import pytest

from harness.profiling.record import Alive, Compiled, Held, Memory, PhaseProfile, Profile, Row
from harness.profiling.stored import profile_stem
from harness.store import Run
from harness.store.record import Failure
from reports.html.report import page

Stored = Callable[..., Run]
HOSTILE = "</title><script>alert(1)</script>'\"&\u202e"


def phase(name: str, per_iteration: float) -> PhaseProfile:
    rows = [
        Row(operator="aten::linear", function="m/decoder.py:step", line=41, family="gemm",
            calls=30, ns=8e6, bytes=4e7, flops=2e7),
        *(Row(operator=f"aten::{HOSTILE}{n}", function=f"m/{HOSTILE}.py:f", family="copy",
              calls=1, ns=1e5) for n in range(20)),
    ]  # fmt: skip
    return PhaseProfile.model_validate(
        {
            "phase": name,
            "plain_ns": 9e6,
            "profiled_ns": 10e6,
            "rows": rows,
            "per_iteration": per_iteration,
        }
    )


def give_profile(run: Run, case_id: str, **more: object) -> None:
    stem = profile_stem(run.path, case_id)
    stem.parent.mkdir(exist_ok=True)
    given = {
        "case": case_id,
        "round": 0,
        "phases": [phase("prefill", 1), phase("decode", 63)],
        "counters": {"py_spy_slowdown": 1.02, "minor_faults": 3.5},
        "ceilings": {"read_bytes_per_s": 1e10, "gemm_flop_per_s": 1e11},
        **more,
    }
    stem.with_suffix(".json").write_text(Profile.model_validate(given).model_dump_json())
    stem.with_suffix(".raw").write_text(f"main (a.py:1);{HOSTILE} (b.py:2) 7\n")


@pytest.fixture
def run(stored: Stored) -> Run:
    found = stored()
    give_profile(
        found,
        found.record.cases[0].id,
        compiled=Compiled(graphs=2, graph_breaks=[f"a.py:1: {HOSTILE}"], seconds={"whole": 3.0}),
        memory=Memory(
            phases=[
                Held(phase="decode", tensor_bytes=1, tensor_peak_bytes=2 << 20, python_bytes=3,
                     python_peak_bytes=4, allocations=5)
            ],
            timeline=[(0.0, 1)],
            largest=[Alive(bytes=1 << 20, shape=[2, 3], dtype="float32", place="a.py:1 (f)",
                           phase="decode")],
            python=[],
        ),
    )  # fmt: skip
    return found


def why_of(text: str) -> str:
    found = re.search(r'<section class="question" id="why1".*?\n</section>\n', text, re.S)
    assert found is not None
    return found[0]


def test_a_profiled_case_has_its_families_operators_and_rooflines(run: Run) -> None:
    text = why_of(page([run]))

    assert "decode 9 ms: gemm 80 % (50 % of its roofline), copy 20 %" in text
    assert "decoder.py:41 step" in text
    assert "5 GB/s (50 %)" in text
    assert "9 shorter rows" in text
    assert "torch.profiler prefill 1.11×, decode 1.11×; py-spy 1.02×" in text
    assert "minor faults 3.5" in text


def test_an_iteration_is_as_long_as_its_calls_without_a_profiler(run: Run) -> None:
    assert "one iteration, 576 ms" in why_of(page([run]))  # 64 calls of 9 ms


def test_compiler_and_memory_are_shown_where_they_were_looked_at(run: Run) -> None:
    text = why_of(page([run]))

    assert "What torch.compile did" in text
    assert "float32[2, 3]" in text
    assert "a.py:1 (f)" in text


def test_names_from_profiles_do_nothing_to_the_page(run: Run) -> None:
    text = page([run])

    assert "<script>alert" not in text
    assert "\u202e" not in text


def test_the_stacks_can_be_downloaded_and_are_whole(run: Run) -> None:
    found = re.search(r'href="data:application/json;base64,([^"]+)"', page([run]))

    assert found is not None
    document = json.loads(base64.b64decode(found[1]))
    assert document["profiles"][0]["endValue"] == 7


def test_a_case_that_could_not_be_profiled_says_why(stored: Stored) -> None:
    found = stored()
    failure = Failure(phase="load", reason="no memory left")
    give_profile(found, found.record.cases[0].id, phases=[], failure=failure)

    assert "not profiled: failed in load: no memory left" in why_of(page([found]))


def test_a_damaged_profile_costs_only_itself(run: Run) -> None:
    (run.path / "profiles" / "broken.json").write_text("{")

    assert "decode 9 ms" in why_of(page([run]))


def test_without_profiles_there_is_no_such_section(stored: Stored) -> None:
    assert 'id="why1"' not in page([stored()])


def test_a_case_takes_less_than_a_megabyte(run: Run) -> None:
    with_profile = len(page([run]).encode())
    for file in (run.path / "profiles").iterdir():
        file.unlink()
    assert with_profile - len(page([Run(run.path)]).encode()) < 1_000_000
