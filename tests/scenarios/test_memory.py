from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from harness.contracts import Held, Lab, Observation
from harness.errors import SpecError
from harness.model import PRESETS
from harness.testing import FakeMeter, FakeSession, fake_continuation, scenario_conformance
from scenarios.memory import MemoryOptions, MemoryScenario, parse_size

TINY = PRESETS["tiny"]
ROW = TINY.kv_bytes(1, 1, "float32")
WEIGHTS = 10_000_000
IMPORTED = 5_000_000


class Metered(FakeSession):
    """Takes memory while it works: declared bytes during a call, and what it never gives back."""

    def __init__(
        self, meter: FakeMeter, *, prefill: int = 0, decode: int = 0, leak: int = 0
    ) -> None:
        super().__init__(meter=meter, position_bytes=ROW)
        self.meter, self._prefill, self._decode, self._leak = meter, prefill, decode, leak
        self.most_rows = self.longest = 0

    def prepare(self, batch: int, context: int) -> None:
        super().prepare(batch, context)
        self.most_rows = max(self.most_rows, batch)
        self.longest = max(self.longest, context)

    def prefill(self, tokens: Any, lengths: Any) -> Any:
        self.meter.take(self._prefill)
        self.meter.take(-self._prefill)
        return super().prefill(tokens, lengths)

    def decode(self) -> Any:
        self.meter.take(self._decode)
        self.meter.take(self._leak - self._decode)
        return super().decode()


def observe(
    make_lab: Callable[..., Lab],
    meter: FakeMeter | None = None,
    options: Any = None,
    **session: int,
) -> tuple[Observation, Metered]:
    meter = meter or FakeMeter(IMPORTED + WEIGHTS, available_bytes=1_000_000_000)
    given = MemoryOptions(**({"context": 256, "search": False} | (options or {})))
    scenario, used = MemoryScenario(), Metered(meter, **session)
    (point,) = scenario.points(given, TINY)
    used.prepare(point.batch, point.context)
    phases = {
        "import": IMPORTED,
        "load": IMPORTED + WEIGHTS,
        "prepare": meter.current_bytes(),
    }
    lab = make_lab(memory=meter, phase_bytes=phases)
    return next(scenario.measure(used, point, given, lab)), used


def test_it_keeps_the_contract_of_scenarios() -> None:
    broken = [f for f in scenario_conformance(MemoryScenario()) if not f.ok]

    assert broken == []


def test_parts_are_what_phases_added_and_stand_beside_what_is_computed(
    make_lab: Callable[..., Lab],
) -> None:
    seen, _ = observe(make_lab, options={"batch": 2})

    assert seen.values["weights_bytes"] == [WEIGHTS]
    assert seen.values["kv_bytes"] == seen.values["computed_kv_bytes"] == [2 * 256 * ROW]
    assert seen.values["computed_weights_bytes"] == [TINY.weight_bytes("float32")]
    assert seen.values["import_bytes"] == [IMPORTED]


class Holding(Metered):
    """Says what it holds, some of it in a file that is only mapped."""

    def held(self) -> Held:
        return Held(weights=WEIGHTS, twice=1_000_000, mapped=4_000_000, state=300_000)


def test_pages_of_files_are_weights_only_where_the_session_says_so(
    make_lab: Callable[..., Lab],
) -> None:
    phases = {"import": IMPORTED, "load": IMPORTED + 12_500_000, "prepare": IMPORTED + 13_100_000}
    mapped = {"import": 2_000_000, "load": 8_500_000, "prepare": 8_700_000}
    scenario, meter = MemoryScenario(), FakeMeter()
    options = MemoryOptions(context=256, search=False)
    (point,) = scenario.points(options, TINY)
    seen = {}
    for session in (Metered(meter), Holding(meter)):
        session.prepare(1, 256)
        lab = make_lab(memory=meter, phase_bytes=phases, phase_mapped_bytes=mapped)
        seen[type(session)] = next(scenario.measure(session, point, options, lab)).values

    silent, holding = seen[Metered], seen[Holding]
    assert (silent["weights_bytes"], silent["mapped_bytes"]) == ([6_000_000], [6_700_000])
    assert (holding["weights_bytes"], holding["mapped_bytes"]) == ([10_000_000], [2_700_000])
    assert silent["kv_bytes"] == holding["kv_bytes"] == [400_000]
    assert holding["held_weights_bytes"] == [WEIGHTS]
    assert holding["kept_twice_bytes"] == [1_000_000]
    assert holding["held_state_bytes"] == [300_000]
    assert "held_weights_bytes" not in silent


def test_peaks_are_told_apart_by_phase(make_lab: Callable[..., Lab]) -> None:
    seen, _ = observe(make_lab, prefill=700_000, decode=30_000)

    before = IMPORTED + WEIGHTS + 256 * ROW
    assert seen.values["prefill_peak_bytes"] == [before + 700_000]
    assert seen.values["decode_peak_bytes"] == [before + 30_000]
    assert seen.values["peak_bytes"] == [before + 700_000]
    assert seen.values["activation_bytes"] == [700_000]


