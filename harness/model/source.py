"""Where a model comes from: a preset, a folder, a GGUF file or the Hub; all become a `Model`.

It must not know how weights are stored (seeded, folder and gguf_file do), nor what uses them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.errors import ModelError, UnavailableError, did_you_mean
from harness.model.config import ModelConfig
from harness.model.layout import weight_shapes
from harness.model.presets import PRESETS

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model.tokenizer import Tokenizer

__all__ = ["Model", "open_model"]

_HUB = "hf://"
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja"]
_EXPECTED = "a preset, a Hugging Face folder, a .gguf file or hf://organisation/name"


class Model(ABC):
    """Weights by name, with their configuration and identity. Opening one reads no weights yet.

    Attributes:
        name: Short, for case ids: the preset, or the path's last part.
        config: Shapes and constants.
        shapes: Every weight's name and shape, as `harness.model.layout` gives them.
        digest: Identity of the weights: equal digests, equal outputs.
        kind: How the weights are kept.
        path: The folder or file; None for seeded weights.
        dtype_native: Precision as stored: `float32`, `bfloat16`, … or a GGUF type such as `Q4_K`.
        has_tokenizer: Whether `tokenizer()` has something to read.
    """

    def __init__(
        self,
        *,
        name: str,
        config: ModelConfig,
        digest: str,
        kind: Literal["seeded", "folder", "gguf"],
        path: Path | None,
        dtype_native: str,
        has_tokenizer: bool,
    ) -> None:
        self.name = name
        self.config = config
        self.shapes = weight_shapes(config)
        self.digest = digest
        self.kind = kind
        self.path = path
        self.dtype_native = dtype_native
        self.has_tokenizer = has_tokenizer

    def names(self) -> list[str]:
        """Return the names of all weights, in the order in which a token meets them."""
        return list(self.shapes)

    @abstractmethod
    def tensor(self, name: str) -> Tensor:
        """Return one weight on the host, floating point of any width, shaped as in the layout.

        It may be memory-mapped: copy before changing it. Nothing is cached here.

        Raises:
            ModelError: where the model has no weight of that name.
        """

    @abstractmethod
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer that came with the weights.

        Raises:
            ModelError: where none came, or it cannot be used.
        """

    def __repr__(self) -> str:
        return f"<{self.kind} model {self.name}: {self.config.parameters:,} parameters>"


def open_model(name: str, *, seed: int = 0) -> Model:
    """Open a model; its files are checked against its configuration, the weights not read.

    Args:
        name: A preset, a folder with config.json and safetensors, a .gguf file, or
            hf://organisation/name, with @revision where it matters.
        seed: Of a preset's weights; what comes from files has its weights already.

    Raises:
        ModelError: where nothing has that name, or what has it cannot be used.
        UnavailableError: for hf:// without huggingface_hub.
    """
    if name in PRESETS:
        from harness.model.seeded import SeededModel

        return SeededModel(name, PRESETS[name], seed)
    if name.startswith(_HUB):
        return _open_hub(name)
    path = Path(name).expanduser()
    if path.is_dir():
        from harness.model.folder import FolderModel

        return FolderModel(path)
    if path.is_file():
        from harness.model.gguf_file import GgufModel

        return GgufModel(path)
    raise _nothing_there(name, path)


def _nothing_there(name: str, path: Path) -> ModelError:
    looks_like_path = path.suffix == ".gguf" or path.is_absolute() or name.startswith((".", "~"))
    if looks_like_path:
        return ModelError("no such file or folder", where=name, expected=_EXPECTED)
    if name.count("/") == 1:
        hint = f'for a model of the Hub write "{_HUB}{name}"'
    else:
        hint = did_you_mean(name, PRESETS).strip()
    return ModelError(
        f'no model is called "{name}"',
        expected=f"{_EXPECTED}; presets are {', '.join(PRESETS)}",
        remedy=hint or None,
    )


def _open_hub(name: str) -> Model:
    """Fetch into the Hub's own cache, which also serves when offline, and open as a folder."""
    repository, _, revision = name.removeprefix(_HUB).partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise ModelError(f'"{name}"', expected="hf://organisation/name or hf://…/name@revision")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UnavailableError(
            f"{name} needs huggingface_hub, which is not installed",
            remedy="pip install 'inference-harness[hub]'",
        ) from error
    try:
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=_HUB_FILES)
    except Exception as error:  # offline, gated, unknown, disk full: the Hub has many exceptions
        why = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        raise ModelError(
            f"cannot be fetched: {type(error).__name__}: {why}",
            where=name,
            remedy="check the name and the connection, or give a folder that is already here",
        ) from error
    from harness.model.folder import FolderModel

    return FolderModel(Path(folder), name=repository.rpartition("/")[2])
