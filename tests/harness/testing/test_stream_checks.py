"""The checks for backends that own their decode loop."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.contracts import Backend, Level, Request, Session, TokenEvent
from harness.engine.stream import StepAsStream
from harness.plugins import find
from harness.testing import checks_for, conformance, examine
from harness.testing.cheat import Cheat

Events = Iterator[TokenEvent]
Falsify = Callable[[Events, Sequence[Request]], Events]


class _Stream(StepAsStream):
    """Eager as a server would offer it, its events passed through a function."""

    def __init__(self, session: Any, falsify: Falsify) -> None:
        super().__init__(session)
        self._falsify = falsify

    def stream(self, requests: Sequence[Request]) -> Events:
        return self._falsify(super().stream(requests), requests)


class Streaming(Cheat):
    """A stream backend over eager."""

    name, summary = "streaming", "eager as a stream"
    level: Level = "stream"  # type: ignore[misc]

    def __init__(self, falsify: Falsify = lambda events, _: events) -> None:
        super().__init__()
        self.falsify = falsify

    def load(self, model: Any, device: str, options: Any) -> Session:  # type: ignore[override]
        return _Stream(super().load(model, device, options), self.falsify)


def eager_options() -> Any:
    return find(Backend, "eager").Options.model_validate({"threads": 1})


def test_an_honest_stream_has_no_finding() -> None:
    found = conformance(Streaming(), eager_options())
    assert [f.name for f in found] == list(checks_for(Streaming()))
    assert [f.detail for f in found if not f.ok] == []


def one_too_few(events: Events, requests: Sequence[Request]) -> Events:
    return iter(list(events)[:-1])


def mixed_up(events: Events, requests: Sequence[Request]) -> Events:
    return (replace(e, request=len(requests) - 1 - e.request) for e in events)


def unknown_request(events: Events, requests: Sequence[Request]) -> Events:
    return (replace(e, request=e.request + 1) for e in events)


def another_token(events: Events, requests: Sequence[Request]) -> Events:
    return (replace(e, token=(e.token + 7) % 512) for e in events)


def in_the_future(events: Events, requests: Sequence[Request]) -> Events:
    return (replace(e, at_ns=e.at_ns + 10**9) for e in events)


def before_the_request(events: Events, requests: Sequence[Request]) -> Events:
    return (replace(e, at_ns=e.at_ns - 10**9) for e in events)


def unordered(events: Events, requests: Sequence[Request]) -> Events:
    return (replace(e, at_ns=e.at_ns - (i % 2) * 10**8) for i, e in enumerate(events))


def delivered_late(events: Events, requests: Sequence[Request]) -> Events:
    for event in events:
        time.sleep(0.005)
        yield event


def in_one_go(events: Events, requests: Sequence[Request]) -> Events:
    return iter(list(events))


_seen: list[list[TokenEvent]] = []


def the_first_answer_again(events: Events, requests: Sequence[Request]) -> Events:
    _seen.append(list(events))
    made = {len(requests): _seen[0]}.get(len(requests), _seen[0])
    return iter(made)


@pytest.mark.parametrize(
    ("falsify", "check", "detail"),
    [
        (one_too_few, "every request gets its tokens", "asked for"),
        (mixed_up, "every request gets its tokens", "request 0 got 1 tokens, asked for 5"),
        (unknown_request, "every request gets its tokens", "TokenEvent of 3 requests"),
        (mixed_up, "streamed tokens are correct", "token"),
        (another_token, "streamed tokens are correct", "token"),
        (the_first_answer_again, "requests are independent", "token"),
        (one_too_few, "end of sequence is ignored", "stopped after 9 of 10"),
        (in_the_future, "stamps are when tokens came", "after the token's delivery"),
        (before_the_request, "stamps are when tokens came", "before the request"),
        (unordered, "stamps are when tokens came", "before the one ahead of it"),
        (delivered_late, "stamps are when tokens came", "when it is on the host"),
    ],
)
def test_each_check_can_fail(falsify: Falsify, check: str, detail: str) -> None:
    _seen.clear()
    found = examine(check, Streaming(falsify), eager_options())
    assert not found.ok
    assert detail in found.detail
