"""Throughput of a batch: tokens per second as rows are added, with nobody looking at each token.

The loop is unobserved: no synchronization and no host copy per token; tokens stay on the device and
are read once, inside the window. It must not know which backend it has. Prefill and decode have
windows of their own: no figure is got by subtracting two others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from harness.contracts import (
    Lab,
    Observation,
    Options,
    Point,
    Scenario,
    Span,
    StepSession,
    Transcript,
)
from harness.errors import SessionError, SpecError
from harness.metrics import Metric
from harness.model.config import ModelConfig
from harness.reading import Reading
from scenarios.rates import (
    DECODE_BYTES_PER_S,
    PREFILL_FLOP_PER_S,
    decode_read_bytes,
    prefill_flops,
)
from scenarios.workload import Fixed, Length, Prompts, draw

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ThroughputOptions", "ThroughputScenario"]

_DECODE = "decode_tokens_per_s"
_STILL_PAYS = 0.5
_SATURATED = 0.05


class ThroughputOptions(Options):
    """Which batches, and what each row is asked."""

    batch: tuple[int, ...] = (1, 2, 4, 8)
    """Rows decoded together; one point each."""
    prompt_tokens: Length = Fixed(tokens=128)
    """Length of each row's prompt; rows of different lengths are prefilled in one call."""
    new_tokens: int = Field(default=64, ge=2)
    """Tokens made per row, the first one by prefill."""

    @field_validator("batch", mode="before")
    @classmethod
    def _one_batch_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, int) else value

    @field_validator("batch")
    @classmethod
    def _rising(cls, batch: tuple[int, ...]) -> tuple[int, ...]:
        if not batch or min(batch) < 1:
            raise ValueError("batch sizes from 1, at least one of them")
        return tuple(sorted(set(batch)))


class ThroughputScenario(Scenario):
    """Prefill, decode and total tokens per second over a batch sweep; knee and saturation."""

    summary = "prefill, decode and total tokens/s over batch sizes; knee and saturation"
    level = "step"
    Options = ThroughputOptions
    metrics = (
        Metric(
            name=_DECODE,
            unit="tokens/s",
            better="higher",
            definition="batch × (new_tokens - 1) / decode window. The window begins when prefill "
            "is complete and ends when all tokens are on the host; within it there is no "
            "synchronization and no host copy per token. Each row's first token belongs to "
            "prefill. End-of-sequence is ignored.",
            pooled="per batch",
            primary=True,
            achieved="decode_bytes_per_s",
        ),
        Metric(
            name="prefill_tokens_per_s",
            unit="tokens/s",
            better="higher",
            definition="Prompt tokens of all rows, padding not counted / prefill window: from the "
            "call until synchronize() says that all rows are processed.",
            pooled="per batch",
            achieved="prefill_flop_per_s",
        ),
        Metric(
            name="total_tokens_per_s",
            unit="tokens/s",
            better="higher",
            definition="(prompt tokens + batch × new_tokens) / one window from the call of prefill "
            "until all tokens are on the host.",
            pooled="per batch",
        ),
        DECODE_BYTES_PER_S,
        PREFILL_FLOP_PER_S,
        Metric(
            name="knee_batch",
            unit="rows",
            better="higher",
            definition="The largest batch up to which every step of the sweep still brings, per "
            f"row added, at least {_STILL_PAYS:.0%} of the decode tokens/s per row of the smallest "
            "batch. Absent where the sweep ends before such a step.",
            pooled="per process",
            statistics=("once",),
        ),
        Metric(
            name="saturation_batch",
            unit="rows",
            better="lower",
            definition="The smallest batch than which no larger one of the sweep decodes more than "
            f"{_SATURATED:.0%} faster. Absent where that is the last one: the sweep ends before.",
            pooled="per process",
            statistics=("once",),
        ),
        Metric(
            name="saturation_tokens_per_s",
            unit="tokens/s",
            better="higher",
            definition="decode_tokens_per_s at saturation_batch.",
            pooled="per batch",
        ),
    )

    def points(self, options: ThroughputOptions, model: ModelConfig) -> Sequence[Point]:
        """Return one point per batch size."""
        context = options.prompt_tokens.longest + options.new_tokens
        if context > model.max_context:
            raise SpecError(
                f"prompt_tokens + new_tokens reach {context} positions",
                expected=f"at most the model's context of {model.max_context}",
                remedy="shorten them or choose another model",
            )
        return [Point(batch=b, context=context, label=f"batch={b}") for b in options.batch]

    def measure(
        self, session: StepSession, point: Point, options: ThroughputOptions, lab: Lab
    ) -> Iterator[Observation]:
        """Yield one observation per batch of requests."""
        prompts = Prompts(lab.model, lab.seed, f"throughput/{point.label}")
        for iteration in itertools.count():
            numbers = range(iteration * point.batch, (iteration + 1) * point.batch)
            rows = [
                prompts.at(n, draw(options.prompt_tokens, lab.seed, "prompt", n)) for n in numbers
            ]
            yield _observe(rows, _generate(session, rows, options.new_tokens, lab), lab)

    def derive(self, headline: Mapping[tuple[str, str], Reading]) -> Mapping[str, Reading]:
        """Return knee and saturation of decode throughput over the batch sizes."""
        sweep = sorted(
            (int(label.removeprefix("batch=")), reading)
            for (metric, label), reading in headline.items()
            if metric == _DECODE and reading.value is not None
        )
        saturation_batch, saturation_rate = _saturation(sweep)
        return {
            "knee_batch": _knee(sweep),
            "saturation_batch": saturation_batch,
            "saturation_tokens_per_s": saturation_rate,
        }


