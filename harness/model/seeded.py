"""Weights made from a seed: the same bytes on every machine, and a network worth checking against.

**Same bytes.** NumPy's distributions and torch's generators may change between versions; the raw
output of the Philox counter generator may not, it is a published algorithm and NumPy guarantees
the stream. Each tensor has its own stream, keyed by hashing seed and name. Its 64-bit words are
cut into signed 16-bit integers (little end first), each converted to float32, which is exact, and
multiplied by one constant, which IEEE 754 rounds in one way only. So the weights are uniform, not
normal, which makes no difference after the first sum over a few hundred of them.

**Worth checking.** With the usual tiny initialisation a decoder repeats its own input token,
whatever attention does: a backend with a broken cache would pass. Here the scales are chosen so
that

- what the layers add outweighs the token's own embedding, so that a fault in attention, rotary
  embedding or cache changes the logits and not only their last digits;
- attention is neither uniform nor one-hot (scores spread by about 1.7 before the soft-max);
- rounding does not grow into chaos with depth: bfloat16 and float32 choose the same token at nine
  positions of ten in `smollm2-135m`, where gains of 1.4 to 1.5 made it four of five;
- logits spread by about 3.5, so that the first choice stands out from 50,000 as a trained model's
  does.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from harness.errors import ModelError
from harness.model.config import ModelConfig
from harness.model.digest import digest_of
from harness.model.source import Model

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SeededModel"]

_ALGORITHM = "philox-uniform-1"  # raise the number whenever a single byte of a weight changes
_CHUNK = 1 << 18  # integers at a time: the raw words stay in the cache
_UNIFORM_SPREAD = 65536 / math.sqrt(12)  # standard deviation of a uniform 16-bit integer

_RESIDUAL_RMS = (
    8.0  # about that, of the residual stream after the last layer, where the embedding has 1/√D
)
_LOGIT_SPREAD = 3.5
_GAIN = {  # standard deviation of a projection's outputs, for inputs of mean square 1
    "q_proj.weight": 1.3,
    "k_proj.weight": 1.3,
    "v_proj.weight": 1.0,
    "gate_proj.weight": 1.1,
    "up_proj.weight": 1.1,
}


class SeededModel(Model):
    """A preset's shapes with weights from a seed."""

    def __init__(self, name: str, config: ModelConfig, seed: int) -> None:
        if seed < 0:
            raise ModelError(f"seed {seed}", expected="0 or more")
        super().__init__(
            name=name,
            config=config,
            digest=digest_of("seeded", f"{_ALGORITHM}/{seed}", config),
            kind="seeded",
            path=None,
            dtype_native="float32",
            has_tokenizer=False,
        )
        self.seed = seed

    def tensor(self, name: str) -> Tensor:
        """Return one weight, float32, made anew on every call."""
        import torch

        shape = self.shapes.get(name)
        if shape is None:
            raise ModelError(f'has no weight "{name}"', where=self.name)
        offset, spread = _moments(name, shape, self.config)
        return torch.from_numpy(_uniform(f"{self.seed}/{name}", shape, offset, spread))

    def tokenizer(self) -> NoReturn:
        """Raise: weights from a seed know no words."""
        raise ModelError(
            "has no tokenizer, its weights come from a seed",
            where=f'model "{self.name}"',
            remedy="give --prompt-ids",
        )


def _moments(name: str, shape: tuple[int, ...], config: ModelConfig) -> tuple[float, float]:
    """Return mean and standard deviation of a weight's elements."""
    hidden = config.hidden_size
    if name == "model.norm.weight":
        return _LOGIT_SPREAD, 0.1 * _LOGIT_SPREAD
    if name.endswith("layernorm.weight"):
        return 1.0, 0.1
    if name in ("model.embed_tokens.weight", "lm_head.weight"):
        return 0.0, 1 / math.sqrt(hidden)
    if name.endswith(".bias"):
        return 0.0, 0.3
    fan_in = shape[1]
    role = name.rpartition(".layers.")[2].partition(".")[2].partition(".")[2]
    if role in _GAIN:
        return 0.0, _GAIN[role] / math.sqrt(fan_in)
    # o_proj and down_proj write to the residual stream: 2 L additions of equal weight.
    share = _RESIDUAL_RMS / math.sqrt(2 * config.layers)
    return 0.0, 1.5 * share / math.sqrt(fan_in)


def _uniform(key: str, shape: tuple[int, ...], offset: float, spread: float) -> np.ndarray:
    seed = hashlib.blake2b(key.encode(), digest_size=16).digest()
    generator = np.random.Philox(key=np.frombuffer(seed, dtype="<u8").astype(np.uint64))
    scale = np.float32(spread / _UNIFORM_SPREAD)
    out = np.empty(math.prod(shape), dtype=np.float32)
    for start in range(0, out.size, _CHUNK):
        part = out[start : start + _CHUNK]
        words = generator.random_raw(-(-part.size // 4)).astype("<u8", copy=False)
        np.multiply(words.view("<i2")[: part.size], scale, out=part, dtype=np.float32)
        if offset:
            part += np.float32(offset)
    return out.reshape(shape)
