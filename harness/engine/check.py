"""Correct first: a session's logits and tokens against the reference, before and after timing.

Teacher-forced, so that one honest near-tie does not make all later tokens differ; and aware of
ties: a token counts as the reference's own where the reference has it within tolerance of its best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
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

__all__ = ["Errors", "Tolerance", "audit", "probe_synchronize", "verify_steps", "verify_stream"]


@dataclass(frozen=True)
class Errors:
    """How far logits are from the reference's, in standard deviations of the reference's."""

    max_logit_error: float
    mean_logit_error: float
    """The largest, over positions, of the mean over the vocabulary."""
    max_kl: float
    """nats"""

    @classmethod
    def between(cls, got: NDArray[np.float32], expected: NDArray[np.float32]) -> Errors:
        """Compare logits of one position, float32 [V] each."""
        error = np.abs(got - expected) / _scale(expected)
        return cls(float(error.max()), float(error.mean()), _kl(expected, got))

    def worst(self, other: Errors) -> Errors:
        """Return the larger of each."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Errors(*(max(a, b) for a, b in pairs))


@dataclass(frozen=True)
class Tolerance:
    """What a session's errors may be: a multiple of what eager's own are in that precision.

    The multiple leaves room for another order of sums: packed and plain products alone differ by
    1.4 in the mean. The divergence grows with the square of the error, and so does its multiple. A
    wrong layer, row, sign or cache moves the mean tenfold and more.
    """

    limit: Errors
    tie: float
    """How far beneath the reference's best a token may lie, in standard deviations."""

    @classmethod
    def of(cls, reference: Reference) -> Tolerance:
        """Derive it from the distance between the reference and its twin."""
        own = _FLOOR
        for expected, twin in zip(reference.logits, reference.twin, strict=True):
            for row, other in zip(expected, twin, strict=True):
                own = own.worst(Errors.between(other, row))
        limit = Errors(
            _ROOM * own.max_logit_error, _ROOM * own.mean_logit_error, _ROOM**2 * own.max_kl
        )
        return cls(limit, tie=2 * own.max_logit_error)

    def as_dict(self) -> dict[str, float]:
        """As it is stored beside the figures."""
        return {**asdict(self.limit), "tie": self.tie}


_ROOM = 3
_FLOOR = Errors(3e-5, 5e-6, 1e-9)
"""Float32 sums in another order differ by about this, even where a model's own happen to agree."""

_LAG_SHARE = 0.2
_LAG_FLOOR_NS = 500_000
_PROBES = 4


@dataclass
class _Tally:
    """Errors gathered position by position."""

    tolerance: Tolerance
    positions: int = 0
    agreed: int = 0
    worst: Errors = Errors(0.0, 0.0, 0.0)
    failures: int = 0
    detail: str = ""

    def add_logits(
        self, got: NDArray[np.float32], token: int, expected: NDArray[np.float32], place: str
    ) -> None:
        """Compare the logits of one position, float32 [V] each, and the token made of them."""
        if not np.isfinite(got).all():
            self._count(agreed=False, failed=f"{place}: logits are not finite")
            return
        errors, limit = Errors.between(got, expected), self.tolerance.limit
        self.worst = self.worst.worst(errors)
        failed = ""
        if errors.max_logit_error > limit.max_logit_error:
            failed = f"{place}: a logit is off by {errors.max_logit_error:.3g} σ"
        elif errors.mean_logit_error > limit.mean_logit_error:
            failed = f"{place}: logits are off by {errors.mean_logit_error:.3g} σ on average"
        elif errors.max_kl > limit.max_kl:
            failed = f"{place}: KL divergence {errors.max_kl:.3g} nats"
        self.add_token(token, expected, place, failed)

    def add_token(
        self, token: int, expected: NDArray[np.float32], place: str, failed: str = ""
    ) -> None:
        """Compare one token with the reference's logits float32 [V]; `failed` is known already."""
        agreed = _gap(expected, token) <= self.tolerance.tie
        if not agreed:
            failed = f"{place}: token {token}, the reference says {int(expected.argmax())}"
        self._count(agreed=agreed, failed=failed)

    def record(self) -> CheckRecord:
        """Return the verdict."""
        return CheckRecord(
            passed=self.failures == 0 and self.positions > 0,
            positions=self.positions,
            top1_agreement=self.agreed / max(self.positions, 1),
            **asdict(self.worst),
            tolerance=self.tolerance.as_dict(),
            detail=self.detail,
        )

    def _count(self, *, agreed: bool, failed: str) -> None:
        self.positions += 1
        self.agreed += agreed
        if failed:
            self.failures += 1
            self.detail = self.detail or failed


def verify_steps(session: StepSession, batch: int, reference: Reference) -> CheckRecord:
    """Check a prepared step session, teacher-forced, at the batch that will be timed.

    A batch holds the prompts in turn, so its rows are ragged and differ: a row that sees another's
    cache fails. At batch 1 each prompt is a request of its own after a reset.

    Raises:
        SessionError: where results were not there once `synchronize` had returned.
    """
    import torch

    tally = _Tally(Tolerance.of(reference))
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


def verify_stream(session: StreamSession, reference: Reference) -> CheckRecord:
    """Check a stream session by the tokens it makes; it has no logits to look at."""
    requests = [Request(p.prompt, len(p.forced)) for p in reference.prompts]
    made: dict[int, list[int]] = {}
    for event in session.stream(requests):
        made.setdefault(event.request, []).append(event.token)
    tally = _Tally(Tolerance.of(reference))
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
    tolerance: Tolerance,
) -> CheckRecord:
    """Check tokens that were made while timed against the reference's logits at each position.

    Args:
        transcripts: What was asked and what came back.
        scores: Reference logits float32 [T, V] of each transcript's prompt and tokens together.
        tolerance: As the session was verified with.
    """
    tally = _Tally(tolerance)
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


def _scale(logits: NDArray[np.float32]) -> float:
    return max(float(logits.std()), 1e-12)


def _gap(logits: NDArray[np.float32], token: int) -> float:
    """How far a token's logit lies beneath the best one, in standard deviations."""
    if not 0 <= token < len(logits):
        return float("inf")
    return float(logits.max() - logits[token]) / _scale(logits)


def _kl(p_logits: NDArray[np.float32], q_logits: NDArray[np.float32]) -> float:
    """Kullback-Leibler divergence of softmax(q) from softmax(p), nats."""
    p = _log_softmax(p_logits)
    return max(0.0, float((np.exp(p) * (p - _log_softmax(q_logits))).sum()))


def _log_softmax(x: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = x.astype(np.float64) - x.max()
    out: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return out