@dataclass(frozen=True)
class _Generation:
    """One batch as it was timed."""

    tokens: list[list[int]]
    """[B][new_tokens]"""
    start_ns: int
    prefilled_ns: int
    end_ns: int

    @property
    def prefill_ns(self) -> int:
        """How long the prompts took."""
        return self.prefilled_ns - self.start_ns

    @property
    def decode_ns(self) -> int:
        """How long all tokens but the first took."""
        return self.end_ns - self.prefilled_ns

    @property
    def total_ns(self) -> int:
        """From the call of prefill until all tokens are on the host."""
        return self.end_ns - self.start_ns


def _generate(
    session: StepSession, rows: Sequence[tuple[int, ...]], new_tokens: int, lab: Lab
) -> _Generation:
    import torch

    lengths = torch.tensor([len(row) for row in rows])
    prompts = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    for prompt, row in zip(prompts, rows, strict=True):
        prompt[: len(row)] = torch.tensor(row)
    session.reset()
    session.synchronize()

    start_ns = lab.now_ns()
    first = session.prefill(prompts, lengths)
    session.synchronize()
    prefilled_ns = lab.now_ns()
    made: Tensor = first.new_empty(new_tokens, len(rows))  # where the session's tokens are
    made[0].copy_(first)
    for step in made[1:].unbind():
        step.copy_(session.decode())
    session.synchronize()
    on_host = made.T.tolist()
    end_ns = lab.now_ns()

    if not start_ns < prefilled_ns < end_ns:
        raise SessionError("no time passed while a batch was served", where="prefill, decode")
    return _Generation(on_host, start_ns, prefilled_ns, end_ns)


def _observe(rows: Sequence[tuple[int, ...]], made: _Generation, lab: Lab) -> Observation:
    batch, steps = len(rows), len(made.tokens[0]) - 1
    lengths = [len(row) for row in rows]
    prompt_tokens = sum(lengths)
    read_bytes = decode_read_bytes(lab.model, lab.dtype, lengths, steps)
    flops = prefill_flops(lab.model, lengths)
    return Observation(
        values={
            _DECODE: [batch * steps / made.decode_ns * 1e9],
            "prefill_tokens_per_s": [prompt_tokens / made.prefill_ns * 1e9],
            "total_tokens_per_s": [(prompt_tokens + batch * (steps + 1)) / made.total_ns * 1e9],
            "decode_bytes_per_s": [read_bytes / made.decode_ns * 1e9],
            "prefill_flop_per_s": [flops / made.prefill_ns * 1e9],
        },
        transcripts=[
            Transcript(row, tuple(tokens)) for row, tokens in zip(rows, made.tokens, strict=True)
        ],
        spans=[
            Span("prefill", made.start_ns, made.prefilled_ns, prompt_tokens),
            Span("decode", made.prefilled_ns, made.end_ns, batch * steps),
        ],
    )


_Sweep = Sequence[tuple[int, Reading]]


def _rates(sweep: _Sweep) -> list[tuple[int, float]]:
    return [(batch, reading.value or 0.0) for batch, reading in sweep]


def _knee(sweep: _Sweep) -> Reading:
    """Return the batch after which a further row no longer pays half of what the first one did."""
    if len(sweep) < 2:
        return Reading.absent("needs at least two batch sizes with figures")
    (batch, rate), *_ = points = _rates(sweep)
    alone = rate / batch
    pays = math.nan
    for (b0, r0), (b1, r1) in itertools.pairwise(points):
        pays = (r1 - r0) / (b1 - b0) / alone if alone > 0 else 0.0
        if pays < _STILL_PAYS:
            return Reading(value=b0, no_interval="one of the batch sizes of the sweep")
    return Reading.absent(
        f"not reached by batch {sweep[-1][0]}: its rows still bring {pays:.0%} of the first ones; "
        "add larger batches"
    )


def _saturation(sweep: _Sweep) -> tuple[Reading, Reading]:
    """Return the batch that larger ones hardly beat, and its rate."""
    if len(sweep) < 2:
        reason = Reading.absent("needs at least two batch sizes with figures")
        return reason, reason
    points = _rates(sweep)
    best = max(rate for _, rate in points)
    index = next(
        i
        for i, (_, rate) in enumerate(points)
        if max(r for _, r in points[i:]) <= (1 + _SATURATED) * rate
    )
    if index == len(points) - 1:
        missing = Reading.absent(
            f"not reached by batch {points[-1][0]}, which decodes {best:.4g} tokens/s; "
            "add larger batches"
        )
        return missing, missing
    batch, reading = sweep[index]
    return Reading(value=batch, no_interval="one of the batch sizes of the sweep"), reading
