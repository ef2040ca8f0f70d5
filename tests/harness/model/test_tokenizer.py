"""Text to tokens and back: from tokenizer.json, and from both kinds of GGUF vocabulary."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from harness.errors import InputError, ModelError
from harness.model import Tokenizer, open_model
from harness.model.gguf_header import read_gguf
from harness.model.gguf_tokenizer import tokenizer_from_metadata
from harness.model.tokenizer import tokenizer_from_folder

PIECES = ["▁", "a", "b", "c", "ab", "bc", "abc", "▁a", "▁abc"]
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(
    lambda text: "<" not in text
)


def byte_level(**keys: Any) -> Tokenizer:
    """A GGUF vocabulary of single bytes, a few merges and two control tokens."""
    merged = ["th", "the", "Ġthe", "12", "abc", "ab"]
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": ["<s>", "</s>", *BYTES, *merged],
        "tokenizer.ggml.token_type": [3, 3] + [1] * (256 + len(merged)),
        "tokenizer.ggml.merges": ["t h", "th e", "Ġ the", "1 2", "a b"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
    } | {f"tokenizer.{key.replace('__', '.')}": value for key, value in keys.items()}
    return tokenizer_from_metadata(metadata, where="small.gguf")


def sentencepiece(**keys: Any) -> Tokenizer:
    """A GGUF vocabulary as SentencePiece makes it: scores, byte fallback, a space in front."""
    scores = [-9.0, -9.0, -9.0, -9.0, -2.0, -1.0, -3.0, -8.0, -4.0]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), *PIECES]
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * 259 + scores,
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * len(PIECES),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    } | {f"tokenizer.{key.replace('__', '.')}": value for key, value in keys.items()}
    return tokenizer_from_metadata(metadata, where="small.gguf")


def pieces(text: str) -> list[str]:
    """The names of a text's tokens in the SentencePiece vocabulary."""
    return [PIECES[token - 259] for token in sentencepiece().encode(text, special=False)]


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    """The pieces of a text, each decoded by itself."""
    return [tokenizer.decode([token]) for token in tokenizer.encode(text, special=False)]


@pytest.fixture(scope="module")
def smollm2(smollm2_file: Path) -> Tokenizer:
    return open_model(str(smollm2_file)).tokenizer()


@pytest.fixture(scope="module")
def original(smollm2_file: Path) -> tokenizers.Tokenizer:
    """SmolLM2's tokenizer.json put together by hand: digits one by one, then GPT-2's words."""
    metadata = read_gguf(smollm2_file).metadata
    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    engine = tokenizers.Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens([AddedToken(token, normalized=False) for token in tokens[:17]])
    return engine


@pytest.fixture(scope="module")
def transformers_own(smollm2_file: Path) -> PreTrainedTokenizerBase:
    """The same GGUF file as transformers reads it."""
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        str(smollm2_file.parent), gguf_file=smollm2_file.name
    )
    return found


class TestSmolLM2:
    @given(text=TEXTS)
    def test_it_cuts_any_text_as_the_original_does(
        self, smollm2: Tokenizer, original: tokenizers.Tokenizer, text: str
    ) -> None:
        assert smollm2.encode(text) == original.encode(text).ids

    @pytest.mark.parametrize(
        "text",
        [
            "The capital of France is",
            "Hello  world\n\n\tx = 12345 + 3.14;",
            "naïve café 😀 日本語 مرحبا",
            "It's we've I'LL",
            "   before and after   ",
            "<|im_start|>user\nhi<|im_end|>\n",
        ],
    )
    def test_it_agrees_with_transformers(
        self, smollm2: Tokenizer, transformers_own: PreTrainedTokenizerBase, text: str
    ) -> None:
        assert smollm2.encode(text) == transformers_own.encode(text)

    def test_its_ids_are_the_known_ones(self, smollm2: Tokenizer) -> None:
        assert smollm2.encode("The capital of France is") == [504, 3575, 282, 4649, 314]

    @given(text=TEXTS)
    def test_any_text_of_bytes_it_has_seen_comes_back(
        self, smollm2: Tokenizer, original: tokenizers.Tokenizer, text: str
    ) -> None:
        # A few bytes that its training never met (0x16, what begins U+40000) are no tokens of it.
        spelt = pre_tokenizers.ByteLevel(False, use_regex=False).pre_tokenize_str(text)
        assume(all(original.token_to_id(byte) is not None for word, _ in spelt for byte in word))

        assert smollm2.decode(smollm2.encode(text)) == text

    def test_its_chat_template_gives_what_transformers_gives(
        self, smollm2: Tokenizer, transformers_own: PreTrainedTokenizerBase
    ) -> None:
        messages = [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi!"},
            {"role": "user", "content": "Name a {{ colour }}."},
        ]

        prompt = smollm2.chat(messages)

        assert prompt == transformers_own.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        assert prompt.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
        assert prompt.endswith("Name a {{ colour }}.<|im_end|>\n<|im_start|>assistant\n")
        assert smollm2.encode(prompt, special=False)[0] == 1


