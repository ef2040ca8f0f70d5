"""Given prefill and decode at powers of their own, on a simulated NVML whose truth is known."""

from collections.abc import Sequence

import pytest

from harness.contracts import Span, Watched
from harness.reading import Reading
from harness.store.record import SpanEnergyRecord
from harness.store.telemetry import Telemetry
from harness.telemetry.columns import to_columns
from harness.telemetry.lines import Call, Header, SamplerHeader
from harness.telemetry.nvml import NvmlSampler
from harness.telemetry.span_energy import span_energies
from harness.testing.nvmlsim import SimulatedNvml

PREFILL_W, DECODE_W = 300.0, 120.0


def _script(prefill_s: float, decode_s: float, times: int, sensor: str) -> str:
    lines = ["clock set", "device 0 uuid=GPU-a", "at 0 0 power=60", sensor]
    for number in range(times):
        start_s = 2.0 + number * (prefill_s + decode_s)
        lines += [
            f"at 0 {start_s:.6f} power={PREFILL_W}",
            f"at 0 {start_s + prefill_s:.6f} power={DECODE_W}",
        ]
    return "\n".join([*lines, f"at 0 {2.0 + times * (prefill_s + decode_s):.6f} power=60"])


def _spans(prefill_s: float, decode_s: float, times: int) -> dict[tuple[str, str], list[Span]]:
    found: dict[tuple[str, str], list[Span]] = {("prefill", ""): [], ("decode", ""): []}
    for number in range(times):
        edges = [2.0 + number * (prefill_s + decode_s) + past for past in (0, prefill_s)]
        ends = [edges[1], edges[0] + prefill_s + decode_s]
        for kind, start_s, end_s, tokens in zip(
            ("prefill", "decode"), edges, ends, (128, 63), strict=True
        ):
            found[kind, ""].append(
                Span(kind, round(start_s * 1e9), round(end_s * 1e9), tokens)  # type: ignore[arg-type]
            )
    return found


def _read(simulator: SimulatedNvml, script: str, until_s: float, hz: float) -> Telemetry:
    """Read everything as the sampler process would, on the script's clock."""
    simulator.play(script)
    sampler = NvmlSampler(environment={}, now_ns=simulator.now_ns, sleep=simulator.pass_s)
    quantities = sampler.open(Watched(None, 1))
    nvml = SamplerHeader("nvml", ok=True, quantities=tuple(quantities))
    header = Header(1, 0, hz, "", None, (nvml,))
    calls: list[Call] = []
    while simulator.now_s() < until_s:
        for tier in ("fast", "boundary") if not calls else ("fast",):
            at_ns = simulator.now_ns()
            found = sampler.read(tier)
            keys = [q.key for q in quantities if q.tier == tier and q.reason is None]
            readings = [found.get(key, Reading.absent("nothing")) for key in keys]
            why = {n: str(r.reason) for n, r in enumerate(readings) if r.reason}
            values = tuple(r.value for r in readings)
            calls.append(Call(0, tier, at_ns, at_ns, at_ns + 50_000, values, why))
        simulator.pass_s(1 / hz)
    sampler.close()
    return to_columns(header, calls)


def _measured(
    simulator: SimulatedNvml, prefill_s: float, decode_s: float, times: int, sensor: str
) -> Sequence[SpanEnergyRecord]:
    until_s = 3.0 + times * (prefill_s + decode_s)
    telemetry = _read(simulator, _script(prefill_s, decode_s, times, sensor), until_s, 50)
    return span_energies(_spans(prefill_s, decode_s, times), telemetry)


@pytest.fixture(scope="module")
def long(simulator: SimulatedNvml) -> Sequence[SpanEnergyRecord]:
    """Ten times a prefill of half a second and a decode of one."""
    return _measured(simulator, 0.5, 1.0, 10, "sensor 0 energy period=20")


@pytest.mark.parametrize(
    ("kind", "watts", "seconds", "tokens"),
    [("prefill", PREFILL_W, 5.0, 1280), ("decode", DECODE_W, 10.0, 630)],
)
def test_each_kind_of_work_has_its_own_joules_within_the_bound(
    long: Sequence[SpanEnergyRecord], kind: str, watts: float, seconds: float, tokens: int
) -> None:
    found = next(r for r in long if r.kind == kind)
    joules = found.joules

    assert (found.device, found.method, found.spans) == ("GPU-a", "counter", 10)
    assert (found.tokens, found.seconds) == (tokens, pytest.approx(seconds))
    assert joules.low is not None
    assert joules.high is not None
    assert joules.low <= watts * seconds <= joules.high
    assert (joules.half_width or 1) < 0.05


def test_a_prefill_that_the_counter_cannot_see_is_absent_and_the_decode_is_not(
    simulator: SimulatedNvml,
) -> None:
    found = _measured(simulator, 0.03, 1.2, 5, "sensor 0 energy period=100")
    prefill, decode = (next(r for r in found if r.kind == k) for k in ("prefill", "decode"))

    assert prefill.joules.value is None
    assert "a prefill takes 30 ms and the sensor shows 1" in str(prefill.joules.reason)
    assert "longer prompts would show it" in str(prefill.joules.reason)
    assert decode.joules.value == pytest.approx(DECODE_W * 6, rel=0.05)


def test_a_power_averaged_over_a_second_tells_no_short_work_apart(
    simulator: SimulatedNvml,
) -> None:
    sensor = (
        "fault 0 field:83 not_supported 0 -\n"
        "fault 0 field:186 not_supported 0 -\n"
        "fault 0 nvmlDeviceGetTotalEnergyConsumption not_supported 0 -\n"
        "sensor 0 power.average period=100 window=1000"
    )
    found = _measured(simulator, 0.3, 0.6, 5, sensor)

    # Its readings hardly move, and what they show would be 180 W for both.
    assert {r.joules.value for r in found} == {None}
    assert all("the sensor shows 1" in str(r.joules.reason) for r in found)
