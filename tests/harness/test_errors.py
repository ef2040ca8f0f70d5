"""Errors: one line each, and an exit status that follows from their kind."""

import inspect
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import errors
from harness.errors import HarnessError, InputError, SessionError, SpecError, did_you_mean


def test_an_error_says_where_what_expected_and_what_to_do() -> None:
    error = SpecError("0", where="a.toml:3: run.rounds", expected="1 or more", remedy="write 1")
    assert str(error) == "a.toml:3: run.rounds: 0; expected 1 or more; write 1"


def test_an_error_with_nothing_but_its_cause_is_that() -> None:
    assert str(HarnessError("the disk is full")) == "the disk is full"


@given(st.text(), st.none() | st.text(), st.none() | st.text(), st.none() | st.text())
def test_an_error_is_always_one_line(
    what: str, where: str | None, expected: str | None, remedy: str | None
) -> None:
    line = str(HarnessError(what, where=where, expected=expected, remedy=remedy))
    assert len(line.splitlines()) <= 1


@pytest.mark.parametrize(
    ("kind", "status"), [(HarnessError, 1), (InputError, 2), (SpecError, 2), (SessionError, 3)]
)
def test_the_exit_status_follows_from_the_kind(kind: type[HarnessError], status: int) -> None:
    assert kind("x").exit_code == status


def test_the_tree_drawn_in_the_docstring_is_the_tree_there_is() -> None:
    drawn: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.search(r"\b(\w+Error)\b", line):
            while parents and parents[-1][0] >= found.start():
                parents.pop()
            drawn[found[1]] = parents[-1][1] if parents else "Exception"
            parents.append((found.start(), found[1]))
    real = {
        name: kind.__base__.__name__
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, Exception)
    }
    assert drawn == real


@pytest.mark.parametrize(
    ("name", "hint"),
    [("eagre", 'did you mean "eager"? '), ("zzz", ""), ("eager", 'did you mean "eager"? ')],
)
def test_the_nearest_known_name_is_offered(name: str, hint: str) -> None:
    assert did_you_mean(name, ["compile", "eager"]) == hint