class TestByteLevel:
    @pytest.mark.parametrize("pre", ["default", "gpt-2", "smollm", "llama-bpe"])
    @given(text=TEXTS)
    def test_any_text_comes_back(self, pre: str, text: str) -> None:
        tokenizer = byte_level(ggml__pre=pre)

        assert tokenizer.decode(tokenizer.encode(text)) == text

    @given(text=TEXTS)
    def test_qwen2_composes_characters_first(self, text: str) -> None:
        tokenizer = byte_level(ggml__pre="qwen2")

        assert tokenizer.decode(tokenizer.encode(text)) == unicodedata.normalize("NFC", text)

    def test_words_are_merged_in_the_order_of_the_list(self) -> None:
        assert words(byte_level(), "the the") == ["the", " the"]

    @pytest.mark.parametrize(
        ("pre", "pieces"),
        [
            ("gpt-2", ["12", "12"]),
            ("smollm", ["1", "2", "1", "2"]),
            ("qwen2", ["1", "2", "1", "2"]),
            ("llama-bpe", ["12", "1", "2"]),
            ("default", ["12", "1", "2"]),
        ],
    )
    def test_numbers_are_cut_as_the_model_learned_them(self, pre: str, pieces: list[str]) -> None:
        assert words(byte_level(ggml__pre=pre), "1212") == pieces

    def test_llama_3_takes_a_whole_word_before_any_merge(self) -> None:
        assert words(byte_level(ggml__pre="llama-bpe"), "abc") == ["abc"]
        assert words(byte_level(ggml__pre="gpt-2"), "abc") == ["ab", "c"]

    def test_an_unknown_way_of_cutting_is_refused(self) -> None:
        with pytest.raises(ModelError, match=r"tokenizer.ggml.pre = tekken; expected one of defau"):
            byte_level(ggml__pre="tekken")

    def test_a_merge_of_what_is_no_token_is_refused(self) -> None:
        with pytest.raises(ModelError, match="merges holds 'q zz'; expected two tokens"):
            byte_level(ggml__merges=["q zz"])

    def test_bos_comes_first_only_where_the_file_says_so(self) -> None:
        assert byte_level().encode("a")[0] != 0
        assert byte_level(ggml__add_bos_token=True).encode("a")[0] == 0
        assert byte_level(ggml__pre="llama-bpe").encode("a")[0] == 0
        silent = byte_level(ggml__pre="llama-bpe", ggml__add_bos_token=False)
        assert silent.encode("a")[0] != 0

    def test_bos_is_left_out_on_request(self) -> None:
        assert byte_level(ggml__add_bos_token=True).encode("a", special=False)[0] != 0

    def test_control_tokens_are_found_in_text_and_left_out_of_answers(self) -> None:
        tokenizer = byte_level()

        ids = tokenizer.encode("the</s>the")

        assert ids.count(1) == 1
        assert len(ids) == 3
        assert tokenizer.decode(ids) == "thethe"

    def test_an_id_beyond_the_vocabulary_is_no_text(self) -> None:
        assert byte_level().decode([5000]) == ""


class TestSentencePiece:
    def test_the_pair_with_the_highest_score_merges_first(self) -> None:
        # bc (-1) before ab (-2), then abc (-3), then ▁abc (-4); what cannot merge stays.
        assert pieces("abc") == ["▁abc"]
        assert pieces("ab") == ["▁", "ab"]  # ab (-2) before ▁a (-8), which then has no a
        assert pieces("abbc") == ["▁", "ab", "bc"]
        assert pieces("aabc c") == ["▁a", "abc", "▁", "c"]

    @given(text=TEXTS)
    def test_any_text_comes_back_through_bytes(self, text: str) -> None:
        tokenizer = sentencepiece()

        assert tokenizer.decode(tokenizer.encode(text)) == text

    def test_bos_comes_first_unless_the_file_says_no(self) -> None:
        assert sentencepiece().encode("a")[0] == 1
        assert sentencepiece(ggml__add_bos_token=False).encode("a")[0] != 1

    def test_the_space_in_front_can_be_switched_off(self) -> None:
        tokenizer = sentencepiece(ggml__add_space_prefix=False)

        assert tokenizer.encode("a")[1:] == [260]
        assert tokenizer.decode(tokenizer.encode(" a")) == " a"

    def test_a_vocabulary_without_scores_is_refused(self) -> None:
        with pytest.raises(ModelError, match=r"scores has 0 values; expected 268, one per token"):
            sentencepiece(ggml__scores=[])


def test_an_unknown_kind_of_vocabulary_is_refused() -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.ggml\.model = t5; expected gpt2"):
        byte_level(ggml__model="t5")


def test_a_file_without_vocabulary_is_refused() -> None:
    with pytest.raises(ModelError, match=r"x\.gguf: has no vocabulary; give --prompt-ids"):
        tokenizer_from_metadata({}, where="x.gguf")


