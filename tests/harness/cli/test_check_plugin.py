"""`harness check-plugin`: which checks a plugin passes, and an exit status that tells."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import plugins
from harness.cli.app import main
from harness.testing.conformance import CHECKS

Run = Callable[..., tuple[int, str, str]]

THERMOMETER = """
from harness.contracts import Availability, Quantity, Sampler
from harness.reading import Reading

class Thermometer(Sampler):
    name = "{name}"
    summary = "temperature"
    def availability(self): return Availability.yes()
    def open(self, watched): return [Quantity("core_c", "°C")]
    def read(self, tier): return {{{read}}} if tier == "fast" else {{}}
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.setattr(plugins, "_from_files", {})
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["harness", "check-plugin", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return command


@pytest.fixture
def sampler_file(tmp_path: Path) -> Path:
    path = tmp_path / "thermometer.py"
    path.write_text(
        THERMOMETER.format(name="good", read='("", "core_c"): Reading(value=40.0)')
        + THERMOMETER.format(name="bad", read="").replace("Thermometer", "Other")
    )
    return path


@pytest.fixture
def fake_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(
        "from harness.testing.fakes import FakeBackend\n"
        "class Mine(FakeBackend):\n"
        "    name = 'mine'\n"
    )
    return path


def test_a_plugin_that_keeps_its_contract_exits_with_0(run: Run, sampler_file: Path) -> None:
    status, out, _ = run("good", "--plugin", sampler_file)
    assert status == 0
    assert "readings match quantities" in out
    assert "good: keeps its contract" in out


def test_a_plugin_that_breaks_its_contract_exits_with_3(run: Run, sampler_file: Path) -> None:
    status, out, _ = run("bad", "--plugin", sampler_file)
    assert status == 3
    assert "differ in: core_c" in out
    assert "bad: 1 of 5 checks failed" in out


def test_json_is_all_there_is_on_stdout(run: Run, sampler_file: Path) -> None:
    status, out, _ = run("bad", "--plugin", sampler_file, "--json")
    assert status == 3
    told = json.loads(out)
    assert told["plugin"] == "bad"
    broken = [f["name"] for f in told["findings"] if not f["ok"]]
    assert broken == ["readings match quantities"]


def test_a_scenario_is_checked_on_fakes(run: Run) -> None:
    status, out, _ = run("latency")
    assert status == 0, out
    assert "times follow the clock" in out


def test_a_backend_is_checked_on_a_real_model(run: Run, fake_file: Path) -> None:
    status, out, _ = run("mine", "--plugin", fake_file, "--json")
    told = {f["name"]: f for f in json.loads(out)["findings"]}
    assert status == 3
    assert list(told) == list(CHECKS)
    assert told["synchronize is honest"]["ok"]
    assert not told["tokens are correct"]["ok"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["eagre"], 'no backend, scenario or sampler is called "eagre"; expected one of '),
        (["eager", "--dtype", "int3"], "eager: dtype: 'int3'; expected 'float32', 'bfloat16'"),
        (["eager", "--device", "tpu"], "eager: device: 'tpu'; expected 'cpu' or 'cuda'"),
        (
            ["eager", "--set", "thread=1"],
            "eager: thread: unknown key; expected one of attention, device, dtype",
        ),
        (["latency", "--set", "new_tokens=0"], "new_tokens: 0; expected a number of tokens"),
        (["eager", "--model", "huge"], 'no model is called "huge"'),
        (["eager", "--plugin", "none.py"], "none.py: no such file"),
    ],
)
def test_bad_input_is_one_line_and_exits_with_2(run: Run, arguments: list[str], line: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1


def test_a_backend_that_cannot_run_here_says_why(run: Run, fake_file: Path) -> None:
    status, _, err = run("mine", "--plugin", fake_file, "--device", "cuda")
    assert status == 2
    assert "mine: cannot run on cuda: the fake backend waits on the CPU only; use device cpu" in err
