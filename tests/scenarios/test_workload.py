import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from harness.model import PRESETS, ModelConfig
from scenarios.workload import WORKLOADS, Fixed, Length, Lognormal, Prompts, Uniform, draw

TINY = PRESETS["tiny"]
LENGTH: TypeAdapter[Any] = TypeAdapter(Length)


def test_a_number_is_a_fixed_length() -> None:
    assert LENGTH.validate_python(128) == Fixed(tokens=128)


def test_a_table_names_its_distribution() -> None:
    table = {"distribution": "lognormal", "median": 200, "sigma": 0.8, "max": 1024}

    assert LENGTH.validate_python(table) == Lognormal(median=200, sigma=0.8, max=1024)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "a number of tokens from 1"),
        (-3, "a number of tokens from 1"),
        (True, "a number of tokens from 1"),
        (1.5, "a number of tokens from 1"),
        ("many", "a number of tokens from 1"),
        ({}, "distribution one of fixed, uniform, lognormal"),
        ({"distribution": "log-normal"}, 'did you mean "lognormal"'),
        ({"distribution": "uniform", "low": 1}, '"high" beside distribution = "uniform"'),
        ({"distribution": "uniform", "low": 9, "high": 3}, "9 is above 3"),
        (
            {"distribution": "uniform", "low": 1, "hi": 3, "high": 4},
            'not "hi"; did you mean "high"',
        ),
        ({"distribution": "lognormal", "median": 9, "sigma": 1, "max": 5}, "in this order"),
        ({"distribution": "lognormal", "median": 9, "sigma": 0, "max": 50}, "sigma greater than 0"),
    ],
)
def test_a_length_that_is_none_says_what_would_be_one(value: object, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LENGTH.validate_python(value)

    (error,) = caught.value.errors()
    assert message in error["msg"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_length_survives_being_stored(name: str) -> None:
    for length in WORKLOADS[name]:
        assert LENGTH.validate_python(LENGTH.dump_python(length, mode="json")) == length


lengths = (
    st.builds(Fixed, tokens=st.integers(1, 500))
    | st.integers(1, 500).flatmap(
        lambda low: st.builds(Uniform, low=st.just(low), high=st.integers(low, 1000))
    )
    | st.builds(
        Lognormal,
        median=st.floats(10, 100),
        sigma=st.floats(0.01, 3),
        max=st.integers(100, 1000),
        min=st.integers(1, 10),
    )
)


@given(length=lengths, seed=st.integers(0, 2**32), number=st.integers(0, 10**6))
def test_lengths_stay_within_what_was_declared(
    length: Fixed | Uniform | Lognormal, seed: int, number: int
) -> None:
    assert length.shortest <= draw(length, seed, "prompt", number) <= length.longest


def test_uniform_lengths_are_equally_often() -> None:
    drawn = [draw(Uniform(low=1, high=4), 0, "prompt", n) for n in range(4000)]

    assert all(900 < drawn.count(value) < 1100 for value in (1, 2, 3, 4))


def test_lognormal_lengths_have_the_median_and_spread_declared() -> None:
    length = Lognormal(median=200, sigma=0.8, max=100_000)

    drawn = sorted(draw(length, 0, "prompt", n) for n in range(4000))

    assert statistics.median(drawn) == pytest.approx(200, rel=0.05)
    assert drawn[3365] == pytest.approx(200 * 2.2255, rel=0.08)  # one sigma up: e^0.8


def test_lengths_and_prompts_are_the_same_on_every_machine() -> None:
    prompts = Prompts(TINY, seed=7, stream="pinned")

    assert prompts.at(0, 6) == (213, 210, 322, 341, 219, 303)
    drawn = [draw(WORKLOADS["chat"][0], 7, "pinned", n) for n in range(5)]
    assert drawn == [227, 25, 26, 87, 59]


@pytest.mark.parametrize("tokens", [2, 3, 32])
def test_no_prompt_comes_twice(tokens: int) -> None:
    prompts = Prompts(TINY, seed=0, stream="a")

    made = {prompts.at(n, tokens) for n in range(3000)}

    assert len(made) == 3000


def test_consecutive_prompts_share_no_prefix() -> None:
    prompts = Prompts(TINY, seed=0, stream="a")

    assert len({prompts.at(n, 8)[0] for n in range(400)}) == 400


def test_another_seed_or_stream_gives_other_prompts() -> None:
    made = {Prompts(TINY, seed, stream).at(0, 16) for seed in (0, 1) for stream in ("a", "b")}

    assert len(made) == 4


@given(number=st.integers(0, 10**6), tokens=st.integers(1, 40))
def test_a_prompt_has_its_length_and_no_special_token(number: int, tokens: int) -> None:
    model = ModelConfig(
        vocab_size=64, hidden_size=8, intermediate_size=8, layers=1, heads=1, kv_heads=1,
        head_dim=8, max_context=64, bos_id=20, eos_ids=(30, 31),
    )  # fmt: skip

    prompt = Prompts(model, 0, "a").at(number, tokens)

    assert len(prompt) == tokens
    assert all(4 <= token < 60 for token in prompt)
    assert not {20, 30, 31} & set(prompt)


@pytest.mark.parametrize("name", [n for n in PRESETS if PRESETS[n].eos_ids])
def test_special_tokens_of_known_models_are_never_drawn(name: str) -> None:
    model = PRESETS[name]
    prompt = Prompts(model, 0, "a").at(0, 2000)

    assert min(prompt) >= 17  # SmolLM2's special tokens are its first 17
    assert max(prompt) < min(i for i in (*model.eos_ids, model.vocab_size) if i > 16)
