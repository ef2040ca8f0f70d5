"""Who wrote the lines of a function that grew, since the base: one commit for a sentence.

It must not change the checkout it asks, nor say anything where git is not there or says nothing.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import InputError
from harness.gate.worktrees import git, project_root

__all__ = ["Blamed", "blame", "function_lines"]

_NOT_COMMITTED = "0" * 40


@dataclass(frozen=True)
class Blamed:
    """A line that the base does not have."""

    file: str
    """Within the project."""
    line: int
    commit: str
    """Abbreviated; empty where it is not committed."""
    author: str
    date: str
    """`2026-11-24`."""
    subject: str

    @property
    def words(self) -> str:
        """`new since 1a2b3c4d5 ("Copy the cache", Someone)`."""
        if not self.commit:
            return "new, not committed yet"
        return f'new since {self.commit} ("{self.subject}", {self.author})'


def blame(file: Path, function: str, line: int | None, since: str) -> Blamed | None:
    """Return the commit that brought a function's newest code, if base does not have it.

    Args:
        file: As it was when it ran.
        function: Its name, or that of a method.
        line: The line that was slow, which is asked first; None asks the whole function.
        since: The base's commit.

    Returns:
        None where the file is in no project, or base has every line of the function.
    """
    try:
        root = project_root(file.parent)
        lines = list(_blamed(root, file, function, line))
        new = [found for found in lines if not _is_in(root, found[0], since)]
    except (InputError, OSError):
        return None
    if not new:
        return None
    at_line = [found for found in new if found[1] == line]
    commit, number, facts = (at_line or new)[0]
    when = datetime.fromtimestamp(int(facts.get("author-time", "0")), UTC)
    return Blamed(
        file=str(file.resolve().relative_to(root.resolve())),
        line=number,
        commit="" if commit == _NOT_COMMITTED else commit[:9],
        author=facts.get("author", ""),
        date=f"{when:%Y-%m-%d}",
        subject=facts.get("summary", ""),
    )


def function_lines(text: str, name: str) -> tuple[int, int] | None:
    """Return the first and last line of a function, decorators included; None where there is none.

    Of several with the name, the last: that is the one which a module ends up with.
    """
    found = None
    with contextlib.suppress(SyntaxError, ValueError):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                found = first, node.end_lineno or node.lineno
    return found


def _blamed(
    root: Path, file: Path, function: str, line: int | None
) -> Iterator[tuple[str, int, dict[str, str]]]:
    """Yield commit, line number and what git says of each line of a function."""
    span = function_lines(file.read_text(errors="replace"), function.rpartition(".")[2])
    first, last = span or (line, line)
    if first is None:
        return
    said = git(root, "blame", "--porcelain", "-L", f"{first},{last}", "--", str(file.resolve()))
    known: dict[str, dict[str, str]] = {}
    commit, number = "", 0
    for text in said.splitlines():
        if text.startswith("\t"):
            yield commit, number, known[commit]
            continue
        key, _, value = text.partition(" ")
        if len(key) == 40 and value and value[0].isdigit():
            commit, number = key, int(value.split()[1])
            known.setdefault(commit, {})
        else:
            known[commit][key] = value


def _is_in(root: Path, commit: str, revision: str) -> bool:
    """Whether a revision has a commit behind it."""
    if commit == _NOT_COMMITTED:
        return False
    try:
        git(root, "merge-base", "--is-ancestor", commit, revision)
    except InputError:
        return False
    return True
