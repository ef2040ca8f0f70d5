"""Does a step session compute what the contract says? One function a question.

Each takes a `Subject`, raises `ContractBroken` with what it saw, and returns what it looked at.
"""

from __future__ import annotations

from typing import Any

from harness.errors import SessionError
from harness.testing.subject import ContractBroken, Subject, pad

__all__ = [
    "cache_end_is_right",
    "feed_is_honoured",
    "first_token_follows_from_the_prompt",
    "outputs_have_their_shapes",
    "prepare_again_serves_the_new_shape",
    "ragged_prompts_are_right",
    "repeats_itself",
    "reset_is_complete",
    "rows_are_independent",
    "tokens_are_correct",
]


def tokens_are_correct(subject: Subject) -> str:
    """One row against the float32 reference, greedy, the reference told the session's tokens."""
    prompts = subject.prompts(24)
    with subject.session(1, 48) as session:
        worst = subject.judge(prompts, subject.follow(session, prompts, 16))
    return f"17 tokens; largest logit error {worst:.2g} standard deviations"


def first_token_follows_from_the_prompt(subject: Subject) -> str:
    """One session, several prompts: none may be answered with what was computed for another."""
    with subject.session(1, 16) as session:
        for salt in range(4):
            prompts = subject.prompts(12, salt=salt)
            session.reset()
            token = session.prefill(*pad(prompts)).tolist()[0]
            reference = subject.score(prompts[0])[-1]
            subject.judge_token(token, reference, f"prompt {salt}")
            subject.judge_logits(session.logits()[0], reference, f"prompt {salt}")
    return "4 prompts in one session"


def outputs_have_their_shapes(subject: Subject) -> str:
    """Tokens are int64 [B]; logits are float32 [B, V], on the host and a copy."""
    import torch

    vocab = subject.model.config.vocab_size
    with subject.session(2, 16) as session:
        for name, tokens in (
            ("prefill", session.prefill(*pad(subject.prompts(5, 3)))),
            ("decode", session.decode()),
        ):
            if tokens.dtype != torch.int64 or tuple(tokens.shape) != (2,):
                raise ContractBroken(
                    f"{name} returns {tokens.dtype} {list(tokens.shape)}, expected int64 [2]"
                )
        logits = session.logits()
        if logits.dtype != torch.float32 or tuple(logits.shape) != (2, vocab):
            raise ContractBroken(
                f"logits are {logits.dtype} {list(logits.shape)}, expected float32 [2, {vocab}]"
            )
        if logits.device.type != "cpu":
            raise ContractBroken(f"logits are on {logits.device}, expected the host")
        kept = logits.clone()
        session.decode()
        session.synchronize()
        if not torch.equal(kept, logits):
            raise ContractBroken("logits changed with the next decode: they are not a copy")
    return f"int64 [2] and float32 [2, {vocab}]"


def rows_are_independent(subject: Subject) -> str:
    """A prompt gives the same alone, in a ragged batch, and in another row of it."""
    prompts = subject.prompts(17, 5, 11)
    with subject.session(3, 32) as session:
        together = subject.follow(session, prompts, 6)
        swapped = subject.follow(session, prompts[::-1], 6)
    with subject.session(1, 32) as session:
        alone = [subject.follow(session, [prompt], 6) for prompt in prompts]
    for row in range(3):
        for place, other, at in (
            (f"row {row} alone", alone[row], 0),
            (f"row {row} moved to row {2 - row}", swapped, 2 - row),
        ):
            # Tokens may part at a near-tie; until then logits must agree.
            for step in range(7):
                subject.judge_logits(
                    other.logits[step, at], together.logits[step, row], f"{place}, step {step}"
                )
                if other.tokens[at][step] != together.tokens[row][step]:
                    break
    return "3 ragged rows, alone and in reverse order"


def ragged_prompts_are_right(subject: Subject) -> str:
    """Prompts of 1, 9 and 4 tokens in one batch against the reference; then 1 token alone."""
    prompts = subject.prompts(1, 9, 4)
    with subject.session(3, 24) as session:
        worst = subject.judge(prompts, subject.follow(session, prompts, 6))
    with subject.session(1, 8) as session:
        worst = max(worst, subject.judge(prompts[:1], subject.follow(session, prompts[:1], 2)))
    return f"lengths 1, 9, 4; largest logit error {worst:.2g} standard deviations"


