"""Eager keeps the backend contract, and says what it chose and what it cannot do."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from pydantic import ValidationError

from backends.eager import EagerBackend, EagerOptions, EagerSession
from harness.errors import SessionError, UnavailableError
from harness.memory import meter
from harness.model import open_model
from harness.model.linear import why_not_packed
from harness.model.native import why_not_native
from harness.testing.conformance import checks_for, examine

CPU = torch.device("cpu")
PROMPT = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
LENGTHS = torch.tensor([5, 3])

needs_packing = pytest.mark.skipif(
    why_not_packed(torch.float32, CPU) is not None, reason="this PyTorch cannot pack"
)
needs_native = pytest.mark.skipif(
    why_not_native(torch.float32, CPU) is not None, reason="our own operators need AVX-512"
)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Put back the process's thread count, which loading sets."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def load(model: str = "tiny", **options: object) -> EagerSession:
    return EagerBackend().load(open_model(model), "cpu", EagerOptions.model_validate(options))


def prepared(context: int = 16, **options: object) -> EagerSession:
    session = load(**options)
    session.prepare(2, context)
    return session


def greedy(session: EagerSession, steps: int) -> list[list[int]]:
    tokens = [session.prefill(PROMPT, LENGTHS).tolist()]
    return tokens + [session.decode().tolist() for _ in range(steps)]


@pytest.mark.parametrize("check", checks_for(EagerBackend()))
def test_eager_keeps_the_contract(check: str) -> None:
    finding = examine(check, EagerBackend())

    assert finding.ok, finding.detail


# --- Options ------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["sdpa", "linear", "attention", "dtype"])
def test_an_option_with_an_unknown_value_is_refused(option: str) -> None:
    with pytest.raises(ValidationError, match=option):
        EagerOptions.model_validate({option: "no-such"})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_precision_runs_and_gives_float32_logits(dtype: str) -> None:
    session = prepared(dtype=dtype)

    greedy(session, 3)

    assert session.logits().dtype == torch.float32
    assert session.logits().isfinite().all()


@pytest.mark.parametrize("sdpa", ["math", "flash"])
@pytest.mark.parametrize("linear", ["plain", pytest.param("packed", marks=needs_packing)])
def test_every_way_to_compute_gives_the_same_tokens(sdpa: str, linear: str) -> None:
    assert greedy(prepared(sdpa=sdpa, linear=linear), 8) == greedy(prepared(), 8)


@needs_native
@pytest.mark.parametrize("linear", ["plain", "native"])
def test_our_own_attention_gives_the_same_tokens(linear: str) -> None:
    session = prepared(linear=linear, attention="native")

    assert session.facts()["attention"] == "native"
    assert greedy(session, 8) == greedy(prepared(), 8)


@needs_native
def test_an_implementation_asked_for_by_name_is_what_a_step_uses() -> None:
    assert load(linear="native").facts()["attention"] == "native"
    assert load(linear="native", sdpa="math").facts()["attention"] == "sdpa"


def test_sdpa_that_cannot_run_here_is_one_clear_line() -> None:
    with pytest.raises(UnavailableError) as caught:
        load(sdpa="cudnn")

    assert str(caught.value).startswith('eager: sdpa = "cudnn" cannot run this model')
    assert str(caught.value).endswith('use "auto"')


@pytest.mark.skipif(why_not_packed(torch.float16, CPU) is None, reason="float16 packs here")
def test_packing_that_is_impossible_is_refused_when_asked_for_and_said_when_not() -> None:
    with pytest.raises(UnavailableError, match="no packed product in float16"):
        load(dtype="float16", linear="packed")

    facts = load(dtype="float16").facts()
    assert facts["linear"] == "plain"
    assert facts["linear_because"] == why_not_packed(torch.float16, CPU)


@needs_packing
def test_facts_say_which_layout_was_chosen_and_what_it_costs() -> None:
    model = open_model("tiny")
    once = model.config.weight_bytes("float32")
    table = model.config.vocab_size * model.config.hidden_size * 4

    plain, auto = load(linear="plain").facts(), load().facts()

    assert (plain["linear"], plain["weight_bytes"]) == ("plain", once)
    assert plain["weight_bytes_kept_twice"] == 0
    assert (auto["linear"], auto["weight_bytes"]) == ("packed", once + table)
    assert auto["weight_bytes_kept_twice"] == table


def test_loading_sets_the_threads_that_were_asked_for() -> None:
    load(threads=1)
    assert torch.get_num_threads() == 1

    load(threads=2)
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_missing_gpu_is_a_reason_and_not_a_silent_fallback() -> None:
    answer = EagerBackend().availability("cuda")

    assert not answer.ok
    assert answer.reason
    assert answer.remedy
    with pytest.raises(UnavailableError, match="eager: "):
        EagerBackend().load(open_model("tiny"), "cuda", EagerOptions(device="cuda"))


def test_importing_the_backend_imports_no_torch() -> None:
    code = "import sys, backends.eager; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- Misuse -------------------------------------------------------------------------------------


def test_decoding_before_a_prefill_is_an_error() -> None:
    with pytest.raises(SessionError, match="decode before prefill"):
        prepared().decode()


def test_decoding_after_a_reset_is_an_error() -> None:
    session = prepared()
    greedy(session, 2)

    session.reset()

    with pytest.raises(SessionError, match="decode before prefill"):
        session.decode()


def test_a_row_that_passes_the_context_is_an_error_and_leaves_the_state_as_it_was() -> None:
    session = prepared(context=8)
    greedy(session, 3)  # the longest row's 5 tokens and 3 more fill 8 positions
    before = session.logits()

    for _ in range(2):
        with pytest.raises(SessionError, match="position 8 passes the context of 8"):
            session.decode()

    assert torch.equal(session.logits(), before)


@pytest.mark.parametrize(("batch", "context"), [(1, 16), (3, 16), (2, 4)])
def test_prompts_that_do_not_fit_what_was_prepared_are_an_error(batch: int, context: int) -> None:
    session = load()
    session.prepare(batch, context)

    with pytest.raises(SessionError, match=r"\[2, 5\] do not fit"):
        session.prefill(PROMPT, LENGTHS)


def test_using_a_session_before_prepare_or_after_close_is_an_error() -> None:
    session = load()
    with pytest.raises(SessionError, match="not prepared"):
        session.prefill(PROMPT, LENGTHS)

    session.close()

    with pytest.raises(SessionError, match="closed"):
        session.prepare(2, 16)


# --- Memory -------------------------------------------------------------------------------------


def test_prepare_touches_the_whole_state_and_close_gives_it_back() -> None:
    memory = meter("cpu")
    session = load()
    before = memory.current_bytes()

    session.prepare(128, 1024)

    held = session.facts()["state_bytes"]
    assert held > 64 * 2**20
    assert memory.current_bytes() - before > 0.95 * held
    session.close()
    assert memory.current_bytes() - before < 0.05 * held
