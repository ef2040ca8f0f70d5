"""The Llama architecture: read it from top to bottom, as data flows.

    State      what changes while tokens are made: cache, positions, last tokens, logits
    Layer      attention and MLP of one layer, in two halves around the look at the past
    Decoder    embedding, layers, final norm, head: the weights
    prefill    whole prompts in, first token out; read_prompts is its part on the device
    step       one token in, the next one out: eager calls it, others compile, capture or export it
    score      logits at every position of one sequence, without a cache

Letters for shapes, everywhere: B rows of a batch, T tokens of a prompt, C positions of context,
S positions looked at, L layers, D hidden size, F size inside the MLP, V vocabulary,
H query heads, K key and value heads, G = H/K queries that share one key, Dh numbers in a head.

`step` allocates nothing that outlives it, never waits for the device, and branches on no data:
the same operations on the same addresses, whatever the tokens. Keep it so. It must not know which
backend runs it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F  # noqa: N812  (the name the field uses)
from torch import Tensor, nn

from harness.model import native
from harness.model.attention import Attention
from harness.model.config import ModelConfig
from harness.model.linear import Layout, Linear
from harness.model.rope import rotate_, rotation_table

__all__ = [
    "Decoder",
    "LayerCache",
    "State",
    "Weights",
    "forget_behind",
    "prefill",
    "read_prompts",
    "score",
    "step",
    "step_within",
]


class Weights(Protocol):
    """What a decoder is made from; a `harness.model.Model` is one."""

    @property
    def config(self) -> ModelConfig:
        """Shapes and constants."""

    def tensor(self, name: str) -> Tensor:
        """Return a weight by its Hugging Face name, [out, in]."""


# --- What changes while tokens are made ---------------------------------------------------------


class LayerCache(NamedTuple):
    """One layer's keys and values, as views of the state's cache."""

    slots: Tensor
    """[B·2·K·C, Dh]: every place a key or value can be written to."""
    keys: Tensor
    """[B, K, S, Dh]"""
    values: Tensor
    """[B, K, S, Dh]"""

    @classmethod
    def of(cls, slots: Tensor, first_slots: Tensor, span: int) -> LayerCache:
        """Return the views of one layer's slots; first_slots [B, 2K] as in the state."""
        rows, heads = first_slots.shape
        cache = slots.view(rows, 2, heads // 2, -1, slots.shape[-1])
        keys, values = cache[..., :span, :].unbind(1)
        return cls(slots, keys, values)


class Span:
    """How many positions are in use, shared by a state and all views of it."""

    def __init__(self) -> None:
        self.positions = 0


@dataclass(eq=False)
class State:
    """All that changes while tokens are made, allocated once and then updated in place.

    Two rules keep rows independent and let a captured graph be replayed. Behind a row's position
    its cache may hold anything finite, since it is masked, but never NaN (0 × NaN is NaN): what an
    earlier request left is zeroed by `prefill` and `reset`. And no tensor here is ever replaced.
    """

    tokens: Tensor
    """int64 [B]: the last token of each row, fed next."""
    positions: Tensor
    """int64 [B]: where that token belongs, so also how many tokens lie before it."""
    cache: Tensor
    """[L, B, 2, K, C, Dh]: keys and values, keys already rotated."""
    logits: Tensor
    """float32 [B, V]: behind the last tokens."""
    rotations: Tensor
    """[C, 2, 1, Dh]: cosines and signed sines of each position, the same for all heads."""
    first_slots: Tensor
    """int64 [B, 2K]: where each key and value head of a row begins among a layer's slots."""
    columns: Tensor
    """int64 [C]: 0, 1, 2, … to compare positions with."""
    shared_span: Span

    @classmethod
    def allocate(
        cls,
        config: ModelConfig,
        batch: int,
        context: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> State:
        """Allocate for `batch` rows of up to `context` positions, touching every page."""
        kv = 2 * config.kv_heads
        shape = (config.layers, batch, 2, config.kv_heads, context, config.head_dim)
        first_slots = torch.arange(batch * kv, device=device).view(batch, kv) * context
        state = cls(
            tokens=torch.empty(batch, dtype=torch.int64, device=device),
            positions=torch.empty(batch, dtype=torch.int64, device=device),
            cache=torch.empty(shape, dtype=dtype, device=device),
            logits=torch.empty(batch, config.vocab_size, dtype=torch.float32, device=device),
            rotations=rotation_table(config, context, dtype, device),
            first_slots=first_slots,
            columns=torch.arange(context, device=device),
            shared_span=Span(),
        )
        state.span = context
        state.reset()
        return state

    @property
    def batch(self) -> int:
        """Rows, B."""
        return self.tokens.shape[0]

    @property
    def context(self) -> int:
        """Positions a row can have, C."""
        return self.columns.shape[0]

    @property
    def keys(self) -> Tensor:
        """[L, B, K, C, Dh]: a view of the cache."""
        return self.cache[:, :, 0]

    @property
    def values(self) -> Tensor:
        """[L, B, K, C, Dh]: a view of the cache."""
        return self.cache[:, :, 1]

    @property
    def span(self) -> int:
        """How far attention reads: above every position in use, known on the host.

        `prefill` sets it; who calls `step` raises it first, by one each time or once to a bucket
        that covers what is to come. It never shrinks but by `prefill` and `reset`.
        """
        return self.shared_span.positions

    @span.setter
    def span(self, positions: int) -> None:
        self.shared_span.positions = positions

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, Tensor))

    def rows(self, count: int) -> State:
        """Return views of the first `count` rows, for backends that work in buckets of rows."""
        return State(
            tokens=self.tokens[:count],
            positions=self.positions[:count],
            cache=self.cache[:, :count],
            logits=self.logits[:count],
            rotations=self.rotations,
            first_slots=self.first_slots[:count],
            columns=self.columns,
            shared_span=self.shared_span,
        )

    def reset(self) -> None:
        """Forget every row."""
        self.cache[..., : self.span, :].zero_()
        self.tokens.zero_()
        self.positions.zero_()
        self.logits.zero_()
        self.span = 0

    def slots(self) -> Sequence[Tensor]:
        """Return every place a key or value can be written to, layer by layer: [B·2·K·C, Dh]."""
        return self.cache.view(self.cache.shape[0], -1, self.cache.shape[-1]).unbind()

    def layers(self, span: int) -> list[LayerCache]:
        """Return each layer's cache as far as `span`."""
        seen = self.cache[..., :span, :]
        return [
            LayerCache(*views)
            for views in zip(
                self.slots(), seen[:, :, 0].unbind(), seen[:, :, 1].unbind(), strict=True
            )
        ]


