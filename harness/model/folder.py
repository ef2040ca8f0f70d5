"""A Hugging Face folder as a model: config.json, safetensors in one file or many, tokenizer.json.

Weights are memory-mapped. Before one is read, every file's header is held against the
configuration, so that a file cut short or a weight of another shape is named at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError
from harness.model.config import ModelConfig
from harness.model.digest import digest_of_files
from harness.model.hf_config import read_config
from harness.model.layout import each_weight
from harness.model.safetensors_header import StoredTensor, read_header
from harness.model.source import Model

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model.tokenizer import Tokenizer

__all__ = ["FolderModel"]

_DTYPES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_HARMLESS = ("rotary_emb.inv_freq", "lm_head.weight")  # recomputed; a copy of a tied embedding


class FolderModel(Model):
    """`config.json` beside `model.safetensors`, or beside shards with their index."""

    def __init__(self, folder: Path, name: str | None = None) -> None:
        files = _weight_files(folder)
        config = read_config(folder)
        self._stored: dict[str, StoredTensor] = {}
        for file in files:
            self._stored |= read_header(file)
        _check(self._stored, config, folder)
        self._open_files: dict[Path, Any] = {}
        try:
            digest = digest_of_files("folder", files, config)
        except OSError as error:
            raise ModelError(f"cannot be read: {error.strerror}", where=str(folder)) from error
        super().__init__(
            name=name or folder.resolve().name,
            config=config,
            digest=digest,
            kind="folder",
            path=folder,
            dtype_native=_DTYPES[self._stored["model.embed_tokens.weight"].dtype],
            has_tokenizer=(folder / "tokenizer.json").is_file(),
        )

    def tensor(self, name: str) -> Tensor:
        """Return one weight as stored: memory-mapped, not to be written to."""
        from safetensors import SafetensorError, safe_open

        if name not in self.shapes:
            raise ModelError(f'has no weight "{name}"', where=str(self.path))
        file = self._stored[name].file
        try:
            if file not in self._open_files:
                self._open_files[file] = safe_open(str(file), framework="pt")
            found: Tensor = self._open_files[file].get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise ModelError(f'weight "{name}" cannot be read: {error}', where=str(file)) from error
        return found

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer of the folder's tokenizer.json."""
        from harness.model.tokenizer import tokenizer_from_folder

        assert self.path is not None
        return tokenizer_from_folder(self.path)


def _weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that belong together, in a stable order."""
    index = folder / _INDEX
    if not index.is_file():
        if (folder / _SINGLE).is_file():
            return [folder / _SINGLE]
        raise ModelError(
            "holds no weights",
            where=str(folder),
            expected=f"{_SINGLE}, or {_INDEX} with its shards",
            remedy=_other_formats(folder),
        )
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted({str(name) for name in weight_map.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            "is not an index of shards", where=str(index), expected='{"weight_map": {weight: file}}'
        ) from error
    for name in names:
        if Path(name).name != name:
            raise ModelError(f'shard "{name}" lies outside the folder', where=str(index))
        if not (folder / name).is_file():
            raise ModelError(
                f'shard "{name}" is missing',
                where=str(index),
                expected=f"all {len(names)} files it names, in the same folder",
                remedy="download the folder again",
            )
    return [folder / name for name in names]


def _other_formats(folder: Path) -> str | None:
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        return "pickled weights are not loaded, convert them to safetensors"
    ggufs = sorted(folder.glob("*.gguf"))
    return f"for the GGUF file in it give {ggufs[0]}" if ggufs else None


def _check(stored: dict[str, StoredTensor], config: ModelConfig, folder: Path) -> None:
    """Hold what the files have against what the configuration says."""
    expected: set[str] = set()
    for name, shape in each_weight(config):
        expected.add(name)
        found = stored.get(name)
        if found is None:
            raise ModelError(
                f'weight "{name}" is missing',
                where=str(folder),
                expected=f"shape {list(shape)} by config.json",
            )
        if found.shape != shape:
            raise ModelError(
                f'weight "{name}" has shape {list(found.shape)}',
                where=str(found.file),
                expected=f"{list(shape)} by config.json",
            )
        if found.dtype not in _DTYPES:
            raise ModelError(
                f'weight "{name}" is stored as {found.dtype}',
                where=str(found.file),
                expected=f"one of {', '.join(_DTYPES)}; quantized folders are not read",
            )
    for name in stored.keys() - expected:
        if not name.endswith(_HARMLESS):
            raise ModelError(
                f'holds a weight "{name}" that the decoder has no use for',
                where=str(stored[name].file),
                expected="the weights of a Llama-architecture decoder and no others",
            )
