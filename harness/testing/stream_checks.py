"""Does a stream session deliver what the contract says, and stamp it when it was there?"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Sequence
from typing import Any

from harness.contracts import Request, TokenEvent
from harness.testing.altered import AlteredModel
from harness.testing.subject import ContractBroken, Subject

__all__ = [
    "end_of_sequence_is_ignored",
    "every_request_gets_its_tokens",
    "requests_are_independent",
    "stamps_are_when_tokens_came",
    "streamed_tokens_are_correct",
]

_LATE_SHARE = 0.2
_LATE_FLOOR_NS = 2_000_000


def every_request_gets_its_tokens(subject: Subject) -> str:
    """Exactly `new_tokens` events for each request, whatever the others ask for."""
    wanted = (5, 12, 1)
    requests = _requests(subject, (9, 4, 17), wanted)
    with subject.session(3, 32) as session:
        tokens = _tokens(session.stream(requests), len(requests))
    for index, (made, new_tokens) in enumerate(zip(tokens, wanted, strict=True)):
        if len(made) != new_tokens:
            raise ContractBroken(f"request {index} got {len(made)} tokens, asked for {new_tokens}")
    return "5, 12 and 1 tokens asked for together"


def streamed_tokens_are_correct(subject: Subject) -> str:
    """Each token is the reference's best (ties aside), given the prompt and those before."""
    requests = _requests(subject, (24, 1, 9), (16, 16, 16))
    with subject.session(3, 48) as session:
        _judge(subject, requests, _tokens(session.stream(requests), 3))
    return "3 requests of 16 tokens"


def requests_are_independent(subject: Subject) -> str:
    """A later, shorter batch of requests is right too: nothing is left of the earlier one."""
    with subject.session(2, 64) as session:
        _tokens(session.stream(_requests(subject, (40, 33), (12, 12))), 2)
        later = _requests(subject, (7, 4), (12, 12), salt=1)
        _judge(subject, later, _tokens(session.stream(later), 2))
    return "prompts of 7 and 4 tokens after 40 and 33"


def end_of_sequence_is_ignored(subject: Subject) -> str:
    """Where every token of the vocabulary ends a sequence, all that were asked for still come."""
    config = subject.model.config
    greedy = AlteredModel(
        subject.model,
        config=dataclasses.replace(config, eos_ids=tuple(range(config.vocab_size))),
    )
    ending = dataclasses.replace(subject, model=greedy)
    with ending.session(1, 24) as session:
        made = _tokens(session.stream(_requests(ending, (6,), (10,))), 1)[0]
    if len(made) != 10:
        raise ContractBroken(f"stopped after {len(made)} of 10 tokens at an end-of-sequence token")
    return "10 tokens, each of them an end of sequence"


def stamps_are_when_tokens_came(subject: Subject) -> str:
    """Stamps rise, none lies before the request or after its delivery, none is backdated."""
    requests = _requests(subject, (8,), (48,))
    with subject.session(1, 64) as session:
        list(session.stream(requests))  # whatever is done once is done
        start = time.monotonic_ns()
        got = [(event, time.monotonic_ns()) for event in session.stream(requests)]
    stamps = [event.at_ns for event, _ in got]
    for before, after in itertools.pairwise([start, *stamps]):
        if after < before:
            raise ContractBroken(
                f"a stamp lies {(before - after) / 1e6:.3f} ms before the one ahead of it "
                "or before the request"
            )
    early = [event.at_ns - seen for event, seen in got]
    if max(early) > 0:
        raise ContractBroken(f"a stamp lies {max(early) / 1e6:.3f} ms after the token's delivery")
    gap = statistics.median(b - a for (_, a), (_, b) in itertools.pairwise(got))
    late = statistics.median(seen - event.at_ns for event, seen in got)
    if late > max(_LATE_SHARE * gap, _LATE_FLOOR_NS):
        raise ContractBroken(
            f"tokens are delivered {late / 1e6:.2f} ms after their stamps, "
            f"every {gap / 1e6:.2f} ms: stamp a token when it is on the host"
        )
    return f"48 stamps, delivered {late / 1e3:.0f} µs later"


def _requests(
    subject: Subject, lengths: Sequence[int], new_tokens: Sequence[int], salt: int = 0
) -> list[Request]:
    prompts = subject.prompts(*lengths, salt=salt)
    return [Request(tuple(p), n) for p, n in zip(prompts, new_tokens, strict=True)]


def _tokens(events: Any, requests: int) -> list[list[int]]:
    made: list[list[int]] = [[] for _ in range(requests)]
    for event in events:
        if not isinstance(event, TokenEvent) or not 0 <= event.request < requests:
            raise ContractBroken(f"{event!r} where a TokenEvent of {requests} requests was due")
        made[event.request].append(event.token)
    return made


def _judge(subject: Subject, requests: Sequence[Request], tokens: list[list[int]]) -> None:
    for index, (request, made) in enumerate(zip(requests, tokens, strict=True)):
        if not made:
            raise ContractBroken(f"request {index} got no token")
        subject.tokens_exist(made)
        scores = subject.score([*request.prompt_ids, *made[:-1]])[len(request.prompt_ids) - 1 :]
        for step, (token, reference) in enumerate(zip(made, scores, strict=True)):
            subject.judge_token(token, reference, f"request {index}, token {step}")
