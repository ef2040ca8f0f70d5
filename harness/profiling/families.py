"""Operator names to the families people think in. A table; the first pattern that fits counts."""

from __future__ import annotations

import re

__all__ = ["FAMILIES", "HOST", "family_of"]

HOST = "host"
"""Time between operators: Python, dispatch, and whatever else the host does there."""

_ARITHMETIC = (
    "add|mul|sub|div|neg|silu|sigmoid|gelu|exp|rsqrt|pow|mean|sum|where|gt|lt|ge|le|eq|masked_fill|"
    "fill|zero|sin|cos|tanh|relu|clamp|abs|sqrt|max|min"
)
_ONNX = (
    "Add|Mul|Sub|Div|Neg|Pow|Sqrt|Sigmoid|QuickGelu|Gelu|Silu|Tanh|Where|Less|Greater|Equal|And|Or|"
    "Sin|Cos|Exp|ReduceMean|ReduceSum|RotaryEmbedding|BiasGelu"
)
FAMILIES = (
    ("attention", r"attention|sdpa|softmax|GroupQueryAttention"),
    ("gemm", r"linear|matmul|addmm|::b?mm|[gG]emm|gemv|einsum|baddbmm|MatMul|convolution"),
    ("norm", r"[nN]orm|Normalization"),
    ("sync", r"_local_scalar_dense|::item|is_nonzero|equal$|Synchronize|nonzero"),
    ("copy", r"copy|clone|contiguous|::to$|_to_copy|::cat$|::stack$|Memcpy|Reshape|Concat|Cast"),
    ("cache", r"index_put|scatter|index_copy|ScatterND|ScatterElements"),
    ("embedding", r"embedding|::index$|index_select|gather|Gather"),
    ("random", r"rand|bernoulli|dropout|multinomial"),
    ("allocation", r"empty|zeros|::ones|full|arange|new_|_like$|resize"),
    (
        "view",
        r"view|slice|select|transpose|permute|expand|squeeze|unbind|split|chunk|narrow|::t$|^(Slice|Transpose|Unsqueeze|Squeeze|Expand|Split|Shape|Range|Identity)$",
    ),
    ("choice", r"argmax|topk|sort|ArgMax|TopK"),
    ("fused", r"fused|graph_\d+|cpp_|triton|Fused|Torch-Compiled Region"),
    ("guards", r"TorchDynamo Cache Lookup"),
    ("elementwise", rf"::({_ARITHMETIC})_?$|^({_ONNX})$"),
)

_COMPILED = tuple((family, re.compile(pattern)) for family, pattern in FAMILIES)


def family_of(operator: str) -> str:
    """Return the family of an operator such as `aten::linear`; `other` where none fits."""
    for family, pattern in _COMPILED:
        if pattern.search(operator):
            return family
    return "other"
