"""`harness generate`: what it prints, where it stops, and what it says of bad input."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner

from harness.cli.app import app
from harness.cli.generate import TextStream, generate
from harness.errors import InputError, UnavailableError
from harness.model import Model, Tokenizer, open_model

PARIS = "The capital of France is"


def run(*arguments: str) -> str:
    """Run the verb; return what it printed."""
    result = CliRunner().invoke(app, ["generate", "--threads", "1", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: str) -> str:
    """The one line with which arguments are refused."""
    with pytest.raises(InputError) as caught:
        run(*arguments)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tiny(*arguments: str) -> Any:
    """Run on the tiny preset, prompt 1,2,3; return the JSON."""
    return json.loads(run("--model", "tiny", "--prompt-ids", "1,2,3", "--json", *arguments))


def test_json_holds_prompt_tokens_and_text() -> None:
    printed = tiny("--max-new-tokens", "5")

    assert printed["prompt_ids"] == [1, 2, 3]
    assert len(printed["token_ids"]) == 5
    assert printed["text"] is None


def test_json_is_one_line_and_nothing_else() -> None:
    printed = run("--model", "tiny", "--prompt-ids", "7", "--json")

    assert printed.count("\n") == 1
    assert json.loads(printed)["prompt_ids"] == [7]


def test_without_a_tokenizer_it_prints_ids() -> None:
    expected = tiny("--max-new-tokens", "4")["token_ids"]

    printed = run("--model", "tiny", "--prompt-ids", "1,2,3", "--max-new-tokens", "4")

    assert printed == ",".join(str(token) for token in expected) + "\n"


def test_the_tokens_are_the_greedy_ones() -> None:
    model = open_model("tiny")
    reference = as_transformers(model)

    made = tiny("--max-new-tokens", "20")["token_ids"]

    assert made == greedy(reference, [1, 2, 3], 20)


def test_the_seed_chooses_the_weights() -> None:
    assert tiny("--seed", "1")["token_ids"] != tiny("--seed", "2")["token_ids"]


def test_options_of_the_backend_are_set_by_name() -> None:
    plain = tiny("--set", "linear=plain", "--set", "sdpa=math", "--dtype", "bfloat16")

    assert len(plain["token_ids"]) == 64


def test_one_token_may_fill_the_last_place_of_the_context() -> None:
    ids = ",".join(["5"] * 1023)

    printed = json.loads(
        run("--model", "tiny", "--prompt-ids", ids, "--max-new-tokens", "1", "--json")
    )

    assert len(printed["token_ids"]) == 1


STREAMING = """
from collections.abc import Sequence
from harness.contracts import Availability, Backend, Request, StreamSession, TokenEvent

class Counting(StreamSession):
    def prepare(self, batch, context): ...
    def close(self): ...
    def stream(self, requests):
        for n in range(requests[0].new_tokens):
            yield TokenEvent(0, requests[0].prompt_ids[-1] + 1 + n, 0)

class CountingBackend(Backend):
    summary = "counts on from the prompt"
    level = "stream"
    def availability(self, device):
        return Availability.yes() if device == "cpu" else Availability.no("cannot", "try cpu")
    def load(self, model, device, options):
        return Counting()
"""


@pytest.fixture
def counting(tmp_path: Path) -> list[str]:
    """Arguments for a backend in a file of the user's, which streams."""
    plugin = tmp_path / "counting.py"
    plugin.write_text(STREAMING)
    return ["--plugin", str(plugin), "--backend", "counting"]


def test_a_backend_of_the_users_own_that_streams(counting: list[str]) -> None:
    assert tiny(*counting, "--max-new-tokens", "3")["token_ids"] == [4, 5, 6]


def test_a_backend_that_cannot_run_here_says_why(counting: list[str]) -> None:
    with pytest.raises(UnavailableError, match="counting cannot run on cuda: cannot; try cpu"):
        tiny(*counting, "--device", "cuda")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--prompt-ids", "1", "--prompt", "x"], "give either --prompt or --prompt-ids"),
        ([], "give either --prompt or --prompt-ids"),
        (["--prompt", "hello"], 'model "tiny": has no tokenizer.* give --prompt-ids'),
        (["--prompt-ids", "1,x"], '--prompt-ids: "1,x"; expected token ids with commas between'),
        (["--prompt-ids", ""], '--prompt-ids: ""; expected token ids'),
        (["--prompt-ids", "512"], "--prompt-ids: token id 512; expected 0 to 511, the vocab"),
        (["--prompt-ids", "-1"], "--prompt-ids: token id -1; expected 0 to 511"),
        (["--prompt-ids", "1", "--max-new-tokens", "1024"], "do not fit tiny; expected 1024 tog"),
        (["--prompt-ids", "1", "--chat"], "--chat needs --prompt, not --prompt-ids"),
        (["--prompt-ids", "1", "--backend", "eagre"], 'no backend is called "eagre".*did you mean'),
        (["--prompt-ids", "1", "--dtype", "int8"], "--dtype: dtype: 'int8'; expected 'float32', "),
        (["--prompt-ids", "1", "--threads", "0"], "--threads: threads: 0; expected greater than"),
        (["--prompt-ids", "1", "--device", "tpu"], "--device: device: 'tpu'; expected 'cpu' or"),
        (["--prompt-ids", "1", "--set", "spda=math"], "--set: spda: unknown key.*did you mean"),
        (["--prompt-ids", "1", "--set", "linear"], '--set: "linear"; expected key=value'),
        (["--prompt-ids", "1", "--plugin", "none.py"], "none.py: no such file"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], line: str) -> None:
    with pytest.raises(InputError, match=line):
        run("--model", "tiny", *arguments)


