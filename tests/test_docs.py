"""What the documents show is what the program does: commands, links, decisions, pictures."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from harness.cli.app import app
from harness.contracts import Backend
from harness.engine.plan import make_plan
from harness.plugins import names
from harness.spec import read_suite

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BIN = Path(sys.executable).parent


def commands(document: Path) -> Iterator[list[str]]:
    """Yield the arguments of each `harness …` line in a document's fenced blocks."""
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", document.read_text(), re.S | re.M):
        for line in block.replace("\\\n", " ").splitlines():
            shown = re.match(r"\s*(?:\$ )?(?:\.venv/bin/)?harness (.*)", line)
            if shown:
                yield shlex.split(shown[1], comments=True)


SHOWN = [
    pytest.param(arguments, id=f"{document.relative_to(ROOT)}: {shlex.join(arguments)}"[:90])
    for document in DOCUMENTS
    for arguments in commands(document)
]


@pytest.mark.parametrize("arguments", SHOWN)
def test_a_command_in_a_document_is_one_that_the_program_takes(arguments: list[str]) -> None:
    command, name, rest = typer.main.get_command(app), "harness", list(arguments)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in command.commands, f"there is no verb {name}"
        command = command.commands[name]
    if "--help" not in rest:
        command.make_context(name, rest).close()


SUITES = [
    pytest.param(block, id=f"{document.relative_to(ROOT)}-{number}")
    for document in DOCUMENTS
    for number, block in enumerate(
        re.findall(r"^```toml\n(.*?)^```", document.read_text(), re.S | re.M)
    )
    if "[[model]]" in block
]


@pytest.mark.parametrize("text", SUITES)
def test_a_suite_in_a_document_can_be_planned(text: str, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(text)
    suite, source = read_suite(tmp_path / "suite.toml")
    if {backend.name for backend in suite.backend} <= set(names(Backend)):  # else: the reader's own
        assert make_plan(suite, source).cases


@pytest.mark.slow
def test_the_readmes_commands_work_one_after_the_other(tmp_path: Path) -> None:
    for arguments in commands(ROOT / "README.md"):
        done = subprocess.run(
            [BIN / "harness", *arguments],
            cwd=tmp_path,
            env={**os.environ, "HARNESS_STORE": str(tmp_path / "store")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"harness {shlex.join(arguments)}: {done.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_a_link_in_a_document_leads_to_a_file_that_is_there(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_every_make_target_named_in_a_document_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(), re.M))
        assert named <= targets, document.name
