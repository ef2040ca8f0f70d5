"""torch.profiler's events become rows that add up."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.contracts import StepSession
from harness.profiling.collect import ProfiledSession, WindowDone
from harness.profiling.families import family_of
from harness.profiling.record import PhaseProfile


class Multiplies(StepSession):
    """Decodes by known operators: twenty products, in a function of its own, and a copy."""

    def __init__(self) -> None:
        self.x = torch.randn(64, 64)
        self.kept = torch.empty(256, 256)
        self.big = torch.randn(256, 256)
        self.token = torch.zeros(1, dtype=torch.int64)

    def prepare(self, batch: int, context: int) -> None: ...
    def close(self) -> None: ...
    def reset(self) -> None: ...
    def feed(self, tokens: Tensor) -> None: ...
    def synchronize(self) -> None: ...
    def logits(self) -> Tensor:
        return self.x

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return self.token

    def decode(self) -> Tensor:
        self.multiply()
        self.kept.copy_(self.big)  # the copy
        return self.token

    def multiply(self) -> None:
        for _ in range(20):
            torch.mm(self.x, self.x)


@pytest.fixture(scope="module")
def decode() -> PhaseProfile:
    now = iter(range(0, 10**9, 1000))
    session = ProfiledSession(Multiplies(), lambda: next(now))
    for one in ("plain", "timed", "stacked", "lines"):
        session.current = one  # type: ignore[assignment]
        session.prefill(torch.zeros(1, 1), torch.ones(1))
        for _ in range(9):
            session.decode()
        with pytest.raises(WindowDone):
            session.decode()
    phases, notes = session.profiles()
    assert notes == []
    return next(p for p in phases if p.phase == "decode")


def test_rows_add_up_to_the_profiled_time(decode: PhaseProfile) -> None:
    assert sum(row.ns for row in decode.rows) == pytest.approx(
        decode.profiled_ns, rel=1e-3, abs=2e3
    )


def test_an_operator_is_counted_per_call_with_its_function(decode: PhaseProfile) -> None:
    row = next(r for r in decode.rows if r.operator == "aten::mm")
    assert row.calls == 20
    assert row.function.endswith("test_operators.py:multiply")
    assert row.family == "gemm"


def test_an_operator_has_its_line_precision_bytes_and_flops(decode: PhaseProfile) -> None:
    row = next(r for r in decode.rows if r.operator == "aten::mm")
    assert row.line is not None
    assert "torch.mm(" in Path(__file__).read_text().splitlines()[row.line - 1]
    assert row.dtypes == "float32"
    assert row.flops == 20 * 2 * 64**3
    assert row.bytes == 20 * 3 * 64 * 64 * 4


def test_the_time_between_operators_is_the_hosts(decode: PhaseProfile) -> None:
    host = [r for r in decode.rows if r.family == "host"]
    assert host
    assert all(r.ns >= 0 for r in host)


def test_a_call_without_a_profiler_is_timed_in_the_same_process(decode: PhaseProfile) -> None:
    assert decode.plain_ns == 1000


@pytest.mark.parametrize(
    ("operator", "family"),
    [
        ("aten::linear", "gemm"),
        ("mkldnn::_linear_pointwise", "gemm"),
        ("inference_harness::linear", "gemm"),
        ("aten::scaled_dot_product_attention", "attention"),
        ("aten::_local_scalar_dense", "sync"),
        ("aten::copy_", "copy"),
        ("aten::cat", "copy"),
        ("aten::index_put_", "cache"),
        ("aten::rms_norm", "norm"),
        ("aten::silu", "elementwise"),
        ("aten::masked_fill_", "elementwise"),
        ("graph_0_cpp_fused_add_mul_1", "fused"),
        ("my::thing", "other"),
        ("MatMul", "gemm"),
        ("Gemm", "gemm"),
        ("Torch-Compiled Region: 2/0", "fused"),
        ("TorchDynamo Cache Lookup", "guards"),
        ("GroupQueryAttention", "attention"),
        ("SkipSimplifiedLayerNormalization", "norm"),
        ("Mul", "elementwise"),
        ("Gather", "embedding"),
        ("ArgMax", "choice"),
    ],
)
def test_operators_have_the_families_people_think_in(operator: str, family: str) -> None:
    assert family_of(operator) == family
