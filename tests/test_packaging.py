"""Four packages with everyday names, made safe: what is shipped, and what a user's own folders do.

Each test runs the real command in a process of its own, as a user would.
"""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from harness.engine.spawn import worker_command, worker_environment
from harness.store.folder import DEFAULT_ROOT

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("harness", "backends", "scenarios", "reports")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HARNESS = Path(sys.executable).with_name("harness")
HEAVY = {"torch", "pandas", "matplotlib", "scipy", "transformers", "pyarrow"}


def run(
    *command: object, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HARNESS_"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean | {"COLUMNS": "200"} | (env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """A project whose folders have our names; importing any of them is what must not happen."""
    for name in ("backends", "scenarios", "reports", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            f"raise RuntimeError('the {name} of the user was imported')\n"
        )
    return tmp_path


# --- What is shipped ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_every_file_of_the_four_packages_and_no_other(
    wheel: zipfile.ZipFile,
) -> None:
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    on_disk = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped == on_disk


def test_the_wheel_installs_the_command_and_the_plugins(wheel: zipfile.ZipFile) -> None:
    (name,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    text = wheel.read(name).decode()
    assert "[console_scripts]\nharness = harness.cli.app:main" in text
    for group, points in PROJECT["entry-points"].items():
        for point, value in points.items():
            assert f"{point} = {value}" in text.partition(f"[{group}]")[2]


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("package", ["backends", "scenarios", "reports", "scenarios/suites"])
def test_a_plugin_package_holds_nothing_but_its_docstring(package: str) -> None:
    (statement,) = ast.parse((ROOT / package / "__init__.py").read_text()).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Constant)
    assert isinstance(statement.value.value, str)


def test_the_installed_entry_points_are_those_of_pyproject() -> None:
    declared = {
        (group, name, value)
        for group, points in PROJECT["entry-points"].items()
        for name, value in points.items()
    }
    declared |= {("console_scripts", name, value) for name, value in PROJECT["scripts"].items()}
    installed = metadata.distribution("inference-harness").entry_points
    assert {(p.group, p.name, p.value) for p in installed} == declared, (
        "make install brings a new entry point into an editable install"
    )


def test_every_entry_point_can_be_loaded() -> None:
    points = metadata.distribution("inference-harness").entry_points
    assert all(point.load() for point in points)


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_tests_hold_no_modules_to_import_from() -> None:
    python = (ROOT / "tests").rglob("*.py")
    odd = [p for p in python if not p.name.startswith(("test_", "__init__", "conftest"))]
    assert odd == [], "what tests share belongs to harness.testing or a conftest"


# --- A user's folders of the same names -----------------------------------------------------------


@pytest.mark.parametrize("command", [[HARNESS], [sys.executable, "-m", "harness"]])
@pytest.mark.parametrize(
    ("kind", "name"), [("backends", "eager"), ("scenarios", "latency"), ("reports", "html")]
)
def test_the_command_finds_our_plugins_from_a_folder_that_shadows_them(
    users_folder: Path, command: list[object], kind: str, name: str
) -> None:
    done = run(*command, "list", kind, "--json", cwd=users_folder)
    assert done.returncode == 0, done.stderr
    assert f'"{name}"' in done.stdout
    assert "of the user was imported" not in done.stdout + done.stderr
    assert "shadowed" not in done.stdout + done.stderr


FIND = """
from harness.contracts import {kind}
from harness.errors import PluginError
from harness.plugins import find
try:
    print("found", find({kind}, "{name}").summary)
except PluginError as error:
    print("error:", error)
"""
KINDS = [
    ("backends", "Backend", "eager"),
    ("scenarios", "Scenario", "latency"),
    ("reports", "Report", "html"),
]


@pytest.mark.parametrize(("package", "kind", "name"), KINDS)
def test_a_script_in_a_folder_that_shadows_us_is_told_which_path_does(
    users_folder: Path, package: str, kind: str, name: str
) -> None:
    script = users_folder / "mine.py"
    script.write_text(FIND.format(kind=kind, name=name))
    done = run(sys.executable, script, cwd=users_folder)
    assert re.fullmatch(
        rf'error: package "{package}" is shadowed by {re.escape(str(users_folder / package))}; '
        rf"expected {re.escape(str(ROOT / package))}; start through .*\n",
        done.stdout,
    ), done.stdout + done.stderr


@pytest.mark.parametrize(("package", "kind", "name"), KINDS)
def test_a_notebook_in_a_folder_that_shadows_us_is_told_which_path_does(
    users_folder: Path, package: str, kind: str, name: str
) -> None:
    # A kernel has the working folder first on its path, as `python -c` has.
    done = run(sys.executable, "-c", FIND.format(kind=kind, name=name), cwd=users_folder)
    assert f'package "{package}" is shadowed by {users_folder / package}' in done.stdout


def test_a_single_module_of_our_name_is_named_as_well(users_folder: Path) -> None:
    (users_folder / "backends" / "__init__.py").unlink()
    (users_folder / "backends").rmdir()
    (users_folder / "backends.py").write_text("")
    done = run(sys.executable, "-c", FIND.format(kind="Backend", name="eager"), cwd=users_folder)
    assert f'package "backends" is shadowed by {users_folder / "backends.py"}' in done.stdout


def test_without_the_working_folder_on_its_path_a_script_works(users_folder: Path) -> None:
    code = FIND.format(kind="Backend", name="eager")
    done = run(sys.executable, "-P", "-c", code, cwd=users_folder)
    assert done.stdout.startswith("found")


def test_a_folder_without_init_does_not_shadow_us(tmp_path: Path) -> None:
    (tmp_path / "backends").mkdir()
    code = FIND.format(kind="Backend", name="eager")
    assert run(sys.executable, "-c", code, cwd=tmp_path).stdout.startswith("found")


def test_pythonpath_that_shadows_us_is_named_and_harms_nothing_else(users_folder: Path) -> None:
    done = run(HARNESS, "list", "backends", "--json", cwd=users_folder, env={"PYTHONPATH": "."})
    assert done.returncode == 0, done.stderr
    assert f"shadowed by {users_folder / 'backends'}" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("start", [["-m", "pytest"], ["-P", "-m", "pytest"]])
def test_pytest_in_a_folder_that_shadows_us_works_or_is_told_which_path_does(
    users_folder: Path, start: list[str]
) -> None:
    code = FIND.format(kind="Backend", name="eager").replace("print(", "print('says:', ")
    (users_folder / "test_mine.py").write_text("def test_mine():\n" + code.replace("\n", "\n    "))
    done = run(
        sys.executable, *start, "-q", "-s", "-p", "no:cacheprovider", "--import-mode=importlib",
        "test_mine.py", cwd=users_folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = f'says: error: package "backends" is shadowed by {users_folder / "backends"}'
    assert ("says: found" if "-P" in start else told) in done.stdout


def test_workers_keep_the_working_folder_off_their_path(tmp_path: Path) -> None:
    assert worker_command(tmp_path)[:2] == [sys.executable, "-P"]
    assert worker_environment(1, {})["PYTHONSAFEPATH"] == "1"
    assert worker_environment(1, {"PYTHONSAFEPATH": ""})["PYTHONSAFEPATH"] == "1"


@pytest.mark.slow
def test_a_run_from_a_folder_that_shadows_us_works_and_leaves_its_folders_alone(
    users_folder: Path,
) -> None:
    before = set(users_folder.rglob("*"))
    done = run(
        HARNESS, "run", "quick", "--scenario", "latency", "--rounds", "1",
        "--set", "run.max_seconds=0.3", cwd=users_folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = run(HARNESS, "report", cwd=users_folder)
    assert report.returncode == 0, report.stderr
    new = {
        path.relative_to(users_folder).parts[0] for path in set(users_folder.rglob("*")) - before
    }
    assert new == {".harness", "report.html"}


def test_default_outputs_have_names_of_their_own() -> None:
    assert DEFAULT_ROOT == ".harness"


# --- Quick to answer ------------------------------------------------------------------------------


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Top-level packages in the output of `-X importtime`."""
    names = re.findall(r"^import time:.*\|\s*([\w.]+)$", done.stderr, re.MULTILINE)
    assert "harness" in names, done.stderr[:2000]
    return {name.partition(".")[0] for name in names}


LISTS = ["backends", "scenarios", "models", "suites", "runs", "metrics", "reports", "samplers"]


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["run", "--help"], ["check-plugin", "--help"], ["show", "--help"]]
    + [["list", kind] for kind in LISTS],
    ids=" ".join,
)
def test_help_and_lists_import_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    done = run(sys.executable, "-X", "importtime", "-m", "harness", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert imported(done) & HEAVY == set()


@pytest.mark.parametrize(
    ("words", "completion"),
    [
        ("harness ", "check-plugin"),
        ("harness run --backend ea", "eager"),
        ("harness run q", "quick"),
        ("harness run --model ti", "tiny"),
        ("harness run --scenario lat", "latency"),
        ("harness check-plugin ea", "eager"),
        ("harness show la", "latest"),
        ("harness report --format ht", "html"),
    ],
)
def test_completion_offers_names_and_imports_nothing_heavy(
    tmp_path: Path, words: str, completion: str
) -> None:
    done = run(
        sys.executable, "-X", "importtime", "-m", "harness",
        cwd=tmp_path,
        env={
            "_HARNESS_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
    )  # fmt: skip
    assert completion in done.stdout.split()
    assert imported(done) & HEAVY == set()
