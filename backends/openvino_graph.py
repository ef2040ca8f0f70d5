"""The decoder as an OpenVINO model whose cache is state of the inference request.

Converted from PyTorch once, weights and all, and kept as IR. Keys and values grow behind each other
as OpenVINO's CPU plugin wants to see it: state, gathered by row, concatenated, attended to; it then
makes one operator of these and writes in place. It must not know how the model is run.

Letters for shapes as in `harness.model.decoder`; P positions are in the cache already.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the name the field uses)
from torch import Tensor, nn

from harness.model.decoder import Decoder, rms_norm

__all__ = ["INPUTS", "convert"]

INPUTS = ("tokens", "positions", "mask", "cos", "sin", "last_token")
"""Names of what goes in beside the state."""


class GrowingCache(nn.Module):
    """Prompts and steps alike: keys and values are concatenated to those of earlier calls.

    In: tokens and positions int64 [B, T], mask [B, 1, T, P+T] to be added to scores, cosines and
    sines of all positions [C, Dh], where in B·T each row's last token stands int64 [B], then each
    layer's keys and values so far, each [B, K, P, Dh]. Out: logits float32 [B, V], the most likely
    tokens int64 [B], keys and values [B, K, P+T, Dh].

    The rotation is written as the plugin looks for it, to make one operator of it too.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        mask: Tensor,
        cos: Tensor,
        sin: Tensor,
        last_token: Tensor,
        *past: Tensor,
    ) -> tuple[Tensor, ...]:
        """Compute the next tokens, and what the cache becomes."""
        model = self.decoder
        x = F.embedding(tokens, model.embedding)  # [B, T, D]
        cos, sin = cos[positions][:, None], sin[positions][:, None]  # [B, 1, T, Dh]
        present: list[Tensor] = []
        for index, layer in enumerate(model.layers):
            packed = layer.qkv(rms_norm(x, layer.attention_norm, layer.eps))
            heads = packed.view(*x.shape[:2], *layer.head_shape).transpose(1, 2)
            counts = (layer.heads, layer.kv_heads, layer.kv_heads)
            # [B, heads, T, Dh] each
            queries, new_keys, new_values = torch.split_with_sizes(heads, counts, 1)
            past_keys, past_values = past[2 * index : 2 * index + 2]
            turned = new_keys * cos + _turned(new_keys) * sin
            keys = torch.cat((past_keys, turned), 2)
            values = torch.cat((past_values, new_values), 2)
            present += [keys, values]
            shared = layer.heads // layer.kv_heads
            seen = F.scaled_dot_product_attention(
                queries * cos + _turned(queries) * sin,
                _for_each(keys, shared),
                _for_each(values, shared),
                mask,
            )
            x = layer.absorb(x, seen.transpose(1, 2).flatten(2))
        logits = model.logits(torch.index_select(x.flatten(0, 1), 0, last_token))
        return logits, logits.argmax(-1), *present


def _turned(heads: Tensor) -> Tensor:
    """Turn each pair (i, i + Dh/2) of heads [..., Dh] by a right angle."""
    half = heads.shape[-1] // 2
    return torch.cat((-heads[..., half:], heads[..., :half]), -1)


def _for_each(heads: Tensor, shared: int) -> Tensor:
    """Repeat keys or values [B, K, S, Dh] for the `shared` queries of each: [B, H, S, Dh]."""
    batch, kv_heads, length, width = heads.shape
    wide = heads[:, :, None].expand(batch, kv_heads, shared, length, width)
    return wide.reshape(batch, kv_heads * shared, length, width)


def convert(decoder: Decoder, path: Path) -> None:
    """Write the decoder as a stateful OpenVINO model.

    Args:
        decoder: float32, on the host, its matrices plain.
        path: The .xml file; weights go beside it.
    """
    import openvino

    config, batch, length, earlier = decoder.config, 2, 3, 4
    keys = torch.zeros(batch, config.kv_heads, earlier, config.head_dim)
    example = (
        torch.zeros(batch, length, dtype=torch.int64),
        torch.zeros(batch, length, dtype=torch.int64),
        torch.zeros(batch, 1, length, earlier + length),
        torch.zeros(8, config.head_dim),
        torch.zeros(8, config.head_dim),
        torch.zeros(batch, dtype=torch.int64),
        *(keys.clone() for _ in range(2 * config.layers)),
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside of the converter
        model = openvino.convert_model(GrowingCache(decoder).eval(), example_input=example)
    _name(model, 2 * config.layers)
    _open_sizes(model, config.kv_heads, config.head_dim)
    _keep_state(model, 2 * config.layers)
    openvino.save_model(model, path, compress_to_fp16=False)


def _name(model: Any, states: int) -> None:
    for port, name in zip(
        model.inputs, [*INPUTS, *(f"past.{i}" for i in range(states))], strict=True
    ):
        port.get_tensor().set_names({name})
    outputs = ["logits", "next", *(f"present.{i}" for i in range(states))]
    for port, name in zip(model.outputs, outputs, strict=True):
        port.get_tensor().set_names({name})


def _open_sizes(model: Any, kv_heads: int, head_dim: int) -> None:
    shapes: dict[str, Sequence[int]] = {
        "tokens": (-1, -1),
        "positions": (-1, -1),
        "mask": (-1, 1, -1, -1),
        "cos": (-1, head_dim),
        "sin": (-1, head_dim),
        "last_token": (-1,),
    }
    past = (-1, kv_heads, -1, head_dim)
    model.reshape({port: list(shapes.get(port.get_any_name(), past)) for port in model.inputs})


def _keep_state(model: Any, states: int) -> None:
    """Turn past and present into state, empty for as many rows as there are tokens' rows.

    The state is gathered by `rows`, as beam search would. Nothing here changes their order, but the
    plugin looks for that, too, before it keeps the cache within the operator that attends.
    """
    import openvino
    from openvino import opset13 as ops
    from openvino._offline_transformations import apply_make_stateful_transformation

    rows = ops.parameter(openvino.PartialShape([-1]), np.int32, name="rows")
    rows.output(0).get_tensor().set_names({"rows"})
    model.add_parameters([rows])
    for index in range(states):
        past = model.input(f"past.{index}")
        readers = past.get_target_inputs()
        gathered = ops.gather(past, rows, ops.constant(0, dtype=np.int32))
        for reader in readers:
            reader.replace_source_output(gathered.output(0))
    batch = ops.gather(
        ops.shape_of(model.input("tokens"), "i64"),
        ops.constant([0], dtype=np.int64),
        ops.constant(0, dtype=np.int64),
    )
    apply_make_stateful_transformation(model, {f"past.{i}": f"present.{i}" for i in range(states)})
    for operator in model.get_ops():
        if operator.get_type_name() != "ReadValue":
            continue
        _, kv_heads, _, head_dim = operator.get_output_partial_shape(0)
        sizes = [
            ops.constant([size], dtype=np.int64)
            for size in (kv_heads.get_length(), 0, head_dim.get_length())
        ]
        shape = ops.concat([batch, *sizes], axis=0)
        operator.set_arguments([ops.broadcast(ops.constant(0.0, dtype=np.float32), shape)])
    model.validate_nodes_and_infer_types()
