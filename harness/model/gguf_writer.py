"""Any model as a GGUF file in one plain precision: the inverse of `harness.model.gguf_file`.

So that an engine which reads nothing else computes with the very weights of the reference. The file
has no vocabulary: token ids go in and come out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError
from harness.model.config import ModelConfig
from harness.model.gguf_file import gguf_name
from harness.model.source import Model

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["write_gguf"]

_TYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def write_gguf(model: Model, dtype: str, path: Path) -> None:
    """Write a model's weights as llama.cpp's converter would: matrices in `dtype`, else float32.

    Written aside and renamed, so that a file which is there is whole.

    Args:
        model: Where the weights come from.
        dtype: `float32`, `bfloat16` or `float16`.
        path: Of the file.

    Raises:
        StoreError: where the file cannot be written.
    """
    from gguf import GGMLQuantizationType, GGUFWriter

    config = model.config
    kind = GGMLQuantizationType[_TYPES[dtype]]
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    writer = GGUFWriter(aside, "qwen2" if config.qkv_bias else "llama", use_temp_file=False)
    _describe(writer, config)
    try:
        for name in model.names():
            weight = _ordered(model, name).contiguous()
            if weight.dim() == 2:
                array, shape = _raw(weight, dtype)
                writer.add_tensor(gguf_name(name), array, raw_shape=shape, raw_dtype=kind)
            else:
                writer.add_tensor(gguf_name(name), weight.float().numpy())
        if config.rope_scaling:
            writer.add_tensor("rope_freqs.weight", _divisors(config))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        aside.replace(path)
    except OSError as error:
        raise StoreError(f"cannot be written: {error.strerror}", where=str(path)) from error
    finally:
        aside.unlink(missing_ok=True)


def _describe(writer: Any, config: ModelConfig) -> None:
    writer.add_context_length(config.max_context)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")


def _ordered(model: Model, name: str) -> Tensor:
    """Return a weight with the rows of q and k as llama.cpp's `llama` architecture has them.

    Its rotary embedding turns neighbours of a head, ours i and i + head_dim / 2; `qwen2` as ours.
    """
    config, weight = model.config, model.tensor(name)
    heads = {"q_proj": config.heads, "k_proj": config.kv_heads}.get(name.split(".")[-2])
    if heads is None or config.qkv_bias:
        return weight
    halves = weight.view(heads, 2, -1, *weight.shape[1:])
    return halves.transpose(1, 2).reshape(weight.shape)


def _raw(weight: Tensor, dtype: str) -> tuple[Any, list[int] | None]:
    """Return a matrix as numpy has it, bytes and shape apart where numpy lacks the type."""
    import torch

    rounded = weight.to(getattr(torch, dtype))
    if dtype != "bfloat16":
        return rounded.numpy(), None
    raw = rounded.view(torch.uint8).numpy()
    return raw, list(raw.shape)


def _divisors(config: ModelConfig) -> Any:
    """What llama.cpp divides rotary frequencies by: plain ones by scaled ones, float32 [Dh/2]."""
    import dataclasses

    from harness.model.rope import frequencies

    plain = frequencies(dataclasses.replace(config, rope_scaling=None))
    return (plain / frequencies(config)).float().numpy()
