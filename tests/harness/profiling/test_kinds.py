"""Profilers by name, and which of them share a process."""

import pytest

from harness.errors import InputError
from harness.profiling.kinds import apart, parse_kinds, processes


def test_names_come_in_the_tables_order_and_once() -> None:
    assert parse_kinds("py-spy, torch,torch") == ["torch", "py-spy"]


@pytest.mark.parametrize("text", ["pyspy", "torch,magic", "", ","])
def test_an_unknown_name_or_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no profiler"):
        parse_kinds(text)


def test_what_disturbs_the_others_gets_a_process_of_its_own() -> None:
    assert processes(["memory", "torch", "compile", "py-spy"]) == [
        ["torch", "py-spy"], ["compile"], ["memory"],
    ]  # fmt: skip


def test_generated_code_needs_the_compiler_looked_at() -> None:
    (group,) = processes(["code"])

    assert set(group) == {"code", "compile"}
    assert apart(group) == "compile"
    assert apart(["torch"]) == ""