@pytest.mark.parametrize(
    ("types", "line"),
    [([1, 1], "has 2 values; expected 264, one per"), (["normal"] * 264, "expected a list of int")],
)
def test_a_list_that_does_not_fit_the_vocabulary_is_refused(types: list[Any], line: str) -> None:
    with pytest.raises(ModelError, match=f"tokenizer.ggml.token_type.* {line}"):
        byte_level(ggml__token_type=types)


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(InputError, match="not valid Unicode at character 3"):
        byte_level().encode("caf\udce9")


def folder_with(path: Path, **config: Any) -> Tokenizer:
    """A folder whose tokenizer knows two words and puts BOS in front."""
    engine = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "<s>": 1, "hello": 2}, "[UNK]"))
    engine.pre_tokenizer = pre_tokenizers.Whitespace()
    engine.add_special_tokens(["<s>"])
    engine.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    engine.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizer_from_folder(path)


class TestFolder:
    def test_it_encodes_as_its_tokenizer_json_says(self, tmp_path: Path) -> None:
        tokenizer = folder_with(tmp_path)

        assert tokenizer.encode("hello there") == [1, 2, 0]
        assert tokenizer.encode("hello", special=False) == [2]
        assert tokenizer.decode([1, 2]) == "hello"

    def test_a_template_knows_the_special_tokens(self, tmp_path: Path) -> None:
        template = (
            "{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}{{ eos_token }}"
        )
        eos = {"content": "</s>", "lstrip": False}
        tokenizer = folder_with(tmp_path, chat_template=template, bos_token="<s>", eos_token=eos)

        assert tokenizer.chat([{"role": "user", "content": "hi"}]) == "<s>[hi]</s>"

    def test_a_template_in_a_file_of_its_own_comes_first(self, tmp_path: Path) -> None:
        (tmp_path / "chat_template.jinja").write_text("from the file")

        assert folder_with(tmp_path, chat_template="from the config").chat([]) == "from the file"

    def test_of_several_templates_the_default_is_taken(self, tmp_path: Path) -> None:
        named = [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]

        assert folder_with(tmp_path, chat_template=named).chat([]) == "d"

    def test_without_a_template_chat_says_what_to_do(self, tmp_path: Path) -> None:
        tokenizer = folder_with(tmp_path)

        assert not tokenizer.has_chat
        with pytest.raises(ModelError, match="has no chat template; leave out --chat"):
            tokenizer.chat([])

    @pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
    def test_a_damaged_file_is_named(self, tmp_path: Path, name: str, content: bytes) -> None:
        folder_with(tmp_path)
        (tmp_path / name).write_bytes(content)

        with pytest.raises(ModelError, match=f"{name}: is not"):
            tokenizer_from_folder(tmp_path)


def chat(template: str, content: str = "hi") -> str:
    tokenizer = byte_level(chat_template=template)
    return tokenizer.chat([{"role": "user", "content": content}])


class TestChatTemplates:
    def test_white_space_around_blocks_is_trimmed(self) -> None:
        assert chat("a\n  {% if true %}\nb\n  {% endif %}\nc") == "a\nb\nc"

    def test_what_is_said_is_not_a_template(self) -> None:
        assert chat("{{ messages[0].content }}", "{{ 1 + 1 }}") == "{{ 1 + 1 }}"

    def test_json_is_not_escaped_for_html(self) -> None:
        assert chat("{{ messages[0].content | tojson }}", "<é>") == '"<é>"'

    def test_loops_may_break(self) -> None:
        body = "{{ i }}{% if i == 2 %}{% break %}{% endif %}"

        assert chat("{% for i in range(9) %}" + body + "{% endfor %}") == "012"

    def test_namespaces_carry_values_out_of_loops(self) -> None:
        template = (
            "{% set n = namespace(x=0) %}{% for i in range(3) %}{% set n.x = i %}{% endfor %}"
        )

        assert chat(template + "{{ n.x }}") == "2"

    @pytest.mark.parametrize(
        "template",
        [
            "{{ ''.__class__.__mro__ }}",
            "{{ messages.__init__.__globals__ }}",
            "{{ raise_exception.__globals__.os }}",
            "{{ messages.append(1) }}",
            "{% set n = namespace(__class__=1) %}",
            "{% for i in range(999999999) %}{% endfor %}",
            "{% include '/etc/passwd' %}",
            "{{ ('%' ~ 'c') | format(-1) }}",
        ],
    )
    def test_one_that_reaches_out_is_stopped(self, template: str) -> None:
        with pytest.raises(ModelError, match=r"small\.gguf: the chat template fails"):
            chat(template)

    def test_one_that_refuses_says_why(self) -> None:
        with pytest.raises(ModelError, match="fails: no system role; leave out --chat"):
            chat("{{ raise_exception('no system role') }}")

    @pytest.mark.parametrize("template", ["{% if %}", "{{ 1 / 0 }}", "{{ messages[0].a.b.c }}"])
    def test_one_that_is_wrong_is_one_line(self, template: str) -> None:
        with pytest.raises(ModelError, match="the chat template fails") as caught:
            chat(template)

        assert "\n" not in str(caught.value)
