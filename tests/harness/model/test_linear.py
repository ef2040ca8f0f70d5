"""A linear layer gives the same packed and plain, and says where it cannot be packed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import linear

from harness.errors import UnavailableError
from harness.model.linear import Layout, Linear, choose_layout, why_not_packed
from harness.model.native import why_not_native

CPU = torch.device("cpu")
AVX512 = ("avx512_f", "avx512_bw", "avx512_bf16")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
LAYOUTS: list[tuple[Layout, torch.dtype]] = [
    *(("plain", dtype) for dtype in DTYPES[:2]),
    *(("packed", dtype) for dtype in DTYPES if why_not_packed(dtype, CPU) is None),
    *(("native", dtype) for dtype in DTYPES if why_not_native(dtype, CPU) is None),
]


@pytest.mark.parametrize(("layout", "dtype"), LAYOUTS)
@settings(max_examples=60)
@given(
    out_features=st.integers(1, 130),
    in_features=st.integers(1, 130),
    rows=st.sampled_from([(1,), (2,), (7,), (12,), (13,), (33,), (2, 5), (1, 1), (300,)]),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_layout_agrees_with_a_product_in_float64(
    layout: Layout, dtype: torch.dtype, out_features: int, in_features: int,
    rows: tuple[int, ...], bias: bool, seed: int,
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    weight = torch.randn(out_features, in_features).to(dtype)
    offset = torch.randn(out_features).to(dtype) if bias else None
    x = torch.randn(*rows, in_features).to(dtype)
    exact = linear(x.double(), weight.double(), offset.double() if offset is not None else None)

    with torch.inference_mode():
        y = Linear(weight, offset, layout=layout)(x)

    assert y.dtype == dtype
    assert y.shape == (*rows, out_features)
    error = (y.double() - exact).abs().max().item()
    size = 1 + exact.abs().max().item()
    assert error <= size * max(torch.finfo(dtype).eps, 1e-5)


def test_float32_can_be_packed_wherever_pytorch_has_onednn() -> None:
    has_onednn = torch.backends.mkldnn.is_available()

    assert (why_not_packed(torch.float32, CPU) is None) == has_onednn


def test_a_gpu_is_a_reason_not_to_pack() -> None:
    assert why_not_packed(torch.float32, torch.device("cuda")) == "packing is for the CPU, not cuda"


def test_a_precision_without_a_packed_product_is_a_reason_not_to_pack() -> None:
    reason = why_not_packed(torch.float64, CPU)

    assert reason is not None
    assert "float64" in reason


@pytest.mark.skipif(("packed", torch.float32) not in LAYOUTS, reason="this PyTorch cannot pack")
def test_a_packed_layer_keeps_no_plain_copy_of_its_weight() -> None:
    layer = Linear(torch.randn(64, 32), layout="packed")

    assert layer.weight.is_mkldnn
    assert not list(layer.buffers())
    assert layer.weight_bytes == 64 * 32 * 4


def test_without_a_compiler_the_native_product_cannot_be_had_and_says_what_would_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "/no/such/compiler")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(AVX512, True))

    with pytest.raises(UnavailableError, match="apt-get install g") as caught:
        choose_layout("native", torch.float32, CPU, "eager")

    assert str(caught.value).startswith('eager: linear = "native": it needs a C++ compiler')


def test_a_cpu_without_the_instructions_has_no_native_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True})

    assert why_not_native(torch.float32, CPU) == "this CPU has no avx512_bw and no avx512_bf16"


def test_native_is_for_two_precisions_and_the_cpu() -> None:
    assert "not float16" in str(why_not_native(torch.float16, CPU))
    assert "not cuda" in str(why_not_native(torch.float32, torch.device("cuda")))
