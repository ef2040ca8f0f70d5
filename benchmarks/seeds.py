"""Slowdowns as people write them, each a patch of one place in our own decoder, and their cause.

`KEPT_ASIDE` were not looked at while `harness.profiling` was made.
"""

# ruff: noqa: ISC004  (text before and after, in pairs)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["KEPT_ASIDE", "SEEDS", "Seed"]

_DECODER = "harness.model.decoder"
_LINEAR = "harness.model.linear"
_NORM = "    return F.rms_norm(x, weight.shape, weight, eps)\n"
_PUT = "        cache.slots.index_put_((slots,), keys_values)\n"
_SDPA = "cache.keys, cache.values, attn_mask=mask)\n"
_GROUPED = "    grouped = queries.view(batch, kv_heads, -1, head_dim)  # [B, K, G, Dh]\n"
_FINISH = "    state.tokens.copy_(state.logits.argmax(-1))\n"
_ABSORB = "        x = x + self.out(seen)\n"
_LAST = "    _finish(state, model.logits(x))\n    state.positions.add_(1)\n"
_CHUNK = "        gate, up = self.gate_up(rms_norm(x, self.mlp_norm, self.eps)).chunk(2, -1)\n"
_MATH = "import math\n"


@dataclass(frozen=True)
class Seed:
    """One slowdown. What is expected is a pattern for the words of the cause."""

    name: str
    cause: str
    """Regular expression: operator and function, or a setting."""
    patches: tuple[tuple[str, str], ...] = ()
    """Text before and after, each found exactly once."""
    module: str = _DECODER
    base: Mapping[str, str | int] = field(default_factory=dict)
    """Options of the backend on the base's side."""
    cand: Mapping[str, str | int] = field(default_factory=dict)
    phase: str = "decode"
    model: str = "tiny"


SEEDS = (
    Seed(
        "clone of the cache in each layer",
        r"aten::clone called from \S+decoder.py:\d+ \(_step\)",
        ((_PUT, _PUT + "        state.cache.clone()\n"),),
    ),
    Seed(
        "norm in float64",
        r"\(rms_norm\)",
        ((_NORM, "    x64 = x.double()\n    y = F.rms_norm(x64, weight.shape, weight.double(), eps)"
          "\n    return y.to(x.dtype)\n"),),
    ),
    Seed(
        "a Python loop over heads",
        r"\(_look_back\)",
        ((f"    seen = F.scaled_dot_product_attention(grouped, {_SDPA}",
          "    parts = []\n    for k in range(kv_heads):\n        h = slice(k, k + 1)\n"
          "        parts.append(F.scaled_dot_product_attention(grouped[:, h], cache.keys[:, h], "
          "cache.values[:, h], attn_mask=mask))\n    seen = torch.cat(parts, 1)\n"),),
    ),
    Seed(
        "a check for NaN in each layer, read on the host",
        r"\(_step\)",
        ((_PUT, "        if x.isnan().any().item():\n            raise ValueError\n" + _PUT),),
    ),
    Seed(
        "a cache made by concatenation",
        r"aten::cat called from \S+ \(_look_back\)",
        ((_GROUPED, "    keys = torch.cat([cache.keys[..., :-1, :], cache.keys[..., -1:, :]], 2)\n"
          "    cache = cache._replace(keys=torch.cat([keys] * 4, 2)[:, :, : keys.shape[2]])\n"
          + _GROUPED),),
    ),
    Seed(
        "one thread fewer", r"^threads 2 → 1", base={"threads": 2}, cand={"threads": 1},
        phase="prefill", model="small",
    ),
    Seed(
        "a sleep in a helper",
        r"host's own time.*\(_settle\)",
        ((_MATH, "import math\nimport time\n"),
         ("def _finish(", "def _settle() -> None:\n    time.sleep(0.001)\n\n\ndef _finish("),
         (_FINISH, _FINISH + "    _settle()\n")),
    ),
    Seed(
        "weights that are not contiguous",
        r"aten::linear.* each slower",
        (('        self.register_buffer("weight", weight, persistent=False)\n',
          "        weight = torch.stack([weight, weight], -1)[..., 0]\n"
          '        self.register_buffer("weight", weight, persistent=False)\n'),),
        module=_LINEAR,
    ),
    Seed(
        "attention through the math path", r"sdpa auto → math|\(_look_back\)",
        base={"sdpa": "auto"}, cand={"sdpa": "math"},
    ),
    Seed(
        "64 MB allocated at each step",
        r"aten::(zeros|fill_|ones) called from \S+ \(_step\)",
        ((_LAST, "    torch.ones(16 * 2**20)\n" + _LAST),),
    ),
    Seed(
        "a debug print of a tensor",
        r"\(_step\)",
        ((_LAST, "    print(x)\n" + _LAST),),
    ),
    Seed(
        "the head in float32 of a bfloat16 model",
        r"\(logits\)",
        (("        return self.head(rms_norm(x, self.norm, self.config.norm_eps))\n",
          "        x = rms_norm(x, self.norm, self.config.norm_eps)\n"
          "        return F.linear(x.float(), self.embedding.float()).to(x.dtype)\n"),),
        base={"dtype": "bfloat16"}, cand={"dtype": "bfloat16"}, model="small",
    ),
    Seed(
        "queries, keys and values not fused",
        r"\(project\)",
        (("        heads = self.qkv(rms_norm(x, self.attention_norm, self.eps))\n",
          "        y = rms_norm(x, self.attention_norm, self.eps)\n        parts = []\n"
          "        for w in self.qkv.weight.chunk(8):\n            parts.append(F.linear(y, w))\n"
          "        heads = torch.cat(parts, -1)\n"),),
    ),
    Seed(
        "keys repeated for every query head",
        r"aten::repeat_interleave called from \S+ \(_look_back\)",
        ((_GROUPED, "    cache.keys.repeat_interleave(8, 1)\n" + _GROUPED),),
    ),
    Seed(
        "the mask made anew in each layer",
        r"\(_not_after\)",
        ((_PUT, "        mask = _not_after(state.positions, columns, x.dtype)\n" + _PUT),),
    ),
    Seed(
        "a checksum in Python",
        r"host's own time.*\(_checksum\)",
        (("def _finish(", "def _checksum() -> int:\n    total = 0\n    for i in range(20000):\n"
          "        total += i * i\n    return total\n\n\ndef _finish("),
         (_FINISH, _FINISH + "    _checksum()\n")),
    ),
)  # fmt: skip

