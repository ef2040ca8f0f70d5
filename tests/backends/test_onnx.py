"""ONNX Runtime: both graphs are right, the cache stays where it is, and what fell back is said."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from backends import onnx_export
from backends.onnx import OnnxBackend, OnnxOptions, OnnxSession
from harness.cache import CACHE_VARIABLE
from harness.errors import UnavailableError
from harness.model import open_model
from harness.testing import examine

pytestmark = pytest.mark.skipif(
    not OnnxBackend().availability("cpu").ok, reason="the extra [onnx] is not installed"
)
GRAPHS = list(onnx_export.GRAPHS)


def load(**options: object) -> OnnxSession:
    given = OnnxOptions.model_validate({"threads": 1, **options})
    return OnnxBackend().load(open_model("tiny"), "cpu", given)


@pytest.fixture(params=GRAPHS)
def prepared(request: pytest.FixtureRequest) -> Iterator[OnnxSession]:
    """A session in the middle of two ragged rows."""
    session = load(graph=request.param)
    session.prepare(2, 24)
    session.prefill(torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]]), torch.tensor([5, 3]))
    yield session
    session.close()


@pytest.mark.parametrize(
    "check",
    ["tokens are correct", "ragged prompts are right", "reset is complete", "cache's end is right",
     "rows are independent", "prepare again serves the new shape"],
)  # fmt: skip
def test_the_exported_step_keeps_the_contract_as_well(check: str) -> None:
    finding = examine(check, OnnxBackend(), OnnxOptions(graph="export", threads=1))

    assert finding.ok, finding.detail


# --- The cache is not copied ----------------------------------------------------------------------


def test_past_and_present_are_one_buffer(prepared: OnnxSession) -> None:
    bound = prepared.bound
    assert bound is not None
    begin, end = bound.cache.data_ptr(), bound.cache.data_ptr() + bound.cache.nbytes
    names = [f"present.{i}" for i in range(len(bound.step_binding.get_outputs()) - 2)]

    prepared.decode()

    outputs = bound.step_binding.get_outputs()[2:]  # behind logits and tokens
    addresses = [value.data_ptr() for value in outputs]
    assert len(addresses) == len(names) > 0
    assert all(begin <= address < end for address in addresses)
    assert sum(value.tensor_size_in_bytes() for value in outputs) == bound.cache.nbytes


UNTOUCHED = """
import ctypes, mmap, os, torch
from backends.onnx import OnnxBackend, OnnxOptions
from harness.model import open_model

session = OnnxBackend().load(open_model("tiny"), "cpu", OnnxOptions(graph="{graph}", threads=1))
session.prepare(1, 8192)
session.prefill(torch.tensor([[3, 1, 4, 1, 5]]), torch.tensor([5]))
libc, page, sealed = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE, 0
cache = session.bound.cache.flatten(0, 3)  # [L·2·B·K, C, Dh]
for head in cache:
    unused = head[64:]
    first = -(-unused.data_ptr() // page) * page
    size = (unused.data_ptr() + unused.nbytes) // page * page - first
    assert libc.mprotect(ctypes.c_void_p(first), ctypes.c_size_t(size), 0) == 0  # PROT_NONE
    sealed += size
for _ in range(20):
    token = session.decode().tolist()
print(sealed / session.bound.cache.nbytes, token, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_step_touches_no_position_that_is_not_in_use(graph: str) -> None:
    # Nearly all of the cache can neither be read nor written: a copy of it ends the process.
    code = UNTOUCHED.format(graph=graph)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[0]) > 0.97


# --- Files ----------------------------------------------------------------------------------------


def test_a_graph_is_exported_once_for_each_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))

    first, again, other = load(), load(), load(dtype="float16")

    assert first.facts()["export_s"] > 0
    assert again.facts()["export_s"] is None
    assert other.facts()["export_s"] > 0
    assert len(list((tmp_path / "onnx").iterdir())) == 2


def test_an_export_that_fails_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))

    def write_half(_: object, path: Path) -> None:
        path.write_text("half")
        raise OSError("the disk is full")

    monkeypatch.setattr(onnx_export, "_write", write_half)
    with pytest.raises(OSError, match="the disk is full"):
        load()

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# --- What runs where ------------------------------------------------------------------------------


def test_facts_say_which_provider_runs_each_operator() -> None:
    facts = load().facts()

    assert facts["providers"] == ["CPUExecutionProvider"]
    operators = facts["operators"]["CPUExecutionProvider"]
    # Once for the prompt of one token and once for the step that facts are taken from.
    assert operators["GroupQueryAttention"] == 2 * open_model("tiny").config.layers
    assert json.loads(json.dumps(facts)) == facts


def test_facts_say_what_float16_is_computed_in() -> None:
    facts = load(dtype="float16").facts()

    # onnxruntime's CPU has no products in float16: weights and sums are float32 all the same.
    assert "Gemm" in facts["computed_in_float32"]
    assert load().facts()["computed_in_float32"] == []


def test_a_precision_that_the_provider_lacks_is_one_clear_line() -> None:
    with pytest.raises(UnavailableError) as caught:
        load(dtype="bfloat16")

    assert "bfloat16 on CPUExecutionProvider" in str(caught.value)
    assert "implementation for" in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_a_provider_that_is_not_here_is_refused_with_those_that_are() -> None:
    with pytest.raises(UnavailableError, match=r"has no NoSuchProvider; expected one of .*CPU"):
        load(providers=["NoSuchProvider"])


def test_a_session_option_is_handed_to_onnxruntime() -> None:
    session = load(session={"session.set_denormal_as_zero": "1"})

    taken = session.sessions["both"].get_session_options()
    assert taken.get_session_config_entry("session.set_denormal_as_zero") == "1"
