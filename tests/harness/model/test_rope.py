"""The rotation: what it keeps, how Llama 3 stretches it, and how exact its table is."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from harness.model import PRESETS
from harness.model.rope import frequencies, rotate_, rotation_table

LLAMA3 = PRESETS["llama-3.1-8b"]
PLAIN = replace(LLAMA3, rope_scaling=None)


def rotated(heads: torch.Tensor, position: int, table: torch.Tensor) -> torch.Tensor:
    heads = heads.clone()
    rotate_(heads, *table[position])
    return heads


@given(
    query_at=st.integers(0, 200), key_at=st.integers(0, 200), shift=st.integers(0, 55),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_a_query_and_a_key_see_only_how_far_apart_they_are(
    query_at: int, key_at: int, shift: int, seed: int
) -> None:
    table = rotation_table(LLAMA3, 256, torch.float64, "cpu")
    query, key = torch.randn(
        2, 1, LLAMA3.head_dim, dtype=torch.float64, generator=torch.manual_seed(seed)
    )

    here = rotated(query, query_at, table) @ rotated(key, key_at, table).T
    there = rotated(query, query_at + shift, table) @ rotated(key, key_at + shift, table).T

    torch.testing.assert_close(here, there)


def test_a_rotation_keeps_length_and_position_zero_changes_nothing() -> None:
    table = rotation_table(LLAMA3, 64, torch.float64, "cpu")
    heads = torch.randn(3, LLAMA3.head_dim, dtype=torch.float64)

    assert torch.equal(rotated(heads, 0, table), heads)
    torch.testing.assert_close(rotated(heads, 63, table).norm(dim=-1), heads.norm(dim=-1))


def test_pairs_are_the_two_halves_of_a_head() -> None:
    table = rotation_table(PLAIN, 4, torch.float64, "cpu")
    head = torch.zeros(1, PLAIN.head_dim, dtype=torch.float64)
    head[0, 0] = 1  # its partner is Dh/2 further on, and their angle is the position itself

    turned = rotated(head, 3, table)[0]

    assert turned[0].item() == pytest.approx(math.cos(3))
    assert turned[PLAIN.head_dim // 2].item() == pytest.approx(math.sin(3))


def test_llama3_keeps_fast_frequencies_and_stretches_slow_ones_by_the_factor() -> None:
    scaling = LLAMA3.rope_scaling
    assert scaling is not None

    ratio = frequencies(LLAMA3) / frequencies(PLAIN)

    turns = scaling.original_context * frequencies(PLAIN) / (2 * math.pi)
    assert torch.all(ratio[turns > scaling.high_freq_factor] == 1)
    torch.testing.assert_close(
        ratio[turns < scaling.low_freq_factor],
        torch.full_like(ratio[turns < scaling.low_freq_factor], 1 / scaling.factor),
    )
    between = (turns < scaling.high_freq_factor) & (turns > scaling.low_freq_factor)
    assert between.any()
    assert torch.all((ratio[between] < 1) & (ratio[between] > 1 / scaling.factor))


@pytest.mark.parametrize("preset", ["llama-3.1-8b", "llama-3.2-1b", "qwen2.5-0.5b"])
def test_frequencies_are_those_of_transformers(preset: str) -> None:
    config = PRESETS[preset]
    scaling = config.rope_scaling
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    if scaling:
        rope |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_context,
        }
    theirs = LlamaRotaryEmbedding(
        LlamaConfig(
            hidden_size=config.hidden_size,
            num_attention_heads=config.heads,
            head_dim=config.head_dim,
            max_position_embeddings=config.max_context,
            rope_parameters=rope,
        )
    ).inv_freq

    torch.testing.assert_close(frequencies(config).float(), theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_table_is_exact_to_half_a_unit_far_into_the_context(dtype: torch.dtype) -> None:
    position = 100_003  # odd, and far above what bfloat16 and float16 can count to
    table = rotation_table(PLAIN, position + 1, dtype, "cpu")

    cosine = table[position, 0, 0, : PLAIN.head_dim // 2].double()

    angles = [position * PLAIN.rope_theta ** (-2 * i / PLAIN.head_dim) for i in range(64)]
    exact = torch.tensor([math.cos(angle) for angle in angles], dtype=torch.float64)
    assert (cosine - exact).abs().max().item() <= torch.finfo(dtype).eps / 2
