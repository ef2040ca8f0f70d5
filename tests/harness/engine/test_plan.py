"""Given a suite, when it is planned, then cases follow from it, or one line says what is wrong."""

from pathlib import Path

import pytest

from harness.engine.plan import Plan, make_plan
from harness.errors import InputError
from harness.spec import read_suite

BASE = """
[[model]]
name = "tiny"

[[backend]]
name = "eager"

[[scenario]]
name = "latency"
"""


def _plan(tmp_path: Path, text: str, **chosen: list[str]) -> Plan:
    path = tmp_path / "suite.toml"
    path.write_text(text)
    suite, source = read_suite(path)
    return make_plan(suite, source, **chosen)


def test_models_backends_and_scenarios_cross_multiply(tmp_path: Path) -> None:
    text = BASE + '[[model]]\nname = "small"\n[[scenario]]\nname = "memory"\n'
    assert len(_plan(tmp_path, text).cases) == 4


def test_swept_lists_cross_multiply(tmp_path: Path) -> None:
    sweep = (
        '[sweep]\n"backend.dtype" = ["float32", "bfloat16"]\n"latency.prompt_tokens" = [8, 16]\n'
    )
    plan = _plan(tmp_path, BASE + sweep)
    assert sorted(case.id for case in plan.cases) == [
        "tiny/eager[dtype=bfloat16]/latency[prompt_tokens=16]",
        "tiny/eager[dtype=bfloat16]/latency[prompt_tokens=8]",
        "tiny/eager[dtype=float32]/latency[prompt_tokens=16]",
        "tiny/eager[dtype=float32]/latency[prompt_tokens=8]",
    ]


def test_a_sweep_leaves_scenarios_alone_that_lack_the_option(tmp_path: Path) -> None:
    text = BASE + '[[scenario]]\nname = "memory"\n[sweep]\n"scenario.new_tokens" = [4, 8]\n'
    by_scenario = [case.scenario for case in _plan(tmp_path, text).cases]
    assert by_scenario.count("latency") == 2


def test_excluded_points_are_left_out(tmp_path: Path) -> None:
    sweep = (
        '[sweep]\n"backend.dtype" = ["float32", "bfloat16"]\n"latency.new_tokens" = [4, 8]\n'
        'exclude = [{ "backend.dtype" = "float32", "latency.new_tokens" = 8 }]\n'
    )
    plan = _plan(tmp_path, BASE + sweep)
    assert len(plan.cases) == 3
    assert not any("float32" in c.id and "new_tokens=8" in c.id for c in plan.cases)


def test_included_points_are_added(tmp_path: Path) -> None:
    sweep = '[sweep]\ninclude = [{ backend = "eager", "latency.new_tokens" = 32 }]\n'
    ids = [case.id for case in _plan(tmp_path, BASE + sweep).cases]
    assert ids == [
        "tiny/eager[dtype=float32]/latency",
        "tiny/eager[dtype=float32]/latency[new_tokens=32]",
    ]


def test_an_id_depends_on_its_own_settings_alone(tmp_path: Path) -> None:
    alone = _plan(tmp_path, BASE).cases[0].id
    others = BASE + '[[backend]]\nname = "eager"\nlabel = "half"\ndtype = "bfloat16"\n'
    assert alone in [case.id for case in _plan(tmp_path, others).cases]


def test_a_plan_knows_its_memory(tmp_path: Path) -> None:
    plan = _plan(tmp_path, BASE)
    config = plan.model(plan.cases[0]).config
    assert plan.peak_bytes(plan.cases[0]) > config.weight_bytes("float32")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            BASE.replace('name = "eager"', 'name = "eager"\ndtyp = "float32"'),
            ["suite.toml:7", "backend[0].dtyp", "unknown key", 'did you mean "dtype"?'],
        ),
        (
            BASE.replace('name = "eager"', 'name = "eager"\nthreads = 0'),
            ["suite.toml:7", "threads", "0", "greater than or equal to 1"],
        ),
        (
            BASE.replace('name = "eager"', 'name = "eagre"'),
            ["suite.toml:6", "eagre", 'did you mean "eager"?'],
        ),
        (
            BASE.replace('name = "latency"', 'name = "latency"\nprompt_tokens = 100000'),
            ["suite.toml", "scenario[0]", "1024"],
        ),
        (
            BASE + '[[scenario]]\nname = "throughput"\nbatch = [0]\n',
            ["suite.toml:12", "batch", "0"],
        ),
        (
            BASE + '[sweep]\n"backend.dtype" = []\n',
            ["suite.toml:11", "backend.dtype", "at least 1"],
        ),
        (
            BASE + '[sweep]\n"egaer.dtype" = ["float32"]\n',
            ["suite.toml:11", 'did you mean "eager"?'],
        ),
        (
            BASE + '[sweep]\n"backend.dtype" = ["float8"]\n',
            ["suite.toml:11", "float8", "bfloat16"],
        ),
        (BASE.replace('"tiny"', '"tinny"'), ["suite.toml:3", "tinny", 'did you mean "tiny"?']),
        (
            BASE.replace('"tiny"', '"nowhere/model.gguf"'),
            ["suite.toml:3", "nowhere/model.gguf"],
        ),
        (
            BASE + '[sweep]\nexclude = [{ model = "tiny" }]\n',
            ["suite.toml:11", "no case is left"],
        ),
    ],
)
def test_wrong_input_gets_one_line_that_points_to_it(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        _plan(tmp_path, text)
    line = str(caught.value)
    assert "\n" not in line
    for part in parts:
        assert part in line, line


def test_a_sampler_that_nobody_registered_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        _plan(tmp_path, BASE + '[telemetry]\nsamplers = ["hots"]\n')

    assert 'suite.toml:11: telemetry.samplers: no sampler is called "hots"' in str(caught.value)
    assert 'did you mean "host"' in str(caught.value)
