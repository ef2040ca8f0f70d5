"""Revisions side by side, in a git repository of the test's own."""

import subprocess
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.gate.worktrees import checkout, commits_between, project_root


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with two commits of one file, and a change that is not committed."""
    root = tmp_path / "project"
    root.mkdir()

    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments],
            cwd=root, check=True, capture_output=True,
        )  # fmt: skip

    git("init", "-q", "-b", "main")
    for number in (1, 2):
        (root / "value.py").write_text(f"VALUE = {number}\n")
        git("add", ".")
        git("commit", "-q", "-m", f"value {number}")
    (root / "value.py").write_text("VALUE = 3\n")
    (root / "new.py").write_text("")
    return root


def worktrees(root: Path) -> int:
    said = subprocess.run(
        ["git", "worktree", "list"], cwd=root, check=True, capture_output=True, text=True
    )
    return len(said.stdout.splitlines())


def test_a_revision_is_checked_out_and_gone_afterwards(project: Path) -> None:
    with checkout(project, "HEAD~1") as found:
        assert (found.folder / "value.py").read_text() == "VALUE = 1\n"
        assert worktrees(project) == 2
        assert found.label.startswith("HEAD~1 (")

    assert not found.folder.exists()
    assert worktrees(project) == 1


def test_a_checkout_goes_where_its_use_fails(project: Path) -> None:
    with pytest.raises(RuntimeError), checkout(project, "HEAD"):
        raise RuntimeError

    assert worktrees(project) == 1


def test_a_dot_is_the_working_tree_as_it_is(project: Path) -> None:
    with checkout(project, ".") as found:
        assert found.folder == project
        assert (found.folder / "value.py").read_text() == "VALUE = 3\n"

    assert project.exists()


def test_a_revision_that_is_none_is_bad_input(project: Path) -> None:
    with pytest.raises(InputError, match='"nothing" is no revision'), checkout(project, "nothing"):
        pass


def test_a_revision_that_looks_like_an_option_is_no_option(project: Path) -> None:
    with pytest.raises(InputError, match="is no revision"), checkout(project, "--help"):
        pass


def test_each_checkout_is_installed_where_told(project: Path) -> None:
    with checkout(project, "HEAD", "mkdir -p .venv/bin && touch .venv/bin/python") as found:
        assert found.interpreter(None).python == str(found.folder / ".venv" / "bin" / "python")


def test_an_install_that_fails_says_its_last_line_and_leaves_nothing(project: Path) -> None:
    with (
        pytest.raises(InputError, match="--install at HEAD: ended with status 3: no luck"),
        checkout(project, "HEAD", "echo no luck >&2; exit 3"),
    ):
        pass

    assert worktrees(project) == 1


def test_the_projects_files_come_from_the_revision_and_others_as_they_are(project: Path) -> None:
    with checkout(project, "HEAD~1") as found:
        assert found.inside(project, project / "value.py") == found.folder / "value.py"
        assert found.inside(project, Path("/etc/hosts")) == Path("/etc/hosts").resolve()
        with pytest.raises(InputError, match=r"HEAD~1 .*has no new\.py"):
            found.inside(project, project / "new.py")


def test_packages_are_found_in_src_where_there_is_one(project: Path) -> None:
    with checkout(project, ".") as found:
        assert found.interpreter(None).path == (str(project),)
        assert found.interpreter("none").path == ()
        (project / "src").mkdir()
        assert found.interpreter(None).path == (str(project / "src"),)


def test_a_folder_that_would_hide_our_packages_is_refused(project: Path) -> None:
    (project / "reports").mkdir()
    (project / "reports" / "__init__.py").write_text("")

    with (
        checkout(project, ".") as found,
        pytest.raises(InputError, match=r'"reports" would hide the harness.*--path'),
    ):
        found.interpreter(None)


def test_commits_between_two_revisions_come_oldest_first(project: Path) -> None:
    assert len(commits_between(project, "HEAD~1", "HEAD")) == 1
    with pytest.raises(InputError, match="does not come after"):
        commits_between(project, "HEAD", "HEAD~1")


def test_a_folder_without_git_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a git repository"):
        project_root(tmp_path)
