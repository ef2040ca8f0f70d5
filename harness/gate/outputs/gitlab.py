"""GitLab's code-quality report: findings that a merge request shows beside the diff.

Format: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
"""

from __future__ import annotations

import hashlib
import json

from harness.gate.judgement import Judgement, Verdict
from harness.gate.outputs.words import sentence
from harness.shown import printable

__all__ = ["code_quality"]

_SEVERITY: dict[Verdict, str] = {
    "regression": "critical",
    "no-figure": "major",
    "incomparable": "major",
    "inconclusive": "minor",
}


def code_quality(judgement: Judgement, path: str = "harness.toml") -> bytes:
    """Return the report: one finding per figure that does not pass.

    Args:
        judgement: What was found.
        path: GitLab wants a file; a figure lies in none, so the suite stands for it.
    """
    findings = [
        {
            "description": printable(sentence(row), 2000),
            "check_name": f"harness-{row.kind}",
            # The same figure is the same finding in the next pipeline, whatever its value.
            "fingerprint": hashlib.sha256(f"{row.case}\0{row.name}".encode()).hexdigest(),
            "severity": _SEVERITY[row.verdict],
            "location": {"path": path, "lines": {"begin": 1}},
        }
        for row in judgement.rows
        if row.primary and row.verdict in _SEVERITY
    ]
    return json.dumps(findings, indent=1, ensure_ascii=False).encode() + b"\n"
