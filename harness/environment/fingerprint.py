"""The fingerprint of a run: one table from topic to facts.

It must not know what two fingerprints mean for each other: `differences` does.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.environment.cpu import CPU
from harness.environment.facts import Reader, collect
from harness.environment.git import git
from harness.environment.gpu import gpus
from harness.environment.software import PYTHON, TORCH, packages, settings, thread_settings
from harness.environment.system import LIMITS, MEMORY, OS

__all__ = ["TOPICS", "fingerprint"]

TOPICS: dict[str, dict[str, Reader]] = {
    "cpu": CPU,
    "memory": MEMORY,
    "limits": LIMITS,
    "os": OS,
    "python": PYTHON,
    "torch": TORCH,
}


def fingerprint(
    project: Path, *, root: Path = Path("/"), environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what this machine and its software are, as JSON values nested by topic.

    Args:
        project: Folder of the user's project, for its revision.
        root: Where /proc, /sys and /etc are; another than `/` reads a recorded machine.
        environ: Environment variables, by default this process's.
    """
    environ = os.environ if environ is None else environ
    return {
        **{topic: collect(table, root) for topic, table in TOPICS.items()},
        "gpus": gpus(),
        "packages": packages(),
        "threads": thread_settings(environ),
        "environment": settings(environ),
        "git": git(project),
    }
