"""Latency of a single stream: how long one user waits for the first token and each further one.

Batch 1, one request at a time. It must not know which backend it has, nor whether the session was a
step session: tokens come as events, stamped once they were on the host.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import ValidationInfo, field_validator, model_validator

from harness.contracts import (
    Lab,
    Observation,
    Options,
    Point,
    Request,
    Scenario,
    Span,
    StreamSession,
    TokenEvent,
    Transcript,
)
from harness.errors import SessionError, SpecError
from harness.metrics import Metric, Statistic
from harness.model.config import ModelConfig
from scenarios.rates import (
    DECODE_BYTES_PER_S,
    PREFILL_FLOP_PER_S,
    decode_read_bytes,
    prefill_flops,
)
from scenarios.workload import WORKLOADS, Fixed, Length, Prompts, draw

__all__ = ["LatencyOptions", "LatencyScenario"]

_ALL: tuple[Statistic, ...] = ("p50", "p90", "p99")
_RULE = (
    "A token is one id that the model's greedy arg-max gave; end-of-sequence is ignored, so every "
    "backend makes exactly new_tokens of them. It counts once its id is on the host."
)


class LatencyOptions(Options):
    """What is asked of the model; lengths are numbers or distributions."""

    workload: Literal["qa", "chat", "summarization", "translation", "classification", "code"] | (
        None
    ) = None
    """A built-in profile of lengths, instead of prompt_tokens and new_tokens."""
    prompt_tokens: Length = Fixed(tokens=128)
    """Length of the prompt."""
    new_tokens: Length = Fixed(tokens=64)
    """Tokens made per request, at least 2: the first token has no gap before it."""

    @model_validator(mode="before")
    @classmethod
    def _workload_brings_lengths(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        profile = WORKLOADS.get(str(data.get("workload")))
        if profile is None:
            return data
        return {"prompt_tokens": profile[0], "new_tokens": profile[1], **data}

    @field_validator("prompt_tokens", "new_tokens")
    @classmethod
    def _one_source_of_lengths(cls, length: Length, info: ValidationInfo) -> Length:
        profile = WORKLOADS.get(str(info.data.get("workload")))
        index = 0 if info.field_name == "prompt_tokens" else 1
        if profile is not None and length != profile[index]:
            raise ValueError(
                f'no {info.field_name} beside workload = "{info.data["workload"]}", '
                "which brings its own lengths"
            )
        if info.field_name == "new_tokens" and length.shortest < 2:
            raise ValueError("at least 2 new tokens: a gap has a token on either side")
        return length


class LatencyScenario(Scenario):
    """TTFT, ITL, TPOT and end-to-end latency of single requests."""

    summary = "TTFT, ITL, TPOT and end-to-end latency of one request at a time"
    level = "stream"
    Options = LatencyOptions
    metrics = (
        Metric(
            name="ttft_ms",
            unit="ms",
            better="lower",
            definition="Time to first token: from the call that submits the request until its "
            f"first token is on the host. {_RULE}",
            pooled="per request",
            statistics=_ALL,
            achieved="prefill_flop_per_s",
        ),
        Metric(
            name="itl_ms",
            unit="ms",
            better="lower",
            definition="Inter-token latency: time between two consecutive tokens of a request on "
            f"the host. new_tokens - 1 gaps; the time to the first token is none of them. {_RULE}",
            pooled="per gap",
            statistics=_ALL,
            primary=True,
            achieved="decode_bytes_per_s",
        ),
        Metric(
            name="tpot_ms",
            unit="ms",
            better="lower",
            definition="Time per output token: (time of the last token - time of the first) / "
            f"(new_tokens - 1): the mean gap of a request, first token excluded. {_RULE}",
            pooled="per request",
            statistics=_ALL,
            achieved="decode_bytes_per_s",
        ),
        Metric(
            name="e2e_ms",
            unit="ms",
            better="lower",
            definition="End-to-end latency: from the call that submits the request until its last "
            f"token is on the host. {_RULE}",
            pooled="per request",
            statistics=_ALL,
        ),
        DECODE_BYTES_PER_S,
        PREFILL_FLOP_PER_S,
    )

    def points(self, options: LatencyOptions, model: ModelConfig) -> Sequence[Point]:
        """Return one point: batch 1, with room for the longest prompt and answer."""
        context = options.prompt_tokens.longest + options.new_tokens.longest
        if context > model.max_context:
            raise SpecError(
                f"prompt_tokens + new_tokens reach {context} positions",
                expected=f"at most the model's context of {model.max_context}",
                remedy="shorten them or choose another model",
            )
        return [Point(batch=1, context=context)]

    def measure(
        self, session: StreamSession, point: Point, options: LatencyOptions, lab: Lab
    ) -> Iterator[Observation]:
        """Yield one observation per request."""
        prompts = Prompts(lab.model, lab.seed, f"latency/{point.label}")
        for number in itertools.count():
            request = Request(
                prompts.at(number, draw(options.prompt_tokens, lab.seed, "prompt", number)),
                draw(options.new_tokens, lab.seed, "new", number),
            )
            submitted_ns = lab.now_ns()
            events = list(session.stream([request]))
            yield _observe(request, submitted_ns, events, lab)


def _observe(
    request: Request, submitted_ns: int, events: Sequence[TokenEvent], lab: Lab
) -> Observation:
    _check(request, submitted_ns, events, lab.now_ns())
    at_ns = [event.at_ns for event in events]
    prompt, steps = len(request.prompt_ids), len(events) - 1
    decode_ns = at_ns[-1] - at_ns[0]
    read_bytes = decode_read_bytes(lab.model, lab.dtype, [prompt], steps)
    return Observation(
        values={
            "ttft_ms": [(at_ns[0] - submitted_ns) / 1e6],
            "itl_ms": [(b - a) / 1e6 for a, b in itertools.pairwise(at_ns)],
            "tpot_ms": [decode_ns / steps / 1e6],
            "e2e_ms": [(at_ns[-1] - submitted_ns) / 1e6],
            "decode_bytes_per_s": [read_bytes / decode_ns * 1e9],
            "prefill_flop_per_s": [
                prefill_flops(lab.model, [prompt]) / (at_ns[0] - submitted_ns) * 1e9
            ],
        },
        transcripts=[Transcript(request.prompt_ids, tuple(event.token for event in events))],
        spans=[
            Span("prefill", submitted_ns, at_ns[0], prompt),
            Span("decode", at_ns[0], at_ns[-1], steps),
        ],
    )


def _check(request: Request, submitted_ns: int, events: Sequence[TokenEvent], now_ns: int) -> None:
    """Refuse events that cannot be true, before they become figures.

    Raises:
        SessionError: where tokens are missing, belong to no request or are stamped out of order.
    """
    if len(events) != request.new_tokens or any(event.request for event in events):
        raise SessionError(
            f"{len(events)} tokens came for one request",
            where="stream",
            expected=f"{request.new_tokens} tokens of request 0, end-of-sequence ignored",
        )
    stamps = [submitted_ns, *(event.at_ns for event in events), now_ns]
    if any(b < a for a, b in itertools.pairwise(stamps)):
        raise SessionError(
            "tokens are stamped before they were asked for, out of order or in the future",
            where="stream",
            expected="lab.now_ns() once the token is on the host",
        )
    if stamps[1] == submitted_ns or stamps[-2] == stamps[1]:
        raise SessionError(
            "no time passed between the request, its first token and its last",
            where="stream",
            expected="one event per token as it comes, not all at the end",
        )
