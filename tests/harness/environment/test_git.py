import subprocess
from pathlib import Path

import pytest

from harness.environment.facts import is_absent
from harness.environment.git import git


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    _git(tmp_path, "init", "-b", "topic")
    (tmp_path / "a.txt").write_text("a")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "first")
    _git(tmp_path, "tag", "v1")
    return tmp_path


def test_a_clean_project_has_revision_branch_and_tag(project):
    facts = git(project)
    assert len(facts["revision"]) == 40
    assert (facts["branch"], facts["dirty"], facts["describe"]) == ("topic", False, "v1")


def test_a_changed_file_makes_it_dirty(project):
    (project / "a.txt").write_text("b")
    (project / "new.txt").write_text("c")
    assert (git(project)["dirty"], git(project)["changed_files"]) == (True, 2)


def test_a_folder_inside_the_project_will_do(project):
    (project / "inner").mkdir()
    assert git(project / "inner")["revision"] == git(project)["revision"]


def test_a_detached_head_has_no_branch_but_a_reason(project):
    _git(project, "checkout", "--detach")
    assert git(project)["branch"] == {"absent": "HEAD is detached"}


def test_a_repository_without_commits_has_no_revision_but_a_reason(tmp_path):
    _git(tmp_path, "init")
    facts = git(tmp_path)
    assert facts["revision"] == {"absent": "nothing is committed yet"}
    assert is_absent(facts["describe"])


def test_a_folder_without_a_repository_says_so(tmp_path):
    assert "not a git repository" in git(tmp_path)["absent"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    assert "gone is not there" in git(tmp_path / "gone")["absent"]


def test_a_hooks_variables_do_not_lead_to_another_project(project, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    _git(other, "init")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert git(project)["describe"] == "v1"


def test_a_missing_git_is_a_reason(project, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git(project) == {"absent": "git is not installed"}


def test_no_remotes_address_is_recorded(project):
    _git(project, "remote", "add", "origin", "https://user:s3cr3t@example.com/x.git")
    assert "s3cr3t" not in str(git(project))