KEPT_ASIDE = (
    Seed(
        "gate and up not fused",
        r"\(absorb\)",
        ((_CHUNK, "        y = rms_norm(x, self.mlp_norm, self.eps)\n        parts = []\n"
          "        for w in self.gate_up.weight.chunk(16):\n            parts.append("
          "F.linear(y, w))\n        gate, up = torch.cat(parts, -1).chunk(2, -1)\n"),),
    ),
    Seed(
        "activation in float64",
        r"\(absorb\)",
        (("        return x + self.down(F.silu(gate) * up)\n",
          "        g = gate.double()\n"
          "        return x + self.down((g * g.sigmoid() * up.double()).to(x.dtype))\n"),),
    ),
    Seed(
        "embedding as a product with a one-hot row",
        r"\(_step\)",
        (("    x = F.embedding(state.tokens, model.embedding)  # [B, D]\n",
          "    hot = F.one_hot(state.tokens, model.embedding.shape[0]).to(model.embedding.dtype)\n"
          "    x = hot @ model.embedding\n"),),
    ),
    Seed(
        "logits brought to the host as a list",
        r"\(_finish\)",
        ((_FINISH, _FINISH + "    state.logits.tolist()\n"),),
        model="small",
    ),
    Seed(
        "a file of /proc read in each layer",
        r"\(_resident\)",
        (("def _finish(", "def _resident() -> str:\n    with open('/proc/self/smaps_rollup') as f:"
          "\n        return f.read()\n\n\ndef _finish("),
         (_FINISH, _FINISH + "    _resident()\n")),
    ),
    Seed(
        "sorting for the most likely token",
        r"aten::(sort|argsort) called from \S+ \(_finish\)",
        ((_FINISH, "    state.tokens.copy_(state.logits.sort(-1, descending=True)[1][:, 0])\n"),),
        model="small",
    ),
    Seed(
        "garbage collected at each step",
        r"host's own time.*\(_step\)",
        ((_MATH, "import gc\nimport math\n"), (_LAST, "    gc.collect()\n" + _LAST)),
    ),
    Seed(
        "probabilities in float64 that nobody reads",
        r"\(_finish\)",
        ((_FINISH, _FINISH + "    torch.softmax(state.logits.double(), -1)\n"),),
    ),
)  # fmt: skip
