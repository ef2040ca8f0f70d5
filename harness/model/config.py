"""What a Llama-architecture model is, as numbers; and what follows from them: bytes and FLOPs.

Every formula counts what must be moved or computed, not what an implementation happens to do.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DTYPE_BYTES", "ModelConfig", "RopeScaling"]

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3's frequency scaling (Llama 3.1 model card; `rope_type = "llama3"`)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int


@dataclass(frozen=True)
class ModelConfig:
    """Shapes and constants of a decoder. L layers, D hidden, H heads, K KV heads, V vocabulary."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    max_context: int
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    norm_eps: float = 1e-5
    tied: bool = False
    """Whether the output head is the embedding."""
    qkv_bias: bool = False
    """Biases on q, k and v, as in Qwen2."""
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check that the shapes fit each other.

        Raises:
            ValueError: where they do not.
        """
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads do not divide into {self.kv_heads} KV heads")
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd; rotary embedding needs pairs")

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer."""
        qkv = (self.heads + 2 * self.kv_heads) * self.head_dim
        attention = self.hidden_size * qkv + self.heads * self.head_dim * self.hidden_size
        bias = qkv if self.qkv_bias else 0
        mlp = 3 * self.hidden_size * self.intermediate_size
        return attention + bias + mlp + 2 * self.hidden_size

    @property
    def parameters(self) -> int:
        """Parameters, a tied head counted once."""
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tied else 2)
        return embeddings + self.layers * self.layer_parameters + self.hidden_size

    def weight_bytes(self, dtype: str) -> int:
        """Bytes of all weights in this precision."""
        return self.parameters * DTYPE_BYTES[dtype]

    def kv_bytes(self, batch: int, context: int, dtype: str) -> int:
        """Bytes of keys and values of `batch` rows of `context` positions."""
        row = 2 * self.layers * self.kv_heads * self.head_dim * DTYPE_BYTES[dtype]
        return batch * context * row

    def decode_bytes(self, batch: int, context: int, dtype: str) -> int:
        """Bytes that one decode step must read: every weight once, and the KV cache so far.

        Of an untied embedding table only `batch` rows are read.
        """
        weights = self.parameters
        if not self.tied:
            weights -= self.vocab_size * self.hidden_size - batch * self.hidden_size
        return weights * DTYPE_BYTES[dtype] + self.kv_bytes(batch, context, dtype)

    def prefill_flops(self, tokens: int, batch: int = 1) -> int:
        """Multiply-adds × 2 to process `batch` prompts of `tokens` tokens, head on the last only.

        Attention is causal: half of the T × T products.
        """
        matmuls = self.layer_parameters - 2 * self.hidden_size
        linear = 2 * self.layers * matmuls * tokens
        attention = 2 * self.layers * self.heads * self.head_dim * tokens * (tokens + 1)
        head = 2 * self.vocab_size * self.hidden_size
        return batch * (linear + attention + head)
