"""A Hugging Face folder: read as transformers wrote it, refused in one line where it is broken."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from harness.errors import ModelError
from harness.model import Model, ModelConfig, RopeScaling, open_model

SHAPE: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
LLAMA3: dict[str, Any] = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
}  # fmt: skip

Save = Callable[..., tuple[Path, PreTrainedModel]]


@pytest.fixture
def llama(tmp_path: Path) -> Save:
    """Saves a small Llama as transformers does; keys go to its configuration."""

    def save(shard: str = "1GB", **keys: Any) -> tuple[Path, PreTrainedModel]:
        model = LlamaForCausalLM(LlamaConfig(**{**SHAPE, **keys}))
        model.save_pretrained(tmp_path / "llama", max_shard_size=shard)
        return tmp_path / "llama", model

    return save


def weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = model.state_dict()
    if model.config.tie_word_embeddings:
        del state["lm_head.weight"]
    return state


def assert_same_weights(ours: Model, theirs: PreTrainedModel) -> None:
    expected = weights(theirs)
    assert sorted(ours.names()) == sorted(expected)
    for name, tensor in expected.items():
        assert torch.equal(ours.tensor(name), tensor), name


def edit(folder: Path, **keys: Any) -> None:
    """Change config.json: a value of ... takes the key out."""
    file = folder / "config.json"
    config = json.loads(file.read_text()) | keys
    file.write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def refusal(folder: Path) -> str:
    """The one line with which a folder is refused."""
    with pytest.raises(ModelError) as caught:
        open_model(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("tied", [False, True])
def test_a_llama_folder_gives_the_weights_that_were_saved(llama: Save, tied: bool) -> None:
    folder, saved = llama(tie_word_embeddings=tied)

    model = open_model(str(folder))

    assert (model.name, model.kind, model.config.tied) == ("llama", "folder", tied)
    assert_same_weights(model, saved)


def test_shards_are_read_through_their_index(llama: Save) -> None:
    folder, saved = llama(shard="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2

    assert_same_weights(open_model(str(folder)), saved)


def test_a_qwen2_folder_has_biases(tmp_path: Path) -> None:
    saved = Qwen2ForCausalLM(Qwen2Config(**SHAPE))
    saved.save_pretrained(tmp_path)

    model = open_model(str(tmp_path))

    assert model.config.qkv_bias
    assert_same_weights(model, saved)


def test_a_mistral_folder_is_read(tmp_path: Path) -> None:
    saved = MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=None))
    saved.save_pretrained(tmp_path)

    assert_same_weights(open_model(str(tmp_path)), saved)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_keep_their_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    LlamaForCausalLM(LlamaConfig(**SHAPE)).to(dtype).save_pretrained(tmp_path)

    model = open_model(str(tmp_path))

    assert model.tensor("model.norm.weight").dtype == dtype
    assert f"torch.{model.dtype_native}" == str(dtype)


def test_the_configuration_says_what_transformers_wrote(llama: Save) -> None:
    folder, _ = llama(
        head_dim=16, rms_norm_eps=1e-6, rope_parameters=LLAMA3, bos_token_id=1, eos_token_id=[2, 3]
    )

    assert open_model(str(folder)).config == ModelConfig(
        vocab_size=96, hidden_size=32, intermediate_size=48, layers=2, heads=4, kv_heads=2,
        head_dim=16, max_context=128, rope_theta=500_000.0, norm_eps=1e-6, bos_id=1, eos_ids=(2, 3),
        rope_scaling=RopeScaling(8.0, 1.0, 4.0, 64),
    )  # fmt: skip


def test_the_older_spelling_of_rope_scaling_means_the_same(llama: Save) -> None:
    folder, _ = llama(rope_parameters=LLAMA3)
    new = open_model(str(folder)).config

    old = {k: v for k, v in LLAMA3.items() if k != "rope_theta"}
    edit(folder, rope_parameters=..., rope_theta=500_000.0, rope_scaling=old)

    assert open_model(str(folder)).config == new


def test_a_missing_head_dim_is_the_hidden_size_shared_out(llama: Save) -> None:
    folder, _ = llama()
    edit(folder, head_dim=...)

    assert open_model(str(folder)).config.head_dim == 8


def test_ends_of_text_come_from_generation_config_too(llama: Save) -> None:
    folder, _ = llama(eos_token_id=2)
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 7]}')

    assert open_model(str(folder)).config.eos_ids == (2, 7)


def test_the_digest_is_of_the_contents(llama: Save, tmp_path: Path) -> None:
    folder, _ = llama()
    before = open_model(str(folder)).digest
    moved = folder.rename(tmp_path / "moved")
    assert open_model(str(moved)).digest == before

    change_weights(moved, lambda t: t["model.norm.weight"].add_(1))

    assert open_model(str(moved)).digest != before


def test_the_digest_knows_constants_that_no_weight_shows(llama: Save) -> None:
    folder, _ = llama()
    before = open_model(str(folder)).digest

    edit(folder, rms_norm_eps=1e-3)

    assert open_model(str(folder)).digest != before


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"model_type": "gemma"}, 'model_type = "gemma"; expected "llama", "mistral", "qwen2"'),
        ({"model_type": ...}, "model_type is missing; expected"),
        ({"hidden_act": "gelu"}, 'hidden_act = "gelu"; expected "silu"'),
        ({"attention_bias": True}, "attention_bias = true; expected false"),
        ({"quantization_config": {"bits": 4}}, 'quantization_config = {"bits": 4}; expected no'),
        ({"rope_parameters": {"rope_type": "yarn"}}, 'rope_parameters.rope_type = "yarn"; expec'),
        ({"rope_parameters": 7}, "rope_parameters = 7; expected an object"),
        ({"layer_types": ["sliding_attention"] * 2}, "layer_types = .*full_attention"),
        ({"vocab_size": ...}, "vocab_size is missing; expected a whole number above 0"),
        ({"hidden_size": "wide"}, 'hidden_size = "wide"; expected a whole number'),
        ({"rms_norm_eps": 0}, "rms_norm_eps = 0; expected a number above 0"),
        ({"num_key_value_heads": 3}, "4 heads do not divide into 3 KV heads"),
        ({"eos_token_id": "</s>"}, 'eos_token_id = "</s>"; expected a token id'),
        ({"model_type": "mistral", "sliding_window": 64}, "sliding_window = 64; expected null"),
        ({"model_type": "mistral", "max_position_embeddings": 8192}, "sliding_window is missing"),
    ],
)
def test_a_configuration_that_is_not_computed_is_refused(
    llama: Save, keys: dict[str, Any], line: str
) -> None:
    folder, _ = llama()
    edit(folder, **keys)

    assert re.search(rf"config\.json: {line}", refusal(folder))


def test_a_window_as_long_as_the_context_changes_nothing(llama: Save) -> None:
    folder, _ = llama()
    edit(folder, model_type="mistral", sliding_window=128)

    assert open_model(str(folder)).config.max_context == 128


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "\x00", "[" * 100_000])
def test_a_configuration_that_is_no_object_is_refused(llama: Save, text: str) -> None:
    folder, _ = llama()
    (folder / "config.json").write_text(text)

    assert "config.json: is not" in refusal(folder)


def test_a_folder_without_config_is_refused(llama: Save) -> None:
    folder, _ = llama()
    (folder / "config.json").unlink()

    assert "config.json: no such file; expected a folder as Hugging Face" in refusal(folder)


def test_a_folder_without_weights_is_refused(llama: Save) -> None:
    folder, _ = llama()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    line = refusal(folder)

    assert "holds no weights; expected model.safetensors" in line
    assert "convert them to safetensors" in line


def test_a_folder_that_holds_a_gguf_file_names_it(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()

    assert refusal(tmp_path).endswith(f"for the GGUF file in it give {tmp_path}/model.gguf")


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.999])
def test_a_file_cut_short_is_named_with_what_was_expected(llama: Save, keep: float) -> None:
    folder, _ = llama()
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep)])

    line = refusal(folder)

    assert line.startswith(str(file))
    assert re.search("is cut short at .*; expected .*; download it again|is not a safetens", line)


@pytest.mark.parametrize("content", [b"", b"GGUF" * 9, b"\xff" * 99, b"\2" + b"\0" * 7 + b"[]"])
def test_something_else_under_that_name_is_refused(llama: Save, content: bytes) -> None:
    folder, _ = llama()
    (folder / "model.safetensors").write_bytes(content)

    assert "is not a safetensors file" in refusal(folder)


def test_a_missing_shard_is_named(llama: Save) -> None:
    folder, _ = llama(shard="20KB")
    gone = sorted(folder.glob("model-*.safetensors"))[1]
    gone.unlink()

    assert f'shard "{gone.name}" is missing; expected all' in refusal(folder)


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"weight_map": 3}'])
def test_an_index_that_is_none_is_refused(llama: Save, text: str) -> None:
    folder, _ = llama(shard="20KB")
    (folder / "model.safetensors.index.json").write_text(text)

    assert "index.json: is not an index of shards" in refusal(folder)


def test_an_index_cannot_lead_out_of_its_folder(llama: Save) -> None:
    folder, _ = llama(shard="20KB")
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"model.norm.weight": "../secret.safetensors"}}')

    assert 'shard "../secret.safetensors" lies outside the folder' in refusal(folder)


def test_billions_of_layers_are_not_spelled_out_to_find_that_they_are_missing(llama: Save) -> None:
    folder, _ = llama()
    edit(folder, num_hidden_layers=2**31)

    assert 'weight "model.layers.2.input_layernorm.weight" is missing' in refusal(folder)


def test_a_missing_weight_is_named(llama: Save) -> None:
    folder, _ = llama()
    change_weights(folder, lambda t: t.pop("model.layers.1.mlp.up_proj.weight"))

    assert 'weight "model.layers.1.mlp.up_proj.weight" is missing; expected shape [48, 32]' in (
        refusal(folder)
    )


def test_a_weight_of_the_wrong_shape_is_named(llama: Save) -> None:
    folder, _ = llama()
    change_weights(folder, lambda t: t.update({"model.norm.weight": torch.zeros(31)}))

    assert 'weight "model.norm.weight" has shape [31]; expected [32] by config' in refusal(folder)


def test_a_weight_of_whole_numbers_is_refused(llama: Save) -> None:
    folder, _ = llama()
    change_weights(
        folder, lambda t: t.update({"model.norm.weight": torch.zeros(32, dtype=torch.int8)})
    )

    assert 'weight "model.norm.weight" is stored as I8; expected one of F64' in refusal(folder)


def test_a_weight_that_the_decoder_would_ignore_is_refused(llama: Save) -> None:
    folder, _ = llama()
    name = "model.layers.0.self_attn.q_norm.weight"
    change_weights(folder, lambda t: t.update({name: torch.zeros(8)}))

    assert f'holds a weight "{name}" that the decoder has no use for' in refusal(folder)


def test_a_copy_of_the_tied_embedding_does_no_harm(llama: Save) -> None:
    folder, _ = llama(tie_word_embeddings=True)
    change_weights(folder, lambda t: t.update({"lm_head.weight": torch.zeros(96, 32)}))

    assert "lm_head.weight" not in open_model(str(folder)).names()


def test_an_unknown_weight_is_named(llama: Save) -> None:
    folder, _ = llama()

    with pytest.raises(ModelError, match='has no weight "nothing"'):
        open_model(str(folder)).tensor("nothing")


def test_a_folder_without_a_tokenizer_says_what_to_do(llama: Save) -> None:
    folder, _ = llama()
    model = open_model(str(folder))

    assert not model.has_tokenizer
    with pytest.raises(ModelError, match=r"has no tokenizer\.json; give --prompt-ids"):
        model.tokenizer()
