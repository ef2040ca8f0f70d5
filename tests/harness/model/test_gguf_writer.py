"""A model written as GGUF reads back as the same model, in the precision it was written in."""

import dataclasses
from pathlib import Path

import pytest
import torch

from harness.errors import StoreError
from harness.model import ModelConfig, RopeScaling, open_model
from harness.model.gguf_file import GgufModel
from harness.model.gguf_writer import write_gguf
from harness.model.seeded import SeededModel

BASE = ModelConfig(
    vocab_size=300, hidden_size=48, intermediate_size=96, layers=2, heads=6, kv_heads=2,
    head_dim=12, max_context=128,
)  # fmt: skip
CONFIGS = {
    "plain": BASE,
    "tied": dataclasses.replace(BASE, tied=True),
    "biased": dataclasses.replace(BASE, qkv_bias=True, rope_theta=1e6, norm_eps=1e-6),
    "stretched": dataclasses.replace(BASE, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 8192)),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_written_model_reads_back_as_itself(
    tmp_path: Path, config: ModelConfig, dtype: str
) -> None:
    model, path = SeededModel("written", config, seed=3), tmp_path / "model.gguf"

    write_gguf(model, dtype, path)

    read = GgufModel(path)
    assert read.config == config
    for name in model.names():
        weight = model.tensor(name)
        expected = weight.to(getattr(torch, dtype)) if weight.dim() == 2 else weight
        assert torch.equal(read.tensor(name), expected), name


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    write_gguf(open_model("tiny"), "float32", tmp_path / "model.gguf")

    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_a_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        write_gguf(open_model("tiny"), "float32", tmp_path / "no-such-folder" / "model.gguf")
