"""Fakes: they keep the contract, and every delay they are told passes exactly."""

import pytest
import torch

from harness.contracts import Request
from harness.errors import SessionError
from harness.testing import (
    Delays,
    FakeBackend,
    FakeClock,
    FakeMeter,
    FakeSession,
    FakeStream,
    fake_continuation,
)
from harness.testing.fakes import FakeOptions

DELAYS = Delays(prepare_ns=1_000, prefill_ns=20, prompt_token_ns=3, decode_ns=500)
TWO_ROWS = torch.tensor([[4, 5, 6], [7, 0, 0]]), torch.tensor([3, 1])


def prepared(context: int = 16) -> FakeSession:
    session = FakeSession(FakeClock(0), DELAYS)
    session.prepare(2, context)
    return session


def test_each_call_takes_its_declared_delay() -> None:
    session = prepared()
    assert session.clock.now_ns() == 1_000
    session.prefill(*TWO_ROWS)
    assert session.clock.now_ns() == 1_000 + 20 + 3 * 3
    for _ in range(3):
        session.decode()
    assert session.clock.now_ns() == 1_029 + 3 * 500
    session.synchronize()
    session.logits()
    assert session.clock.now_ns() == 1_029 + 3 * 500


def test_tokens_follow_from_all_tokens_before_them() -> None:
    session = prepared()
    made = [session.prefill(*TWO_ROWS).tolist()]
    made += [session.decode().tolist() for _ in range(4)]
    rows = [list(row) for row in zip(*made, strict=True)]
    assert rows == [fake_continuation([4, 5, 6], 5), fake_continuation([7], 5)]
    assert fake_continuation([4, 5, 6], 5) != fake_continuation([9, 5, 6], 5)


def test_a_fed_token_is_the_one_that_is_continued() -> None:
    session = prepared()
    session.prefill(*TWO_ROWS)
    session.feed(torch.tensor([1, 2]))
    assert session.decode().tolist() == [
        fake_continuation([4, 5, 6, 1], 1)[0],
        fake_continuation([7, 2], 1)[0],
    ]


def test_the_best_logit_is_the_token_made() -> None:
    session = prepared()
    tokens = session.prefill(*TWO_ROWS)
    logits = session.logits()
    assert logits.dtype == torch.float32
    assert logits.shape == (2, 512)
    assert logits.argmax(-1).tolist() == tokens.tolist()


def test_the_tokens_of_a_call_are_overwritten_by_the_next() -> None:
    session = prepared()
    first = session.prefill(*TWO_ROWS)
    assert session.decode() is first


def test_a_row_that_passes_the_context_is_an_error() -> None:
    session = prepared(context=4)
    session.prefill(*TWO_ROWS)
    session.decode()
    with pytest.raises(SessionError, match="passes the context of 4"):
        session.decode()


def test_a_second_prefill_needs_a_reset() -> None:
    session = prepared()
    session.prefill(*TWO_ROWS)
    with pytest.raises(SessionError, match="without reset"):
        session.prefill(*TWO_ROWS)
    session.reset()
    with pytest.raises(SessionError, match="before prefill"):
        session.decode()
    session.prefill(*TWO_ROWS)


@pytest.mark.parametrize(("tokens", "lengths"), [([[1]], [1]), ([[1] * 20, [2] * 20], [20, 2])])
def test_a_prompt_of_another_shape_than_prepared_is_an_error(
    tokens: list[list[int]], lengths: list[int]
) -> None:
    with pytest.raises(SessionError, match="expected 2 rows of up to 16 tokens"):
        prepared().prefill(torch.tensor(tokens), torch.tensor(lengths))


def test_a_closed_session_makes_no_tokens() -> None:
    session = prepared()
    session.close()
    session.close()
    with pytest.raises(SessionError, match="after close"):
        session.prefill(*TWO_ROWS)


def test_calls_are_counted() -> None:
    session = prepared()
    session.prefill(*TWO_ROWS)
    session.decode()
    session.decode()
    assert session.calls == {"prepare": 1, "prefill": 1, "decode": 2}


def test_the_meter_is_charged_while_a_shape_is_prepared() -> None:
    meter = FakeMeter(current_bytes=1_000)
    session = FakeSession(meter=meter, position_bytes=10)
    session.prepare(2, 16)
    assert meter.current_bytes() == 1_000 + 2 * 16 * 10
    session.prepare(1, 4)
    assert meter.current_bytes() == 1_000 + 40
    session.close()
    assert meter.current_bytes() == 1_000


def test_a_stream_serves_its_requests_together_and_stamps_each_token() -> None:
    stream = FakeStream(FakeClock(0), DELAYS)
    stream.prepare(2, 16)
    events = list(stream.stream([Request((4, 5, 6), 3), Request((7,), 1)]))
    first = 1_000 + 20 + 3 * 3
    assert [(e.request, e.at_ns) for e in events] == [
        (0, first),
        (1, first),
        (0, first + 500),
        (0, first + 1_000),
    ]
    assert [e.token for e in events if e.request == 0] == fake_continuation([4, 5, 6], 3)


def test_a_stream_refuses_more_requests_than_prepared() -> None:
    stream = FakeStream()
    stream.prepare(1, 16)
    with pytest.raises(SessionError, match="2 requests for 1 rows"):
        list(stream.stream([Request((1,), 1)] * 2))


def test_the_fake_backend_really_waits() -> None:
    from harness.model import open_model

    backend = FakeBackend()
    options = FakeOptions(prefill_ms=2, decode_ms=1)
    session = backend.load(open_model("tiny"), "cpu", options)
    session.prepare(1, 8)
    start_ns = session.clock.now_ns()
    session.prefill(torch.tensor([[1]]), torch.tensor([1]))
    session.decode()
    assert session.clock.now_ns() - start_ns >= 3_000_000
    assert backend.availability("cpu").ok
    assert backend.availability("cuda").reason
