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


def look_back(queries: Tensor, cache: Tensor, positions: Tensor) -> Tensor:
    """Ours, of queries [B, H, Dh] to a layer's cache [B, 2, K, C, Dh]."""
    native.use()
    slots = cache.view(-1, cache.shape[-1])
    return native.decode_attention(queries, slots, positions, cache.shape[2])


def in_float64(queries: Tensor, cache: Tensor, positions: Tensor) -> Tensor:
    """Attention as it is defined, a row at a time."""
    rows = []
    for row, position in enumerate(positions.tolist()):
        k, v = cache[row, :, :, : position + 1].double().unbind()
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
    context=st.sampled_from([1, 2, 15, 16, 17, 63, 127, 128, 129, 300]),
    seed=st.integers(0, 1000),
)
def test_it_agrees_with_attention_in_float64(
    dtype: torch.dtype,
    batch: int,
    kv_heads: int,
    group: int,
    head_dim: int,
    context: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    queries = torch.randn(batch, kv_heads * group, head_dim).to(dtype)
    cache = torch.randn(batch, 2, kv_heads, context, head_dim).to(dtype)
    positions = torch.randint(0, context, (batch,))

    seen = look_back(queries, cache, positions)

    assert seen.dtype == dtype
    exact = in_float64(queries, cache, positions)
    assert (seen.double() - exact).abs().max() <= EPS[dtype] * (1 + exact.abs().max())


@needs_native
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_scores_neither_overflow_nor_lose_the_greatest(dtype: torch.dtype) -> None:
    queries = torch.full((1, 1, 16), 100.0, dtype=dtype)
    cache = torch.zeros(1, 2, 1, 200, 16, dtype=dtype)
    cache[0, 0, 0, 150], cache[0, 0, 0, 3] = 100.0, -100.0
    cache[0, 1] = torch.arange(200.0)[:, None]

    assert (look_back(queries, cache, torch.tensor([199])) == 150).all()


@needs_native
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_lies_behind_a_rows_position_is_never_read(dtype: torch.dtype) -> None:
    cache = torch.randn(2, 2, 3, 140, 64).to(dtype)
    positions = torch.tensor([5, 131])
    queries = torch.randn(2, 9, 64).to(dtype)
    clean = look_back(queries, cache, positions)
    cache[0, :, :, 6:] = torch.nan
    cache[1, :, :, 132:] = torch.nan

    assert torch.equal(look_back(queries, cache, positions), clean)


@needs_native
def test_a_row_that_is_nan_harms_no_other_and_stays_nan() -> None:
    queries, cache = torch.randn(2, 3, 64), torch.randn(2, 2, 1, 40, 64)
    positions = torch.tensor([30, 30])
    clean = look_back(queries, cache, positions)
    cache[0, 0, 0, 7, 3] = torch.nan

    seen = look_back(queries, cache, positions)

    assert seen[0].isnan().all()
    assert torch.equal(seen[1], clean[1])


@needs_native
@pytest.mark.parametrize("position", [-1, 40])
def test_a_position_outside_of_the_cache_is_refused(position: int) -> None:
    cache = torch.zeros(1, 2, 1, 40, 64)

    with pytest.raises(RuntimeError, match="position lies outside of its cache"):
        look_back(torch.zeros(1, 1, 64), cache, torch.tensor([position]))


def test_where_the_products_are_our_own_attention_is_too() -> None:
    assert choose_attention("auto", "native", torch.float32, CPU, "eager") == "native"
    assert choose_attention("auto", "packed", torch.float32, CPU, "eager") == "sdpa"
    assert choose_attention("sdpa", "native", torch.float32, CPU, "eager") == "sdpa"


def test_our_own_in_a_precision_that_it_lacks_is_one_clear_line() -> None:
    with pytest.raises(UnavailableError) as caught:
        choose_attention("native", "plain", torch.float16, CPU, "eager")

    assert str(caught.value).startswith('eager: attention = "native": ')
    assert str(caught.value).endswith('use "auto"')
