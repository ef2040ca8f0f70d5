"""Given a line on the event pipe, when it is read, then it is an event or named as garbage."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.events import GarbledError, PhaseStarted, Progress, Speaker, parse


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
