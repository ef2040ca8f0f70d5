"""config.json of a Hugging Face folder becomes a `ModelConfig`, or an error naming key and value.

What the decoder does not compute is refused here rather than ignored: a sliding window, another
activation or another rotary scaling would give plausible text and wrong logits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.model.config import ModelConfig, RopeScaling

__all__ = ["read_config"]

_ARCHITECTURES = ("llama", "mistral", "qwen2")
_MISTRAL_WINDOW = 4096  # what transformers assumes where the key is absent
_UNSUPPORTED: dict[
    str, tuple[Any, ...]
] = {  # key: the values the decoder computes, absent included
    "hidden_act": (None, "silu"),
    "mlp_bias": (None, False),
    "partial_rotary_factor": (None, 1, 1.0),
    "quantization_config": (None,),
    "use_sliding_window": (None, False),
    "attention_bias": (None, False),
    "pretraining_tp": (None, 1),
}


def read_config(folder: Path) -> ModelConfig:
    """Read config.json, and generation_config.json for the tokens that end a text.

    Raises:
        ModelError: where a key is missing, malformed or asks for what the decoder does not compute.
    """
    file = folder / "config.json"
    keys = _Keys(_json(file), file)
    keys.one_of("model_type", _ARCHITECTURES)
    for key, accepted in _UNSUPPORTED.items():
        keys.one_of(key, accepted)
    qwen = keys["model_type"] == "qwen2"
    layer_types = keys["layer_types"] or []
    if any(kind != "full_attention" for kind in layer_types):
        raise keys.refused("layer_types", '"full_attention" for every layer')
    hidden, heads = keys.count("hidden_size"), keys.count("num_attention_heads")
    max_context = keys.count("max_position_embeddings")
    if keys["model_type"] == "mistral":
        window = keys.get("sliding_window", _MISTRAL_WINDOW)
        if window is not None and window < max_context:
            raise keys.refused("sliding_window", "null: attention over all positions")
    theta, scaling = _rope(keys)
    generation = folder / "generation_config.json"
    ends = _Keys(_json(generation), generation).ids("eos_token_id") if generation.is_file() else ()
    bos = keys.ids("bos_token_id")
    try:
        return ModelConfig(
            vocab_size=keys.count("vocab_size"),
            hidden_size=hidden,
            intermediate_size=keys.count("intermediate_size"),
            layers=keys.count("num_hidden_layers"),
            heads=heads,
            kv_heads=keys.count("num_key_value_heads", heads),
            head_dim=keys.count("head_dim", hidden // heads),
            max_context=max_context,
            rope_theta=theta,
            rope_scaling=scaling,
            norm_eps=keys.number("rms_norm_eps", 1e-6),
            tied=bool(keys["tie_word_embeddings"]),
            qkv_bias=qwen,
            bos_id=bos[0] if bos else None,
            eos_ids=tuple(dict.fromkeys((*keys.ids("eos_token_id"), *ends))),
        )
    except ValueError as error:
        raise ModelError(str(error), where=str(file)) from error


class _Keys:
    """A JSON object that names file, key and value when one of them will not do."""

    def __init__(self, data: Mapping[str, Any], file: Path, prefix: str = "") -> None:
        self._data = data
        self._file = file
        self._prefix = prefix

    def __getitem__(self, key: str) -> Any:
        return self._data.get(key)

    def get(self, key: str, default: Any) -> Any:
        return self._data.get(key, default)

    def below(self, key: str) -> _Keys:
        """Return the object under a key; an empty one where it is absent or null."""
        data = self._data.get(key) or {}
        if not isinstance(data, dict):
            raise self.refused(key, "an object")
        return _Keys(data, self._file, f"{self._prefix}{key}.")

    def one_of(self, key: str, accepted: tuple[Any, ...]) -> None:
        if self[key] not in accepted:
            told = ", ".join(json.dumps(value) for value in accepted if value is not None)
            absent = "no such key" if None in accepted else ""
            raise self.refused(key, " or ".join(part for part in (told, absent) if part))

    def count(self, key: str, default: int | None = None) -> int:
        value = default if self[key] is None else self[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.refused(key, "a whole number above 0")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = default if self[key] is None else self[key]
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            raise self.refused(key, "a number above 0")
        return float(value)

    def ids(self, key: str) -> tuple[int, ...]:
        """Return token ids from a number, a list or null."""
        value = self[key]
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
            raise self.refused(key, "a token id, or a list of them")
        return tuple(ids)

    def refused(self, key: str, expected: str) -> ModelError:
        what = (
            f"{self._prefix}{key} = {_shown(self._data[key])}"
            if key in self._data
            else (f"{self._prefix}{key} is missing")
        )
        return ModelError(what, where=str(self._file), expected=expected)


def _rope(keys: _Keys) -> tuple[float, RopeScaling | None]:
    """Return rotary base and scaling from the new spelling (`rope_parameters`) or the old."""
    new = keys.below("rope_parameters")
    old = keys.below("rope_scaling")
    rope = new if keys["rope_parameters"] else old
    theta = (new if new["rope_theta"] is not None else keys).number("rope_theta", 10_000.0)
    key = "rope_type" if rope["rope_type"] is not None else "type"
    rope.one_of("partial_rotary_factor", (None, 1, 1.0))
    rope.one_of(key, (None, "default", "llama3"))
    if rope[key] != "llama3":
        return theta, None
    return theta, RopeScaling(
        factor=rope.number("factor"),
        low_freq_factor=rope.number("low_freq_factor"),
        high_freq_factor=rope.number("high_freq_factor"),
        original_context=rope.count("original_max_position_embeddings"),
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            "no such file", where=str(file), expected="a folder as Hugging Face models have it"
        ) from error
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(file)) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"is not JSON: {error}", where=str(file)) from error
    if not isinstance(data, dict):
        raise ModelError("is not a JSON object", where=str(file))
    return data


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
