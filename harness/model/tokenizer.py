"""Text to token ids and back, whatever file the vocabulary came from.

It wraps a tokenizer of the `tokenizers` package: read from a folder's tokenizer.json here, built
from a GGUF file's vocabulary in `gguf_tokenizer`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError, ModelError
from harness.model.chat_template import render_chat

if TYPE_CHECKING:
    import tokenizers

__all__ = ["Tokenizer", "tokenizer_from_folder"]


class Tokenizer:
    """Encodes prompts, decodes answers, and puts conversations into the model's own form."""

    def __init__(
        self,
        engine: tokenizers.Tokenizer,
        *,
        template: str | None,
        special_tokens: Mapping[str, str],
        where: str,
    ) -> None:
        self._engine = engine
        self._template = template
        self._special_tokens = dict(special_tokens)
        self._where = where

    @property
    def has_chat(self) -> bool:
        """Whether the model came with a chat template."""
        return self._template is not None

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Return token ids. Names of special tokens in the text, `<|im_start|>` say, become those.

        Args:
            text: Any Unicode text.
            special: Whether to put before it what the model expects at the beginning, usually a
                BOS token or nothing. `chat` has put it there already.

        Raises:
            InputError: where the text is not Unicode, as an argument with stray bytes is not.
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"the text is not valid Unicode at character {error.start}", expected="UTF-8"
            ) from error
        return list(self._engine.encode(text, add_special_tokens=special).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, special tokens left out.

        Where the ids end within a character, it shows as `\\ufffd`.
        """
        return self._engine.decode(list(ids), skip_special_tokens=True)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the prompt for messages with `role` and `content`; encode it with `special=False`.

        Raises:
            ModelError: where there is no chat template, or it fails.
        """
        if self._template is None:
            raise ModelError("has no chat template", where=self._where, remedy="leave out --chat")
        return render_chat(self._template, messages, self._special_tokens, where=self._where)


def tokenizer_from_folder(folder: Path) -> Tokenizer:
    """Read tokenizer.json, and the chat template of tokenizer_config.json or chat_template.jinja.

    Raises:
        ModelError: where there is no tokenizer.json, or one of the files cannot be used.
    """
    import tokenizers

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ModelError("has no tokenizer.json", where=str(folder), remedy="give --prompt-ids")
    try:
        engine = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the package raises plain Exception for all that is wrong
        raise ModelError(f"is not a tokenizer: {error}", where=str(file)) from error
    config = _config(folder / "tokenizer_config.json")
    return Tokenizer(
        engine,
        template=_template(folder, config),
        special_tokens={
            key: _content(value)
            for key, value in config.items()
            if key.endswith("_token") and isinstance(value, str | dict)
        },
        where=str(folder),
    )


def _config(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"is not JSON: {error}", where=str(file)) from error
    if not isinstance(config, dict):
        raise ModelError("is not a JSON object", where=str(file))
    return config


def _content(token: str | dict[str, Any]) -> str:
    """A special token is written as its text, or as an object that describes it."""
    return token if isinstance(token, str) else str(token.get("content", ""))


def _template(folder: Path, config: Mapping[str, Any]) -> str | None:
    own_file = folder / "chat_template.jinja"
    if own_file.is_file():
        try:
            return own_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"cannot be read: {error}", where=str(own_file)) from error
    template = config.get("chat_template")
    if isinstance(template, list):  # several, by name
        named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None
