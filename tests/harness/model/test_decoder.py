"""The decoder's promises to backends: rows independent, nothing left over, addresses fixed."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._python_dispatch import TorchDispatchMode

from harness.model import PRESETS, ModelConfig, open_model
from harness.model.decoder import Decoder, State, prefill, score, step
from harness.model.linear import why_not_packed
from harness.model.seeded import SeededModel

CONTEXT = 32
CONFIG = replace(PRESETS["tiny"], vocab_size=97, qkv_bias=True)
MODEL = SeededModel("test", CONFIG, 0)
DECODER = Decoder.from_model(MODEL)
CLOSE = {"rtol": 0.0, "atol": 5e-5}


@pytest.fixture(autouse=True)
def inference() -> Any:
    with torch.inference_mode():
        yield


def state(batch: int, dtype: torch.dtype = torch.float32) -> State:
    return State.allocate(CONFIG, batch, CONTEXT, dtype, "cpu")


def prompts(*lengths: int, seed: int = 0) -> list[list[int]]:
    generator = torch.manual_seed(seed)
    return [torch.randint(97, (n,), generator=generator).tolist() for n in lengths]


def start(of: State, rows: list[list[int]], padding: int = 0, decoder: Decoder = DECODER) -> None:
    longest = max(map(len, rows))
    padded = torch.tensor([row + [padding] * (longest - len(row)) for row in rows])
    prefill(decoder, of, padded, torch.tensor([len(row) for row in rows]))


def advance(of: State, steps: int, run: Callable[[Decoder, State], None] = step) -> list[Tensor]:
    """Decode; return the logits after the prompt and after every step."""
    seen = [of.logits.clone()]
    for _ in range(steps):
        of.span += 1
        run(DECODER, of)
        seen.append(of.logits.clone())
    return seen


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    for step_, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        torch.testing.assert_close(a, b, **CLOSE, msg=lambda m, s=step_: f"step {s}: {m}")


# --- Rows ---------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    steps=st.integers(0, 12),
    seed=st.integers(0, 1000),
)
def test_a_row_of_a_ragged_batch_gives_what_it_gives_alone(
    lengths: list[int], steps: int, seed: int
) -> None:
    rows = prompts(*lengths, seed=seed)
    together = state(len(rows))
    start(together, rows)
    batch = advance(together, steps)

    for row, prompt in enumerate(rows):
        alone = state(1)
        start(alone, [prompt])
        assert_same([logits[row] for logits in batch], [x[0] for x in advance(alone, steps)])


def test_whatever_pads_a_prompt_is_never_looked_at() -> None:
    first, second = state(2), state(2)

    start(first, prompts(9, 4), padding=0)
    start(second, prompts(9, 4), padding=-100)  # not even a token

    assert_same(advance(first, 6), advance(second, 6))


def test_a_row_that_is_nan_harms_no_other() -> None:
    clean, dirty = state(2), state(2)
    start(clean, prompts(5, 7))
    start(dirty, prompts(5, 7))
    dirty.cache[:, 1] = math.nan

    assert_same([x[0] for x in advance(clean, 4)], [x[0] for x in advance(dirty, 4)])


def test_views_of_the_first_rows_step_those_rows_and_no_other() -> None:
    whole, parted = state(3), state(3)
    start(whole, prompts(5, 7, 3))
    start(parted, prompts(5, 7, 3))
    third = parted.logits[2].clone(), parted.cache[:, 2].clone()

    expected = advance(whole, 3)
    assert_same(advance(parted.rows(2), 3), [x[:2] for x in expected])

    assert parted.positions.tolist() == [8, 10, 3]
    assert torch.equal(parted.logits[2], third[0])
    assert torch.equal(parted.cache[:, 2], third[1])
    assert parted.span == whole.span  # views and the whole share it


# --- What came before ---------------------------------------------------------------------------


@pytest.mark.parametrize("forget", [State.reset, lambda used: None], ids=["reset", "no reset"])
@pytest.mark.parametrize("left_over", [math.nan, math.inf, 1e4])
def test_nothing_of_a_longer_request_before_is_seen(
    forget: Callable[[State], None], left_over: float
) -> None:
    used, fresh = state(2), state(2)
    start(used, prompts(20, 18, seed=1))
    advance(used, 8)
    used.cache[..., : used.span, :] = left_over
    forget(used)

    start(used, prompts(6, 2))
    start(fresh, prompts(6, 2))

    assert_same(advance(used, 20), advance(fresh, 20))


def test_a_reset_state_is_as_it_was_allocated() -> None:
    used = state(2)
    start(used, prompts(6, 2))
    advance(used, 3)

    used.reset()

    fresh = state(2)
    for name in ("tokens", "positions", "cache", "logits"):
        assert torch.equal(getattr(used, name), getattr(fresh, name)), name
    assert used.span == fresh.span == 0


# --- Positions ----------------------------------------------------------------------------------


def test_prefill_and_steps_give_what_scoring_the_whole_sequence_gives() -> None:
    used = state(1)
    prompt = prompts(7)[0]
    start(used, [prompt])
    sequence = list(prompt)
    seen = [used.logits[0].clone()]
    for _ in range(CONTEXT - len(prompt)):
        sequence.append(int(used.tokens[0]))
        used.span += 1
        step(DECODER, used)
        seen.append(used.logits[0].clone())

    assert used.positions.tolist() == [CONTEXT]  # the cache is full to its last place
    torch.testing.assert_close(
        torch.stack(seen), score(DECODER, torch.tensor(sequence))[len(prompt) - 1 :], **CLOSE
    )


def test_a_wider_span_changes_no_result() -> None:
    exact, wide = state(2), state(2)
    start(exact, prompts(6, 3))
    start(wide, prompts(6, 3))

    expected = advance(exact, 5)
    seen = [wide.logits.clone()]
    for _ in range(5):
        wide.span = CONTEXT
        step(DECODER, wide)
        seen.append(wide.logits.clone())

    assert_same(seen, expected)


def test_a_prompt_can_fill_the_whole_context() -> None:
    used = state(2)
    rows = prompts(CONTEXT, CONTEXT - 1)

    start(used, rows)

    for row, prompt in enumerate(rows):
        torch.testing.assert_close(
            used.logits[row], score(DECODER, torch.tensor(prompt))[-1], **CLOSE
        )


# --- What `step` promises to compilers and graphs -----------------------------------------------


class Recorder(TorchDispatchMode):
    """Notes every operation that is dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def operations(decoder: Decoder, of: State) -> list[str]:
    with torch.inference_mode(mode=False), torch.no_grad(), Recorder() as recorder:
        step(decoder, of)
    return recorder.names


