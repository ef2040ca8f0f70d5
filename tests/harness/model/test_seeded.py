"""Weights from a seed: the same bytes everywhere, and a network in which a fault shows."""

import hashlib
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ModelError
from harness.model import PRESETS, ModelConfig, open_model
from harness.model.decoder import Decoder, score
from harness.model.layout import weight_shapes
from harness.model.seeded import SeededModel

PINNED = {
    "model.embed_tokens.weight": "a8a82345aeae89d6e57292b4157fd0b8",
    "model.layers.0.self_attn.q_proj.weight": "6de3d09c978efe04347740b92d9158f9",
    "model.layers.1.mlp.down_proj.weight": "eadbd6f0523b8a063db3992c4b861082",
    "model.layers.1.post_attention_layernorm.weight": "fccdb581f6737652a9743a139f8e6c84",
    "model.norm.weight": "8e786e2ba47a3db9c1861da97a42a379",
}


def sha256(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.numpy().astype("<f4").tobytes()).hexdigest()[:32]


@pytest.mark.parametrize("name", PINNED)
def test_the_bytes_of_a_weight_never_change(name: str) -> None:
    assert sha256(open_model("tiny").tensor(name)) == PINNED[name]


def test_the_digest_of_a_preset_never_changes() -> None:
    assert open_model("tiny").digest == "seeded-2998f49689b084dfab3e95d419110d7b"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_opens_without_making_its_weights(preset: str) -> None:
    model = open_model(preset)

    assert model.names() == list(weight_shapes(PRESETS[preset]))
    assert model.kind == "seeded"


def test_weights_have_the_shapes_of_the_layout() -> None:
    model = open_model("tiny")

    shapes = {name: tuple(model.tensor(name).shape) for name in model.names()}

    assert shapes == weight_shapes(PRESETS["tiny"])


def test_the_layout_holds_as_many_parameters_as_the_configuration_counts() -> None:
    for config in PRESETS.values():
        shapes = weight_shapes(config).values()
        assert sum(torch.Size(shape).numel() for shape in shapes) == config.parameters


@given(seed=st.integers(1, 2**63))
def test_another_seed_gives_other_weights_and_another_digest(seed: int) -> None:
    first, second = open_model("tiny"), open_model("tiny", seed=seed)

    assert first.digest != second.digest
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(first.tensor(name), second.tensor(name))


def test_another_shape_has_another_digest() -> None:
    config = PRESETS["tiny"]

    digests = {
        SeededModel("a", replace(config, **change), 0).digest
        for change in ({}, {"rope_theta": 20_000.0}, {"layers": 3}, {"tied": False})
    }

    assert len(digests) == 4


def test_two_weights_of_one_model_have_streams_of_their_own() -> None:
    model = open_model("tiny")

    q = [model.tensor(f"model.layers.{i}.self_attn.q_proj.weight") for i in (0, 1)]

    assert not torch.equal(*q)


def test_a_weight_longer_than_a_chunk_continues_its_stream() -> None:
    config = replace(PRESETS["tiny"], vocab_size=10_000)
    long = SeededModel("long", config, 0).tensor("model.embed_tokens.weight").flatten()
    short = open_model("tiny").tensor("model.embed_tokens.weight").flatten()

    assert torch.equal(long[: len(short)], short)
    halves = long[: 2 * (len(long) // 2)].view(2, -1)
    assert not torch.equal(halves[0], halves[1])
    assert long.std() == pytest.approx(64**-0.5, rel=0.01)


def test_an_unknown_weight_is_named() -> None:
    with pytest.raises(ModelError, match=r'tiny: has no weight "model\.layers\.9\.oops"'):
        open_model("tiny").tensor("model.layers.9.oops")


def test_it_says_that_it_has_no_tokenizer_and_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"has no tokenizer.*give --prompt-ids"):
        open_model("tiny").tokenizer()


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ModelError, match="seed -1; expected 0 or more"):
        open_model("tiny", seed=-1)


@pytest.fixture(scope="module")
def small() -> tuple[ModelConfig, Decoder]:
    model = open_model("small")
    return model.config, Decoder.from_model(model, torch.float32, torch.device("cpu"))


def random_tokens(config: ModelConfig, length: int) -> torch.Tensor:
    return torch.randint(config.vocab_size, (length,), generator=torch.Generator().manual_seed(1))


def test_logits_spread_as_a_trained_models_do(small: tuple[ModelConfig, Decoder]) -> None:
    config, decoder = small

    logits = score(decoder, random_tokens(config, 64))

    assert 3 < logits.std() < 4


def test_the_next_token_is_not_the_last_one_again(small: tuple[ModelConfig, Decoder]) -> None:
    config, decoder = small
    tokens = random_tokens(config, 64)

    chosen = score(decoder, tokens).argmax(-1)

    assert (chosen == tokens).float().mean() < 0.1


def test_the_first_token_of_a_prompt_changes_the_last_ones_logits(
    small: tuple[ModelConfig, Decoder],
) -> None:
    config, decoder = small
    tokens = random_tokens(config, 64)
    other = tokens.clone()
    other[0] = (other[0] + 1) % config.vocab_size

    before, after = score(decoder, tokens)[-1], score(decoder, other)[-1]

    assert (after - before).std() / before.std() > 0.1


def test_bfloat16_mostly_chooses_the_same_tokens(small: tuple[ModelConfig, Decoder]) -> None:
    config, decoder = small
    tokens = random_tokens(config, 128)
    half = Decoder.from_model(open_model("small"), torch.bfloat16, torch.device("cpu"))

    same = score(half, tokens).argmax(-1) == score(decoder, tokens).argmax(-1)

    assert same.float().mean() > 0.85
