"""A GGUF file's metadata becomes a `ModelConfig`, or an error naming key and value.

As with config.json, what the decoder does not compute is refused rather than ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.model.config import ModelConfig, RopeScaling

__all__ = ["read_config"]

_ARCHITECTURES = ("llama", "qwen2")
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {  # key below the architecture: what is computed
    "rope.scaling.type": (None, "none"),
    "attention.sliding_window": (None, 0),
    "expert_count": (None, 0),
}
_ROPE_TOLERANCE = 1e-5


def read_config(metadata: Mapping[str, Any], facts: Mapping[str, Any], file: Path) -> ModelConfig:
    """Return the configuration.

    Args:
        metadata: The file's keys and values.
        facts: What its tensors say: `vocab_size`, `tied`, and `rope_factors`, the divisors of the
            rotary frequencies, None where there are none.
        file: For errors.

    Raises:
        ModelError: where a key is missing, malformed or asks for what the decoder does not compute.
    """
    keys = _Keys(metadata, file)
    keys.one_of("general.architecture", _ARCHITECTURES)
    if (metadata.get("split.count") or 1) != 1:
        raise ModelError(
            f"is one of {metadata['split.count']} parts",
            where=str(file),
            remedy="join them first: llama-gguf-split --merge FIRST_PART JOINED",
        )
    for key, accepted in _UNSUPPORTED.items():
        keys.one_of(keys.own(key), accepted)
    heads = keys.count("attention.head_count")
    hidden = keys.count("embedding_length")
    head_dim = keys.count("attention.key_length", hidden // heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        if keys.count(key, head_dim) != head_dim:
            raise keys.refused(keys.own(key), f"{head_dim}, the width of a head")
    theta = keys.number("rope.freq_base", 10_000.0)
    ends = ("eos_token_id", "eot_token_id", "eom_token_id")
    eos = [keys.token(f"tokenizer.ggml.{key}") for key in ends]
    try:
        return ModelConfig(
            vocab_size=facts["vocab_size"],
            hidden_size=hidden,
            intermediate_size=keys.count("feed_forward_length"),
            layers=keys.count("block_count"),
            heads=heads,
            kv_heads=keys.count("attention.head_count_kv", heads),
            head_dim=head_dim,
            max_context=keys.count("context_length"),
            rope_theta=theta,
            rope_scaling=_scaling(facts["rope_factors"], theta, head_dim, file),
            norm_eps=keys.number("attention.layer_norm_rms_epsilon"),
            tied=facts["tied"],
            qkv_bias=metadata["general.architecture"] == "qwen2",
            bos_id=keys.token("tokenizer.ggml.bos_token_id"),
            eos_ids=tuple(dict.fromkeys(i for i in eos if i is not None)),
        )
    except ValueError as error:
        raise ModelError(str(error), where=str(file)) from error


class _Keys:
    """Metadata that names file, key and value when one of them will not do."""

    def __init__(self, data: Mapping[str, Any], file: Path) -> None:
        self._data = data
        self._file = file

    def own(self, key: str) -> str:
        """Return the key below the file's architecture."""
        return f"{self._data['general.architecture']}.{key}"

    def one_of(self, key: str, accepted: tuple[Any, ...]) -> None:
        if self._data.get(key) not in accepted:
            told = [str(value) for value in accepted if value is not None]
            told += ["no such key"] if None in accepted else []
            raise self.refused(key, " or ".join(told))

    def count(self, key: str, default: int | None = None) -> int:
        value = self._data.get(self.own(key), default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.refused(self.own(key), "a whole number above 0")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return the decimal that a float32 was written for: 1e-05, not 9.99999975e-06."""
        value = self._data.get(self.own(key), default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            raise self.refused(self.own(key), "a number above 0")
        return float(f"{value:.7g}")

    def token(self, key: str) -> int | None:
        value = self._data.get(key)
        if value is not None and not isinstance(value, int):
            raise self.refused(key, "a token id")
        return value

    def refused(self, key: str, expected: str) -> ModelError:
        value = self._data.get(key)
        shown = str(value) if len(str(value)) <= 80 else f"{str(value)[:77]}..."
        what = f"{key} is missing" if value is None else f"{key} = {shown}"
        return ModelError(what, where=str(self._file), expected=expected)


def _scaling(
    factors: Sequence[float] | None, theta: float, head_dim: int, file: Path
) -> RopeScaling | None:
    """Recover Llama 3's scaling from the divisors that the converter computed from it.

    The largest divisor is the factor; the other three constants are the same in every Llama 3 that
    was published. They are taken only if they give back all divisors of the file.
    """
    if factors is None or all(factor == 1 for factor in factors):
        return None
    scaling = RopeScaling(round(max(factors), 6), 1.0, 4.0, 8192)
    # The lengths first: a damaged head size may announce billions.
    if 2 * len(factors) != head_dim or any(
        not math.isclose(a, b, rel_tol=_ROPE_TOLERANCE)
        for a, b in zip(factors, _divisors(scaling, theta, head_dim), strict=True)
    ):
        raise ModelError(
            'tensor "rope_freqs.weight" is not Llama 3\'s frequency scaling',
            where=str(file),
            expected="divisors made from low_freq_factor 1, high_freq_factor 4, context 8192",
        )
    return scaling


def _divisors(scaling: RopeScaling, theta: float, head_dim: int) -> list[float]:
    """What each rotary frequency is divided by: 1 for short waves, the factor for long ones."""
    divisors = []
    for i in range(0, head_dim, 2):
        turns = scaling.original_context * theta ** (-i / head_dim) / (2 * math.pi)
        blend = (turns - scaling.low_freq_factor) / (
            scaling.high_freq_factor - scaling.low_freq_factor
        )
        blend = min(max(blend, 0.0), 1.0)
        divisors.append(1 / ((1 - blend) / scaling.factor + blend))
    return divisors