def plain_state(config: ModelConfig, batch: int) -> tuple[Decoder, State]:
    """Made outside inference mode, as compilers want it."""
    with torch.inference_mode(mode=False), torch.no_grad():
        decoder = Decoder.from_model(SeededModel("test", config, 0))
        return decoder, State.allocate(config, batch, CONTEXT, torch.float32, "cpu")


def test_a_step_keeps_every_address() -> None:
    used = state(2)
    start(used, prompts(4, 2))

    def addresses() -> dict[str, int]:
        return {k: v.data_ptr() for k, v in vars(used).items() if isinstance(v, Tensor)}

    before = addresses()
    advance(used, 5)

    assert addresses() == before


def test_a_step_runs_the_same_operations_whatever_the_tokens() -> None:
    decoder, used = plain_state(CONFIG, 2)
    with torch.inference_mode(mode=False), torch.no_grad():
        start(used, prompts(4, 2), decoder=decoder)
    used.span = CONTEXT

    first, later = operations(decoder, used), [operations(decoder, used) for _ in range(8)][-1]

    assert first == later
    assert not [name for name in first if "_local_scalar_dense" in name or "nonzero" in name]


def test_a_layer_stays_within_its_budget_of_operations() -> None:
    """Each costs 1 to 5 µs, 30 layers of them at every token: raise this only with a reason."""
    counts = {}
    for layers in (2, 3):
        decoder, used = plain_state(replace(CONFIG, layers=layers), 1)
        used.span = 8
        names = operations(decoder, used)
        views = {"view", "t", "slice", "select", "split", "split_with_sizes", "unbind"}
        counts[layers] = len([n for n in names if n.split(".")[1] not in views])

    assert counts[3] - counts[2] <= 25


