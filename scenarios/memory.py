"""Memory: what weights, KV cache and activations take, whether it grows, and how much fits.

Measured from the process (or the device's allocator), and beside it what the configuration says it
must be. It must not know which backend it has. Sizes are exact enough to be observed once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from harness.contracts import (
    Held,
    Lab,
    Observation,
    Options,
    Point,
    Scenario,
    StepSession,
    Transcript,
)
from harness.errors import SpecError
from harness.metrics import Direction, Metric
from harness.model.config import ModelConfig
from scenarios.fit import Fit, largest_fit, needed_bytes
from scenarios.workload import Prompts

__all__ = ["MemoryOptions", "MemoryScenario", "parse_size"]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?", re.IGNORECASE)
_UNITS = {"": 1} | {
    f"{letter}{i}": (1024 if i else 1000) ** power
    for power, letter in enumerate("kmgt", 1)
    for i in ("", "i")
}
_WARM_TOKENS = 16
_READ_EVERY = 8
_TRANSCRIPT_TOKENS = 32
_PROBE_TOKENS = 16
_SAFE_SHARE = 0.9
"""Of what is available: a budget above it would end in being killed, not in a figure."""


def parse_size(value: object) -> int:
    """Return bytes from 1048576, `"512MiB"` or `"2 GB"`; ValueError says what it may be."""
    match = _SIZE.fullmatch(str(value).strip())
    if isinstance(value, bool) or not match:
        raise ValueError('a size such as "512MiB", "2GiB" or a number of bytes')
    size = int(float(match[1]) * _UNITS[(match[2] or "").lower()])
    if size < 1:
        raise ValueError("a size above zero")
    return size


Size = Annotated[int, BeforeValidator(parse_size)]


class MemoryOptions(Options):
    """The shape that is measured, and whether to look for the largest."""

    batch: int = Field(default=1, ge=1)
    """Rows."""
    context: int = Field(default=512, ge=32)
    """Positions per row."""
    prompt_tokens: int = Field(default=128, ge=1)
    """Length of each prompt: activations of prefill grow with it."""
    growth_tokens: int = Field(default=256, ge=64)
    """Tokens decoded, per row, while memory is watched for growth."""
    search: bool = True
    """Look for the largest batch and context that fit."""
    memory_budget: Size | None = None
    """What the whole process may use, e.g. "2GiB"; by default what it uses now and half of what is
    still available."""
    search_batch: int = Field(default=64, ge=1)
    """The search for the largest batch ends here: a prefill of very many rows takes long."""


def _row(name: str, unit: str, definition: str, better: Direction = "lower") -> Metric:
    return Metric(
        name=name,
        unit=unit,
        better=better,
        definition=definition,
        pooled="per process",
        statistics=("once",),
        primary=name == "peak_bytes",
    )


class MemoryScenario(Scenario):
    """Bytes by part and phase, growth while decoding, and the largest shape that fits a budget."""

    summary = "weights, KV cache, activations and peak; growth; largest batch and context that fit"
    level = "step"
    version = 2
    Options = MemoryOptions
    metrics = (
        _row("peak_bytes", "bytes", "The most in use during a prefill and the decoding after."),
        _row("import_bytes", "bytes", "In use once the libraries are imported, no model loaded."),
        _row("load_bytes", "bytes", "In use once the weights are loaded."),
        _row("prepare_bytes", "bytes", "In use once the session is prepared for its shape."),
        _row("prefill_peak_bytes", "bytes", "The most in use during prefill."),
        _row("decode_peak_bytes", "bytes", "The most in use during decoding."),
        _row("weights_bytes", "bytes", "What loading added: in use after load and before it, once "
             "freed memory is given back. Pages of files count where the session says that its "
             "weights are only mapped, and else in mapped_bytes."),
        _row("computed_weights_bytes", "bytes", "Parameters × bytes of the precision, a tied "
             "head counted once.", "neither"),
        _row("held_weights_bytes", "bytes", "What the session says its weights take, in the layout "
             "they are kept in; a table kept in two counts twice.", "neither"),
        _row("kept_twice_bytes", "bytes", "Of held_weights_bytes, what is there in a second "
             "layout.", "neither"),
        _row("kv_bytes", "bytes", "What preparing added: KV cache and whatever else the backend "
             "sets up for the shape; without pages of files."),
        _row("computed_kv_bytes", "bytes", "2 × layers × KV heads × head size × batch × context × "
             "bytes of the precision.", "neither"),
        _row("held_state_bytes", "bytes", "What the session says it holds for the shape: KV cache, "
             "logits, tables.", "neither"),
        _row("mapped_bytes", "bytes", "Pages of files that loading and preparing touched: code of "
             "libraries, files that stay mapped. Weights that are only mapped are not in it."),
        _row("activation_bytes", "bytes", "Peak of prefill and decoding above what was in use just "
             "before. Memory that the allocator kept from earlier calls is reused unseen."),
        _row("growth_bytes_per_1000_tokens", "bytes", "Median slope (Theil-Sen) of memory in use "
             "over decoded tokens, warm; × 1000. A leak is steadily above zero. Where the context "
             "is full, the session is reset and prefilled again."),
        _row("max_batch", "rows", "The largest batch, at the suite's context, that was prepared, "
             "prefilled (16 tokens a row) and decoded within memory_budget, or within 90 % of what "
             "the machine has left where that is less; found by bisection, to 3 %. Shapes that are "
             "predicted above the budget are not tried. Ends at search_batch.", "higher"),
        _row("max_context", "positions", "The largest context at batch 1, found likewise. Where it "
             "equals model_context, the model ends it and not memory.", "higher"),
        _row("model_context", "positions", "The longest context that the model has.", "neither"),
    )  # fmt: skip

    def points(self, options: MemoryOptions, model: ModelConfig) -> Sequence[Point]:
        """Return one point, observed once."""
        if options.context > model.max_context:
            raise SpecError(
                f"context = {options.context}",
                expected=f"at most the model's context of {model.max_context}",
            )
        if options.prompt_tokens + _WARM_TOKENS >= options.context:
            raise SpecError(
                f"prompt_tokens = {options.prompt_tokens} fill a context of {options.context}",
                expected=f"room for {_WARM_TOKENS} tokens and more to decode",
            )
        return [Point(batch=options.batch, context=options.context, once=True)]

    def measure(
        self, session: StepSession, point: Point, options: MemoryOptions, lab: Lab
    ) -> Iterator[Observation]:
        """Yield one observation."""
        rounds = itertools.count()
        while True:
            generation = _Generation(session, point, options, lab, next(rounds))
            held = session.held()
            values = _phases(lab, held) | _computed(point, lab, held) | generation.peaks()
            values["growth_bytes_per_1000_tokens"] = generation.growth(options.growth_tokens)
            if options.search:
                values |= _search(session, point, options, lab, values["peak_bytes"])
            yield Observation(
                values={name: [float(value)] for name, value in values.items()},
                transcripts=generation.transcripts,
            )


def _phases(lab: Lab, held: Held | None) -> dict[str, float]:
    """Return memory after each phase, and what each added; what was not recorded stays absent."""
    after, mapped = lab.phase_bytes, lab.phase_mapped_bytes
    values: dict[str, float] = {
        f"{phase}_bytes": after[phase] for phase in ("import", "load", "prepare") if phase in after
    }
    files = 0
    for name, (before, phase) in {
        "weights_bytes": ("import", "load"),
        "kv_bytes": ("load", "prepare"),
    }.items():
        if before not in after or phase not in after:
            continue
        pages = mapped.get(phase, 0) - mapped.get(before, 0)
        if phase == "load" and held is not None:
            pages -= min(held.mapped, pages)
        added = after[phase] - after[before] - pages
        files += pages
        # A phase that ends with less than it began with says nothing of what it added.
        if added >= 0:
            values[name] = added
    if mapped:
        values["mapped_bytes"] = max(files, 0)
    return values


def _computed(point: Point, lab: Lab, held: Held | None) -> dict[str, float]:
    values: dict[str, float] = {
        "computed_weights_bytes": lab.model.weight_bytes(lab.dtype),
        "computed_kv_bytes": lab.model.kv_bytes(point.batch, point.context, lab.dtype),
        "model_context": lab.model.max_context,
    }
    if held is not None:
        values |= {"held_weights_bytes": held.weights, "kept_twice_bytes": held.twice}
        if held.state is not None:
            values["held_state_bytes"] = held.state
    return values


class _Generation:
    """One batch of prompts, prefilled again with fresh ones whenever the context is full."""

    def __init__(
        self, session: StepSession, point: Point, options: MemoryOptions, lab: Lab, number: int
    ) -> None:
        self._session = session
        self._point = point
        self._prompt_tokens = options.prompt_tokens
        self._meter = lab.memory
        self._prompts = Prompts(lab.model, lab.seed, f"memory/{number}")
        self._asked = 0
        self._room = 0
        self._last: list[tuple[int, ...]] = []
        self.transcripts: list[Transcript] = []

    def peaks(self) -> dict[str, float]:
        """Prefill, decode a little, and return the peaks."""
        meter, session = self._meter, self._session
        before = meter.current_bytes()
        meter.reset_peak()
        made = [self._prefill()]
        session.synchronize()
        prefill_peak = meter.peak_bytes()
        meter.reset_peak()
        made += [self._decode() for _ in range(min(_TRANSCRIPT_TOKENS, self._room))]
        session.synchronize()
        decode_peak = meter.peak_bytes()
        self.transcripts = [
            Transcript(prompt, tuple(tokens))
            for prompt, tokens in zip(self._last, zip(*made, strict=True), strict=True)
        ]
        peak = max(prefill_peak, decode_peak)
        return {
            "peak_bytes": peak,
            "prefill_peak_bytes": prefill_peak,
            "decode_peak_bytes": decode_peak,
            "activation_bytes": max(peak - before, 0),
        }

    def growth(self, tokens: int) -> float:
        """Decode this many tokens per row; return bytes gained per 1000 of all rows' tokens."""
        for _ in range(_WARM_TOKENS):
            self._decode()
        made: list[int] = []
        used: list[int] = []
        for step in range(tokens):
            if step % _READ_EVERY == 0:
                self._session.synchronize()
                made.append(step * self._point.batch)
                used.append(self._meter.current_bytes())
            self._decode()
        slopes = [
            (used[j] - used[i]) / (made[j] - made[i])
            for i, j in itertools.combinations(range(len(made)), 2)
        ]
        slopes.sort()
        middle = len(slopes) // 2
        return 1000 * (slopes[middle] + slopes[~middle]) / 2

    def _prefill(self) -> list[int]:
        import torch

        numbers = range(self._asked, self._asked + self._point.batch)
        self._asked += self._point.batch
        self._last = [self._prompts.at(n, self._prompt_tokens) for n in numbers]
        self._session.reset()
        lengths = torch.full((self._point.batch,), self._prompt_tokens)
        first = self._session.prefill(torch.tensor(self._last), lengths)
        self._room = self._point.context - self._prompt_tokens
        return list(map(int, first.tolist()))

    def _decode(self) -> list[int]:
        if self._room == 0:
            self._prefill()
        self._room -= 1
        return list(map(int, self._session.decode().tolist()))


def _search(
    session: StepSession, point: Point, options: MemoryOptions, lab: Lab, peak_bytes: float
) -> dict[str, float]:
    """Return the largest batch and context that fit; leave the session prepared as it was."""
    used, available = lab.memory.current_bytes(), lab.memory.available_bytes()
    asked = options.memory_budget or lab.budget_bytes or used + available // 2
    fit = Fit(
        session=session,
        lab=lab,
        prompt_tokens=min(options.prompt_tokens, _PROBE_TOKENS),
        budget_bytes=min(asked, used + int(_SAFE_SHARE * available)),
        seen_peak_bytes=peak_bytes,
        seen_needed_bytes=needed_bytes(lab, point.batch, point.context),
    )
    try:
        return {
            "max_batch": largest_fit(
                lambda rows: fit.predicted_bytes(rows, point.context),
                lambda rows: fit.probe(rows, point.context),
                range(1, options.search_batch + 1),
                fit.budget_bytes,
            ),
            "max_context": largest_fit(
                lambda context: fit.predicted_bytes(1, context),
                lambda context: fit.probe(1, context),
                range(2, lab.model.max_context + 1),
                fit.budget_bytes,
            ),
        }
    finally:
        session.prepare(point.batch, point.context)