def test_a_phase_that_was_not_recorded_is_absent_and_not_zero(
    make_lab: Callable[..., Lab],
) -> None:
    scenario, meter = MemoryScenario(), FakeMeter()
    options = MemoryOptions(context=256, search=False)
    (point,) = scenario.points(options, TINY)
    session = Metered(meter)
    session.prepare(1, 256)

    seen = next(scenario.measure(session, point, options, make_lab(memory=meter)))

    assert not {"weights_bytes", "kv_bytes", "import_bytes"} & set(seen.values)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_leak_shows_as_growth_per_1000_tokens(make_lab: Callable[..., Lab], batch: int) -> None:
    seen, _ = observe(make_lab, options={"batch": batch}, leak=64)

    assert seen.values["growth_bytes_per_1000_tokens"] == pytest.approx([64_000 / batch])


def test_without_a_leak_nothing_grows(make_lab: Callable[..., Lab]) -> None:
    seen, _ = observe(make_lab, prefill=700_000, decode=30_000)

    assert seen.values["growth_bytes_per_1000_tokens"] == [0]


def test_growth_is_watched_past_the_end_of_the_context(make_lab: Callable[..., Lab]) -> None:
    options = {"context": 64, "prompt_tokens": 32, "growth_tokens": 500}

    seen, session = observe(make_lab, options=options, leak=10)

    assert session.calls["decode"] == 32 + 16 + 500
    assert session.calls["prefill"] > 15
    assert seen.values["growth_bytes_per_1000_tokens"] == pytest.approx([10_000])


def test_transcripts_are_given_back(make_lab: Callable[..., Lab]) -> None:
    seen, _ = observe(make_lab, options={"batch": 2})

    for transcript in seen.transcripts:
        made = list(transcript.token_ids)
        assert made == fake_continuation(transcript.prompt_ids, 33)


def test_the_largest_batch_and_context_fit_the_budget_nearly_to_the_byte(
    make_lab: Callable[..., Lab],
) -> None:
    budget = IMPORTED + WEIGHTS + 100 * 256 * ROW
    options = {"search": True, "memory_budget": budget, "search_batch": 1000}

    seen, session = observe(make_lab, options=options)

    assert 95 <= seen.values["max_batch"][0] <= 100
    assert session.most_rows <= 100


def test_where_the_model_ends_the_context_it_says_so(make_lab: Callable[..., Lab]) -> None:
    seen, _ = observe(make_lab, options={"search": True})

    assert seen.values["max_context"] == seen.values["model_context"] == [1024]


def test_the_search_ends_at_the_most_rows_of_interest(make_lab: Callable[..., Lab]) -> None:
    seen, session = observe(make_lab, options={"search": True, "search_batch": 7})

    assert seen.values["max_batch"] == [7]
    assert session.most_rows == 7


def test_a_budget_that_the_machine_does_not_have_is_never_tried(
    make_lab: Callable[..., Lab],
) -> None:
    meter = FakeMeter(IMPORTED + WEIGHTS, available_bytes=50 * 256 * ROW)
    options = {"search": True, "memory_budget": "100GiB", "search_batch": 1000}

    seen, session = observe(make_lab, meter, options)

    assert session.most_rows < 50
    assert seen.values["max_batch"][0] >= 40


def test_by_default_half_of_what_is_available_is_the_budget(make_lab: Callable[..., Lab]) -> None:
    meter = FakeMeter(IMPORTED + WEIGHTS, available_bytes=100 * 256 * ROW)

    seen, _ = observe(make_lab, meter, {"search": True, "search_batch": 1000})

    assert 46 <= seen.values["max_batch"][0] <= 51


def test_a_budget_below_the_weights_fits_nothing(make_lab: Callable[..., Lab]) -> None:
    seen, _ = observe(make_lab, options={"search": True, "memory_budget": "1MiB"})

    assert seen.values["max_batch"] == seen.values["max_context"] == [0]


def test_the_session_is_left_as_it_was_prepared(make_lab: Callable[..., Lab]) -> None:
    meter = FakeMeter(IMPORTED + WEIGHTS, available_bytes=1_000_000_000)

    observe(make_lab, meter, {"search": True})

    assert meter.current_bytes() == IMPORTED + WEIGHTS + 256 * ROW


def test_the_search_can_be_switched_off(make_lab: Callable[..., Lab]) -> None:
    seen, session = observe(make_lab)

    assert "max_batch" not in seen.values
    assert session.calls["prepare"] == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2**31), ("2 GB", 2 * 10**9), ("1.5KiB", 1536), ("64m", 64 * 10**6), (4096, 4096)],
)
def test_sizes_are_written_with_their_unit(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-1GiB", "0", "2PiB", True, None])
def test_a_size_that_is_none_is_an_error(text: object) -> None:
    with pytest.raises(ValueError, match="a size"):
        parse_size(text)


def test_options_survive_being_stored() -> None:
    options = MemoryOptions(memory_budget="2GiB")

    assert MemoryOptions.model_validate(options.model_dump(mode="json")) == options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"context": 2048}, "at most the model's context of 1024"),
        ({"context": 128, "prompt_tokens": 120}, "room for 16 tokens"),
    ],
)
def test_a_shape_that_does_not_fit_is_an_error(options: dict[str, int], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        MemoryScenario().points(MemoryOptions(**options), TINY)


@pytest.mark.parametrize("options", [{"batch": 0}, {"context": 1}, {"memory_budget": "much"}])
def test_options_that_mean_nothing_are_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MemoryOptions(**options)
