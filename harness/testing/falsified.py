"""Step sessions that falsify another one, each in one way: what the cheats hand out."""

# ruff: noqa: D102 - methods are the contract's; what is falsified stands with the class

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import StepSession
from harness.errors import SessionError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Deaf",
    "Haunted",
    "InBackground",
    "Kept",
    "LastRowHaunted",
    "Lazy",
    "PastTheEnd",
    "RemembersFirst",
    "Swapped",
    "Wrapped",
]


class Wrapped(StepSession):
    """Another step session; a cheat overrides what it falsifies."""

    def __init__(self, honest: StepSession) -> None:
        self.honest = honest
        self.batch = self.context = 0

    def prepare(self, batch: int, context: int) -> None:
        """As the honest one."""
        self.batch, self.context = batch, context
        self.honest.prepare(batch, context)

    def close(self) -> None:
        """As the honest one."""
        self.honest.close()

    def reset(self) -> None:
        """As the honest one."""
        self.honest.reset()

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """As the honest one."""
        return self.honest.prefill(tokens, lengths)

    def decode(self) -> Tensor:
        """As the honest one."""
        return self.honest.decode()

    def feed(self, tokens: Tensor) -> None:
        """As the honest one."""
        self.honest.feed(tokens)

    def logits(self) -> Tensor:
        """As the honest one."""
        return self.honest.logits()

    def synchronize(self) -> None:
        """As the honest one."""
        self.honest.synchronize()


class Lazy(Wrapped):
    """Notes what is to be done, and does it when somebody looks."""

    def __init__(self, honest: StepSession) -> None:
        super().__init__(honest)
        self._todo: list[Callable[[], Tensor]] = []
        self._done: list[Tensor] = []

    def reset(self) -> None:
        self._finish()
        super().reset()

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return self._later(lambda: self.honest.prefill(tokens, lengths))

    def decode(self) -> Tensor:
        return self._later(self.honest.decode)

    def feed(self, tokens: Tensor) -> None:
        self._finish()
        super().feed(tokens)

    def logits(self) -> Tensor:
        self._finish()
        return super().logits()

    def synchronize(self) -> None:
        """Claim that all is done."""

    def _later(self, work: Callable[[], Tensor]) -> Tensor:
        from harness.testing.unread import Unread

        self._todo.append(work)
        index = len(self._done) + len(self._todo) - 1
        return Unread.of(self.batch, lambda: self._result(index))

    def _result(self, index: int) -> Tensor:
        while len(self._done) <= index:
            self._done.append(self._todo.pop(0)().clone())
        return self._done[index]

    def _finish(self) -> None:
        if self._todo:
            self._result(len(self._done) + len(self._todo) - 1)


class InBackground(Wrapped):
    """Hands decodes to a thread and returns at once."""

    def __init__(self, honest: StepSession) -> None:
        super().__init__(honest)
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[Tensor] | None = None

    def reset(self) -> None:
        self._wait()
        super().reset()

    def decode(self) -> Tensor:
        import torch

        out = torch.zeros(self.batch, dtype=torch.int64)
        # One thread: calls stay in order, only the last needs waiting for.
        self._pending = self._thread.submit(lambda: out.copy_(self.honest.decode()))
        return out

    def feed(self, tokens: Tensor) -> None:
        self._wait()
        super().feed(tokens)

    def logits(self) -> Tensor:
        self._wait()
        return super().logits()

    def synchronize(self) -> None:
        """Claim that all is done."""

    def close(self) -> None:
        self._thread.shutdown()
        super().close()

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


class RemembersFirst(Wrapped):
    """Answers each prompt with the first token it ever made; does the prefill when decoding."""

    def __init__(self, honest: StepSession) -> None:
        super().__init__(honest)
        self._first: Tensor | None = None
        self._prompt: tuple[Tensor, Tensor] | None = None

    def prepare(self, batch: int, context: int) -> None:
        self._first = None
        super().prepare(batch, context)

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        if self._first is None:
            self._first = self.honest.prefill(tokens, lengths).clone()
        else:
            self._prompt = tokens, lengths
        return self._first

    def decode(self) -> Tensor:
        self._catch_up()
        return super().decode()

    def feed(self, tokens: Tensor) -> None:
        self._catch_up()
        super().feed(tokens)

    def logits(self) -> Tensor:
        self._catch_up()
        return super().logits()

    def _catch_up(self) -> None:
        prompt, self._prompt = self._prompt, None
        if prompt:
            self.honest.prefill(*prompt)


class Haunted(Wrapped):
    """Rows still see the tail of an earlier prompt ahead of their own."""

    only_last_row = False

    def __init__(self, honest: StepSession) -> None:
        super().__init__(honest)
        self._earlier: list[list[int]] = []

    def prepare(self, batch: int, context: int) -> None:
        self._earlier = []
        super().prepare(batch, context)

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        from harness.testing.subject import pad

        prompts = [p[:n] for p, n in zip(tokens.tolist(), lengths.tolist(), strict=True)]
        seen = list(prompts)
        for row, earlier in enumerate(self._earlier):
            longer = len(earlier) > len(prompts[row])
            if not self.only_last_row or (longer and row == self.batch - 1):
                room = max(0, self.context // 2 - len(prompts[row]))
                seen[row] = earlier[len(earlier) - min(room, len(earlier)) :] + prompts[row]
        self._earlier = prompts
        return super().prefill(*pad(seen))


class LastRowHaunted(Haunted):
    """The last row does, where the earlier prompt was longer."""

    only_last_row = True


class Swapped(Wrapped):
    """Turns the batch around, and not back."""

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return super().prefill(tokens.flip(0), lengths.flip(0))


class Deaf(Wrapped):
    """Takes no tokens."""

    def feed(self, tokens: Tensor) -> None:
        """Go on with its own tokens."""


class PastTheEnd(Wrapped):
    """Repeats its last tokens where the cache is full."""

    _last: Tensor

    def decode(self) -> Tensor:
        with contextlib.suppress(SessionError):
            self._last = super().decode()
        return self._last

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        self._last = super().prefill(tokens, lengths)
        return self._last


class Kept(Wrapped):
    """Is never closed."""

    kept: ClassVar[list[StepSession]] = []

    def close(self) -> None:
        """Keep everything instead."""
        if self.honest not in self.kept:
            self.kept.append(self.honest)
