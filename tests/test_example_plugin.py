"""The example is a third party's package: installed into an environment of its own, it just works.

The environment sees the packages installed here through a path file, so that nothing heavy has to
be installed again; the example itself is built and installed as pip would do it for anybody.
"""

import json
import os
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "plugin"

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> str:
    """Run a command away from this checkout and return what it printed."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HARNESS_"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the example installed; its folder of commands."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    commands = folder / "bin"
    python = commands / "python"
    (packages,) = (folder / "lib").glob("python*/site-packages")
    # `addsitedir`, since an editable install of ours is a path file itself.
    lines = [f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages()]
    (packages / "installed_here.pth").write_text("".join(lines))
    run(
        python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--no-index", "--no-build-isolation", EXAMPLE,
        cwd=folder,
    )  # fmt: skip
    # Ours is installed elsewhere; its command is one line.
    (commands / "harness").write_text(f"#!{python} -P\nfrom harness.cli.app import main\nmain()\n")
    (commands / "harness").chmod(0o755)
    return commands


def test_the_backend_and_its_suite_are_listed(environment: Path, tmp_path: Path) -> None:
    harness = environment / "harness"
    backends = json.loads(run(harness, "list", "backends", "--json", cwd=tmp_path))
    assert "delayed" in {row["name"] for row in backends}
    assert "delay" in run(harness, "list", "suites", "--json", cwd=tmp_path)


def test_its_sampler_is_listed_and_keeps_its_contract(environment: Path, tmp_path: Path) -> None:
    harness = environment / "harness"
    samplers = json.loads(run(harness, "list", "samplers", "--json", cwd=tmp_path))
    assert {"disks", "host"} <= {row["name"] for row in samplers}
    assert "keeps its contract" in run(harness, "check-plugin", "disks", cwd=tmp_path)


def test_its_report_says_what_a_run_found(environment: Path, tmp_path: Path) -> None:
    harness = environment / "harness"
    run(
        harness,
        "report",
        ROOT / "tests" / "reports" / "sample_run",
        "--format",
        "chat",
        cwd=tmp_path,
    )
    page, lines = (
        run(harness, "show", "--json", ROOT / "tests" / "reports" / "sample_run", cwd=tmp_path),
        ((tmp_path / "report.txt").read_text().splitlines()),
    )
    assert lines[0].startswith(f"{json.loads(page)['suite']}")
    assert lines[-1].endswith(json.loads(page)["id"])


def test_its_own_tests_pass(environment: Path, tmp_path: Path) -> None:
    tests = EXAMPLE / "tests"
    run(
        environment / "python", "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider",
        "--import-mode=importlib", "--rootdir", tests, "-c", os.devnull, tests,
        cwd=tmp_path,
    )  # fmt: skip


def test_its_suite_runs_and_reports_the_declared_delay(environment: Path, tmp_path: Path) -> None:
    harness = environment / "harness"
    short = ["--set", "run.max_seconds=0.5", "--rounds", "1"]
    run(harness, "run", "delay", *short, cwd=tmp_path)
    record = json.loads(run(harness, "show", "--json", cwd=tmp_path))
    itl = {
        case["backend"]: figure["reading"]["value"]
        for case in record["cases"]
        for figure in case["figures"]
        if figure["metric"] == "itl_ms" and figure["statistic"] == "p50"
    }
    read = {sampler["name"]: sampler for sampler in record["telemetry"][0]["samplers"]}
    assert read["disks"]["absent"] == {"/nowhere free_bytes": "there is no folder /nowhere"}
    # How exact it is, is measured on a quiet machine; a wait can never be too short.
    assert set(itl) == {"eager", "delayed"}
    assert itl["delayed"] >= 5.0


def test_it_is_gone_where_it_is_not_installed(tmp_path: Path) -> None:
    listed = run(sys.executable, "-P", "-m", "harness", "list", "backends", "--json", cwd=tmp_path)
    assert "delayed" not in {row["name"] for row in json.loads(listed)}