def reset_is_complete(subject: Subject) -> str:
    """After a longer request, a shorter one gives what a fresh session gives."""
    long, short = subject.prompts(40, 33), subject.prompts(7, 4, salt=1)
    with subject.session(2, 56) as session:
        subject.follow(session, long, 10)
        used = subject.follow(session, short, 10)
    with subject.session(2, 56) as session:
        fresh = subject.follow(session, short, 10)
    for row in range(2):
        for step in range(11):
            place = f"row {row}, step {step} after a longer request"
            subject.judge_logits(used.logits[step, row], fresh.logits[step, row], place)
            if used.tokens[row][step] != fresh.tokens[row][step]:
                break
    return "prompts of 7 and 4 tokens after 40 and 33"


def feed_is_honoured(subject: Subject) -> str:
    """`decode` continues from the tokens that were fed, not from its own."""
    import torch

    prompts = subject.prompts(6, 9)
    vocab = subject.model.config.vocab_size
    with subject.session(2, 16) as session:
        session.reset()
        own = session.prefill(*pad(prompts)).tolist()
        fed = [(token + 1 + row) % vocab for row, token in enumerate(own)]
        session.feed(torch.tensor(fed))
        session.decode()
        logits = session.logits()
    for row, prompt in enumerate(prompts):
        reference = subject.score([*prompt, fed[row]])[-1]
        subject.judge_logits(logits[row], reference, f"row {row} after feed({fed[row]})")
    return "2 rows fed with other tokens than their own"


def cache_end_is_right(subject: Subject) -> str:
    """The last position of the prepared context works, one more is a SessionError."""
    context = 16
    prompts = subject.prompts(10, 6)
    with subject.session(2, context) as session:
        worst = subject.judge(prompts, subject.follow(session, prompts, context - 10))
        _must_refuse(session, f"position {context} of a context of {context}")
        full = subject.prompts(context, context - 1, salt=1)
        worst = max(worst, subject.judge(full, subject.follow(session, full, 0)))
        _must_refuse(session, f"a decode after a prompt of all {context} positions")
        again = subject.judge(prompts, subject.follow(session, prompts, 2))
    return f"context {context}; largest logit error {max(worst, again):.2g} standard deviations"


def _must_refuse(session: Any, what: str) -> None:
    try:
        session.decode()
        session.synchronize()
    except SessionError:
        return
    except Exception as error:
        raise ContractBroken(f"{what} raised {type(error).__name__}: {error}") from error
    raise ContractBroken(f"{what} was accepted, expected a SessionError")


def prepare_again_serves_the_new_shape(subject: Subject) -> str:
    """One session prepared for three shapes in turn is right at each."""
    worst = 0.0
    with subject.session(1, 24) as session:
        for salt, (batch, context) in enumerate(((1, 24), (3, 40), (2, 12))):
            if salt:
                session.prepare(batch, context)
            prompts = subject.prompts(*(5 + row for row in range(batch)), salt=salt)
            steps = context - max(map(len, prompts))
            worst = max(worst, subject.judge(prompts, subject.follow(session, prompts, steps)))
            _must_refuse(session, f"position {context} after prepare({batch}, {context})")
    return f"1×24, 3×40, 2×12; largest logit error {worst:.2g} standard deviations"


def repeats_itself(subject: Subject) -> str:
    """The same prompts give the same tokens and logits, in one session and in two."""
    prompts = subject.prompts(8, 13)
    runs = []
    for _ in range(2):
        with subject.session(2, 32) as session:
            runs += [subject.follow(session, prompts, 12) for _ in range(2)]
    first = runs[0]
    allowed = subject.tolerance.limit.max_logit_error / 10
    for place, run in zip(("again", "in a new session", "again there"), runs[1:], strict=True):
        if run.tokens != first.tokens:
            raise ContractBroken(f"other tokens for the same prompts {place}")
        error = float((run.logits - first.logits).abs().max() / first.logits.std())
        if not error <= allowed:
            raise ContractBroken(f"logits differ by {error:.2g} standard deviations {place}")
    return "4 repetitions of 26 tokens"
