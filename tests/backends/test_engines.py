"""Engines beside PyTorch keep their order of calls, say what they lack, and are caught cheating."""

import importlib.util
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from harness.contracts import Backend
from harness.errors import SessionError, UnavailableError
from harness.model import ModelConfig, RopeScaling, open_model
from harness.model.seeded import SeededModel
from harness.plugins import find
from harness.testing import examine
from harness.testing.cheat import Cheat
from harness.testing.cheats import OffByOneLayer, RowsSwapped, StaleCacheRow, WrongRotarySign

ENGINES = {"onnx": "onnx", "openvino": "openvino", "transformers": "hf", "llamacpp": "llamacpp"}
"""By backend, the extra it needs."""
PROMPT = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
LENGTHS = torch.tensor([5, 3])
BASE = ModelConfig(
    vocab_size=300, hidden_size=48, intermediate_size=96, layers=2, heads=6, kv_heads=2,
    head_dim=16, max_context=128,
)  # fmt: skip
MODELS = {
    "biased as Qwen2, tied": replace(
        BASE, qkv_bias=True, tied=True, rope_theta=1e6, hidden_size=96
    ),
    "rotation scaled as in Llama 3": replace(BASE, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 32)),
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Backend:
    backend = find(Backend, request.param)
    can = backend.availability("cpu")
    if not can.ok:
        pytest.skip(f"{can.reason}: {can.remedy}")
    return backend


# --- One truth ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cheat", [WrongRotarySign, StaleCacheRow, RowsSwapped, OffByOneLayer], ids=lambda c: c.name
)
def test_a_mistake_planted_in_an_engine_is_found(engine: Backend, cheat: type[Cheat]) -> None:
    finding = examine(cheat.found_by, cheat(engine), engine.Options(threads=1))

    assert not finding.ok
    assert "standard deviations" in finding.detail  # found by its outputs, and not by breaking


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_an_engine_is_right_on_another_kind_of_model(engine: Backend, config: ModelConfig) -> None:
    model = SeededModel("other", config, seed=0)

    finding = examine("tokens are correct", engine, engine.Options(threads=1), model)

    assert finding.ok, finding.detail


@pytest.mark.skipif(not importlib.util.find_spec("llama_cpp"), reason="needs llama-cpp-python")
def test_llamacpp_says_which_shapes_with_biases_it_cannot_take() -> None:
    model = SeededModel("wide", replace(BASE, qkv_bias=True), seed=0)
    backend = find(Backend, "llamacpp")

    with pytest.raises(UnavailableError, match="wide has biases and heads that are not as wide"):
        backend.load(model, "cpu", backend.Options())


# --- What it lacks, and misuse --------------------------------------------------------------------


@pytest.mark.parametrize(("name", "extra"), ENGINES.items())
def test_a_missing_extra_is_a_reason_with_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    backend = find(Backend, name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    answer = backend.availability("cpu")

    assert not answer.ok
    assert "not installed" in (answer.reason or "")
    assert f"pip install 'inference-harness[{extra}]'" in (answer.remedy or "")


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_without_its_gpu_says_so_and_does_not_fall_back(name: str) -> None:
    backend = find(Backend, name)
    if backend.availability("cuda").ok:
        pytest.skip("a CUDA device is here")

    with pytest.raises(UnavailableError, match=f"{name}: "):
        backend.load(open_model("tiny"), "cuda", backend.Options(device="cuda"))


@pytest.mark.parametrize("module", ["onnx", "openvino", "hf", "llamacpp"])
def test_importing_a_backend_imports_neither_torch_nor_its_engine(module: str) -> None:
    heavy = ["torch", "onnx", "onnxruntime", "openvino", "transformers", "llama_cpp"]
    code = f"import sys, backends.{module}; sys.exit(any(m in sys.modules for m in {heavy}))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_calls_out_of_order_are_errors(engine: Backend) -> None:
    session = engine.load(open_model("tiny"), "cpu", engine.Options(threads=1))
    with pytest.raises(SessionError, match="not prepared"):
        session.prefill(PROMPT, LENGTHS)

    session.prepare(2, 8)
    with pytest.raises(SessionError, match="decode before prefill"):
        session.decode()
    with pytest.raises(SessionError, match=r"\[1, 5\] do not fit"):
        session.prefill(PROMPT[:1], LENGTHS[:1])

    session.close()
    with pytest.raises(SessionError, match="closed"):
        session.prepare(2, 8)


def test_padding_may_be_no_token_at_all(engine: Backend) -> None:
    session = engine.load(open_model("tiny"), "cpu", engine.Options(threads=1))
    session.prepare(2, 8)

    padded_with_zero = session.prefill(PROMPT, LENGTHS).tolist()
    odd = PROMPT.masked_fill(torch.arange(5) >= LENGTHS[:, None], 10**9)

    assert session.prefill(odd, LENGTHS).tolist() == padded_with_zero
    session.close()
