"""Hugging Face transformers on the same weights: the yardstick that people know.

Eager with a dynamic cache, as `generate` runs it by default, or a static cache with its steps
compiled. What is timed is the model's own forward and nothing around it: `generate` adds to that.
torch and transformers are imported inside functions, because `harness list` imports this file.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from harness.cache import cache_folder
from harness.contracts import Availability, Backend, BackendOptions
from harness.devices import torch_runs_on
from harness.errors import UnavailableError
from harness.model.engine_session import EngineSession

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import Model, ModelConfig

__all__ = ["HfBackend", "HfOptions", "HfSession"]


class HfOptions(BackendOptions):
    """What transformers takes beside dtype, threads and device."""

    attention: Literal["sdpa", "eager"] = "sdpa"
    """Which of its implementations of attention."""
    cache: Literal["dynamic", "static"] = "dynamic"
    """`dynamic` grows by concatenation, `static` is allocated for the whole context."""
    compile: bool = False
    """Whether steps go through torch.compile; needs `cache = "static"`. Prompts stay eager, as
    they do in `generate`."""

    @model_validator(mode="after")
    def _compiles_what_is_static(self) -> Self:
        if self.compile and self.cache != "static":
            raise ValueError('compile = true needs cache = "static"')
        return self


class HfBackend(Backend):
    """Runs `LlamaForCausalLM`, or `Qwen2ForCausalLM` where q, k and v have biases."""

    summary = "Hugging Face transformers, its own model on the same weights"
    Options = HfOptions

    def availability(self, device: str) -> Availability:
        """It needs the extra, and a device that PyTorch can use."""
        if importlib.util.find_spec("transformers") is None:
            return Availability.no(
                "transformers is not installed", "pip install 'inference-harness[hf]'"
            )
        return torch_runs_on(device)

    def load(self, model: Model, device: str, options: HfOptions) -> HfSession:
        """Build the model and hand it our weights.

        Raises:
            UnavailableError: where the device is not to be had here.
        """
        import torch

        can = self.availability(device)
        if not can.ok:
            raise UnavailableError(f"transformers: {can.reason}", remedy=can.remedy)
        torch.set_num_threads(options.threads)
        hf = _build(model, getattr(torch, options.dtype), device, options.attention)
        return HfSession(hf, device, options)


class HfSession(EngineSession):
    """Transformers' model and, once prepared, its cache."""

    def __init__(self, hf: Any, device: str, options: HfOptions) -> None:
        facts = {
            "transformers": metadata.version("transformers"),
            "model": type(hf).__name__,
            "attention": hf.config._attn_implementation,  # noqa: SLF001 - what was chosen
            "cache": options.cache,
            "compiled": options.compile,
        }
        super().__init__(device, facts)
        self._hf = hf
        self._options = options
        self._forward: Callable[..., Any] = hf
        self._cache: Any = None

    def allocate(self, batch: int, context: int) -> tuple[Tensor, Tensor]:
        """Allocate tokens and logits, and a static cache where that is asked for."""
        import torch

        device = torch.device(self._device)
        config = self._hf.config
        self._next = torch.zeros(batch, dtype=torch.int64, device=device)
        self._scores = torch.zeros(batch, config.vocab_size, device=device)
        self._positions = torch.zeros(batch, 1, dtype=torch.int64, device=device)
        if self._options.cache == "static":
            self._cache = self._static(batch, context)
        if self._options.compile:
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder("inductor")))
            self._forward = torch.compile(self._hf, fullgraph=True, dynamic=False)
        return self._next, self._scores

    def start(self, tokens: Tensor, lengths: Tensor) -> None:
        """Read the prompts with an empty cache."""
        import torch
        from transformers import DynamicCache

        batch, length = tokens.shape
        if self._options.cache == "static":
            self._cache.reset()
        else:
            self._cache = DynamicCache(config=self._hf.config)
        self._mask = self._holes(lengths, length)
        hidden = self._hf.model(
            input_ids=tokens.to(self._device),
            attention_mask=None if self._mask is None else self._mask[:, :length],
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        last = hidden[torch.arange(batch), lengths - 1]  # the head looks at these alone
        self._keep(self._hf.lm_head(last))
        self._positions.copy_(lengths[:, None])

    def step(self) -> None:
        """Feed each row its last token."""
        mask = self._mask
        if mask is not None and self._options.cache == "dynamic":
            mask = mask[:, : self.span]
        out = self._forward(
            input_ids=self._next[:, None],
            attention_mask=mask,
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._keep(out.logits[:, -1])
        self._positions += 1

    def release(self) -> None:
        """Drop the cache, and what was compiled for its shape."""
        import torch

        self._cache = None
        self._forward = self._hf
        if self._options.compile:
            torch.compiler.reset()  # it keeps what was compiled otherwise

    def unload(self) -> None:
        """Drop the model."""
        self._hf = self._forward = None  # type: ignore[assignment]  # closed: nobody calls it

    def _static(self, batch: int, context: int) -> Any:
        """Return a static cache, touched, so that no first touch is timed."""
        import torch
        from transformers import StaticCache

        config = self._hf.config
        cache: Any = StaticCache(config=config, max_cache_len=context)
        cache.early_initialization(
            batch_size=batch,
            num_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            dtype=self._hf.dtype,
            device=torch.device(self._device),
        )
        cache.reset()
        return cache

    def _holes(self, lengths: Tensor, length: int) -> Tensor | None:
        """Return 0 where padding lies in the cache, else 1: int64 [B, C]; None where none does.

        Prompts are padded to the right; a row's own tokens come behind the padding, which stays
        hidden. Positions count a row's own tokens.
        """
        import torch

        if int(lengths.min()) == length:
            return None
        columns = torch.arange(self.context)
        padding = (columns >= lengths[:, None]) & (columns < length)
        return (~padding).long().to(self._device)

    def _keep(self, logits: Tensor) -> None:
        self._scores.copy_(logits)
        self._next.copy_(self._scores.argmax(-1))


def _build(model: Model, dtype: Any, device: str, attention: str) -> Any:
    """Return transformers' model with our weights, none of its own ever made."""
    import torch
    import transformers

    config = model.config
    kind = "Qwen2" if config.qkv_bias else "Llama"
    settings = getattr(transformers, f"{kind}Config")(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        max_position_embeddings=config.max_context,
        rms_norm_eps=config.norm_eps,
        tie_word_embeddings=config.tied,
        rope_parameters=_rope(config),
        attn_implementation=attention,
    )
    with torch.device("meta"):
        hf = getattr(transformers, f"{kind}ForCausalLM")(settings)
    weights = {
        name: model.tensor(name).to(device=device, dtype=dtype, copy=True) for name in model.names()
    }
    if config.tied:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    hf.load_state_dict(weights, assign=True)
    hf.tie_weights()
    # Its frequencies are a buffer without a weight: made anew, since on `meta` they hold nothing.
    rotary = type(hf.model.rotary_emb)
    hf.model.rotary_emb = rotary(config=settings).to(device)
    return hf.eval().requires_grad_(False)


def _rope(config: ModelConfig) -> dict[str, Any]:
    if config.rope_scaling is None:
        return {"rope_type": "default", "rope_theta": config.rope_theta}
    return {
        "rope_type": "llama3",
        "rope_theta": config.rope_theta,
        "factor": config.rope_scaling.factor,
        "low_freq_factor": config.rope_scaling.low_freq_factor,
        "high_freq_factor": config.rope_scaling.high_freq_factor,
        "original_max_position_embeddings": config.rope_scaling.original_context,
    }
