"""The graphs that `backends.onnx` runs: the reference decoder, exported by `torch.onnx.export`.

Two ways to write the same step. `contrib` is one graph for prompts and steps, whose attention and
rotation are one operator of onnxruntime's own, GroupQueryAttention: it writes new keys into the
buffer it was given. `export` is the decoder's `step`, operator by operator in standard ONNX, with a
second graph for prompts. It must not know how a graph is written to a file, or run.

Letters for shapes as in `harness.model.decoder`. All of B, T, C and S stay open in the graphs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  (the name the field uses)
from torch import Tensor, nn

from harness.model.decoder import Decoder, Span, State, rms_norm, step_within

__all__ = ["ContribGraph", "PromptGraph", "StepGraph"]


class ContribGraph(nn.Module):
    """Prompts and steps alike, attention by GroupQueryAttention.

    The queries, keys and values of a token go in as one packed tensor; the operator rotates them,
    writes keys and values behind the row's earlier ones and attends. In: tokens int64 [B, T], each
    row's last position int32 [B], the longest row's length int32 [1], where in B·T each row's last
    token stands int64 [B], cosines and sines [C, Dh/2], then each layer's keys and values, each
    [B, K, C, Dh].
    Out: logits float32 [B, V], the most likely tokens int64 [B, 1], keys and values.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        tokens: Tensor,
        last_position: Tensor,
        longest: Tensor,
        last_token: Tensor,
        cos: Tensor,
        sin: Tensor,
        cache: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Compute the next tokens, and what the cache becomes."""
        model = self.decoder
        batch, length = tokens.shape
        x = F.embedding(tokens.flatten(), model.embedding)  # [B·T, D]
        written: list[Tensor] = []
        for index, layer in enumerate(model.layers):
            packed = layer.qkv(rms_norm(x, layer.attention_norm, layer.eps))
            keys, values = cache[2 * index : 2 * index + 2]
            seen, keys, values = torch.onnx.ops.symbolic_multi_out(
                "com.microsoft::GroupQueryAttention",
                (
                    packed.view(batch, length, -1), None, None, keys, values,
                    last_position, longest, cos, sin,
                ),
                attrs={
                    "num_heads": layer.heads,
                    "kv_num_heads": layer.kv_heads,
                    "do_rotary": 1,
                    "rotary_interleaved": 0,
                },
                dtypes=(x.dtype,) * 3,
                shapes=(
                    (batch, length, layer.heads * layer.head_shape[1]), keys.shape, values.shape,
                ),
                version=1,
            )  # fmt: skip
            written += [keys, values]
            x = layer.absorb(x, seen.flatten(0, 1))
        logits = model.logits(x[last_token]).float()
        return logits, logits.argmax(-1, keepdim=True), written


class StepGraph(nn.Module):
    """The decoder's own step, operator by operator.

    In: tokens and positions int64 [B], columns int64 [S] (0, 1, 2, … as far as attention reads),
    rotations [C, 2, 1, Dh], first slots int64 [B, 2K], then the slots of each layer. Out: logits
    float32 [B, V], the most likely tokens int64 [B], slots. Not the next positions: in the buffer
    of the old ones they would be there before everything had read those.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        columns: Tensor,
        rotations: Tensor,
        first_slots: Tensor,
        cache: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Compute the next tokens, and what the cache becomes."""
        config = self.decoder.config
        # Clones, because a step writes into its state and an exported function must not change its
        # inputs. Nothing is copied in the end: onnxruntime is given one buffer for both.
        state = State(
            tokens=tokens.clone(),
            positions=positions.clone(),
            cache=torch.empty(0),
            logits=torch.empty(tokens.shape[0], config.vocab_size),
            rotations=rotations,
            first_slots=first_slots,
            columns=columns,
            shared_span=Span(),
        )
        slots = [layer.clone() for layer in cache]
        step_within(self.decoder, state, columns, slots)
        return state.logits, state.tokens, slots


class PromptGraph(nn.Module):
    """Whole prompts, operator by operator, for the sessions that step with `StepGraph`.

    In: tokens int64 [B, T], where in B·T each row's last token stands int64 [B], rotations
    [T, 2, 1, Dh]. Out: logits float32 [B, V], the most likely tokens int64 [B], then each layer's
    keys and values [B, 2, K, T, Dh].
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self, tokens: Tensor, last_token: Tensor, rotations: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Compute the first tokens, and what belongs into the cache."""
        model = self.decoder
        batch, length = tokens.shape
        x = F.embedding(tokens, model.embedding)  # [B, T, D]
        cos, sin = rotations.unbind(1)
        written: list[Tensor] = []
        for layer in model.layers:
            queries, keys_values = layer.project(x, cos, sin)
            split = keys_values.view(batch, length, 2, layer.kv_heads, -1).permute(0, 2, 3, 1, 4)
            keys, values = split.unbind(1)
            seen = F.scaled_dot_product_attention(
                queries.transpose(1, 2), keys, values, is_causal=True, enable_gqa=True
            )
            written.append(split.contiguous())
            x = layer.absorb(x, seen.transpose(1, 2).flatten(2))
        logits = model.logits(x.flatten(0, 1)[last_token]).float()
        return logits, logits.argmax(-1), written
