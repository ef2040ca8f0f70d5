"""Correct first: a session's logits and tokens against the reference, before and after timing.

Teacher-forced, so that one honest near-tie does not make all later tokens differ; and aware of
ties: a token counts as the reference's own where the reference has it within tolerance of its best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.contracts import Request, StepSession, StreamSession, Transcript
from harness.engine.clock import now_ns
from harness.engine.reference import CheckPrompt, Reference
from harness.errors import SessionError
from harness.store.record import CheckRecord

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TOLERANCE", "Tolerance", "audit", "probe_synchronize", "verify_steps", "verify_stream"]


@dataclass(frozen=True)
class Tolerance:
    """What a precision may differ by; logit errors in standard deviations of the reference."""

    max_logit_error: float
    max_kl: float
    """nats"""

    def as_dict(self) -> dict[str, float]:
        """As it is stored beside the figures."""
        return {"max_logit_error": self.max_logit_error, "max_kl": self.max_kl}


TOLERANCE = {
    "float32": Tolerance(max_logit_error=1e-3, max_kl=1e-6),
    "bfloat16": Tolerance(max_logit_error=0.25, max_kl=0.05),
    "float16": Tolerance(max_logit_error=0.05, max_kl=0.005),
}

_LAG_SHARE = 0.2
_LAG_FLOOR_NS = 500_000
_PROBES = 4


@dataclass
class _Tally:
    """Errors gathered position by position."""

    tolerance: Tolerance
    positions: int = 0
    agreed: int = 0
    max_error: float = 0.0
    sum_error: float = 0.0
    max_kl: float = 0.0
    detail: str = ""
    failures: int = field(default=0)

    def add_logits(
        self, got: NDArray[np.float32], token: int, expected: NDArray[np.float32], place: str
    ) -> None:
        """Compare the logits of one position, float32 [V] each, and the token made of them."""
        if not np.isfinite(got).all():
            self._count(agreed=False, failed=f"{place}: logits are not finite")
            return
        scale = max(float(expected.std()), 1e-12)
        error = np.abs(got - expected) / scale
        kl = _kl(expected, got)
        self.max_error = max(self.max_error, float(error.max()))
        self.sum_error += float(error.mean())
        self.max_kl = max(self.max_kl, kl)
        gap = _gap(expected, token, scale)
        tie = 2 * self.tolerance.max_logit_error
        failed = ""
        if gap > tie:
            failed = f"{place}: made token {token}, the reference {expected.argmax()}"
        elif error.max() > self.tolerance.max_logit_error:
            failed = f"{place}: a logit is off by {error.max():.3g} standard deviations"
        elif kl > self.tolerance.max_kl:
            failed = f"{place}: KL divergence {kl:.3g} nats"
        self._count(agreed=gap <= tie, failed=failed)

    def add_token(self, token: int, expected: NDArray[np.float32], place: str) -> None:
        """Compare one chosen token with the reference's logits float32 [V]."""
        scale = max(float(expected.std()), 1e-12)
        gap = _gap(expected, token, scale)
        agreed = gap <= 2 * self.tolerance.max_logit_error
        best = int(expected.argmax())
        self._count(
            agreed=agreed,
            failed="" if agreed else f"{place}: token {token}, the reference says {best}",
        )

    def record(self) -> CheckRecord:
        """Return the verdict."""
        return CheckRecord(
            passed=self.failures == 0 and self.positions > 0,
            positions=self.positions,
            top1_agreement=self.agreed / max(self.positions, 1),
            max_logit_error=self.max_error,
            mean_logit_error=self.sum_error / max(self.positions, 1),
            max_kl=self.max_kl,
            tolerance=self.tolerance.as_dict(),
            detail=self.detail,
        )

    def _count(self, *, agreed: bool, failed: str) -> None:
        self.positions += 1
        self.agreed += agreed
        if failed:
            self.failures += 1
            self.detail = self.detail or failed


def verify_steps(session: StepSession, batch: int, reference: Reference, dtype: str) -> CheckRecord:
    """Check a prepared step session, teacher-forced, at the batch that will be timed.

    A batch holds the prompts in turn, so its rows are ragged and differ: a row that sees another's
    cache fails. At batch 1 each prompt is a request of its own after a reset.

    Raises:
        SessionError: where results were not there once `synchronize` had returned.
    """
    import torch

    tally = _Tally(TOLERANCE[dtype])
    count = len(reference.prompts)
    starts = list(range(0, count, batch))
    # At least two requests that differ, so that nothing of the first can pass for the second's.
    for start in starts if len(starts) > 1 else [0, 1]:
        rows = [(start + i) % count for i in range(batch)]
        prompts = [reference.prompts[r] for r in rows]
        tokens, lengths = _padded(prompts)
        session.reset()
        made = session.prefill(tokens, lengths).tolist()
        _tally_rows(tally, session, reference, rows, 0, made)
        for step in range(len(prompts[0].forced)):
            session.feed(torch.tensor([p.forced[step] for p in prompts]))
            made = session.decode().tolist()
            _tally_rows(tally, session, reference, rows, step + 1, made)
    return tally.record()


