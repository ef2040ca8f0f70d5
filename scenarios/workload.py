"""What is asked: lengths of prompts and answers, and the prompts themselves.

Everything follows from (seed, stream, number), so every backend, round and machine sees the same
prompts, and no prompt comes twice in a process. Tokens are drawn at random: a dense model takes the
same time for any text, and nothing can be reused from a cache of prefixes. It must not know what is
measured.

Raw Philox output is used, which numpy keeps the same across versions and platforms (its
distributions it does not).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from harness.contracts import Options
from harness.errors import did_you_mean

if TYPE_CHECKING:
    from harness.model import ModelConfig

__all__ = [
    "WORKLOADS",
    "Fixed",
    "Length",
    "Lognormal",
    "Prompts",
    "Uniform",
    "draw",
]


class Fixed(Options):
    """Always the same length."""

    distribution: Literal["fixed"] = "fixed"
    tokens: int = Field(ge=1)

    @property
    def shortest(self) -> int:
        """The least it can give."""
        return self.tokens

    @property
    def longest(self) -> int:
        """The most it can give."""
        return self.tokens

    def at(self, share: float) -> int:
        """Return the length below which this share of all lies."""
        del share
        return self.tokens


class Uniform(Options):
    """Any length from `low` to `high`, both included, equally often."""

    distribution: Literal["uniform"] = "uniform"
    low: int = Field(ge=1)
    high: int = Field(ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> Uniform:
        if self.low > self.high:
            raise ValueError(f"low up to high; {self.low} is above {self.high}")
        return self

    @property
    def shortest(self) -> int:
        """The least it can give."""
        return self.low

    @property
    def longest(self) -> int:
        """The most it can give."""
        return self.high

    def at(self, share: float) -> int:
        """Return the length below which this share of all lies."""
        return self.low + min(int(share * (self.high - self.low + 1)), self.high - self.low)


class Lognormal(Options):
    """As lengths of texts are: many short, few long. Lengths above `max` become `max`."""

    distribution: Literal["lognormal"] = "lognormal"
    median: float = Field(ge=1)
    sigma: float = Field(gt=0, le=3)
    """Standard deviation of the logarithm."""
    max: int = Field(ge=1)
    min: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> Lognormal:
        if not self.min <= self.median <= self.max:
            raise ValueError(f"min, median and max in this order; got {self}")
        return self

    @property
    def shortest(self) -> int:
        """The least it can give."""
        return self.min

    @property
    def longest(self) -> int:
        """The most it can give."""
        return self.max

    def at(self, share: float) -> int:
        """Return the length below which this share of all lies."""
        normal = NormalDist().inv_cdf(min(max(share, 1e-12), 1 - 1e-12))
        length = round(self.median * math.exp(self.sigma * normal))
        return min(max(length, self.min), self.max)


_DISTRIBUTIONS: dict[str, type[Fixed | Uniform | Lognormal]] = {
    "fixed": Fixed,
    "uniform": Uniform,
    "lognormal": Lognormal,
}
_EXPECTED = (
    'a number of tokens from 1, or { distribution = "uniform", low = 16, high = 64 }, '
    'or { distribution = "lognormal", median = 200, sigma = 0.8, max = 1024 }'
)


def _parse(value: object) -> object:
    """Turn what a suite says into a distribution; ValueError says what it may say."""
    if isinstance(value, Fixed | Uniform | Lognormal):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return Fixed(tokens=value)
    if not isinstance(value, dict):
        raise ValueError(_EXPECTED)
    name = value.get("distribution")
    kind = _DISTRIBUTIONS.get(str(name))
    if kind is None:
        near = did_you_mean(str(name), _DISTRIBUTIONS)
        raise ValueError(f"distribution one of {', '.join(_DISTRIBUTIONS)}; {near}".rstrip("; "))
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise ValueError(_complaint(error, name, kind)) from error


def _complaint(error: ValidationError, name: object, kind: type[Options]) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = sorted(kind.model_fields)
        near = did_you_mean(key, known)
        return f'keys of {name} among {", ".join(known)}, not "{key}"; {near}'.rstrip("; ")
    if first["type"] == "missing":
        return f'"{key}" beside distribution = "{name}"'
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{key} {message}".strip()


Length = Annotated[Fixed | Uniform | Lognormal, BeforeValidator(_parse)]
"""How long: in a suite a number, or a table with `distribution`."""

WORKLOADS: dict[str, tuple[Length, Length]] = {
    # Short questions with a passage or a few examples; the answer is a phrase or a sentence.
    "qa": (
        Lognormal(median=160, sigma=0.5, max=512, min=16),
        Lognormal(median=24, sigma=0.6, max=96, min=2),
    ),
    # Shared ChatGPT conversations, as the vLLM paper (Kwon et al. 2023) describes them: some 160
    # tokens in and 340 out on average, both with a long tail.
    "chat": (
        Lognormal(median=96, sigma=1.0, max=1024, min=8),
        Lognormal(median=240, sigma=0.8, max=768, min=8),
    ),
    # News articles of some 800 words with summaries of three sentences (CNN/DailyMail, See et al.
    # 2017), at about 1.3 tokens a word.
    "summarization": (
        Lognormal(median=900, sigma=0.45, max=2048, min=128),
        Lognormal(median=80, sigma=0.35, max=192, min=16),
    ),
    # A sentence or a short paragraph of news with its instruction; as much out as there is text.
    "translation": (
        Lognormal(median=56, sigma=0.5, max=256, min=16),
        Lognormal(median=40, sigma=0.5, max=256, min=4),
    ),
    # An instruction with a text of a paragraph; the answer is a label.
    "classification": (
        Lognormal(median=120, sigma=0.5, max=512, min=24),
        Uniform(low=2, high=6),
    ),
    # Completion in an editor: much code before the cursor, a line or a few after it. Azure's trace
    # (Splitwise, Patel et al. 2024) has a median of some 1,500 tokens in and 13 out.
    "code": (
        Lognormal(median=1200, sigma=0.6, max=4096, min=64),
        Lognormal(median=16, sigma=0.8, max=128, min=2),
    ),
}
"""Built-in profiles: (prompt, new tokens). Rounded to typical lengths, not fitted to a data set."""


def draw(length: Length, seed: int, stream: str, number: int) -> int:
    """Return the `number`-th length of a stream; the same everywhere."""
    if isinstance(length, Fixed):
        return length.tokens
    (raw,) = _raw(1, seed, f"length/{stream}", number)
    return length.at((raw + 0.5) / 2**64)


class Prompts:
    """The prompts of one stream: random tokens from the middle of the vocabulary.

    Special tokens lie at the ends of a vocabulary (and are named by the model's configuration), so
    a sixteenth at each end is left out. The first two tokens count up like digits, so that two
    prompts of a stream differ in their first token as a rule, and in their first two always (but
    for a hundred thousand prompts and more).

    Args:
        model: Whose vocabulary it is.
        seed: The run's.
        stream: What sets these prompts apart from others in the same process: a point's label.
    """

    def __init__(self, model: ModelConfig, seed: int, stream: str) -> None:
        edge = model.vocab_size // 16
        special = {model.bos_id, *model.eos_ids}
        self._ids = [i for i in range(edge, model.vocab_size - edge) if i not in special]
        self._seed = seed
        self._stream = stream

    def at(self, number: int, tokens: int) -> tuple[int, ...]:
        """Return the `number`-th prompt, of this many tokens."""
        span = len(self._ids)
        drawn = [raw % span for raw in _raw(tokens, self._seed, f"prompt/{self._stream}", number)]
        start = [raw % span for raw in _raw(2, self._seed, f"start/{self._stream}", 0)]
        drawn[:2] = [
            (first + digit) % span
            for first, digit in zip(start, (number, number // span), strict=False)
        ][:tokens]
        return tuple(self._ids[i] for i in drawn)


def _raw(count: int, seed: int, stream: str, number: int) -> Iterable[int]:
    """Return `count` uniform 64-bit integers of one stream."""
    import numpy as np

    name = f"{seed}/{stream}/{number}".encode()
    key = int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "little")
    raw: Any = np.random.Philox(key=key).random_raw(count)
    return [int(x) for x in raw]