@pytest.mark.slow
def test_a_step_compiles_into_one_graph_and_computes_the_same() -> None:
    with torch.inference_mode(mode=False), torch.no_grad():
        eager, compiled = state(2), state(2)
        start(eager, prompts(6, 3))
        start(compiled, prompts(6, 3))
        eager.span = compiled.span = CONTEXT
        torch._dynamo.reset()
        counted = CompileCounterWithBackend("aot_eager")
        run = torch.compile(step, fullgraph=True, backend=counted)
        for _ in range(4):
            step(DECODER, eager)
            run(DECODER, compiled)
            torch.testing.assert_close(compiled.logits, eager.logits, **CLOSE)

    assert counted.frame_count == 1  # no recompile from step to step
    assert compiled.positions.tolist() == eager.positions.tolist()


# --- Weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_plain_weights_take_the_bytes_that_the_configuration_counts(
    tied: bool, dtype: torch.dtype
) -> None:
    config = replace(CONFIG, tied=tied)

    decoder = Decoder.from_model(SeededModel("test", config, 0), dtype)

    held = {t.data_ptr(): t.nbytes for t in decoder.buffers()}  # a shared table counts once
    name = str(dtype).removeprefix("torch.")
    assert decoder.nbytes == sum(held.values()) == config.weight_bytes(name)
    assert decoder.twice_bytes == 0


@pytest.mark.skipif(
    why_not_packed(torch.float32, torch.device("cpu")) is not None, reason="cannot pack here"
)
def test_only_a_tied_table_is_kept_twice_when_packed_and_it_is_said() -> None:
    untied = Decoder.from_model(
        SeededModel("test", replace(CONFIG, tied=False), 0), layout="packed"
    )
    tied = Decoder.from_model(SeededModel("test", replace(CONFIG, tied=True), 0), layout="packed")

    table = CONFIG.vocab_size * CONFIG.hidden_size * 4
    assert untied.nbytes == replace(CONFIG, tied=False).weight_bytes("float32")
    assert untied.twice_bytes == 0
    assert tied.nbytes == replace(CONFIG, tied=True).weight_bytes("float32") + table
    assert tied.twice_bytes == table


def test_a_weight_is_copied_so_that_its_source_may_change_or_vanish() -> None:
    class Mapped:
        config = CONFIG

        def __init__(self) -> None:
            self.weights = {name: MODEL.tensor(name) for name in MODEL.names()}

        def tensor(self, name: str) -> Tensor:
            return self.weights[name]

    source = Mapped()
    decoder = Decoder.from_model(source)
    tokens = torch.tensor(prompts(9)[0])
    before = score(decoder, tokens)

    for weight in source.weights.values():
        weight.fill_(math.nan)

    assert torch.equal(score(decoder, tokens), before)


def test_the_states_bytes_are_mostly_the_cache_that_the_configuration_counts() -> None:
    used = state(3)

    assert used.cache.nbytes == CONFIG.kv_bytes(3, CONTEXT, "float32")
    assert used.nbytes == sum(v.nbytes for v in vars(used).values() if isinstance(v, Tensor))


def test_opening_a_preset_gives_a_model_the_decoder_takes() -> None:
    decoder = Decoder.from_model(open_model("tiny"), torch.bfloat16)

    logits = score(decoder, torch.arange(10))

    assert logits.shape == (10, 512)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
