"""The capture check: each seeded hazard is found at its line, and nothing in our own step."""

from pathlib import Path

import pytest
import torch

from harness import plugins
from harness.contracts import Availability, Backend, BackendOptions
from harness.errors import UnavailableError
from harness.plugins import add_file
from harness.testing import hazards
from harness.testing.capture import HAZARDS, CaptureReport, check_capture
from harness.testing.capture.hazard import Hazard, Place, distinct
from harness.testing.fakes import FakeBackend
from harness.testing.hazards import HAZARDOUS, Hazardous

FILE = Path(hazards.__file__)
OURS = ("eager", "cudagraphs")
HARMLESS = """
import torch
from harness.testing.hazards import Hazardous


class Harmless(Hazardous):
    name, summary = "harmless", "what a step may do, though it looks like what it may not"

    def disturb(self, session, state):
        logits = state.logits
        large = logits > 0
        logits.copy_(torch.where(large, logits, 0.0))
        logits[large] = 0.0
        logits.masked_fill_(large, 1.5).clamp_(min=-1.0).add_(2).mul_(0.5)
        logits += torch.nn.functional.dropout(logits, 0.5, training=False) * 0
        columns = torch.arange(4, device=logits.device)
        logits[:, columns] = logits[:, columns] * 2
        state.tokens.copy_(logits.topk(1).indices[:, 0])
        session.bias.add_(torch.zeros_like(state.tokens))
        if session.calls > 10**9 or logits.shape[0] == 17 or logits.device.type == "xpu":
            raise ArithmeticError
"""


CPU_ONLY = """
from harness.testing.hazards import Hazardous


class CpuOnly(Hazardous):
    name, summary = "cpu-only", "for a test"

    def disturb(self, session, state):
        pass

    def load(self, model, device, options):
        if device != "cpu":
            raise OSError("libcpu knows no other device")
        return super().load(model, device, options)
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CaptureReport]:
    """All looks at all backends: one process pretends for all of them."""
    folder = tmp_path_factory.mktemp("plugins")
    files = [FILE, folder / "harmless.py", folder / "cpu_only.py"]
    for file, text in zip(files[1:], (HARMLESS, CPU_ONLY), strict=True):
        file.write_text(text)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "_from_files", {})  # other tests ask which backends there are
        for file in files:
            add_file(file)
        found = check_capture([*OURS, "harmless", "cpu-only", *HAZARDOUS], plugin_files=files)
    torch.set_num_threads(threads)
    return {report.backend: report for report in found}


@pytest.mark.parametrize("name", [*OURS, "harmless"])
def test_a_step_that_may_be_captured_gives_no_false_alarm(
    name: str, reports: dict[str, CaptureReport]
) -> None:
    report = reports[name]

    assert report.hazards == []
    assert report.not_looked == {}
    assert report.safe
    assert report.operations > 50


@pytest.mark.parametrize("hazardous", HAZARDOUS.values(), ids=list(HAZARDOUS))
def test_a_hazard_is_found_and_named_with_file_and_line(
    hazardous: type[Hazardous], reports: dict[str, CaptureReport]
) -> None:
    report = reports[hazardous.name]

    assert not report.safe
    found = [hazard for hazard in report.hazards if hazard.kind == hazardous.kind]
    assert any(hazardous.found_at in hazard.source for hazard in found), report.hazards
    assert all(hazard.file and hazard.line for hazard in found)


@pytest.mark.parametrize("hazardous", HAZARDOUS.values(), ids=list(HAZARDOUS))
def test_a_hazard_points_to_no_line_but_its_own(
    hazardous: type[Hazardous], reports: dict[str, CaptureReport]
) -> None:
    """Beside its own: what follows from it in the same `disturb`, or in what reads it."""
    places = {Path(h.file).name for h in reports[hazardous.name].hazards if h.file}

    assert places <= {FILE.name, "decoder.py"}
    if hazardous.found_at == "# here":
        assert places == {FILE.name}


def test_there_are_enough_hazards_and_all_looks_are_needed(
    reports: dict[str, CaptureReport],
) -> None:
    assert len(HAZARDOUS) >= 14
    needed = {h.found_by for name in HAZARDOUS for h in reports[name].hazards}
    assert needed == {"operations", "pretended", "replayed"}


@pytest.mark.parametrize("kind", HAZARDS)
def test_every_kind_says_why_and_what_to_do(kind: str) -> None:
    assert HAZARDS[kind].why
    assert HAZARDS[kind].remedy


def test_a_backend_without_a_step_to_capture_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.testing.capture.check.find", lambda kind, name: FakeBackend())

    with pytest.raises(UnavailableError, match="fake: has no step that could be captured"):
        check_capture(["fake"])


def test_a_backend_that_cannot_be_loaded_on_the_pretended_gpu_is_not_called_safe(
    reports: dict[str, CaptureReport],
) -> None:
    report = reports["cpu-only"]

    assert report.hazards == []
    assert "libcpu knows no other device" in report.not_looked["pretended"]
    assert not report.safe


def test_an_error_is_left_out_where_its_line_is_explained() -> None:
    place = Place("step.py", 3)
    explained = [Hazard.at("waits", place, "item"), Hazard.at("raises", place, "RuntimeError: no")]

    assert [hazard.kind for hazard in distinct(explained)] == ["waits"]
    assert [h.kind for h in distinct([Hazard.at("raises", place, "OSError")])] == ["raises"]


def test_what_is_captured_is_by_default_what_is_loaded() -> None:
    class Plain(Backend):
        summary = "plain"

        def availability(self, device: str) -> Availability:
            return Availability.yes()

        def load(self, model, device, options):
            return (model, device, options)

    options = BackendOptions()
    assert Plain().load_uncaptured("model", "cpu", options) == ("model", "cpu", options)
