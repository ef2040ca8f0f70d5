"""Revisions of the user's project side by side: git worktrees, installed where told, removed after.

It must not know what is measured in them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.engine.spawn import Interpreter
from harness.errors import InputError

__all__ = ["WORKING_TREE", "Checkout", "checkout", "commits_between", "git", "project_root"]

WORKING_TREE = "."
"""Stands for the working tree as it is, uncommitted changes included."""
_OUR_PACKAGES = ("backends", "scenarios", "reports")
_INSTALL_SECONDS = 1800
_LEADS_ELSEWHERE = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}


@dataclass(frozen=True)
class Checkout:
    """One revision, checked out."""

    name: str
    """As the user named it."""
    folder: Path
    revision: str
    """The commit's full id; `working tree` where it is none."""

    @property
    def label(self) -> str:
        """`HEAD~1 (1a2b3c4)`."""
        if self.name == WORKING_TREE:
            return "the working tree"
        short = self.revision[:9]
        return short if self.revision.startswith(self.name) else f"{self.name} ({short})"

    def interpreter(self, path: str | None, python: str | None = None) -> Interpreter:
        """Return the Python that runs this revision and finds its packages first.

        An environment that `--install` made in the checkout (`.venv`) comes before ours.

        Args:
            path: Folder to import from, relative to the project; `none` for no such folder; by
                default `src` where there is one, else the project itself.
            python: An interpreter of the user's.

        Raises:
            InputError: where the folder would hide the harness's own packages.
        """
        own = self.folder / ".venv" / "bin" / "python"
        made = self.name != WORKING_TREE and own.exists()
        program = python or (str(own) if made else sys.executable)
        if path == "none":
            return Interpreter(program)
        given = path or ("src" if (self.folder / "src").is_dir() else ".")
        folder = (self.folder / given).resolve()
        if not folder.is_dir():
            raise InputError(f"has no folder {given}", where=self.label, expected="--path DIR")
        hidden = [name for name in _OUR_PACKAGES if (folder / name / "__init__.py").exists()]
        if hidden and not (folder / "harness" / "__init__.py").exists():
            raise InputError(
                f'its "{hidden[0]}" would hide the harness\'s package of that name',
                where=f"{self.label}: {folder}",
                remedy="name another folder to import from with --path DIR, or --path none",
            )
        return Interpreter(program, (str(folder),))

    def inside(self, root: Path, file: Path) -> Path:
        """Return this revision's version of a file of the project; any other file as it is.

        Raises:
            InputError: where this revision has no such file.
        """
        absolute = file.resolve()
        if not absolute.is_relative_to(root.resolve()):
            return absolute
        own = self.folder / absolute.relative_to(root.resolve())
        if not own.exists():
            raise InputError(
                f"has no {absolute.relative_to(root.resolve())}",
                where=self.label,
                remedy="keep the file outside of the project to use one for both revisions",
            )
        return own


def git(folder: Path, *arguments: str) -> str:
    """Run git and return what it prints.

    Raises:
        InputError: where git is not there or refuses, with its own words.
    """
    environ = {k: v for k, v in os.environ.items() if k not in _LEADS_ELSEWHERE}
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 - the user's own git
            cwd=folder,
            env=environ | {"LC_ALL": "C"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            check=True,
        )
    except FileNotFoundError as error:
        raise InputError("git is not installed") from error
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines() or [f"git ended with {error.returncode}"]
        raise InputError(lines[0].removeprefix("fatal: "), where=f"git {arguments[0]}") from error
    return done.stdout


def project_root(folder: Path) -> Path:
    """Return the top of the git work tree that holds a folder.

    Raises:
        InputError: where it lies in none.
    """
    return Path(git(folder, "rev-parse", "--show-toplevel").strip())


def commits_between(root: Path, good: str, bad: str) -> list[str]:
    """Return the commits after `good` up to `bad`, oldest first, along the first parents.

    Raises:
        InputError: where there are none: `bad` does not descend from `good`.
    """
    ends = [_commit(root, name) for name in (good, bad)]
    commits = git(root, "rev-list", "--first-parent", "--reverse", f"{ends[0]}..{ends[1]}").split()
    if not commits:
        raise InputError(f"{bad} does not come after {good}", expected="--good OLDER --bad NEWER")
    return commits


@contextlib.contextmanager
def checkout(root: Path, revision: str, install: str | None = None) -> Iterator[Checkout]:
    """Check a revision out beside the project; it is gone when the context is left.

    Args:
        root: Top of the project.
        revision: What git understands, or `.` for the working tree, which is used where it is.
        install: A shell command to run in the checkout, such as `pip install -t . .`.

    Raises:
        InputError: where git knows no such revision, or the command fails.
    """
    if revision == WORKING_TREE:
        yield Checkout(revision, root, "working tree")
        return
    commit = _commit(root, revision)
    above = Path(tempfile.mkdtemp(prefix="harness-ab-"))
    folder = above / root.name
    try:
        git(root, "worktree", "add", "--detach", "--quiet", str(folder), commit)
        if install:
            _install(folder, install, revision)
        yield Checkout(revision, folder, commit)
    finally:
        with contextlib.suppress(InputError):
            git(root, "worktree", "remove", "--force", str(folder))
        shutil.rmtree(above, ignore_errors=True)
        with contextlib.suppress(InputError):
            git(root, "worktree", "prune")


def _commit(root: Path, revision: str) -> str:
    try:
        return git(
            root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        ).strip()
    except InputError as error:
        raise InputError(f'"{revision}" is no revision of the project', where=str(root)) from error


def _install(folder: Path, command: str, revision: str) -> None:
    try:
        done = subprocess.run(  # noqa: S602 - the user's own command, from the command line
            command,
            shell=True,
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"took longer than {_INSTALL_SECONDS} s", where=f"--install at {revision}"
        ) from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["it said nothing"]
        raise InputError(
            f"ended with status {done.returncode}: {said[-1]}", where=f"--install at {revision}"
        )
