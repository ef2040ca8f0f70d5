"""Kill the writer before every single thing it does to a file, and look at what is left."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.store import Store
from harness.store.run import Run
from harness.testing.runs import example_record, example_samples

_WRITER = """
import json, os, sys
from pathlib import Path
import pandas, pyarrow.parquet
from harness.store import Store
from harness.testing.runs import example_record, example_samples

home = Path(sys.argv[1])
left = None

def kill_at(event, arguments):
    global left
    if left is None or event not in {"open", "os.rename", "os.remove", "os.mkdir"}:
        return
    if str(home) in str(arguments[0]) and "acknowledged" not in str(arguments[0]):
        left -= 1
        if left < 0:
            os._exit(9)

sys.addaudithook(kill_at)

def write(root):
    acknowledged = os.open(root / "acknowledged", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    store, record = Store(root / "store"), example_record()
    begun = record.model_copy(deep=True)
    begun.status = "running"
    for case in begun.cases:
        case.rounds, case.figures, case.status = [], [], "pending"
    def add(writer, case, number):
        writer.add_round(case.id, case.rounds[number], example_samples(case, number))
        os.write(acknowledged, (json.dumps([case.id, number]) + "\\n").encode())
    with store.create(begun) as writer:
        os.write(acknowledged, b"null\\n")
        add(writer, record.cases[0], 0)
        add(writer, record.cases[1], 0)
        interrupted = begun.model_copy(update={"status": "interrupted"})
        writer.finish(interrupted)
    resumed, _, writer = store.resume("latest")
    with writer:
        add(writer, record.cases[0], 1)
        writer.finish(resumed.model_copy(update={"status": "finished"}))

for step in range(1000):
    root = home / str(step)
    root.mkdir()
    child = os.fork()
    if child == 0:
        left = step
        write(root)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One folder for each moment at which the writer was killed; the last was not killed."""
    home = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, "-c", _WRITER, str(home)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    folders = sorted(home.iterdir(), key=lambda path: int(path.name))
    assert len(folders) > 40
    return folders


def acknowledged(folder: Path) -> list[tuple[str, int]] | None:
    """The rounds whose add_round had returned; None where the run was not yet created."""
    path = folder / "acknowledged"
    said = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(case, number) for case, number in said[1:]] if said else None


def rounds(run: Run) -> set[tuple[str, int]]:
    return {(case.id, r.round) for case in run.record.cases for r in case.rounds}


def test_whenever_it_is_killed_every_acknowledged_round_loads(killed: list[Path]) -> None:
    for folder in killed:
        kept = acknowledged(folder)
        runs = Store(folder / "store").runs()
        if kept is None:
            assert len(runs) <= 1, folder
            continue
        (run,) = runs
        assert isinstance(run, Run), f"{folder}: {run}"
        assert not run.problems, folder
        extra = rounds(run) - set(kept)
        assert set(kept) <= rounds(run), folder
        assert len(extra) <= 1, f"{folder}: only the round in flight may be there unacknowledged"


def test_whenever_it_is_killed_no_sample_is_missing_or_double(killed: list[Path]) -> None:
    cases = {case.id: case for case in example_record().cases}
    for folder in killed:
        for run in Store(folder / "store").runs():
            assert isinstance(run, Run)
            sizes = run.samples.groupby(["case", "round"], observed=True).size().to_dict()
            expected = {
                (case, number): sum(len(s.values) for s in example_samples(cases[case], number))
                for case, number in rounds(run)
            }
            assert sizes == expected, folder


def test_whenever_it_is_killed_it_can_be_resumed_and_finished(killed: list[Path]) -> None:
    whole = example_record()
    for folder in killed:
        store = Store(folder / "store")
        if not store.ids():
            continue
        record, finished, writer = store.resume("latest")
        with writer:
            for case in whole.cases[:2]:
                for number in range(3):
                    if (case.id, number) not in finished:
                        samples = example_samples(case, number)
                        writer.add_round(case.id, case.rounds[number], samples)
            writer.finish(record.model_copy(update={"status": "finished"}))

        run = store.find("latest")
        assert run.resumed
        assert [c.rounds for c in run.record.cases[:2]] == [c.rounds for c in whole.cases[:2]]
        assert len(run.samples) == 3 * (72 + 144), folder
        assert not list(run.path.rglob("*.aside"))
        assert not list((run.path / "parts").iterdir())
