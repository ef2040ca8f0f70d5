"""Which weights a configuration has: Hugging Face names and shapes, the same for every source.

Projections are [out, in]. Rows of q and k follow Hugging Face's rotary convention, where
dimension i of a head turns together with dimension i + head_dim / 2.
"""

from collections.abc import Iterator

from harness.model.config import ModelConfig

__all__ = ["each_weight", "weight_shapes"]


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return every weight's name and shape, in the order in which a token meets them."""
    return dict(each_weight(config))


def each_weight(config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield what `weight_shapes` returns: a file that announces billions of layers is refused at
    the first one it lacks, before the others are spelled out."""
    hidden, inner = config.hidden_size, config.intermediate_size
    q_rows, kv_rows = config.heads * config.head_dim, config.kv_heads * config.head_dim
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (q_rows, hidden),
        "self_attn.k_proj.weight": (kv_rows, hidden),
        "self_attn.v_proj.weight": (kv_rows, hidden),
        "self_attn.o_proj.weight": (hidden, q_rows),
        "post_attention_layernorm.weight": (hidden,),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
    }
    if config.qkv_bias:
        layer |= {
            "self_attn.q_proj.bias": (q_rows,),
            "self_attn.k_proj.bias": (kv_rows,),
            "self_attn.v_proj.bias": (kv_rows,),
        }
    yield "model.embed_tokens.weight", (config.vocab_size, hidden)
    for index in range(config.layers):
        yield from ((f"model.layers.{index}.{name}", shape) for name, shape in layer.items())
    yield "model.norm.weight", (hidden,)
    if not config.tied:
        yield "lm_head.weight", (config.vocab_size, hidden)
