"""Plugins: found by entry points or in a file; a broken one harms nothing but itself."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from harness import plugins
from harness.contracts import Backend, Report, Sampler, Scenario
from harness.errors import PluginError
from harness.plugins import Broken, add_file, find, load_all, names

BACKEND = """
from harness.contracts import Availability, Backend

class Mine(Backend):
    summary = "mine"
    def availability(self, device): return Availability.yes()
    def load(self, model, device, options): raise NotImplementedError
"""


@pytest.fixture(autouse=True)
def _no_files_left_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plugins, "_from_files", {})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("harness_plugin_"):
            del sys.modules[name]


def register(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    """Put entry points among the backends, as an installed package would."""
    group = "harness.backends"
    found = {n: metadata.EntryPoint(n, value, group) for n, value in points.items()}
    monkeypatch.setattr(plugins, "_entry_points", lambda g: found if g == group else {})


def test_ours_are_found_by_their_entry_points() -> None:
    assert "eager" in names(Backend)
    assert {"latency", "throughput", "memory"} <= set(names(Scenario))
    assert {"html", "markdown"} <= set(names(Report))
    assert isinstance(names(Sampler), list)


def test_finding_makes_a_new_instance_each_time() -> None:
    assert type(find(Scenario, "latency")) is type(find(Scenario, "latency"))
    assert find(Scenario, "latency") is not find(Scenario, "latency")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(PluginError, match=r'no backend is called "eagre".*did you mean "eager"\?'):
        find(Backend, "eagre")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_module_anywhere:X", "ModuleNotFoundError"),
        ("json:NoSuchClass", "AttributeError"),
        ("json:dumps", "is not a Backend"),
        ("harness.contracts:Backend", "lacks availability, load"),
        ("harness.contracts:Sampler", "is not a Backend"),
    ],
)
def test_a_broken_plugin_is_a_reason_and_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, value: str, reason: str
) -> None:
    register(monkeypatch, bad=value, good="harness.testing.fakes:FakeBackend")
    found = load_all(Backend)
    assert isinstance(found["good"], Backend)
    assert isinstance(found["bad"], Broken)
    assert reason in found["bad"].reason
    with pytest.raises(PluginError, match=reason):
        find(Backend, "bad")


@pytest.mark.parametrize(
    "body", ["1 / 0", "import no_such_module_anywhere", "raise SystemExit(3)", "def broken(:"]
)
def test_whatever_a_plugin_does_when_imported_is_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    (tmp_path / "broken_plugin.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    register(monkeypatch, bad="broken_plugin:X")
    found = load_all(Backend)["bad"]
    assert isinstance(found, Broken)
    assert "does not import" in found.reason


def test_a_plugin_whose_constructor_fails_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fussy_plugin.py").write_text(
        BACKEND + "    def __init__(self): raise RuntimeError('no licence')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    register(monkeypatch, bad="fussy_plugin:Mine")
    found = load_all(Backend)["bad"]
    assert isinstance(found, Broken)
    assert "no licence" in found.reason


def test_a_file_of_the_users_own_is_a_plugin_named_by_the_file(tmp_path: Path) -> None:
    (tmp_path / "my_backend.py").write_text(BACKEND)
    assert add_file(tmp_path / "my_backend.py") == ["my_backend"]
    assert find(Backend, "my_backend").summary == "mine"
    assert "my_backend" in names(Backend)


def test_a_class_may_name_itself(tmp_path: Path) -> None:
    (tmp_path / "my_backend.py").write_text(BACKEND + '    name = "swift"\n')
    assert add_file(tmp_path / "my_backend.py") == ["swift"]


def test_a_file_may_hold_several_plugins_and_those_it_imports_do_not_count(tmp_path: Path) -> None:
    text = "from harness.testing.fakes import FakeBackend\n" + BACKEND + '    name = "a"\n'
    (tmp_path / "two.py").write_text(text + 'class Other(Mine):\n    name = "b"\n')
    assert add_file(tmp_path / "two.py") == ["a", "b"]


def test_a_file_replaces_an_installed_plugin_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "eager.py").write_text(BACKEND)
    add_file(tmp_path / "eager.py")
    assert find(Backend, "eager").summary == "mine"


def test_two_files_of_one_name_do_not_disturb_each_other(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "plugin.py"
        path.write_text(BACKEND.replace('"mine"', f'"{folder}"') + f'    name = "in-{folder}"\n')
        add_file(path)
    assert find(Backend, "in-a").summary == "a"
    assert find(Backend, "in-b").summary == "b"
    assert type(find(Backend, "in-a")).__module__ != type(find(Backend, "in-b")).__module__


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("none.py", None, "no such file"),
        ("folder.py", "", "no such file"),
        ("notes.txt", BACKEND, "is not a Python file"),
        ("empty.py", "", "holds no plugin"),
        ("broken.py", "1 / 0", "does not import: ZeroDivisionError"),
        ("syntax.py", "def (", "does not import: SyntaxError"),
        ("leaves.py", "raise SystemExit", "does not import: SystemExit"),
    ],
)
def test_a_file_that_is_no_plugin_is_one_clear_line(
    tmp_path: Path, name: str, text: str | None, reason: str
) -> None:
    path = tmp_path / name
    if name == "folder.py":
        path.mkdir()
    elif text is not None:
        path.write_text(text)
    with pytest.raises(PluginError, match=reason) as caught:
        add_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_half_written_class_in_a_file_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(BACKEND.replace("    def load", "    def unload"))
    with pytest.raises(PluginError, match="Mine lacks load"):
        add_file(tmp_path / "half.py")


def test_looking_names_up_imports_no_plugin() -> None:
    code = (
        "import sys; from harness.contracts import Backend, Scenario; "
        "from harness.plugins import names; names(Backend); names(Scenario); "
        "print([m for m in sys.modules if m.split('.')[0] in ('backends', 'scenarios', 'torch')])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