def test_a_model_that_is_not_there_is_one_line() -> None:
    assert refusal("--model", "gone.gguf", "--prompt", "x").startswith("gone.gguf: no such file")


def test_a_folder_without_a_tokenizer_is_one_line_when_text_is_asked_for(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)

    line = refusal("--model", str(tmp_path), "--prompt", "x")

    assert line == f"{tmp_path}: has no tokenizer.json; give --prompt-ids"


def test_the_command_exits_with_2_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\3\0\0")
    command = [sys.executable, "-m", "harness", "generate", "--model", "cut.gguf", "--prompt", "x"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: cut.gguf: is damaged or cut short")
    assert done.stderr.count("\n") == 1


def as_transformers(model: Model) -> LlamaForCausalLM:
    """The same weights in transformers' own Llama."""
    config = model.config
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size, hidden_size=config.hidden_size, head_dim=config.head_dim,
            intermediate_size=config.intermediate_size, num_hidden_layers=config.layers,
            num_attention_heads=config.heads, num_key_value_heads=config.kv_heads,
            max_position_embeddings=config.max_context, rms_norm_eps=config.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            tie_word_embeddings=config.tied,
            bos_token_id=None, eos_token_id=None, pad_token_id=None,
        )
    )  # fmt: skip
    weights = {name: model.tensor(name) for name in model.names()}
    loaded = theirs.load_state_dict(weights, strict=False)
    assert loaded.unexpected_keys == []
    assert loaded.missing_keys == (["lm_head.weight"] if config.tied else [])
    return theirs.eval()


def greedy(reference: LlamaForCausalLM, prompt: list[int], count: int) -> list[int]:
    ids = torch.tensor([prompt])
    made = reference.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False
    )
    return [int(token) for token in made[0, len(prompt) :]]


@pytest.fixture(scope="module")
def smollm2(smollm2_file: Path) -> Model:
    return open_model(str(smollm2_file))


def test_the_capital_of_france_is_paris(smollm2_file: Path) -> None:
    printed = run("--model", str(smollm2_file), "--prompt", PARIS, "--max-new-tokens", "3")

    assert printed == " Paris.\n\n"


def test_asked_in_chat_it_answers_and_stops(smollm2_file: Path) -> None:
    asked = ["--prompt", "What is the capital of France?", "--chat", "--json"]

    printed = json.loads(run("--model", str(smollm2_file), *asked))

    assert printed["text"] == "The capital of France is Paris."
    assert printed["token_ids"][-1] == 2  # <|im_end|>: a token, but no text
    assert len(printed["token_ids"]) == 8


def test_ignoring_the_end_it_makes_exactly_as_many_tokens_as_asked(smollm2_file: Path) -> None:
    asked = ["--prompt", "What is the capital of France?", "--chat", "--json"]

    printed = json.loads(
        run("--model", str(smollm2_file), *asked, "--ignore-eos", "--max-new-tokens", "10")
    )

    assert len(printed["token_ids"]) == 10
    assert printed["token_ids"][7] == 2


def test_an_empty_prompt_is_refused(smollm2_file: Path) -> None:
    assert "the prompt is empty" in refusal("--model", str(smollm2_file), "--prompt", "")


@pytest.mark.slow
def test_64_greedy_tokens_are_those_of_transformers(smollm2: Model) -> None:
    tokenizer = smollm2.tokenizer()
    printed = json.loads(
        run("--model", str(smollm2.path), "--prompt", PARIS, "--ignore-eos", "--json")
    )

    expected = greedy(as_transformers(smollm2), tokenizer.encode(PARIS), 64)

    assert printed["prompt_ids"] == [504, 3575, 282, 4649, 314]
    assert printed["token_ids"] == expected
    assert printed["text"] == tokenizer.decode(expected)


@pytest.fixture(scope="module")
def tokenizer(smollm2: Model) -> Tokenizer:
    return smollm2.tokenizer()


@given(ids=st.lists(st.integers(17, 49151), max_size=40))
def test_text_that_comes_in_pieces_is_the_text_as_a_whole(
    tokenizer: Tokenizer, ids: list[int]
) -> None:
    stream = TextStream(tokenizer)

    pieces = [stream.push(token) for token in ids]

    assert "".join(pieces) + stream.rest() == tokenizer.decode(ids)


def test_a_character_is_held_back_until_it_is_whole(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("😀 ok")
    stream = TextStream(tokenizer)

    pieces = [stream.push(token) for token in ids]

    assert "".join(pieces) == "😀 ok"
    assert all("\ufffd" not in piece for piece in pieces)


ESCAPING = STREAMING.replace("requests[0].prompt_ids[-1] + 1 + n", "requests[0].prompt_ids[n]")


def test_text_cannot_steer_the_terminal(
    smollm2_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "echo.py").write_text(ESCAPING)
    prompt = "red \x1b[31m, bell \a, line\nand tab\t."
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", shown)

    generate(
        str(smollm2_file),
        prompt=prompt,
        backend="echo",
        plugin=[tmp_path / "echo.py"],
        max_new_tokens=len(open_model(str(smollm2_file)).tokenizer().encode(prompt)),
    )

    assert shown.getvalue() == "red \\x1b[31m, bell \\x07, line\nand tab\t.\n"
