"""Where the time goes, on the page: from stored profiles, escaped, small, and absent without."""

import base64
import json
import re
from collections.abc import Callable

import pytest

from harness.profiling.record import Profile
from harness.profiling.stored import profiles_of
from harness.store import Run, Store
from harness.store.record import Failure
from harness.testing.profiles import example_profile, store_profile
from harness.testing.runs import example_record
from reports.html.report import page

Stored = Callable[..., Run]
HOSTILE = "</title><script>alert(1)</script>'\"&\u202e"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with Store(tmp_path_factory.mktemp("why")).create(example_record()) as writer:
        found = Run(writer.path)
    profile = example_profile(found.record.cases[0].id, HOSTILE)
    store_profile(found, profile, f"main (a.py:1);{HOSTILE} (b.py:2) 7\n")
    return found


@pytest.fixture(scope="module")
def text(run: Run) -> str:
    """The whole page."""
    return page([run])


def why_of(text: str) -> str:
    found = re.search(r'<section class="question" id="why1".*?\n</section>\n', text, re.S)
    assert found is not None
    return found[0]


def test_a_profiled_case_has_its_families_operators_and_rooflines(text: str) -> None:
    text = why_of(text)

    assert "decode 9 ms: gemm 80 % (50 % of its roofline), copy 20 %" in text
    assert "decoder.py:41 (step)" in text
    assert "5 GB/s (50 %)" in text
    assert "9 shorter rows" in text
    assert "torch.profiler prefill 1.11×, decode 1.11×; py-spy 1.02×" in text
    assert "minor faults 3.5" in text


def test_an_iteration_is_as_long_as_its_calls_without_a_profiler(text: str) -> None:
    assert "one iteration, 576 ms" in why_of(text)  # 64 calls of 9 ms


def test_compiler_and_memory_are_shown_where_they_were_looked_at(text: str) -> None:
    text = why_of(text)

    assert "What torch.compile did" in text
    assert "float32[2, 3]" in text
    assert "a.py:1 (f)" in text


def test_memory_over_time_is_drawn_by_owner_and_read_out(text: str) -> None:
    text = why_of(text)

    assert text.count("Tensors over time, at most 2 MiB") == 2  # at desk and phone width
    assert "b.py:7 (step) 1 MiB" in text


def test_a_profile_of_before_timelines_had_owners_is_read_without_its_picture(run: Run) -> None:
    said = example_profile(run.record.cases[0].id).model_dump()
    said["memory"]["timeline"] = [(0.0, 1), (1.0, 2)]

    profile = Profile.model_validate_json(json.dumps(said))

    assert profile.memory is not None
    assert profile.memory.timeline is None
    assert profile.memory.largest


def test_names_from_profiles_do_nothing_to_the_page(text: str) -> None:
    assert "<script>alert" not in text
    assert "\u202e" not in text


def test_the_stacks_can_be_downloaded_and_are_whole(text: str) -> None:
    found = re.search(r'href="data:application/json;base64,([^"]+)"', text)

    assert found is not None
    document = json.loads(base64.b64decode(found[1]))
    assert document["profiles"][0]["endValue"] == 7


def test_a_case_that_could_not_be_profiled_says_why(stored: Stored) -> None:
    found = stored()
    failure = Failure(phase="load", reason="no memory left")
    case_id = found.record.cases[0].id
    store_profile(found, Profile(case=case_id, round=0, phases=[], failure=failure))

    assert "not profiled: failed in load: no memory left" in why_of(page([found]))


def test_a_damaged_profile_costs_only_itself(run: Run) -> None:
    (run.path / "profiles" / "broken.json").write_text("{")

    (seen,) = profiles_of(run)

    assert len(seen.profile.phases) == 2


def test_without_profiles_there_is_no_such_section_and_a_case_takes_less_than_a_megabyte(
    stored: Stored, text: str
) -> None:
    without = page([stored()])

    assert 'id="why1"' not in without
    assert 0 < len(text.encode()) - len(without.encode()) < 1_000_000
