"""Every backend of ours keeps the contract, in each precision; one test for each check."""

from collections.abc import Iterator

import pytest

from harness.contracts import Backend
from harness.plugins import find, names
from harness.testing import checks_for, examine

PRECISIONS = ("float32", "bfloat16")
ENGINES = ("llamacpp", "onnx", "openvino", "transformers")
"""Whose kernels are tested where they are made: here the second precision is looked at briefly."""
BRIEFLY = ("tokens are correct", "ragged prompts are right")

KNOWN = {
    ("aot", "close returns memory"): "PyTorch 2.13 keeps every package's library mapped",
    ("openvino", "close returns memory"): "OpenVINO 2026.4 keeps half a mebibyte of each load",
}
"""What an engine itself does wrong, and we cannot mend."""


def cases() -> Iterator[tuple[str, str, str]]:
    for name in names(Backend):
        backend = find(Backend, name)
        if backend.availability("cpu").ok:
            for check in checks_for(backend):
                # Where a session takes long to prepare, the second precision is looked at briefly.
                brief = (backend.trial or name in ENGINES) and check not in BRIEFLY
                yield from ((name, dtype, check) for dtype in PRECISIONS[: 1 if brief else 2])


@pytest.mark.parametrize(("name", "dtype", "check"), list(cases()))
def test_a_backend_keeps_the_contract(name: str, dtype: str, check: str) -> None:
    backend = find(Backend, name)
    # One thread: tests share the machine, and none of them looks at the speed.
    options = backend.Options.model_validate({**backend.trial, "dtype": dtype, "threads": 1})
    finding = examine(check, backend, options)
    if dtype != "float32" and finding.detail.startswith("UnavailableError"):
        pytest.skip(finding.detail)  # an engine need not have every precision, but must say so
    if not finding.ok and (name, check) in KNOWN:
        pytest.xfail(KNOWN[name, check])
    assert finding.ok, finding.detail


@pytest.mark.parametrize("check", ["tokens are correct", "close returns memory"])
def test_eager_keeps_the_contract_without_packed_weights(check: str) -> None:
    backend = find(Backend, "eager")
    options = backend.Options.model_validate({"linear": "plain", "threads": 1})
    finding = examine(check, backend, options)
    assert finding.ok, finding.detail
