"""Suites: what a file may say, and how each mistake is answered in one line."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import SpecError
from harness.spec import parse_duration, parse_setting, read_suite

GOOD = """\
# a comment
[[model]]
name = "tiny"

[[backend]]
name = "eager"
threads = 2

[[backend]]
name = "eager"
label = "second"

[[scenario]]
name = "latency"

[sweep]
"backend.dtype" = ["float32", "bfloat16"]

[run]
rounds = 2
budget = "10m"

[gate.margins]
itl_ms = 0.05
"""


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    return path


def error_of(path: Path, text: str | None = None, settings: dict[str, Any] | None = None) -> str:
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpecError) as caught:
        read_suite(path, settings)
    line = str(caught.value)
    assert "\n" not in line
    return line.replace(str(path.parent), "").lstrip("/")


def test_a_suite_is_what_its_file_says(suite_file: Path) -> None:
    suite, source = read_suite(suite_file)
    assert suite.name == "mine"
    assert [b.label for b in suite.backend] == [None, "second"]
    assert suite.backend[0].__pydantic_extra__ == {"threads": 2}
    assert suite.sweep.axes() == {"backend.dtype": ["float32", "bfloat16"]}
    assert (suite.run.rounds, suite.run.budget) == (2, 600.0)
    assert suite.gate.margins == {"itl_ms": 0.05}
    assert source.text == GOOD


def test_a_byte_order_mark_is_no_mistake(suite_file: Path) -> None:
    suite_file.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert read_suite(suite_file)[0].run.rounds == 2


def test_a_swept_key_needs_no_quotes(suite_file: Path) -> None:
    suite_file.write_text(GOOD.replace('"backend.dtype"', "backend.dtype"))
    assert read_suite(suite_file)[0].sweep.axes() == {"backend.dtype": ["float32", "bfloat16"]}


@pytest.mark.parametrize("stem", ["_odd name!", "..", "é", "ok-1.2"])
def test_any_file_name_gives_the_suite_a_name(tmp_path: Path, stem: str) -> None:
    path = tmp_path / f"{stem}.toml"
    path.write_text(GOOD)
    assert read_suite(path)[0].name


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "rounds = 2",
            "round = 2",
            "mine.toml:20: run.round: unknown key; expected one of budget, max_samples, ",
        ),
        (
            "rounds = 2",
            "rounds = 0",
            "mine.toml:20: run.rounds: 0; expected greater than or equal to 1",
        ),
        ("rounds = 2", 'rounds = "2"', "mine.toml:20: run.rounds: '2'; expected an integer"),
        ("rounds = 2", "rounds = true", "mine.toml:20: run.rounds: True; expected an integer"),
        ("rounds = 2", "rounds = 2.5", "mine.toml:20: run.rounds: 2.5; expected an integer"),
        (
            'budget = "10m"',
            'budget = "soon"',
            "mine.toml:21: run.budget: 'soon'; expected a duration such as 90, 90s, 10m or 1h",
        ),
        (
            'budget = "10m"',
            "budget = inf",
            "mine.toml:21: run.budget: inf; expected a duration above zero, such as 90s or 10m",
        ),
        (
            'budget = "10m"',
            "min_samples = 9\nmax_samples = 8",
            "mine.toml:19: run: {'rounds': 2, 'min_samples': 9, 'max_samples': 8}; expected max",
        ),
        (
            '["float32", "bfloat16"]',
            "[]",
            "mine.toml:17: sweep.backend.dtype: []; expected at least 1 of them",
        ),
        (
            '["float32", "bfloat16"]',
            '"float32"',
            "mine.toml:17: sweep.backend.dtype: 'float32'; expected a list",
        ),
        (
            "itl_ms = 0.05",
            "itl_ms = 0.05\n[telemetry]\nhz = 0",
            "mine.toml:26: telemetry.hz: 0; expected greater than or equal to 1",
        ),
        (
            "itl_ms = 0.05",
            'itl_ms = 0.05\n[telemetry]\non_disturbance = "drop"',
            "mine.toml:26: telemetry.on_disturbance: 'drop'; expected 'flag', 'discard' or 'retry'",
        ),
        (
            "itl_ms = 0.05",
            "itl_ms = 0.05\n[telemetry]\nsampler = []",
            "mine.toml:26: telemetry.sampler: unknown key; expected one of enabled, hz, ",
        ),
        (
            "itl_ms = 0.05",
            "itl_ms = 3",
            "mine.toml:24: gate.margins.itl_ms: 3; expected less than 1",
        ),
        (
            'label = "second"',
            "label = 2",
            "mine.toml:11: backend[1].label: 2; expected a string",
        ),
        (
            '[[backend]]\nname = "eager"\nlabel = "second"',
            "[[backend]]",
            "mine.toml:9: backend[1].name: is missing",
        ),
        (
            "[[model]]",
            "[model]",
            "mine.toml:2: model: {'name': 'tiny'}; expected [[model]], with two brackets",
        ),
        (
            "[[model]]",
            "[[models]]",
            "mine.toml:2: models: unknown key; expected one of backend, description, gate, model",
        ),
        (
            'name = "tiny"',
            'name = ""',
            "mine.toml:3: model[0].name: ''; expected at least 1 character",
        ),
        (
            'name = "tiny"',
            'name = "tiny"\nsed = 1',
            "mine.toml:4: model[0].sed: unknown key; expected one of label, name, seed; did you",
        ),
        (
            "# a comment",
            'name = "a b"',
            "mine.toml:1: name: 'a b'; expected match pattern '^[A-Za-z0-9][A-Za-z0-9_.-]*$'",
        ),
        ("# a comment", "run = 3", "mine.toml: is not TOML: "),
    ],
)
def test_a_mistake_is_named_with_its_line(
    suite_file: Path, old: str, new: str, expected: str
) -> None:
    assert old in GOOD
    assert error_of(suite_file, GOOD.replace(old, new, 1)).startswith(expected)


def test_an_unknown_key_comes_with_the_nearest_known_one(suite_file: Path) -> None:
    assert error_of(suite_file, GOOD.replace("rounds", "round")).endswith('did you mean "rounds"?')


def test_a_line_is_found_in_a_table_written_inline(suite_file: Path) -> None:
    text = 'model = [{name = "tiny"}]\nbackend = [\n  {name = "a"},\n  {nam = "b"},\n]\n'
    assert error_of(suite_file, text).startswith("mine.toml:2: backend[1].name: is missing")


def test_a_long_value_is_cut(suite_file: Path) -> None:
    line = error_of(suite_file, GOOD.replace("rounds = 2", f'rounds = "{"x" * 9000}"'))
    assert len(line) < 200


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    assert error_of(tmp_path / "none.toml").startswith("none.toml: cannot be read: No such file")


def test_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    assert error_of(tmp_path / "folder.toml").startswith("folder.toml: cannot be read: Is a dir")


def test_bytes_that_are_no_text_are_one_line(suite_file: Path) -> None:
    suite_file.write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8 text" in error_of(suite_file)


@pytest.mark.parametrize(
    "text", ["[[model]", f"x = {'9' * 6000}", f"x = {'[' * 5000}", "a = 1\na = 2"]
)
def test_what_is_not_toml_is_one_line(suite_file: Path, text: str) -> None:
    assert error_of(suite_file, text).startswith("mine.toml: is not TOML: ")


toml_keys = st.sampled_from(
    ["model", "backend", "scenario", "run", "gate", "sweep", "name", "rounds", "margins", "x"]
)
toml_values = st.recursive(
    st.sampled_from(['"tiny"', "1", "true", "nan", "-3", '""', "1979-05-27", "0.5", "[]", "{}"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda v: f"[{', '.join(v)}]"),
        st.dictionaries(toml_keys, inner, max_size=3).map(
            lambda d: "{" + ", ".join(f"{k} = {v}" for k, v in d.items()) + "}"
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=200)
@given(
    st.dictionaries(toml_keys, toml_values, max_size=5),
    st.dictionaries(
        st.lists(toml_keys, min_size=1, max_size=3).map(".".join),
        st.sampled_from([1, "a", True, [1], {"x": 1}]),
        max_size=2,
    ),
)
def test_whatever_a_file_and_settings_say_the_answer_is_a_suite_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, tables: dict[str, str], changes: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "drawn.toml"
    path.write_text("\n".join(f"{key} = {value}" for key, value in tables.items()))
    outcome = ""
    try:
        read_suite(path, changes)
    except SpecError as error:
        outcome = str(error)
    assert "\n" not in outcome


@pytest.mark.parametrize(
    ("given_", "seconds"),
    [(90, 90.0), ("90", 90.0), ("90s", 90.0), ("1.5 m", 90.0), ("500ms", 0.5), ("1h", 3600.0)],
)
def test_a_duration_is_seconds(given_: object, seconds: float) -> None:
    assert parse_duration(given_) == pytest.approx(seconds)


@pytest.mark.parametrize("given_", [0, -1, "0s", "ten", "10x", "", True, None, float("nan"), "1e3"])
def test_what_is_no_duration_is_refused(given_: object) -> None:
    with pytest.raises(ValueError, match="a duration"):
        parse_duration(given_)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run.rounds=5", ("run.rounds", 5)),
        ("run.budget=10m", ("run.budget", "10m")),
        ('backend.dtype="float32"', ("backend.dtype", "float32")),
        ("backend.dtype=float32", ("backend.dtype", "float32")),
        ("sweep.a = [1, 2]", ("sweep.a", [1, 2])),
        ("a.b=x=y", ("a.b", "x=y")),
        ("a.b=", ("a.b", "")),
        ("a.b=1\nc = 2", ("a.b", "1\nc = 2")),
        ("a.b=" + "[" * 5000, ("a.b", "[" * 5000)),
    ],
)
def test_a_setting_is_a_key_and_a_toml_value(text: str, expected: tuple[str, Any]) -> None:
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["rounds", "=5", " = 5", ""])
def test_a_setting_without_key_or_equals_sign_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"--set: .*expected key=value"):
        parse_setting(text)


def test_a_setting_reaches_every_entry_of_its_kind(suite_file: Path) -> None:
    suite, _ = read_suite(suite_file, {"backend.threads": 7})
    assert [b.__pydantic_extra__ for b in suite.backend] == [{"threads": 7}, {"threads": 7}]


def test_a_setting_reaches_the_entry_of_its_label(suite_file: Path) -> None:
    suite, _ = read_suite(suite_file, {"second.threads": 7})
    assert [b.__pydantic_extra__ for b in suite.backend] == [{"threads": 2}, {"threads": 7}]


def test_a_setting_reaches_a_name_that_holds_dots(suite_file: Path) -> None:
    suite_file.write_text(GOOD.replace('"tiny"', '"llama-3.1-8b"'))
    assert read_suite(suite_file, {"llama-3.1-8b.seed": 4})[0].model[0].seed == 4


def test_a_setting_makes_a_table_that_the_file_lacks(suite_file: Path) -> None:
    suite, _ = read_suite(suite_file, {"gate.margin": 0.1, "gate.margins.ttft_ms": 0.2})
    assert suite.gate.margin == 0.1
    assert suite.gate.margins == {"itl_ms": 0.05, "ttft_ms": 0.2}


def test_a_setting_goes_down_into_an_option_that_is_a_table(suite_file: Path) -> None:
    changes = {"latency.prompt_tokens.low": 1, "latency.prompt_tokens.high": 3}
    suite, _ = read_suite(suite_file, changes)
    assert suite.scenario[0].__pydantic_extra__ == {"prompt_tokens": {"low": 1, "high": 3}}


def test_a_setting_replaces_an_axis_of_the_sweep(suite_file: Path) -> None:
    suite, _ = read_suite(suite_file, {"sweep.backend.dtype": ["float16"]})
    assert suite.sweep.axes() == {"backend.dtype": ["float16"]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"eagre.dtype": "x"},
            '--set eagre.dtype: nothing in the suite is called "eagre"; expected one of run, gate',
        ),
        ({"run": 3}, '--set: "run" is a table; expected table.key=value'),
        ({"model.name.x": 3}, "--set model.name.x: is no table in the suite; expected [table]"),
        ({"run.rounds": "five"}, "mine.toml:20: run.rounds: 'five'; expected an integer"),
        ({"rounds": 3}, "mine.toml: rounds: unknown key; expected one of backend, description"),
    ],
)
def test_a_setting_that_names_nothing_is_one_line(
    suite_file: Path, changes: dict[str, Any], expected: str
) -> None:
    assert error_of(suite_file, settings=changes).startswith(expected)