def verify_stream(session: StreamSession, reference: Reference, dtype: str) -> CheckRecord:
    """Check a stream session by the tokens it makes; it has no logits to look at."""
    requests = [Request(p.prompt, len(p.forced)) for p in reference.prompts]
    made: dict[int, list[int]] = {}
    for event in session.stream(requests):
        made.setdefault(event.request, []).append(event.token)
    tally = _Tally(TOLERANCE[dtype])
    for index, request in enumerate(requests):
        tokens = made.get(index, [])
        if len(tokens) != request.new_tokens:
            raise SessionError(
                f"made {len(tokens)} tokens where {request.new_tokens} were asked for"
            )
        # Only the first follows from the prompt alone; the audit looks at the rest.
        tally.add_token(tokens[0], reference.logits[index, 0], f"prompt {index}")
    return tally.record()


def probe_synchronize(session: StepSession, prompt: Sequence[int], batch: int) -> float:
    """Return the seconds that results took to be on the host after `synchronize` had returned.

    Raises:
        SessionError: where that is a share of the work itself: the session's clock would lie.
    """
    import torch

    tokens = torch.tensor([list(prompt)] * batch)
    lengths = torch.full((batch,), len(prompt))
    works: dict[str, Callable[[], Tensor]] = {
        "prefill": lambda: session.prefill(tokens, lengths),
        "decode": session.decode,
    }
    lags: dict[str, list[tuple[int, int]]] = {name: [] for name in works}
    for _ in range(_PROBES):
        session.reset()
        for name, work in works.items():
            start = now_ns()
            result = work()
            session.synchronize()
            synchronized = now_ns()
            result.tolist()
            lags[name].append((now_ns() - synchronized, now_ns() - start))
    for name, seen in lags.items():
        # The least of several: being descheduled once is not a lie.
        late, whole = min(seen)
        if late > max(_LAG_FLOOR_NS, _LAG_SHARE * whole):
            raise SessionError(
                f"synchronize() after {name} returned {late / 1e6:.1f} ms before its results were "
                "there: times taken with it would be wrong"
            )
    return max(min(seen)[0] for seen in lags.values()) / 1e9


def audit(
    transcripts: Sequence[Transcript],
    scores: Sequence[NDArray[np.float32]],
    dtype: str,
) -> CheckRecord:
    """Check tokens that were made while timed against the reference's logits at each position.

    Args:
        transcripts: What was asked and what came back.
        scores: Reference logits float32 [T, V] of each transcript's prompt and tokens together.
        dtype: Precision of the session.
    """
    tally = _Tally(TOLERANCE[dtype])
    for index, (transcript, logits) in enumerate(zip(transcripts, scores, strict=True)):
        first = len(transcript.prompt_ids) - 1
        for i, token in enumerate(transcript.token_ids):
            tally.add_token(token, logits[first + i], f"timed request {index}, token {i}")
    return tally.record()


def _tally_rows(
    tally: _Tally,
    session: StepSession,
    reference: Reference,
    rows: Sequence[int],
    step: int,
    made: Sequence[int],
) -> None:
    """Compare logits and the tokens `made` of them: the tokens are what a user gets."""
    logits = session.logits()
    expected = (len(rows), reference.logits.shape[-1])
    if tuple(logits.shape) != expected or len(made) != len(rows):
        raise SessionError(
            f"{len(made)} tokens and logits of shape {tuple(logits.shape)}",
            expected=f"{len(rows)} and {expected}",
        )
    got = logits.float().numpy()
    for row, prompt in enumerate(rows):
        place = f"prompt {prompt} in row {row}, step {step}"
        tally.add_logits(got[row], made[row], reference.logits[prompt, step], place)


def _padded(prompts: Sequence[CheckPrompt]) -> tuple[Tensor, Tensor]:
    import torch

    lengths = torch.tensor([len(p.prompt) for p in prompts])
    tokens = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt.prompt)] = torch.tensor(prompt.prompt)
    return tokens, lengths


def _gap(logits: NDArray[np.float32], token: int, scale: float) -> float:
    """How far a token's logit lies beneath the best one, in standard deviations."""
    if not 0 <= token < len(logits):
        return float("inf")
    return float(logits.max() - logits[token]) / scale


def _kl(p_logits: NDArray[np.float32], q_logits: NDArray[np.float32]) -> float:
    """Kullback-Leibler divergence of softmax(q) from softmax(p), nats."""
    p = _log_softmax(p_logits)
    return max(0.0, float((np.exp(p) * (p - _log_softmax(q_logits))).sum()))


def _log_softmax(x: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = x.astype(np.float64) - x.max()
    out: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return out
