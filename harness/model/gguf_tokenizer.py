"""The vocabulary in a GGUF file becomes a tokenizer that cuts text as the original model's does.

A file names its kind of vocabulary and, for byte-level BPE, how text is cut into words before
merging; the expressions behind those names are facts of the models, and any that is not known
here is refused: a wrong one gives plausible ids that the model was not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError
from harness.model.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers

__all__ = ["tokenizer_from_metadata"]

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS: dict[str, tuple[str, ...]] = {  # applied one after the other to what the one before left
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"),
    "gpt-2": (_GPT2,),
    "smollm": (r"\p{N}", _GPT2),
    "llama-bpe": (_LLAMA3,),
    "qwen2": (_LLAMA3.replace("{1,3}", ""),),
}
_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = range(1, 7)
_SPECIAL = ("bos", "eos", "unknown", "padding")
_AS_TEMPLATES_SAY = {"unknown": "unk_token", "padding": "pad_token"}
_BLANK = "\u2581"  # how SentencePiece writes a space


def tokenizer_from_metadata(metadata: Mapping[str, Any], *, where: str) -> Tokenizer:
    """Build the tokenizer that a GGUF file's `tokenizer.*` keys describe.

    Raises:
        ModelError: where there are none, or they describe a kind not known here.
    """
    vocabulary = _Vocabulary(metadata, where)
    if vocabulary.kind == "gpt2":
        engine = _byte_level(vocabulary)
    elif vocabulary.kind == "llama":
        engine = _sentencepiece(vocabulary)
    else:
        raise vocabulary.refused(
            "model", f"= {vocabulary.kind}", "gpt2 (byte-level BPE) or llama (SPM)"
        )
    _mark_special(engine, vocabulary)
    bos = vocabulary.special_tokens.get("bos_token")
    if vocabulary.adds_bos and bos is not None:
        from tokenizers.processors import TemplateProcessing

        engine.post_processor = TemplateProcessing(
            single=[bos, "$A"], special_tokens=[(bos, vocabulary.ids[bos])]
        )
    template = metadata.get("tokenizer.chat_template")
    return Tokenizer(
        engine,
        template=template if isinstance(template, str) else None,
        special_tokens=vocabulary.special_tokens,
        where=where,
    )


class _Vocabulary:
    """The keys below `tokenizer.ggml`, checked."""

    def __init__(self, metadata: Mapping[str, Any], where: str) -> None:
        self._metadata = metadata
        self._where = where
        self.tokens: list[str] = self._list("tokens", str)
        if not self.tokens:
            raise ModelError("has no vocabulary", where=where, remedy="give --prompt-ids")
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        self.kind = str(self._get("model"))
        self.words = str(self._get("pre") or "default")
        self.types: list[int] = self._list("token_type", int) or [_NORMAL] * len(self.tokens)
        self.scores: list[float] = self._list("scores", float)
        self.merges: list[str] = self._list("merges", str)
        add_bos = self._get("add_bos_token")
        by_default = self.kind == "llama" or self.words == "llama-bpe"
        self.adds_bos = by_default if add_bos is None else bool(add_bos)
        self.adds_space = self._get("add_space_prefix") is not False
        self.special_tokens = {
            _AS_TEMPLATES_SAY.get(name, f"{name}_token"): self.tokens[index]
            for name in _SPECIAL
            if isinstance(index := self._get(f"{name}_token_id"), int)
            and 0 <= index < len(self.tokens)
        }

    def refused(self, key: str, what: str, expected: str) -> ModelError:
        return ModelError(
            f"tokenizer.ggml.{key} {what}",
            where=self._where,
            expected=expected,
            remedy="give --prompt-ids",
        )

    def _get(self, key: str) -> Any:
        return self._metadata.get(f"tokenizer.ggml.{key}")

    def _list(self, key: str, kind: type) -> list[Any]:
        found = self._get(key)
        if found is None:
            return []
        if not isinstance(found, list) or not all(isinstance(x, kind) for x in found):
            raise self.refused(key, "cannot be used", f"a list of {kind.__name__}")
        if key in ("token_type", "scores") and len(found) != len(self.tokens):
            raise self.refused(
                key, f"has {len(found)} values", f"{len(self.tokens)}, one per token"
            )
        return found


def _byte_level(vocabulary: _Vocabulary) -> tokenizers.Tokenizer:
    """GPT-2's way: bytes written as letters, merged in the order of a list."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    splits = _SPLITS.get(vocabulary.words)
    if splits is None:
        raise vocabulary.refused("pre", f"= {vocabulary.words}", f"one of {', '.join(_SPLITS)}")
    merges = [_pair(merge, vocabulary) for merge in vocabulary.merges]
    engine = tokenizers.Tokenizer(
        models.BPE(vocabulary.ids, merges, ignore_merges=vocabulary.words == "llama-bpe")
    )
    if vocabulary.words == "qwen2":
        engine.normalizer = normalizers.NFC()
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(tokenizers.Regex(s), behavior="isolated") for s in splits),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    engine.decoder = decoders.ByteLevel()
    return engine


def _pair(merge: str, vocabulary: _Vocabulary) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    if left not in vocabulary.ids or right not in vocabulary.ids:
        raise vocabulary.refused("merges", f"holds {merge!r}", "two tokens of the vocabulary")
    return left, right


def _sentencepiece(vocabulary: _Vocabulary) -> tokenizers.Tokenizer:
    """SentencePiece's way: the adjoining pair whose union scores highest merges first."""
    import tokenizers
    from tokenizers import decoders, models, normalizers

    engine = tokenizers.Tokenizer(
        models.BPE(
            vocabulary.ids,
            _merges_by_score(vocabulary),
            unk_token=vocabulary.special_tokens.get("unk_token"),
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefix = [normalizers.Prepend(_BLANK)] if vocabulary.adds_space else []
    engine.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", _BLANK)])
    strip = [decoders.Strip(" ", 1, 0)] if vocabulary.adds_space else []
    engine.decoder = decoders.Sequence(
        [decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return engine


def _merges_by_score(vocabulary: _Vocabulary) -> list[tuple[str, str]]:
    """Every way to put a piece together from two others, best piece first."""
    ids, scores = vocabulary.ids, vocabulary.scores
    if not scores:
        raise vocabulary.refused("scores", "is missing", "a score for every token")
    found: list[tuple[float, int, str, str]] = []
    for index, piece in enumerate(vocabulary.tokens):
        if vocabulary.types[index] not in (_NORMAL, _USER, _UNUSED):
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in ids and right in ids:
                found.append((-scores[index], ids[left], left, right))
    return [(left, right) for _, _, left, right in sorted(found)]


def _mark_special(engine: tokenizers.Tokenizer, vocabulary: _Vocabulary) -> None:
    """Control tokens are found whole in text and left out of answers; the user's own are kept."""
    from tokenizers import AddedToken

    def of_type(kind: int) -> list[AddedToken]:
        return [
            AddedToken(token, special=kind == _CONTROL, normalized=False)
            for token, its in zip(vocabulary.tokens, vocabulary.types, strict=True)
            if its == kind
        ]

    engine.add_special_tokens(of_type(_CONTROL))
    engine.add_tokens(of_type(_USER))