# --- The weights, and what each layer does ------------------------------------------------------


class Layer(nn.Module):
    """One layer: tokens look at the past (attention), then each thinks for itself (MLP).

    `project` makes queries, keys and values; the caller lets queries look at keys and values, which
    is all that differs between a prompt and a step; `absorb` takes what they saw and does the rest.
    """

    attention_norm: Tensor
    mlp_norm: Tensor

    def __init__(self, config: ModelConfig, weight: _Reader, layout: Layout) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.eps = config.norm_eps
        self.head_shape = (config.heads + 2 * config.kv_heads, config.head_dim)
        qkv = tuple(f"self_attn.{x}_proj" for x in "qkv")
        bias = weight.stacked(qkv, "bias") if config.qkv_bias else None
        # Weights that read the same input lie in one matrix: three products become one.
        self.qkv = Linear(weight.stacked(qkv), bias, layout=layout)
        self.out = Linear(weight.stacked(("self_attn.o_proj",)), layout=layout)
        self.gate_up = Linear(weight.stacked(("mlp.gate_proj", "mlp.up_proj")), layout=layout)
        self.down = Linear(weight.stacked(("mlp.down_proj",)), layout=layout)
        self.register_buffer("attention_norm", weight("input_layernorm.weight"), persistent=False)
        self.register_buffer(
            "mlp_norm", weight("post_attention_layernorm.weight"), persistent=False
        )

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Return queries [..., H, Dh] and keys-then-values [..., 2K, Dh] of x [..., D].

        Queries and keys come back rotated to their positions: cos, sin [..., 1, Dh].
        """
        heads = self.qkv(rms_norm(x, self.attention_norm, self.eps))
        heads = heads.view(*x.shape[:-1], *self.head_shape)
        rotate_(heads.narrow(-2, 0, self.heads + self.kv_heads), cos, sin)
        queries, keys_values = torch.split_with_sizes(heads, (self.heads, 2 * self.kv_heads), -2)
        return queries, keys_values

    def absorb(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the layer's output [..., D] from its input and what the heads saw [..., H·Dh]."""
        x = x + self.out(seen)
        gate, up = self.gate_up(rms_norm(x, self.mlp_norm, self.eps)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Scale x [..., D] to a root mean square of one, then by weight [D]; summed in float32."""
    return F.rms_norm(x, weight.shape, weight, eps)


class Decoder(nn.Module):
    """Embedding, layers, final norm and head of one model in one precision on one device."""

    embedding: Tensor
    layers: list[Layer]
    norm: Tensor

    def __init__(
        self,
        weights: Weights,
        dtype: torch.dtype,
        device: torch.device,
        layout: Layout,
        attention: Attention,
    ) -> None:
        super().__init__()
        config = weights.config
        self.config, self.dtype, self.device = config, dtype, device
        self.layout, self.attention = layout, attention
        if attention == "native":
            native.use()
        weight = _Reader(weights, "", dtype, device)
        self.register_buffer("embedding", weight("model.embed_tokens.weight"), persistent=False)
        layers = nn.ModuleList(
            Layer(config, _Reader(weights, f"model.layers.{i}.", dtype, device), layout)
            for i in range(config.layers)
        )
        self.layers = cast("list[Layer]", layers)  # nn.ModuleList cannot say what it holds
        self.register_buffer("norm", weight("model.norm.weight"), persistent=False)
        # A tied head shares the embedding's table; in another layout it needs a copy of its own,
        # since the embedding must still be indexed. See `twice_bytes`.
        head = self.embedding if config.tied else weight("lm_head.weight")
        self.head = Linear(head, layout=layout)
        self.requires_grad_(False)

    @classmethod
    def from_model(
        cls,
        model: Weights,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        *,
        layout: Layout = "plain",
        attention: Attention = "sdpa",
    ) -> Decoder:
        """Bring a model's weights to a device in a precision.

        Args:
            model: Where the weights come from.
            dtype: Precision of weights, activations and cache.
            device: Where it will run.
            layout: How matrices are kept; see `harness.model.linear.choose_layout`.
            attention: Of a step; see `harness.model.attention.choose_attention`.
        """
        with torch.no_grad():
            return cls(model, dtype, torch.device(device), layout, attention).eval()

    @property
    def twice_bytes(self) -> int:
        """Bytes of the table that is kept both plain and in the layout: a tied one's."""
        return self.embedding.nbytes if self.layout != "plain" and self.config.tied else 0

    @property
    def nbytes(self) -> int:
        """Bytes of all weights as held, the twice-kept table twice; padding of packing left out."""
        linear = [m for m in self.modules() if isinstance(m, Linear)]
        tied = self.embedding.nbytes if self.config.tied and self.layout == "plain" else 0
        norms = (2 * self.config.layers + 1) * self.norm.nbytes
        biases = sum(m.bias.nbytes for m in linear if m.bias is not None)
        return self.embedding.nbytes + sum(m.weight_bytes for m in linear) - tied + norms + biases

    def logits(self, x: Tensor) -> Tensor:
        """Return logits [..., V] in the model's precision from the last layer's output [..., D]."""
        return self.head(rms_norm(x, self.norm, self.config.norm_eps))


# --- What is done with them ---------------------------------------------------------------------


def step(model: Decoder, state: State) -> None:
    """Feed each row its last token; leave the next one, its logits and positions in the state.

    Rows may be at different positions, all of them below `state.span`. In place, at fixed
    addresses, without a look at any value: safe to compile, capture and export.
    """
    _step(model, state, state.columns[: state.span], state.layers(state.span))


def step_within(model: Decoder, state: State, columns: Tensor, slots: Sequence[Tensor]) -> None:
    """As `step`, for those who compile: what varies and what is written to comes as arguments.

    Args:
        model: The weights.
        state: As for `step`; neither its span nor its cache is looked at.
        columns: int64 [S], the first S of the state's: a size may vary where a number may not.
        slots: The state's `slots`. A compiler takes a write into a part or a view of a tensor for a
            new tensor, and copies all that it does not write.
    """
    first, span = state.first_slots, columns.shape[0]
    _step(model, state, columns, [LayerCache.of(layer, first, span) for layer in slots])


def _step(model: Decoder, state: State, columns: Tensor, layers: Sequence[LayerCache]) -> None:
    x = F.embedding(state.tokens, model.embedding)  # [B, D]
    cos, sin = state.rotations[state.positions].unbind(1)  # [B, 1, Dh] each
    slots = state.first_slots + state.positions[:, None]  # [B, 2K]
    of_ours = model.attention == "native"
    mask = None if of_ours else _not_after(state.positions, columns, x.dtype)  # [B, 1, 1, S]
    for layer, cache in zip(model.layers, layers, strict=True):
        queries, keys_values = layer.project(x, cos, sin)
        cache.slots.index_put_((slots,), keys_values)
        x = layer.absorb(x, _look_back(queries, cache, state.positions, mask))
    _finish(state, model.logits(x))
    state.positions.add_(1)


def prefill(model: Decoder, state: State, tokens: Tensor, lengths: Tensor) -> None:
    """Start every row anew with a prompt of its own length; leave its next token in the state.

    Args:
        model: The weights.
        state: For B rows; what earlier requests left in it is gone afterwards.
        tokens: int64 [B, T] on the host, right-padded with anything.
        lengths: int64 [B] on the host, each from 1 to T; T is at most the state's context.
    """
    read_prompts(model, state, tokens, lengths, state.cache.unbind())
    forget_behind(state, lengths, tokens.shape[1])


def read_prompts(
    model: Decoder, state: State, tokens: Tensor, lengths: Tensor, caches: Sequence[Tensor]
) -> None:
    """Do the part of `prefill` that looks at no value, so that it can be compiled.

    What lies in the cache behind the prompts is left to `forget_behind`. For `caches` see
    `step_within`.
    """
    batch, prompt = tokens.shape
    rows = torch.arange(batch)
    tokens = tokens.masked_fill(torch.arange(prompt) >= lengths[:, None], 0).to(model.device)
    x = F.embedding(tokens, model.embedding)  # [B, T, D]
    cos, sin = state.rotations[:prompt].unbind(1)  # [T, 1, Dh] each
    for layer, cache in zip(model.layers, caches, strict=True):
        queries, keys_values = layer.project(x, cos, sin)
        keys_values = _heads_first(keys_values)
        cache[..., :prompt, :].copy_(keys_values)
        x = layer.absorb(x, _look_at_prompt(queries, keys_values))
    state.positions.copy_(lengths)
    last = x[rows, lengths - 1]  # [B, D]: padding lies behind it, so it never looked at any
    _finish(state, model.logits(last))


def forget_behind(state: State, lengths: Tensor, prompt: int) -> None:
    """Zero what lies behind each row's prompt: padding's keys, and those of an earlier request.

    Args:
        state: What `read_prompts` worked on.
        lengths: int64 [B] on the host.
        prompt: T, padding included.
    """
    end = max(prompt, state.span)
    for row, length in enumerate(lengths.tolist()):
        if length < end:
            state.cache[:, row, :, :, length:end].zero_()
    state.span = int(lengths.max())


def score(model: Decoder, tokens: Tensor) -> Tensor:
    """Return the logits behind every token of one sequence, float32 [T, V].

    Row t holds what follows tokens[: t + 1]: a whole continuation is judged in one pass.

    Args:
        model: The weights.
        tokens: int64 [T], at least one.
    """
    tokens = tokens.to(model.device)
    table = rotation_table(model.config, len(tokens), model.dtype, model.device)
    x = F.embedding(tokens[None], model.embedding)  # [1, T, D]
    cos, sin = table.unbind(1)
    for layer in model.layers:
        queries, keys_values = layer.project(x, cos, sin)
        x = layer.absorb(x, _look_at_prompt(queries, _heads_first(keys_values)))
    return model.logits(x[0]).float()


def _look_back(
    queries: Tensor, cache: LayerCache, positions: Tensor, mask: Tensor | None
) -> Tensor:
    """Let one query per head look at its row's cache: [B, H, Dh] -> [B, H·Dh].

    The G queries that share a key stand where SDPA expects G queries in sequence: no key is copied.
    Without a mask it is our own operator that looks, as far as each row's position.
    """
    batch, kv_heads, _, head_dim = cache.keys.shape
    if mask is None:
        return native.decode_attention(queries, cache.slots, positions, kv_heads).flatten(1)
    grouped = queries.view(batch, kv_heads, -1, head_dim)  # [B, K, G, Dh]
    seen = F.scaled_dot_product_attention(grouped, cache.keys, cache.values, attn_mask=mask)
    return seen.flatten(1)


def _heads_first(keys_values: Tensor) -> Tensor:
    """View keys and values as the cache holds them: [B, T, 2K, Dh] -> [B, 2, K, T, Dh]."""
    batch, prompt, heads, head_dim = keys_values.shape
    return keys_values.view(batch, prompt, 2, heads // 2, head_dim).permute(0, 2, 3, 1, 4)


def _look_at_prompt(queries: Tensor, keys_values: Tensor) -> Tensor:
    """Let each token look at itself and those before it.

    Padding lies to the right, so that causality alone hides it.

    Args:
        queries: [B, T, H, Dh].
        keys_values: [B, 2, K, T, Dh].

    Returns:
        [B, T, H·Dh].
    """
    keys, values = keys_values.unbind(1)
    seen = F.scaled_dot_product_attention(
        queries.transpose(1, 2), keys, values, is_causal=True, enable_gqa=True
    )
    return seen.transpose(1, 2).flatten(2)


def _not_after(positions: Tensor, columns: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 0 up to each row's own position and -inf after it: [B, 1, 1, S]."""
    after = columns > positions[:, None]
    mask = torch.zeros_like(after, dtype=dtype).masked_fill_(after, -math.inf)
    return mask[:, None, None]


def _finish(state: State, logits: Tensor) -> None:
    """Keep logits [B, V] and the most likely token of each row."""
    state.logits.copy_(logits)
    state.tokens.copy_(state.logits.argmax(-1))


@dataclass(frozen=True)
class _Reader:
    """Reads weights below a prefix, in the precision and on the device wanted."""

    weights: Weights
    prefix: str
    dtype: torch.dtype
    device: torch.device

    def __call__(self, name: str) -> Tensor:
        weight = self.weights.tensor(self.prefix + name)
        # A copy even where nothing changes: a memory-mapped weight would be read from disk in use.
        return weight.to(device=self.device, dtype=self.dtype, copy=True).contiguous()

    def stacked(self, names: tuple[str, ...], kind: str = "weight") -> Tensor:
        """Return several weights as one, below each other: [sum of outs, in]."""
        return torch.cat([self(f"{name}.{kind}") for name in names])
