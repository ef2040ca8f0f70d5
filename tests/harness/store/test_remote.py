"""A baseline in one file elsewhere."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.store import RunWriter, Store
from harness.store.baselines import Baselines
from harness.store.record import RunRecord
from harness.store.remote import pull, push

Add = Callable[[RunWriter, RunRecord, int, int], tuple[str, int]]


@pytest.fixture
def kept(store: Store, begun: Callable[..., RunRecord], add: Add) -> Store:
    """A store with a baseline `main` whose run has samples and a log."""
    from harness.testing.runs import example_record

    record = begun()
    with store.create(record) as writer:
        add(writer, example_record(run_id=record.id), 0, 0)
        (writer.path / "logs" / "secret.log").write_text("a token")
        writer.finish(record)
    Baselines(store).set("main", record.id)
    return store


@pytest.mark.parametrize("scheme", ["{}", "file://{}", "memory:/{}"])
def test_a_baseline_comes_back_with_its_samples(kept: Store, tmp_path: Path, scheme: str) -> None:
    url = scheme.format(tmp_path / "new folder" / "main.tar.gz")
    push(kept, "main", url)
    elsewhere = Store(tmp_path / "elsewhere")

    pull(elsewhere, "base", url)

    found, before = Baselines(elsewhere).run("base"), Baselines(kept).run("main")
    assert found.record == before.record
    assert found.samples.equals(before.samples)


def test_logs_stay_behind(kept: Store, tmp_path: Path) -> None:
    push(kept, "main", str(tmp_path / "main.tar.gz"))

    with tarfile.open(tmp_path / "main.tar.gz") as archive:
        assert not [name for name in archive.getnames() if "log" in name]


def test_pulling_twice_is_harmless(kept: Store, tmp_path: Path) -> None:
    url = str(tmp_path / "main.tar.gz")
    push(kept, "main", url)

    assert pull(kept, "main", url).run == pull(kept, "main", url).run


@pytest.mark.parametrize("member", ["../outside/run.json", "/etc/run.json"])
def test_a_file_that_leads_elsewhere_is_refused(store: Store, tmp_path: Path, member: str) -> None:
    url = tmp_path / "evil.tar.gz"
    with tarfile.open(url, "w:gz") as archive:
        info = tarfile.TarInfo(member)
        info.size = 2
        archive.addfile(info, io.BytesIO(b"{}"))

    with pytest.raises(InputError, match=r"holds no (baseline|run)"):
        pull(store, "main", str(url))


def test_what_is_no_archive_or_not_there_is_bad_input(store: Store, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")

    with pytest.raises(InputError, match="holds no baseline"):
        pull(store, "main", str(tmp_path / "text"))
    with pytest.raises(InputError, match="cannot be opened"):
        pull(store, "main", str(tmp_path / "nothing"))
