"""The commit that brought the lines which grew, and nobody where base has them."""

import subprocess
from pathlib import Path

import pytest

from harness.gate.blame import Blamed, blame, function_lines

BEFORE = "def fast():\n    return 1\n\n\ndef slow():\n    return 2\n"
AFTER = "def fast():\n    return 1\n\n\ndef slow():\n    x = 2\n    return x * x\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository whose second commit changed one function."""
    git(tmp_path, "init")
    for text, words in ((BEFORE, "Begin"), (AFTER, "Square it")):
        (tmp_path / "code.py").write_text(text)
        git(tmp_path, "add", "-A")
        git(
            tmp_path, "-c", "user.name=Someone", "-c", "user.email=a@example.org",
            "commit", "-m", words,
        )  # fmt: skip
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def asked(project: Path, function: str, line: int | None, since: str = "HEAD~1") -> Blamed | None:
    return blame(project / "code.py", function, line, git(project, "rev-parse", since))


def test_the_line_that_is_new_is_blamed_on_its_commit(project: Path) -> None:
    found = asked(project, "slow", 6)

    assert found is not None
    assert (found.file, found.line, found.author, found.subject) == (
        "code.py", 6, "Someone", "Square it",
    )  # fmt: skip
    assert git(project, "rev-parse", "HEAD").startswith(found.commit)
    assert found.words == f'new since {found.commit} ("Square it", Someone)'


def test_without_a_line_the_whole_function_is_asked(project: Path) -> None:
    found = asked(project, "slow", None)

    assert found is not None
    assert found.subject == "Square it"


def test_an_old_line_leads_to_what_is_new_in_its_function(project: Path) -> None:
    found = asked(project, "slow", 5)

    assert found is not None
    assert found.line == 6


@pytest.mark.parametrize(
    ("function", "since"),
    [
        pytest.param("fast", "HEAD~1", id="the function is as it was"),
        pytest.param("slow", "HEAD", id="base has the change"),
    ],
)
def test_nobody_is_blamed_for_what_base_has(project: Path, function: str, since: str) -> None:
    assert asked(project, function, None, since) is None


def test_what_is_not_committed_says_so(project: Path) -> None:
    (project / "code.py").write_text(AFTER.replace("x = 2", "x = 3"))

    found = asked(project, "slow", 6, "HEAD")

    assert found is not None
    assert found.words == "new, not committed yet"


def test_a_file_outside_of_any_project_has_nobody(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(BEFORE)

    assert blame(tmp_path / "code.py", "slow", None, "HEAD") is None


def test_a_functions_lines_begin_at_its_decorators() -> None:
    text = "x = 1\n@one\n@two\ndef f():\n    pass\n"
    assert function_lines(text, "f") == (2, 5)
    assert function_lines(text, "g") is None
    assert function_lines("def broken(:", "broken") is None
