"""The decoder computes what Hugging Face's Llama and Qwen2 compute, on any shape of model."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from harness.model import ModelConfig, RopeScaling
from harness.model.decoder import Decoder, State, prefill, score, step
from harness.model.linear import Layout, why_not_packed
from harness.model.native import why_not_native

TOLERANCE = 1e-4
CONTEXT = 48
CPU = torch.device("cpu")
LAYOUTS: list[Layout] = ["plain"]
LAYOUTS += ["packed"] * (why_not_packed(torch.float32, CPU) is None)
LAYOUTS += ["native"] * (why_not_native(torch.float32, CPU) is None)


@dataclass(frozen=True)
class HfWeights:
    """Weights taken out of a Hugging Face model."""

    config: ModelConfig
    hf: PreTrainedModel

    def tensor(self, name: str) -> Tensor:
        return self.hf.state_dict()[name]


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    kv_heads = draw(st.integers(1, 4))
    heads = kv_heads * draw(st.integers(1, 4))
    scaling = RopeScaling(
        factor=draw(st.sampled_from([2.0, 8.0, 32.0])),
        low_freq_factor=1.0,
        high_freq_factor=draw(st.sampled_from([2.0, 4.0])),
        original_context=draw(st.sampled_from([8, 32])),
    )
    qkv_bias = draw(st.booleans())
    return ModelConfig(
        vocab_size=draw(st.integers(3, 150)),
        # A multiple of the heads, because Hugging Face's configuration insists on it; and not so
        # few that they may all but cancel, whereupon a norm magnifies the last bit of float32.
        hidden_size=heads * draw(st.integers(-(-16 // heads), 16)),
        intermediate_size=draw(st.integers(1, 96)),
        layers=draw(st.integers(1, 3)),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=2 * draw(st.integers(1, 16)),
        max_context=CONTEXT,
        rope_theta=draw(st.sampled_from([100.0, 10_000.0, 1_000_000.0])),
        rope_scaling=draw(st.sampled_from([None, scaling])),
        norm_eps=draw(st.sampled_from([1e-6, 1e-5])),
        tied=draw(st.booleans()),
        qkv_bias=qkv_bias,
    )


def hugging_face(config: ModelConfig, seed: int) -> PreTrainedModel:
    """Return the same architecture with random weights that make logits of a real model's size."""
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.rope_scaling:
        rope |= {
            "rope_type": "llama3",
            "factor": config.rope_scaling.factor,
            "low_freq_factor": config.rope_scaling.low_freq_factor,
            "high_freq_factor": config.rope_scaling.high_freq_factor,
            "original_max_position_embeddings": config.rope_scaling.original_context,
        }
    kind, model = (
        (Qwen2Config, Qwen2ForCausalLM) if config.qkv_bias else (LlamaConfig, LlamaForCausalLM)
    )
    hf = model(
        kind(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            head_dim=config.head_dim,
            max_position_embeddings=config.max_context,
            rope_parameters=rope,
            rms_norm_eps=config.norm_eps,
            tie_word_embeddings=config.tied,
            attn_implementation="eager",
        )
    ).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in hf.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # Layers twice as strong would make attention so sharp that transformers itself is
            # 2e-4 away from float64; the head may be strong, it comes last.
            gain = 1.0 if ".layers." in name else 2.0
            scale = gain / parameter.shape[-1] ** 0.5 if parameter.dim() == 2 else 0.3
            parameter.copy_(noise * scale + (parameter.dim() == 1))
    return hf


def hf_logits(hf: PreTrainedModel, tokens: Tensor) -> Tensor:
    return hf(tokens[None]).logits[0].float()


def hf_error(ours: Tensor, hf: PreTrainedModel, tokens: Tensor) -> float:
    return float((ours - hf_logits(hf, tokens)).abs().max())


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=40)
@given(config=configs(), seed=st.integers(0, 2**32), length=st.integers(1, CONTEXT))
@torch.inference_mode()
def test_every_position_of_a_sequence_scores_as_in_transformers(
    layout: Layout, config: ModelConfig, seed: int, length: int
) -> None:
    hf = hugging_face(config, seed)
    decoder = Decoder.from_model(HfWeights(config, hf), layout=layout)
    tokens = torch.randint(config.vocab_size, (length,), generator=torch.manual_seed(seed))

    logits = score(decoder, tokens)

    assert hf_error(logits, hf, tokens) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25)
@given(
    config=configs(),
    seed=st.integers(0, 2**32),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    steps=st.integers(1, 6),
)
@torch.inference_mode()
def test_a_ragged_batch_prefilled_and_decoded_follows_transformers_row_by_row(
    layout: Layout, config: ModelConfig, seed: int, lengths: list[int], steps: int
) -> None:
    hf = hugging_face(config, seed)
    decoder = Decoder.from_model(HfWeights(config, hf), layout=layout)
    generator = torch.manual_seed(seed)
    tokens = torch.randint(config.vocab_size, (len(lengths), 12), generator=generator)
    sequences = [tokens[row, :length].tolist() for row, length in enumerate(lengths)]
    state = State.allocate(config, len(lengths), CONTEXT, torch.float32, "cpu")

    prefill(decoder, state, tokens, torch.tensor(lengths))
    for _ in range(steps):
        for row, sequence in enumerate(sequences):
            expected = hf_logits(hf, torch.tensor(sequence))[-1]
            assert float((state.logits[row] - expected).abs().max()) < TOLERANCE
            # The nearer tokens stand to a tie the less they say, so the row's own are followed.
            assert int(state.tokens[row]) == int(state.logits[row].argmax())
            sequence.append(int(state.tokens[row]))
        assert state.positions.tolist() == [len(sequence) - 1 for sequence in sequences]
        state.span += 1
        step(decoder, state)


@pytest.mark.parametrize("heads", [3, 9])
@torch.inference_mode()
def test_odd_head_counts_with_three_queries_to_a_key_score_as_in_transformers(heads: int) -> None:
    config = ModelConfig(
        vocab_size=97, hidden_size=9 * 8, intermediate_size=100, layers=2, heads=heads,
        kv_heads=heads // 3, head_dim=10, max_context=CONTEXT, tied=True,
    )  # fmt: skip
    hf = hugging_face(config, seed=heads)
    tokens = torch.arange(40) * 7 % 97

    logits = score(Decoder.from_model(HfWeights(config, hf)), tokens)

    assert hf_error(logits, hf, tokens) < TOLERANCE


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.inference_mode()
def test_bfloat16_errs_no_more_than_transformers_in_bfloat16_far_into_the_context(
    layout: Layout,
) -> None:
    config = ModelConfig(
        vocab_size=211, hidden_size=64, intermediate_size=128, layers=2, heads=4, kv_heads=2,
        head_dim=32, max_context=1024, rope_theta=10_000.0,
    )  # fmt: skip
    hf = hugging_face(config, seed=1)
    tokens = torch.randint(211, (1000,), generator=torch.manual_seed(1))
    exact = hf_logits(hf, tokens)[500:]

    ours = score(Decoder.from_model(HfWeights(config, hf), torch.bfloat16, layout=layout), tokens)
    theirs = hf_logits(hf.to(torch.bfloat16), tokens)

    our_error = (ours[500:] - exact).abs().mean()
    assert our_error < 1.25 * (theirs[500:] - exact).abs().mean()
