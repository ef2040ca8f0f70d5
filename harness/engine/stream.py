"""A step session seen as a stream: tokens reach the host one by one, as a user gets them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from harness.contracts import Request, StepSession, StreamSession, TokenEvent
from harness.engine.clock import now_ns
from harness.errors import SessionError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["StepAsStream", "observer_ns"]


class StepAsStream(StreamSession):
    """Drives a step session for a batch of requests and stamps each token once it is on the host.

    Reading the tokens on the host is the synchronization: a user waits for nothing less. The batch
    decodes until its longest request is done.
    """

    def __init__(self, session: StepSession, clock: Callable[[], int] = now_ns) -> None:
        self._session = session
        self._clock = clock

    def prepare(self, batch: int, context: int) -> None:
        """Prepare the step session."""
        self._session.prepare(batch, context)

    def close(self) -> None:
        """Close the step session."""
        self._session.close()

    def stream(self, requests: Sequence[Request]) -> Iterator[TokenEvent]:
        """Yield the tokens of all requests in the order of their steps."""
        import torch

        session, clock = self._session, self._clock
        lengths = torch.tensor([len(r.prompt_ids) for r in requests])
        tokens = torch.zeros(len(requests), int(lengths.max()), dtype=torch.int64)
        for row, request in enumerate(requests):
            tokens[row, : len(request.prompt_ids)] = torch.tensor(request.prompt_ids)
        wanted = [r.new_tokens for r in requests]
        session.reset()
        on_host = session.prefill(tokens, lengths).tolist()
        at = clock()
        for row, token in enumerate(on_host):
            if wanted[row] > 0:
                yield TokenEvent(row, token, at)
        decode = session.decode
        for step in range(1, max(wanted)):
            on_host = decode().tolist()
            at = clock()
            for row, token in enumerate(on_host):
                if step < wanted[row]:
                    yield TokenEvent(row, token, at)


def observer_ns(tokens: int = 4000, repetitions: int = 5) -> float:
    """Return what delivering, stamping and keeping one token costs beside the session's work, ns.

    Measured by streaming from a session that does nothing; the median of the repetitions.
    """
    stream = StepAsStream(_Nothing())
    request = [Request((1,), tokens)]
    costs: list[float] = []
    for _ in range(repetitions):
        start = now_ns()
        kept = [event.at_ns for event in stream.stream(request)]
        costs.append((now_ns() - start) / len(kept))
    return statistics.median(costs)


class _Nothing(StepSession):
    """Returns the same token at once: what is left is the observer."""

    def __init__(self) -> None:
        import torch

        self._token = torch.zeros(1, dtype=torch.int64)

    def prepare(self, batch: int, context: int) -> None:
        """Need nothing."""

    def close(self) -> None:
        """Hold nothing."""

    def reset(self) -> None:
        """Remember nothing."""

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return the token."""
        del tokens, lengths
        return self._token

    def decode(self) -> Tensor:
        """Return the token."""
        return self._token

    def feed(self, tokens: Tensor) -> None:
        """Ignore them."""

    def logits(self) -> Tensor:
        """Have none."""
        raise SessionError("a session that does nothing has no logits")

    def synchronize(self) -> None:
        """Nothing is under way."""
