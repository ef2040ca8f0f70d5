import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import PRESETS
from scenarios.rates import decode_read_bytes, prefill_flops

TINY = PRESETS["tiny"]


@given(prompt=st.integers(1, 200), steps=st.integers(1, 60), batch=st.integers(1, 4))
def test_bytes_read_are_those_of_every_step_at_its_own_context(
    prompt: int, steps: int, batch: int
) -> None:
    step_by_step = sum(TINY.decode_bytes(batch, prompt + i, "float32") for i in range(1, steps + 1))

    assert decode_read_bytes(TINY, "float32", [prompt] * batch, steps) == step_by_step


def test_rows_of_different_length_read_their_own_context() -> None:
    both = decode_read_bytes(TINY, "bfloat16", [10, 30], 5)
    mean = decode_read_bytes(TINY, "bfloat16", [20, 20], 5)

    assert both == mean


@pytest.mark.parametrize("lengths", [[5], [5, 9, 2]])
def test_prompts_need_what_each_of_them_needs(lengths: list[int]) -> None:
    assert prefill_flops(TINY, lengths) == sum(TINY.prefill_flops(n) for n in lengths)
