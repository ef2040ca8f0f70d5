"""Sampled stacks: parsed, merged, written for speedscope."""

import json

from hypothesis import given
from hypothesis import strategies as st

from harness.profiling.stacks import (
    merged,
    of_the_work,
    parse_raw,
    self_share,
    speedscope,
    tree,
    without_lines,
)

RAW = "main (a.py:1);step (b.py:9);linear (c.py:3) 7\nmain (a.py:1);step (b.py:9) 2\nnot a stack\n"
frames = st.text(
    st.characters(blacklist_characters=";\n", blacklist_categories=("Cs", "Zs", "Zl", "Zp", "Cc")),
    min_size=1,
)


def test_stacks_are_read_and_other_lines_passed_over() -> None:
    assert parse_raw(RAW) == {
        ("main (a.py:1)", "step (b.py:9)", "linear (c.py:3)"): 7,
        ("main (a.py:1)", "step (b.py:9)"): 2,
    }


def test_a_tree_counts_what_lies_in_a_frame_and_beneath_it() -> None:
    step = tree(parse_raw(RAW)).children["main (a.py:1)"].children["step (b.py:9)"]
    assert (step.samples, step.own) == (9, 2)


def test_speedscope_gets_frames_with_file_and_line() -> None:
    written = json.loads(speedscope(parse_raw(RAW), "case"))
    assert {"name": "step", "file": "b.py", "line": 9} in written["shared"]["frames"]
    assert written["profiles"][0]["endValue"] == 9


def test_nothing_sampled_has_no_shares() -> None:
    assert self_share({}) == {}


@given(st.dictionaries(st.lists(frames, min_size=1, max_size=4).map(tuple), st.integers(1, 50)))
def test_writing_and_reading_stacks_loses_nothing(stacks: dict[tuple[str, ...], int]) -> None:
    text = "".join(f"{';'.join(stack)} {count}\n" for stack, count in stacks.items())
    assert parse_raw(text) == stacks
    assert tree(stacks).samples == sum(stacks.values())
    assert merged([stacks, stacks]) == {k: 2 * v for k, v in stacks.items()}


def test_what_calls_the_work_and_what_watches_it_is_cut_away() -> None:
    stacks = {
        (
            "main (harness/engine/worker.py:82)",
            "_sample (harness/engine/profiled.py:283)",
            "iterate (harness/engine/profiled.py:278)",
            "measure (scenarios/latency.py:156)",
            "ProfiledSession.decode (harness/profiling/collect.py:85)",
            "step (d.py:1)",
        ): 3,
        ("_sample (harness/engine/profiled.py:283)",): 1,
    }
    assert of_the_work(stacks) == {("measure (scenarios/latency.py:156)", "step (d.py:1)"): 3}


def test_frames_of_other_lines_of_one_function_become_one() -> None:
    assert without_lines({("f (a.py:1)",): 2, ("f (a.py:9)",): 1, ("g",): 1}) == {
        ("f (a.py)",): 3, ("g",): 1,
    }  # fmt: skip
