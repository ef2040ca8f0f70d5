"""Given a line on the event pipe, when it is read, then it is an event or named as garbage."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.events import (
    BLOCK,
    NEXT,
    GarbledError,
    PhaseStarted,
    Progress,
    Speaker,
    parse,
)


def test_what_is_said_is_what_is_heard() -> None:
    out, into = os.pipe()
    said = Progress(point="batch=4", iterations=3, metric="itl_ms", value=1.5, half_width=None)
    Speaker(into, None).say(said)
    assert parse(os.read(out, 4096).rstrip(b"\n")) == said
    os.close(out)
    os.close(into)


def test_a_question_waits_for_its_answer() -> None:
    out, into = os.pipe()
    answers_out, answers = os.pipe()
    os.write(answers, b"\n")
    Speaker(into, answers_out).ask(PhaseStarted(name="load"))
    assert os.read(out, 4096).endswith(b"\n")
    for fd in (out, into, answers_out, answers):
        os.close(fd)


@given(st.binary(max_size=200))
def test_garbage_is_named_whatever_it_is(line: bytes) -> None:
    with pytest.raises(GarbledError, match="garbage"):
        parse(line)


def test_an_event_with_an_unknown_key_is_garbage() -> None:
    with pytest.raises(GarbledError):
        parse(b'{"event": "phase", "name": "load", "colour": "red"}')


def test_a_late_answer_is_no_command() -> None:
    out, into = os.pipe()
    answers_out, answers = os.pipe()
    os.write(answers, b"\n" + BLOCK + NEXT)
    side = Speaker(into, answers_out)
    assert (side.told(), side.told()) == (BLOCK, NEXT)
    os.close(answers)
    assert side.told() == NEXT  # nobody is there any more
    for fd in (out, into, answers_out):
        os.close(fd)


def test_run_by_hand_a_side_measures_a_few_blocks_and_goes_on() -> None:
    side = Speaker(1, None)
    assert [side.told() for _ in range(5)] == [BLOCK] * 4 + [NEXT]
