"""The float32 eager reference: fixed prompts, fixed continuations, and the logits they must give.

Computed once per model in a process of its own and kept by content, so that no measured worker has
to hold a second model before it is timed.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import SessionError

if TYPE_CHECKING:
    from harness.model import Model, ModelConfig

__all__ = [
    "MOST_POSITIONS",
    "CheckPrompt",
    "Reference",
    "check_prompts",
    "compute",
    "reference_path",
    "score",
]

_VERSION = 1
_PROMPT_LENGTHS = (1, 7, 24, 56)
"""Ragged on purpose, a single token among them."""
_STEPS = 8
MOST_POSITIONS = max(_PROMPT_LENGTHS) + _STEPS
"""Positions that the longest check prompt takes, its continuation included."""


@dataclass(frozen=True)
class CheckPrompt:
    """A prompt and the tokens that are fed after it, whatever the session would choose."""

    prompt: tuple[int, ...]
    forced: tuple[int, ...]


@dataclass(frozen=True)
class Reference:
    """What a session's outputs are held against."""

    prompts: list[CheckPrompt]
    logits: NDArray[np.float32]
    """float32 [prompts, steps + 1, V]; row 0 is the prompt's last position."""
    twin: NDArray[np.float32]
    """The same positions by the same eager code in the precision to check, or, where that is
    float32, in float64: how far apart honest arithmetic is."""

    def save(self, path: Path) -> None:
        """Write aside and rename, so that a killed writer leaves nothing half done."""
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with aside.open("wb") as file:
            np.savez(file, logits=self.logits, twin=self.twin)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)

    @classmethod
    def load(cls, path: Path, prompts: list[CheckPrompt]) -> Reference:
        """Read what `save` wrote.

        Raises:
            SessionError: where the file cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(prompts, arrays["logits"], arrays["twin"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise SessionError(
                f"reference logits cannot be read: {error}", where=str(path), remedy="delete it"
            ) from error


def check_prompts(config: ModelConfig, positions: int) -> list[CheckPrompt]:
    """Return the fixed prompts for a model, none longer than `positions` with its continuation."""
    steps = max(1, min(_STEPS, positions - 1))
    lengths = [min(n, positions - steps) for n in _PROMPT_LENGTHS]
    bits = np.random.Philox(key=_VERSION)
    low = min(256, config.vocab_size // 4)  # special tokens sit at the low end of most vocabularies
    draw = (bits.random_raw(sum(lengths) + steps * len(lengths)) % (config.vocab_size - low)) + low
    ids = iter(draw.astype(int).tolist())
    return [
        CheckPrompt(tuple(next(ids) for _ in range(n)), tuple(next(ids) for _ in range(steps)))
        for n in lengths
    ]


def reference_path(cache: Path, digest: str, positions: int, dtype: str) -> Path:
    """Where the reference logits of the weights with this digest are kept."""
    identity = f"{digest}/{positions}/{dtype}/{_VERSION}"
    return cache / "reference" / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.npz"


def compute(model: Model, positions: int, dtype: str, threads: int) -> Reference:
    """Run the reference over the check prompts, and its twin in another precision."""
    prompts = check_prompts(model.config, positions)
    twin = "float64" if dtype == "float32" else dtype
    by_dtype = {d: _at_checked_positions(model, prompts, d, threads) for d in ("float32", twin)}
    return Reference(prompts, by_dtype["float32"], by_dtype[twin])


def _at_checked_positions(
    model: Model, prompts: list[CheckPrompt], dtype: str, threads: int
) -> NDArray[np.float32]:
    scores = score(model, [p.prompt + p.forced for p in prompts], threads, dtype)
    checked = zip(prompts, scores, strict=True)
    return np.stack([logits[len(prompt.prompt) - 1 :] for prompt, logits in checked])


def score(
    model: Model, sequences: list[tuple[int, ...]], threads: int, dtype: str = "float32"
) -> list[NDArray[np.float32]]:
    """Return eager's logits float32 [T, V] at every position of each sequence."""
    import torch

    from harness.model.decoder import Decoder
    from harness.model.decoder import score as decoder_score

    torch.set_num_threads(threads)
    with torch.inference_mode():
        precision = getattr(torch, dtype)
        decoder = Decoder.from_model(model, precision, torch.device("cpu"))
        return [decoder_score(decoder, torch.tensor(ids)).float().numpy() for ids in sequences]
