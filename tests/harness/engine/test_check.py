"""Given reference logits, when a session's outputs differ, then the check says so, ties apart."""

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.contracts import Backend, StepSession, Transcript
from harness.engine import reference
from harness.engine.check import Errors, Tolerance, audit, probe_synchronize, verify_steps
from harness.engine.reference import Reference, check_prompts
from harness.errors import SessionError
from harness.model import PRESETS, open_model
from harness.plugins import find
from harness.testing.cheats import CHEATS

CONFIG = PRESETS["tiny"]
FINE = Tolerance(Errors(1e-4, 1e-5, 1e-9), tie=1e-4)
COARSE = Tolerance(Errors(0.5, 0.1, 0.05), tie=0.3)


def _logits(*best: int, size: int = 16) -> NDArray[np.float32]:
    rows = np.tile(np.linspace(-1, 1, size, dtype=np.float32), (len(best), 1))
    for row, token in zip(rows, best, strict=True):
        row[token] = 5.0
    return rows


def test_tokens_that_the_reference_would_make_pass_the_audit() -> None:
    record = audit([Transcript((1, 2), (3, 4))], [_logits(0, 3, 4, 9)], FINE)
    assert record.passed
    assert record.positions == 2


def test_a_token_that_the_reference_would_not_make_fails_the_audit_and_is_named() -> None:
    record = audit([Transcript((1, 2), (3, 7))], [_logits(0, 3, 4, 9)], FINE)
    assert not record.passed
    assert "token 1" in record.detail
    assert "7" in record.detail


def test_a_near_tie_counts_as_agreement_in_a_coarse_precision_only() -> None:
    logits = _logits(0, 3)
    logits[1, 7] = logits[1, 3] - 0.1 * logits[1].std()
    transcript = [Transcript((1, 2), (7,))]
    assert audit(transcript, [logits], COARSE).passed
    assert not audit(transcript, [logits], FINE).passed


@pytest.mark.parametrize(("times", "within"), [(2.8, True), (3.3, False)])
def test_errors_may_be_three_times_eagers_own_and_divergence_is_held_to_the_same(
    times: float, within: bool
) -> None:
    """A small error's KL divergence grows with its square."""
    draw = np.random.default_rng(0)
    expected = draw.standard_normal((1, 3, 500)).astype(np.float32)
    noise = 0.01 * draw.standard_normal((1, 3, 500)).astype(np.float32)
    limit = Tolerance.of(Reference([], expected, expected + noise)).limit
    pairs = zip(expected[0] + times * noise[0], expected[0], strict=True)
    errors = [Errors.between(got, row) for got, row in pairs]
    for name in ("max_logit_error", "mean_logit_error", "max_kl"):
        worst = max(getattr(e, name) for e in errors)
        assert (worst <= getattr(limit, name)) is within, name


def test_nothing_to_compare_is_not_a_pass() -> None:
    assert not audit([], [], FINE).passed


def test_a_token_outside_the_vocabulary_fails() -> None:
    assert not audit([Transcript((1,), (99,))], [_logits(3, 3)], FINE).passed


@pytest.mark.parametrize("positions", [2, 9, 30, 64])
def test_check_prompts_fit_the_positions_they_are_given(positions: int) -> None:
    prompts = check_prompts(CONFIG, positions)
    assert all(len(p.prompt) + len(p.forced) <= positions for p in prompts)
    assert all(p.prompt for p in prompts)
    assert all(0 <= t < CONFIG.vocab_size for p in prompts for t in p.prompt + p.forced)


@pytest.fixture(scope="module")
def references() -> dict[str, Reference]:
    tiny, positions = open_model("tiny"), reference.MOST_POSITIONS
    return {d: reference.compute(tiny, positions, d, threads=1) for d in ("float32", "bfloat16")}


@pytest.fixture(scope="module")
def tiny_reference(references: dict[str, Reference]) -> Reference:
    return references["float32"]


def _eager(dtype: str = "float32") -> StepSession:
    backend = find(Backend, "eager")
    options = backend.Options(dtype=dtype, threads=1)
    session = backend.load(open_model("tiny"), "cpu", options)
    assert isinstance(session, StepSession)
    return session


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 3, 4, 7])
def test_eager_passes_at_any_batch(
    references: dict[str, Reference], dtype: str, batch: int
) -> None:
    session = _eager(dtype)
    session.prepare(batch, reference.MOST_POSITIONS)
    record = verify_steps(session, batch, references[dtype])
    assert record.passed, record.detail
    assert record.top1_agreement == 1.0
    assert 0 < record.max_logit_error < record.tolerance["max_logit_error"]
    session.close()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "name",
    ["wrong-rotary-sign", "off-by-one-layer", "rows-swapped", "first-token-cached"],
)
def test_wrong_outputs_fail_before_anything_is_timed(
    references: dict[str, Reference], name: str, dtype: str
) -> None:
    cheat = CHEATS[name]()
    options = cheat.Options.model_validate({"threads": 1, "dtype": dtype})
    session = cheat.load(open_model("tiny"), "cpu", options)
    session.prepare(4, reference.MOST_POSITIONS)
    record = verify_steps(session, 4, references[dtype])
    assert not record.passed
    assert record.detail
    session.close()


def test_an_honest_synchronize_has_next_to_no_lag() -> None:
    session = _eager()
    session.prepare(1, 64)
    assert probe_synchronize(session, range(5, 45), 1) < 0.05
    session.close()


def test_a_synchronize_that_returns_too_early_is_an_error() -> None:
    cheat = CHEATS["host-copy-left-out"]()
    session = cheat.load(open_model("small"), "cpu", cheat.Options(threads=1))
    session.prepare(1, 512)
    with pytest.raises(SessionError, match="before its results were there"):
        probe_synchronize(session, [5] * 500, 1)
    session.close()
