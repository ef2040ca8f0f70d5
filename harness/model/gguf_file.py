"""A GGUF file as a model: llama.cpp's names, order of rows and block formats become Hugging Face's.

The file is memory-mapped; F32, F16 and BF16 weights are read in place, block formats become
float32 when asked for.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import ModelError
from harness.model.config import ModelConfig
from harness.model.dequantize import BLOCK_FORMATS, dequantize
from harness.model.digest import digest_of_files
from harness.model.gguf_config import read_config
from harness.model.gguf_header import GgufHeader, GgufTensor, read_gguf
from harness.model.layout import each_weight
from harness.model.source import Model

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from harness.model.tokenizer import Tokenizer

__all__ = ["GgufModel", "gguf_name"]

_PLAIN = ("F32", "F16", "BF16")
_SUPPORTED = (*_PLAIN, *BLOCK_FORMATS)
_TOP = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_ROPE_FACTORS = "rope_freqs.weight"


class GgufModel(Model):
    """One GGUF file: weights, configuration and vocabulary."""

    def __init__(self, file: Path) -> None:
        self._header = read_gguf(file)
        self._llama = self._header.metadata.get("general.architecture") == "llama"
        config = read_config(self._header.metadata, self._facts(file), file)
        _check(self._header.tensors, config, file)
        try:
            digest = digest_of_files("gguf", [file], config)
        except OSError as error:
            raise ModelError(f"cannot be read: {error.strerror}", where=str(file)) from error
        matrices = Counter(t.type for t in self._header.tensors.values() if len(t.shape) == 2)
        super().__init__(
            name=file.stem,
            config=config,
            digest=digest,
            kind="gguf",
            path=file,
            dtype_native=matrices.most_common(1)[0][0],
            has_tokenizer="tokenizer.ggml.tokens" in self._header.metadata,
        )

    def tensor(self, name: str) -> Tensor:
        """Return one weight: as stored where it is plain, float32 where it comes in blocks."""
        if name not in self.shapes:
            raise ModelError(f'has no weight "{name}"', where=str(self.path))
        found = _read(self._header, self._header.tensors[gguf_name(name)])
        heads = {"q_proj": self.config.heads, "k_proj": self.config.kv_heads}
        role = name.split(".")[-2]
        return _unpermuted(found, heads[role]) if self._llama and role in heads else found

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer of the file's own vocabulary."""
        from harness.model.gguf_tokenizer import tokenizer_from_metadata

        return tokenizer_from_metadata(self._header.metadata, where=str(self.path))

    def _facts(self, file: Path) -> dict[str, object]:
        """Return what the configuration needs to know from the tensors rather than the metadata."""
        tensors = self._header.tensors
        embedding = tensors.get("token_embd.weight")
        if embedding is None or len(embedding.shape) != 2:
            raise ModelError('has no tensor "token_embd.weight"', where=str(file))
        factors = None
        if _ROPE_FACTORS in tensors:
            if tensors[_ROPE_FACTORS].type != "F32":
                raise _unsupported(_ROPE_FACTORS, tensors[_ROPE_FACTORS], file, ("F32",))
            factors = _read(self._header, tensors[_ROPE_FACTORS]).tolist()
        return {
            "vocab_size": embedding.shape[0],
            "tied": "output.weight" not in tensors,
            "rope_factors": factors,
        }


def gguf_name(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` is `blk.3.ffn_up.weight` to llama.cpp."""
    if name in _TOP:
        return _TOP[name]
    index, _, rest = name.removeprefix("model.layers.").partition(".")
    module, _, last = rest.rpartition(".")
    return f"blk.{index}.{_LAYER[module]}.{last}"


def _check(tensors: dict[str, GgufTensor], config: ModelConfig, file: Path) -> None:
    """Hold the tensors against the configuration: all there, right shape, known type, no others."""
    expected = {_ROPE_FACTORS}
    for own_name, shape in each_weight(config):
        name = gguf_name(own_name)
        expected.add(name)
        found = tensors.get(name)
        if found is None:
            raise ModelError(
                f'tensor "{name}" is missing', where=str(file), expected=f"shape {list(shape)}"
            )
        if found.type not in _SUPPORTED:
            raise _unsupported(name, found, file, _SUPPORTED)
        if found.shape != shape:
            raise ModelError(
                f'tensor "{name}" has shape {list(found.shape)}',
                where=str(file),
                expected=f"{list(shape)} by the file's metadata",
            )
    for name in tensors.keys() - expected:
        raise ModelError(
            f'holds a tensor "{name}" that the decoder has no use for',
            where=str(file),
            expected="the tensors of a Llama-architecture decoder and no others",
        )


def _unsupported(
    name: str, tensor: GgufTensor, file: Path, supported: tuple[str, ...]
) -> ModelError:
    return ModelError(
        f'tensor "{name}" is stored as {tensor.type}',
        where=str(file),
        expected=f"one of {', '.join(supported)}",
        remedy="quantize the model to one of these, Q8_0 say, with llama.cpp",
    )


def _read(header: GgufHeader, tensor: GgufTensor) -> Tensor:
    import torch

    plain: dict[str, torch.dtype] = {
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
    }
    if tensor.type in plain:
        flat = torch.frombuffer(
            header.data,
            dtype=plain[tensor.type],
            count=math.prod(tensor.shape),
            offset=tensor.start,
        )
        return flat.view(tensor.shape)
    raw = np.frombuffer(header.data, np.uint8, count=tensor.nbytes, offset=tensor.start)
    return dequantize(raw, tensor.type, tensor.shape)


def _unpermuted(rows: Tensor, heads: int) -> Tensor:
    """Undo what llama.cpp's converter does to q and k of the `llama` architecture.

    Its rotary embedding turns neighbours (2 i, 2 i + 1) of a head, ours i and i + head_dim / 2, so
    the converter interleaves the two halves of each head's rows. `qwen2` files keep their order.
    """
    pairs = rows.view(heads, -1, 2, *rows.shape[1:])
    return pairs.transpose(1, 2).reshape(rows.shape)
