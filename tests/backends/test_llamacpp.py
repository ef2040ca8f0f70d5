"""llama.cpp computes with the reference's weights, in the precision that was asked for."""

from pathlib import Path

import pytest
import torch

from backends.llamacpp import LlamaCppBackend, LlamaCppOptions, LlamaCppSession
from harness.cache import CACHE_VARIABLE
from harness.errors import UnavailableError
from harness.model import open_model
from harness.model.gguf_file import GgufModel

pytestmark = pytest.mark.skipif(
    not LlamaCppBackend().availability("cpu").ok, reason="the extra [llamacpp] is not installed"
)


def load(**options: object) -> LlamaCppSession:
    given = LlamaCppOptions.model_validate({"threads": 1, **options})
    return LlamaCppBackend().load(open_model("tiny"), "cpu", given)


def test_the_weights_are_written_once_for_each_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))

    for dtype in ("float32", "bfloat16", "bfloat16"):
        load(dtype=dtype).close()

    files = {path.name: path for path in tmp_path.rglob("*") if path.is_file()}
    assert set(files) == {"float32.gguf", "bfloat16.gguf"}
    assert GgufModel(files["bfloat16.gguf"]).dtype_native == "BF16"


def test_a_file_that_llama_cpp_refuses_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    load().close()
    (file,) = tmp_path.rglob("*.gguf")
    file.write_bytes(b"GGUF, but no more than that")

    with pytest.raises(UnavailableError, match="llamacpp: cannot load ") as caught:
        load()

    assert "\n" not in str(caught.value)


def test_a_prompt_longer_than_one_ubatch_is_right() -> None:
    prompt = torch.arange(40)[None] * 7 % 512

    def first(ubatch: int) -> torch.Tensor:
        session = load(ubatch=ubatch)
        session.prepare(1, 48)
        session.prefill(prompt, torch.tensor([40]))
        logits = session.logits()
        session.close()
        return logits

    assert torch.allclose(first(16), first(64), atol=1e-3)
