"""Where a model can come from, and what is said where nothing does."""

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

import harness.model
from harness.errors import ModelError, UnavailableError
from harness.model import open_model
from harness.model.digest import digest_of_files

SHAPE: dict[str, Any] = {
    "vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2,
}  # fmt: skip
CONFIG = harness.model.PRESETS["tiny"]


def test_importing_it_imports_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "pandas", "transformers", "tokenizers", "safetensors", "gguf"]
    code = f"import sys, harness.model; print([m for m in {heavy} if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_its_public_names_are_these() -> None:
    assert harness.model.__all__ == [
        "PRESETS",
        "Model",
        "ModelConfig",
        "RopeScaling",
        "Tokenizer",
        "open_model",
    ]


def test_a_preset_goes_by_its_name() -> None:
    model = open_model("tiny")

    assert (model.name, model.kind, model.path) == ("tiny", "seeded", None)


def test_a_folder_is_found_below_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    LlamaForCausalLM(LlamaConfig(**SHAPE)).save_pretrained(tmp_path / "llm")

    assert open_model("~/llm").path == tmp_path / "llm"


def test_a_folder_named_by_a_dot_is_called_by_its_real_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LlamaForCausalLM(LlamaConfig(**SHAPE)).save_pretrained(tmp_path / "llm")
    monkeypatch.chdir(tmp_path / "llm")

    assert open_model(".").name == "llm"


def test_a_misspelt_preset_gets_a_suggestion() -> None:
    with pytest.raises(ModelError) as caught:
        open_model("tinny")

    assert str(caught.value) == (
        'no model is called "tinny"; expected a preset, a Hugging Face folder, a .gguf file or '
        "hf://organisation/name; presets are tiny, small, smollm2-135m, qwen2.5-0.5b, "
        'llama-3.2-1b, llama-3.1-8b; did you mean "tiny"?'
    )


def test_a_name_as_on_the_hub_gets_the_spelling_that_works() -> None:
    with pytest.raises(ModelError, match=r'of the Hub write "hf://Qwen/Qwen2\.5-0\.5B"'):
        open_model("Qwen/Qwen2.5-0.5B")


@pytest.mark.parametrize("name", ["missing.gguf", "./missing", "/nowhere/model", "~/missing"])
def test_a_path_to_nothing_is_said_to_be_one(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        open_model(name)

    assert str(caught.value).startswith(f"{name}: no such file or folder; expected a preset")


@pytest.mark.parametrize("name", ["hf://", "hf://llama", "hf://a/b/c", "hf:///b", "hf://a/"])
def test_a_name_that_the_hub_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="expected hf://organisation/name"):
        open_model(name)


def test_the_hub_without_its_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_hub(name: str, *args: Any) -> Any:
        if name == "huggingface_hub":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_hub)

    with pytest.raises(UnavailableError, match=r"pip install 'inference-harness\[hub\]'"):
        open_model("hf://org/name")


def test_the_hub_offline_is_one_line(tmp_path: Path) -> None:
    code = """
from harness.errors import ModelError
from harness.model import open_model
try:
    open_model("hf://org/name@main")
except ModelError as error:
    print(error)
"""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": ""}

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=offline
    )

    assert done.stdout.startswith("hf://org/name@main: cannot be fetched: ")
    assert "check the name and the connection" in done.stdout
    assert done.stdout.count("\n") == 1


def test_a_model_in_the_hubs_cache_opens_offline(tmp_path: Path) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--org--name"
    LlamaForCausalLM(LlamaConfig(**SHAPE)).save_pretrained(cached / "snapshots" / revision)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(revision)
    code = "from harness.model import open_model; print(open_model('hf://org/name').name)"
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": ""}

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=offline
    )

    assert done.stdout.strip() == "name", done.stderr


def sparse_file(path: Path, changed_at: int | None = None) -> Path:
    """96 MiB of zeros that take no space, one MiB of them changed."""
    with path.open("wb") as handle:
        handle.truncate(96 << 20)
        if changed_at is not None:
            handle.seek(changed_at)
            handle.write(b"x" * (1 << 20))
    return path


@pytest.mark.parametrize("changed_at", [0, 40 << 20, 95 << 20])
def test_a_large_file_that_differs_anywhere_has_another_digest(
    tmp_path: Path, changed_at: int
) -> None:
    same = digest_of_files("gguf", [sparse_file(tmp_path / "a")], CONFIG)
    assert digest_of_files("gguf", [sparse_file(tmp_path / "b")], CONFIG) == same

    assert digest_of_files("gguf", [sparse_file(tmp_path / "c", changed_at)], CONFIG) != same


def test_a_large_file_that_is_longer_has_another_digest(tmp_path: Path) -> None:
    short, long = sparse_file(tmp_path / "a"), sparse_file(tmp_path / "b")
    with long.open("ab") as handle:
        handle.write(b"\0")

    digests = {digest_of_files("gguf", [file], CONFIG) for file in (short, long)}

    assert len(digests) == 2
