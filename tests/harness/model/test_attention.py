"""Our own attention of a step agrees with PyTorch's, and reads no further than it should."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (the name the field uses)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.errors import UnavailableError
from harness.model import native
from harness.model.attention import choose_attention
from harness.model.native import why_not_native

CPU = torch.device("cpu")
DTYPES = [d for d in (torch.float32, torch.bfloat16) if why_not_native(d, CPU) is None]
EPS = {torch.float32: 2e-6, torch.bfloat16: 2**-8}

needs_native = pytest.mark.skipif(not DTYPES, reason=str(why_not_native(torch.float32, CPU)))


def in_float64(queries: Tensor, keys: Tensor, values: Tensor, positions: Tensor) -> Tensor:
    """Attention as it is defined, a row at a time."""
    rows = []
    for row, position in enumerate(positions.tolist()):
        k, v = (x[row, :, : position + 1].double() for x in (keys, values))
        q = queries[row].double().view(k.shape[0], -1, k.shape[-1])
        rows.append(F.scaled_dot_product_attention(q, k, v).flatten(0, 1))
    return torch.stack(rows)


@needs_native
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=60)
@given(
    batch=st.integers(1, 3),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 9),
    head_dim=st.sampled_from([1, 8, 16, 31, 32, 48, 64, 80, 96, 128, 200, 256]),
    span=st.sampled_from([1, 2, 15, 16, 17, 63, 127, 128, 129, 300]),
    seed=st.integers(0, 1000),
)
def test_it_agrees_with_attention_in_float64(
    dtype: torch.dtype, batch: int, kv_heads: int, group: int, head_dim: int, span: int, seed: int
) -> None:
    native.use()
    torch.manual_seed(seed)
    queries = torch.randn(batch, kv_heads * group, head_dim).to(dtype)
    keys, values = torch.randn(2, batch, kv_heads, span, head_dim).to(dtype).unbind()
    positions = torch.randint(0, span, (batch,))

    seen = native.decode_attention(queries, keys, values, positions)

    assert seen.dtype == dtype
    exact = in_float64(queries, keys, values, positions)
    assert (seen.double() - exact).abs().max() <= EPS[dtype] * (1 + exact.abs().max())


@needs_native
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_scores_neither_overflow_nor_lose_the_greatest(dtype: torch.dtype) -> None:
    native.use()
    queries = torch.full((1, 1, 16), 100.0, dtype=dtype)
    keys = torch.zeros(1, 1, 200, 16, dtype=dtype)
    keys[0, 0, 150], keys[0, 0, 3] = 100.0, -100.0
    values = torch.arange(200.0, dtype=dtype)[None, None, :, None].expand(1, 1, 200, 16)

    seen = native.decode_attention(queries, keys, values.contiguous(), torch.tensor([199]))

    assert (seen == 150).all()


@needs_native
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_lies_behind_a_rows_position_is_never_read(dtype: torch.dtype) -> None:
    native.use()
    cache = torch.randn(2, 2, 3, 140, 64).to(dtype)  # [2 kinds, B, K, C, Dh]
    positions = torch.tensor([5, 131])
    queries = torch.randn(2, 9, 64).to(dtype)
    clean = native.decode_attention(queries, cache[0], cache[1], positions)
    cache[:, 0, :, 6:] = torch.nan
    cache[:, 1, :, 132:] = torch.nan

    assert torch.equal(native.decode_attention(queries, cache[0], cache[1], positions), clean)


@needs_native
def test_a_row_that_is_nan_harms_no_other_and_stays_nan() -> None:
    native.use()
    queries, cache = torch.randn(2, 3, 64), torch.randn(2, 2, 1, 40, 64)
    positions = torch.tensor([30, 30])
    clean = native.decode_attention(queries, cache[0], cache[1], positions)
    cache[0, 0, 0, 7, 3] = torch.nan

    seen = native.decode_attention(queries, cache[0], cache[1], positions)

    assert seen[0].isnan().all()
    assert torch.equal(seen[1], clean[1])


@needs_native
@pytest.mark.parametrize("position", [-1, 40])
def test_a_position_outside_of_the_cache_is_refused(position: int) -> None:
    native.use()
    cache = torch.zeros(2, 1, 1, 40, 64)

    with pytest.raises(RuntimeError, match="position lies outside of its cache"):
        native.decode_attention(torch.zeros(1, 1, 64), cache[0], cache[1], torch.tensor([position]))


def test_where_the_products_are_our_own_attention_is_too() -> None:
    assert choose_attention("auto", "native", torch.float32, CPU, "eager") == "native"
    assert choose_attention("auto", "packed", torch.float32, CPU, "eager") == "sdpa"
    assert choose_attention("sdpa", "native", torch.float32, CPU, "eager") == "sdpa"


def test_our_own_in_a_precision_that_it_lacks_is_one_clear_line() -> None:
    with pytest.raises(UnavailableError) as caught:
        choose_attention("native", "plain", torch.float16, CPU, "eager")

    assert str(caught.value).startswith('eager: attention = "native": ')
    assert str(caught.value).endswith('use "auto"')
