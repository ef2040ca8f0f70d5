"""What `harness ab` refuses; what it measures is tested with docs/ci.md and the duet."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.ab import Which, two_sides
from harness.errors import InputError
from harness.store import Store

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing tells the two sides apart"),
        (["--base-python", "/no/such/python"], "/no/such/python: no such interpreter"),
        (["--base", "HEAD"], "not a git repository"),
        (["--base-set", "a=1", "--budget", "soon"], "--budget soon; expected a duration"),
        (["--base-set", "run.rounds"], 'expected key=value'),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(
    store: Store, harness: Command, arguments: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        harness("ab", "quick", *arguments)


def test_a_suite_that_a_side_cannot_plan_names_the_side(store: Store, harness: Command) -> None:
    with pytest.raises(InputError, match=r"cand \(scenario.new_tokens=0\): .*new_tokens"):
        harness("ab", "quick", "--cand-set", "scenario.new_tokens=0")


def test_an_interpreter_without_the_harness_says_so(
    store: Store, harness: Command, tmp_path: Path
) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)

    with pytest.raises(InputError, match=r"base \(.*python\): .*No module named 'harness'"):
        harness("ab", "quick", "--base-python", str(bare), "--cand-python", sys.executable)


def test_settings_of_both_sides_and_of_one_are_laid_over_each_other() -> None:
    which = Which(
        settings=(["run.rounds=1", "eager.threads=1"], ["run.rounds=1", "eager.threads=2"]),
        own=(["eager.threads=1"], ["eager.threads=2"]),
    )

    with two_sides(which) as (base, cand):
        assert base.settings == {"run.rounds": 1, "eager.threads": 1}
        assert (base.label, cand.label) == ("eager.threads=1", "eager.threads=2")
