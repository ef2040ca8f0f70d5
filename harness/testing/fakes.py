"""Sessions with declared delays: what makes tests of timing exact.

A scenario, a report or an engine that is driven by these must report the declared delays to the
nanosecond. Nothing here knows a real model: tokens follow from `fake_continuation` alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from harness.contracts import (
    Availability,
    Backend,
    BackendOptions,
    Request,
    StepSession,
    StreamSession,
    TokenEvent,
)
from harness.errors import SessionError
from harness.testing.clock import Clock, FakeClock, FakeMeter, WallClock

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import Model

__all__ = [
    "Delays",
    "FakeBackend",
    "FakeClock",
    "FakeMeter",
    "FakeOptions",
    "FakeSession",
    "FakeStream",
    "WallClock",
    "fake_continuation",
]

_PRIME = 2**61 - 1


@dataclass(frozen=True)
class Delays:
    """How long each call takes, in nanoseconds."""

    prepare_ns: int = 0
    prefill_ns: int = 0
    """Of each prefill."""
    prompt_token_ns: int = 0
    """Of each token of the longest prompt, on top."""
    decode_ns: int = 0
    """Of each decode, whatever the batch."""


def fake_continuation(
    prompt_ids: Sequence[int], new_tokens: int, vocab_size: int = 512
) -> list[int]:
    """Return the tokens that a fake session makes after this prompt: each depends on all before."""
    row = _Row(vocab_size)
    token = [row.read(token) for token in prompt_ids][-1]
    made = [token]
    while len(made) < new_tokens:
        made.append(row.read(made[-1]))
    return made[:new_tokens]


class _Row:
    """The whole history of one row, folded into a number."""

    def __init__(self, vocab_size: int) -> None:
        self.position = 0
        self._vocab_size = vocab_size
        self._folded = 0

    def read(self, token: int) -> int:
        """Take in one token and return the one that follows."""
        self.position += 1
        self._folded = (self._folded * 1_000_003 + token * 31 + self.position) % _PRIME
        return self._folded % self._vocab_size


class FakeSession(StepSession):
    """A step session whose every duration is declared; it keeps the whole contract.

    Args:
        clock: Where the delays pass: a `FakeClock` for exact tests, a `WallClock` to really wait.
        delays: How long each call takes.
        vocab_size: Tokens are below it.
        meter: Is charged `position_bytes` per prepared position until `close`.
        position_bytes: See `meter`.

    Attributes:
        calls: How often each method was called.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        delays: Delays = Delays(),
        *,
        vocab_size: int = 512,
        meter: FakeMeter | None = None,
        position_bytes: int = 0,
    ) -> None:
        self.clock: Clock = clock or FakeClock()
        self.delays = delays
        self.calls: Counter[str] = Counter()
        self._vocab_size = vocab_size
        self._meter = meter or FakeMeter()
        self._position_bytes = position_bytes
        self._taken = 0
        self._batch = self._context = 0
        self._rows: list[_Row] = []
        self._next: list[int] = []
        self._out: Tensor | None = None

    def prepare(self, batch: int, context: int) -> None:
        """Remember the shape; charge the meter."""
        import torch

        self._called("prepare", self.delays.prepare_ns)
        self._charge(batch * context * self._position_bytes)
        self._batch, self._context = batch, context
        self._rows, self._next = [], []
        self._out = torch.zeros(batch, dtype=torch.int64)

    def close(self) -> None:
        """Give back what the meter was charged."""
        self._called("close", 0)
        self._charge(0)
        self._out = None

    def reset(self) -> None:
        """Forget every row."""
        self._called("reset", 0)
        self._rows, self._next = [], []

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Fold each row's prompt into its first token."""
        if self._rows:
            raise SessionError("prefill without reset", where="FakeSession")
        if len(tokens) != self._batch or int(lengths.max()) > self._context:
            raise SessionError(
                f"prefill of {tuple(tokens.shape)}",
                where="FakeSession",
                expected=f"{self._batch} rows of up to {self._context} tokens",
            )
        longest = int(lengths.max())
        self._called("prefill", self.delays.prefill_ns + longest * self.delays.prompt_token_ns)
        self._rows = [_Row(self._vocab_size) for _ in range(self._batch)]
        self._next = [
            [row.read(token) for token in prompt[:length]][-1]
            for row, prompt, length in zip(
                self._rows, tokens.tolist(), lengths.tolist(), strict=True
            )
        ]
        return self._tokens()

    def decode(self) -> Tensor:
        """Make each row's next token."""
        if not self._rows:
            raise SessionError("decode before prefill", where="FakeSession")
        if any(row.position >= self._context for row in self._rows):
            raise SessionError(f"a row passes the context of {self._context}", where="FakeSession")
        self._called("decode", self.delays.decode_ns)
        self._next = [row.read(token) for row, token in zip(self._rows, self._next, strict=True)]
        return self._tokens()

    def feed(self, tokens: Tensor) -> None:
        """Replace the tokens that `decode` reads next."""
        self._called("feed", 0)
        self._next = tokens.tolist()

    def logits(self) -> Tensor:
        """Return 1 for the token made, 0 elsewhere: float32 [B, V]."""
        import torch

        self._called("logits", 0)
        return torch.nn.functional.one_hot(self._tokens(), self._vocab_size).float()

    def synchronize(self) -> None:
        """Nothing is ever in flight."""
        self._called("synchronize", 0)

    def _called(self, method: str, delay_ns: int) -> None:
        self.calls[method] += 1
        self.clock.pass_ns(delay_ns)

    def _charge(self, size_bytes: int) -> None:
        self._meter.take(size_bytes - self._taken)
        self._taken = size_bytes

    def _tokens(self) -> Tensor:
        import torch

        # One tensor, overwritten: a scenario that keeps it instead of copying it is found out.
        if self._out is None:
            raise SessionError("used before prepare or after close", where="FakeSession")
        return self._out.copy_(torch.tensor(self._next))


