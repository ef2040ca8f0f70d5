"""A backend under examination: its sessions, the prompts they get, and the float32 reference.

It must not know which checks there are; each check is a function over a `Subject`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from harness.contracts import Backend, Session
from harness.engine.check import Tolerance
from harness.engine.reference import MOST_POSITIONS, compute

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import Model
    from harness.model.decoder import Decoder

__all__ = ["ContractBroken", "Finding", "Follow", "Subject", "pad"]


class Finding(BaseModel):
    """What one check found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The check's name, a sentence."""
    ok: bool
    """Whether the contract is kept."""
    detail: str
    """What was looked at; where the contract is broken, what was seen and what it should be."""


class ContractBroken(Exception):  # noqa: N818 - a finding, not an error of the program
    """A check found the contract broken; the message says what was seen."""


@dataclass(frozen=True)
class Follow:
    """What a step session did with some prompts: `steps` decodes after the prefill."""

    tokens: list[list[int]]
    """By row: the first token and one for each decode."""
    logits: Tensor
    """float32 [steps + 1, B, V]."""


@dataclass
class Subject:
    """One backend, one model, one set of options. `seed` varies the prompts."""

    backend: Backend
    model: Model
    options: Any
    device: str = "cpu"
    seed: int = 0

    @contextmanager
    def session(self, batch: int, context: int) -> Iterator[Any]:
        """Load, prepare, and close whatever happens."""
        session: Session = self.backend.load(self.model, self.device, self.options)
        try:
            session.prepare(batch, context)
            yield session
        finally:
            session.close()

    @cached_property
    def tolerance(self) -> Tolerance:
        """What the precision may differ by, from eager's own error in it."""
        return Tolerance.of(compute(self.model, MOST_POSITIONS, self.options.dtype, threads=1))

    def prompts(self, *lengths: int, salt: int = 0) -> list[list[int]]:
        """Return a random prompt of each length; another salt gives other prompts."""
        draw = random.Random(f"{self.seed}/{salt}")  # noqa: S311 - not for secrets
        vocab = self.model.config.vocab_size
        return [[draw.randrange(vocab) for _ in range(n)] for n in lengths]

    @cached_property
    def _reference(self) -> Decoder:
        import torch

        from harness.model.decoder import Decoder

        return Decoder.from_model(self.model, torch.float32, torch.device("cpu"))

    def score(self, tokens: Sequence[int]) -> Tensor:
        """Return the reference's logits at every position: float32 [T, V]."""
        import torch

        from harness.model.decoder import score

        with torch.inference_mode():
            return score(self._reference, torch.tensor(tokens)).float()

    def follow(self, session: Any, prompts: Sequence[Sequence[int]], steps: int) -> Follow:
        """Reset, prefill and decode greedily, reading everything."""
        import torch

        session.reset()
        out = [session.prefill(*pad(prompts)).tolist()]
        logits = [session.logits().clone()]
        for _ in range(steps):
            out.append(session.decode().tolist())
            logits.append(session.logits().clone())
        return Follow([list(row) for row in zip(*out, strict=True)], torch.stack(logits))

    def judge(self, prompts: Sequence[Sequence[int]], follow: Follow) -> float:
        """Hold tokens and logits against the reference, given the session's own tokens so far.

        Returns the largest logit error, in standard deviations of the reference's logits.

        Raises:
            ContractBroken: where a logit is off, or a token is not the best one (ties aside).
        """
        worst = 0.0
        for row, (prompt, tokens) in enumerate(zip(prompts, follow.tokens, strict=True)):
            self.tokens_exist(tokens)
            scores = self.score([*prompt, *tokens[:-1]])[len(prompt) - 1 :]
            for step, (token, reference) in enumerate(zip(tokens, scores, strict=True)):
                place = f"row {row}, step {step}"
                self.judge_token(token, reference, place)
                worst = max(worst, self.judge_logits(follow.logits[step, row], reference, place))
        return worst

    def tokens_exist(self, tokens: Sequence[int]) -> None:
        """Refuse tokens outside of the vocabulary."""
        vocab = self.model.config.vocab_size
        if wrong := [t for t in tokens if not 0 <= t < vocab]:
            raise ContractBroken(f"token {wrong[0]} is not in the vocabulary of {vocab}")

    def judge_token(self, token: int, reference: Tensor, place: str) -> None:
        """Refuse a token that the reference does not have within tolerance of its best: [V]."""
        behind = float((reference.max() - reference[token]) / reference.std())
        if behind > self.tolerance.tie:
            raise ContractBroken(
                f"{place}: token {token} where the reference has {int(reference.argmax())} "
                f"({behind:.2g} standard deviations better)"
            )

    def judge_logits(self, logits: Tensor, reference: Tensor, place: str) -> float:
        """Return the largest error, relative to the reference's spread; both [V]."""
        error = float((logits - reference).abs().max() / reference.std())
        # Written so that NaN fails.
        allowed = self.tolerance.limit.max_logit_error
        if not error <= allowed:
            raise ContractBroken(
                f"{place}: a logit is off by {error:.3g} standard deviations, allowed {allowed:.3g}"
            )
        return error


def pad(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return the prompts right-padded, int64 [B, T], and their lengths, int64 [B]."""
    import torch

    lengths = torch.tensor([len(p) for p in prompts])
    tokens = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = torch.tensor(prompt)
    return tokens, lengths
