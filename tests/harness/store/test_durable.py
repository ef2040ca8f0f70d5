import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.store.durable import sweep, unwritable, write_durably

Limit = Callable[[int], AbstractContextManager[None]]


def test_what_is_written_is_there_and_nothing_beside_it(tmp_path: Path) -> None:
    write_durably(tmp_path / "a.json", b"one")
    write_durably(tmp_path / "a.json", b"two")

    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.json", b"two")]


def test_a_disk_that_fills_leaves_the_earlier_file_and_no_half_one(
    tmp_path: Path, files_no_larger_than: Limit
) -> None:
    write_durably(tmp_path / "a.json", b"earlier")

    with files_no_larger_than(4096), pytest.raises(StoreError, match="free space"):
        write_durably(tmp_path / "a.json", os.urandom(100_000))

    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.json", b"earlier")]


def test_an_interrupt_while_writing_leaves_nothing_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)

    with pytest.raises(KeyboardInterrupt):
        write_durably(tmp_path / "a.json", b"text")

    assert list(tmp_path.iterdir()) == []


def test_the_file_and_its_folder_are_flushed_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def flushed(descriptor: int) -> None:
        kind = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append("folder" if kind.is_dir() else "file")
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)

    write_durably(tmp_path / "a.json", b"text")

    assert steps == ["file", "rename", "folder"]


def test_the_line_for_a_full_disk_says_what_is_kept_and_what_to_do() -> None:
    line = str(unwritable(Path("x/run.json"), OSError(errno.ENOSPC, "No space left on device")))

    assert line.startswith("x/run.json: cannot be written: No space left on device; what is")
    assert "--resume" in line
    assert "\n" not in line


def test_sweeping_removes_what_a_killed_writer_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".a.json.0badcafe.aside").write_bytes(b"half")
    (tmp_path / "a.json").write_bytes(b"whole")

    sweep(tmp_path)

    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
