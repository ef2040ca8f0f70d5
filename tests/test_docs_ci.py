"""docs/ci.md, followed word for word in a git repository of its own; and the ready action."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
_BLOCK = re.compile(r"<!-- (file|exit) ([^>]*?) -->\n```\w+\n(.*?)```", re.DOTALL)


@dataclass
class Followed:
    """A repository in which the page was followed, and what each command said."""

    folder: Path
    said: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    """Command to exit status and output; and the exit statuses that the page promises."""

    def of(self, beginning: str) -> tuple[int, str, str]:
        """Return what the command with this beginning gave."""
        (found,) = [said for command, said in self.said.items() if command.startswith(beginning)]
        return found


def environment(**more: str) -> dict[str, str]:
    names = {f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {
        **os.environ,
        **{name: "a@example.org" if name.endswith("EMAIL") else "A" for name in names},
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        **more,
    }


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    found = Followed(tmp_path_factory.mktemp("project"))
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=found.folder, check=True)
    for kind, argument, text in _BLOCK.findall(PAGE):
        if kind == "file":
            (found.folder / argument).write_text(text)
            continue
        for line in text.splitlines():
            command = line.removeprefix("$ ")
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=found.folder, env=environment(), capture_output=True, text=True, timeout=300,
            )  # fmt: skip
            found.said[command] = (done.returncode, done.stdout + done.stderr, argument)
    return found


@pytest.mark.slow
def test_the_page_followed_word_for_word_fails_the_slow_commit_and_passes_the_mended_one(
    followed: Followed,
) -> None:
    """One test, since each worker of pytest-xdist would follow the page anew."""
    wrong = {
        command: said
        for command, said in followed.said.items()
        if str(said[0]) not in said[2].split(" or ")
    }
    assert wrong == {}
    assert len(followed.said) > 10

    _, slow, _ = followed.of("harness ab gate.toml --base HEAD~1")
    assert "tiny/mine[dtype=float32,threads=1]/latency" in slow
    assert re.search(r"itl_ms .*\+\d+\.\d % \[\+\d+\.\d, \+\d+\.\d\] +regression", slow)
    assert "regression: 1 of 1 figures" in slow

    assert "pass: 1 of 1 figures" in followed.of("harness ab gate.toml --base HEAD~2")[1]
    assert json.loads((followed.folder / "gate.json").read_text())["verdict"] == "pass"
    assert 'failures="0"' in (followed.folder / "junit.xml").read_text()
    assert "✅ pass" in (followed.folder / "gate.md").read_text()

    bisected = followed.of("harness bisect")[1]
    assert "first bad commit" in bisected
    assert "Make it slower" in bisected

    worktrees = subprocess.run(
        ["git", "worktree", "list"], cwd=followed.folder, capture_output=True, text=True
    )
    assert len(worktrees.stdout.splitlines()) == 1, "a worktree is left behind"


def action() -> Any:
    return yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


def test_the_action_runs_the_gate_and_says_its_verdict(tmp_path: Path) -> None:
    """Its script as GitHub would run it, with a harness that only writes its arguments down."""
    (step,) = action()["runs"]["steps"]
    fake = tmp_path / "python"
    fake.write_text(
        '#!/usr/bin/env bash\nif [ "$1" = -c ]; then exec ' + sys.executable + ' "$@"; fi\n'
        'printf "%s\\n" "$@" > arguments\necho \'{"verdict": "regression"}\' > harness-gate.json\n'
        "exit 1\n"
    )
    fake.chmod(0o755)
    output = tmp_path / "output"
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    inputs = {
        "SUITE": "gate.toml; touch pwned", "BASE": "HEAD", "PACKAGE": "", "PYTHON": str(fake),
        "ARGUMENTS": "--plugin my_backend.py --budget 15m", "ON_INCONCLUSIVE": "pass",
    }  # fmt: skip

    done = subprocess.run(
        ["bash", "-c", step["run"]], cwd=tmp_path, capture_output=True, text=True,
        env=environment(GITHUB_OUTPUT=str(output), **inputs),
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    assert output.read_text() == "verdict=regression\n"
    assert not (tmp_path / "pwned").exists()
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[:5] == ["-P", "-m", "harness", "ab", "gate.toml; touch pwned"]
    assert arguments[-4:] == ["--plugin", "my_backend.py", "--budget", "15m"]


def test_every_option_that_the_action_and_the_examples_use_is_one_of_the_verb() -> None:
    from typer.main import get_command

    from harness.cli.app import app

    command: Any = get_command(app)
    known = {option for p in command.commands["ab"].params for option in p.opts}
    texts = [(ROOT / "action.yml").read_text()]
    texts += [path.read_text() for path in (ROOT / "examples" / "ci").iterdir()]
    used = {
        option
        for text in texts
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)
        if option not in ("--quiet", "--depth")
    }
    assert used <= known, used - known


@pytest.mark.parametrize("name", ["github.yml", "gitlab.yml"])
def test_the_page_shows_the_examples_as_they_are(name: str) -> None:
    text = (ROOT / "examples" / "ci" / name).read_text(encoding="utf-8")

    assert f"```yaml\n{text}```" in PAGE
    assert yaml.safe_load(text)
