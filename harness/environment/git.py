"""Which revision of the user's project a run was made from, and whether it had changes.

It must not run what a project's own configuration names, nor record an address with credentials.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

from harness.environment.facts import absent

__all__ = ["git"]

_LIMIT_S = 5.0
_LEADS_ELSEWHERE = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}


def git(project: Path) -> dict[str, Any]:
    """Return revision, branch, dirtiness and nearest tag of the work tree that holds `project`."""
    try:
        status = _run(project, "status", "--porcelain=v2", "--branch")
    except FileNotFoundError as error:
        return absent(
            "git is not installed" if error.filename == "git" else f"{project} is not there"
        )
    except (OSError, subprocess.SubprocessError) as error:
        return absent(_reason(error))
    head = dict(
        line[2:].split(" ", 1) for line in status.splitlines() if line.startswith("# branch.")
    )
    changed = [line for line in status.splitlines() if not line.startswith("#")]
    facts: dict[str, Any] = {
        "revision": head.get("branch.oid", "(initial)"),
        "branch": head.get("branch.head", "(detached)"),
        "dirty": bool(changed),
        "changed_files": len(changed),
    }
    if facts["revision"] == "(initial)":
        facts["revision"] = absent("nothing is committed yet")
    if facts["branch"] == "(detached)":
        facts["branch"] = absent("HEAD is detached")
    try:
        facts["describe"] = _run(project, "describe", "--always", "--tags").strip()
    except (OSError, subprocess.SubprocessError) as error:
        facts["describe"] = absent(_reason(error))
    return facts


def _run(project: Path, *arguments: str) -> str:
    # Where a hook started us, GIT_DIR would lead to another work tree than the one asked for.
    environ = {k: v for k, v in os.environ.items() if k not in _LEADS_ELSEWHERE}
    environ |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    return subprocess.run(
        ["git", "-c", "core.fsmonitor=false", *arguments],  # noqa: S607  # the user's own git
        cwd=project,
        env=environ,
        check=True,
        capture_output=True,
        timeout=_LIMIT_S,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
    ).stdout


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = str(error.stderr).strip().splitlines()
        return lines[0] if lines else f"git ended with status {error.returncode}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"git took longer than {_LIMIT_S:g} s"
    return str(error)
