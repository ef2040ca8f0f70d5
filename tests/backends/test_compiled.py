"""The compile backend: no graph break, nothing compiled while timed, and both are said."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backends.compiled import (
    CompileBackend,
    CompileOptions,
    CompileSession,
    prompt_buckets,
    span_buckets,
)
from harness.cache import CACHE_VARIABLE
from harness.errors import SessionError, UnavailableError
from harness.model import open_model
from harness.model.decoder import Decoder

PROMPT = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
LENGTHS = torch.tensor([5, 3])


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Put back the process's thread count, which loading sets."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def prepared(batch: int = 2, context: int = 24, **options: object) -> CompileSession:
    options = {**CompileBackend.trial, "threads": 1, **options}
    backend = CompileBackend()
    session = backend.load(open_model("tiny"), "cpu", CompileOptions.model_validate(options))
    session.prepare(batch, context)
    return session


def greedy(session: CompileSession, steps: int) -> list[list[int]]:
    tokens = [session.prefill(PROMPT, LENGTHS).tolist()]
    return tokens + [session.decode().tolist() for _ in range(steps)]


# --- Graphs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamic", ["none", "step", "all"])
@pytest.mark.parametrize("regional", ["none", "prefill", "all"])
def test_every_way_to_cut_graphs_gives_the_same_tokens_and_breaks_none(
    dynamic: str, regional: str
) -> None:
    session = prepared(dynamic=dynamic, regional=regional, buckets=[8, 24])

    assert greedy(session, 18) == greedy(prepared(), 18)
    assert session.facts()["graph_breaks"] == []


def test_one_graph_serves_every_span_and_prompt_length_where_both_may_vary() -> None:
    session = prepared(batch=3, context=40)  # a shape that no other test has compiled

    assert session.facts()["graphs"] == 2


def test_facts_say_which_buckets_were_made() -> None:
    facts = prepared(dynamic="step", buckets=[24, 8, 8, 4000]).facts()

    assert facts["prompt_buckets"] == [8, 24]
    assert facts["span_buckets"] == []


def test_what_would_compile_again_after_warm_up_is_refused_with_the_reason() -> None:
    session = prepared(dynamic="step", buckets=[24])
    session.prefill(PROMPT, LENGTHS)
    state = session.prepared()
    state.logits = torch.empty(2, 512, dtype=torch.float64)  # what the guards watch for

    with pytest.raises(SessionError, match="compiled again after warm-up") as caught:
        session.decode()

    assert "dtype mismatch" in str(caught.value)
    assert "step_within" in str(caught.value)


def breaking(monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a graph break into the decoder; return its place, FILE:LINE."""

    def logits(self: Decoder, x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return self.head(x)

    monkeypatch.setattr(Decoder, "logits", logits)
    return f"{__file__}:{logits.__code__.co_firstlineno + 1}"


def test_a_graph_break_is_refused_with_file_and_line(monkeypatch: pytest.MonkeyPatch) -> None:
    place = breaking(monkeypatch)

    with pytest.raises(SessionError, match="the graph breaks") as caught:
        prepared(context=31)  # a shape of its own: code for another one is there already

    assert caught.value.where == place
    assert "fullgraph = false" in str(caught.value)


def test_a_graph_break_that_is_allowed_is_a_fact_with_file_and_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = breaking(monkeypatch)

    breaks = prepared(context=33, fullgraph=False).facts()["graph_breaks"]

    assert breaks
    assert all(line.startswith(f"{place}: ") for line in breaks)


# --- Buckets -------------------------------------------------------------------------------------


@given(context=st.integers(1, 10_000))
def test_the_last_bucket_is_the_context_and_each_is_longer_than_the_one_before(
    context: int,
) -> None:
    for buckets in (
        prompt_buckets(CompileOptions(), context),
        span_buckets(CompileOptions(dynamic="none"), context),
    ):
        assert buckets[-1] == context
        assert all(a < b for a, b in itertools.pairwise(buckets))


def test_a_prompt_beyond_the_buckets_asked_for_is_refused() -> None:
    session = prepared(batch=1, dynamic="step", buckets=[4])

    with pytest.raises(SessionError, match="a prompt of 5 tokens"):
        session.prefill(PROMPT[:1], LENGTHS[:1])


# --- Options -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"mode": "fast"}, {"buckets": []}, {"buckets": [0]}])
def test_an_option_with_an_impossible_value_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CompileOptions.model_validate(wrong)


def test_a_compiler_that_pytorch_does_not_know_is_one_clear_line() -> None:
    with pytest.raises(UnavailableError, match='backend = "no-such"') as caught:
        prepared(backend="no-such")

    assert "inductor" in str(caught.value)


def test_without_a_compiler_it_is_unavailable_and_says_what_would_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "/no/such/compiler")

    with pytest.raises(UnavailableError, match=r"needs a C\+\+ compiler") as caught:
        prepared(backend="inductor")

    assert "apt-get install g++" in str(caught.value)


@pytest.fixture(scope="module")
def by_inductor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CompileSession, Path]]:
    """A session that inductor compiled, and the run's cache."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(cache))
        yield prepared(backend="inductor", dynamic="step", buckets=[8]), cache


@pytest.mark.slow
def test_inductor_gives_eagers_tokens_and_keeps_its_code_where_the_run_says(
    by_inductor: tuple[CompileSession, Path],
) -> None:
    session, cache = by_inductor

    assert greedy(session, 8) == greedy(prepared(), 8)
    assert list((cache / "inductor").rglob("*.so"))


@pytest.mark.slow
def test_a_compiled_step_copies_no_layers_cache(by_inductor: tuple[CompileSession, Path]) -> None:
    session, cache = by_inductor
    made = [path.read_text() for path in (cache / "inductor").rglob("*.cpp")]

    written = session.prepared().slots()[0].numel()
    assert made
    assert not [code for code in made if f"{written}L" in code]