class FakeStream(StreamSession):
    """A stream session with declared delays: all prompts at once, then a token each per decode."""

    def __init__(
        self,
        clock: Clock | None = None,
        delays: Delays = Delays(),
        *,
        vocab_size: int = 512,
    ) -> None:
        self.clock: Clock = clock or FakeClock()
        self.delays = delays
        self.calls: Counter[str] = Counter()
        self._vocab_size = vocab_size
        self._batch = self._context = 0

    def prepare(self, batch: int, context: int) -> None:
        """Remember the shape."""
        self.calls["prepare"] += 1
        self.clock.pass_ns(self.delays.prepare_ns)
        self._batch, self._context = batch, context

    def close(self) -> None:
        """Nothing to give back."""
        self.calls["close"] += 1

    def stream(self, requests: Sequence[Request]) -> Iterator[TokenEvent]:
        """Serve up to the prepared batch of requests in lockstep."""
        self.calls["stream"] += 1
        if len(requests) > self._batch:
            raise SessionError(f"{len(requests)} requests for {self._batch} rows")
        longest = max(len(r.prompt_ids) for r in requests)
        made = [fake_continuation(r.prompt_ids, r.new_tokens, self._vocab_size) for r in requests]
        self.clock.pass_ns(self.delays.prefill_ns + longest * self.delays.prompt_token_ns)
        for step in range(max(r.new_tokens for r in requests)):
            if step:
                self.clock.pass_ns(self.delays.decode_ns)
            for index, tokens in enumerate(made):
                if step < len(tokens):
                    yield TokenEvent(index, tokens[step], self.clock.now_ns())


class FakeOptions(BackendOptions):
    """Delays in milliseconds."""

    prefill_ms: float = Field(default=0.0, ge=0)
    """Of each prefill."""
    decode_ms: float = Field(default=0.0, ge=0)
    """Of each decode."""


class FakeBackend(Backend):
    """Really waits the delays it is told; its tokens are no model's, so every check refuses it."""

    name = "fake"
    summary = "declared delays, no model: for tests of the harness itself"

    Options = FakeOptions

    def availability(self, device: str) -> Availability:
        """It needs nothing but a processor."""
        if device == "cpu":
            return Availability.yes()
        return Availability.no("the fake backend waits on the CPU only", "use device cpu")

    def load(self, model: Model, device: str, options: Any) -> FakeSession:
        """Return a session for the model's vocabulary on the machine's own clock."""
        del device
        delays = Delays(
            prefill_ns=round(options.prefill_ms * 1e6), decode_ns=round(options.decode_ms * 1e6)
        )
        return FakeSession(WallClock(), delays, vocab_size=model.config.vocab_size)
