"""A tape keeps CUDA's rules for graphs, and makes their breach visible on a CPU."""

import pytest
import torch

from harness.testing.tape import TapeRuntime


@pytest.fixture
def runtime() -> TapeRuntime:
    return TapeRuntime()


def test_a_replay_computes_with_what_lies_at_the_recorded_addresses_now(runtime: TapeRuntime):
    source, result = torch.zeros(3), torch.zeros(3)
    graph = runtime.capture(lambda: result.copy_((source + 1) * 2))

    source.fill_(4.0)
    graph.replay()

    assert result.tolist() == [10.0] * 3


def test_a_capture_computes_nothing_outside_of_its_pool(runtime: TapeRuntime):
    counter = torch.tensor([5.0])

    graph = runtime.capture(lambda: counter.add_(1))

    assert counter.tolist() == [5.0]
    graph.replay()
    graph.replay()
    assert counter.tolist() == [7.0]


def test_views_write_through_to_what_they_are_views_of(runtime: TapeRuntime):
    cache, row = torch.zeros(2, 3), torch.tensor([1])
    graph = runtime.capture(lambda: cache[:, 1:].index_put_((row,), torch.ones(2)))

    graph.replay()

    assert cache.tolist() == [[0, 0, 0], [0, 1, 1]]


def test_an_input_that_was_replaced_is_not_seen(runtime: TapeRuntime):
    holder, result = [torch.zeros(1)], torch.zeros(1)
    first = holder[0]
    graph = runtime.capture(lambda: result.copy_(holder[0]))

    holder[0] = torch.ones(1)
    graph.replay()

    assert result.tolist() == first.tolist() == [0.0]


def test_a_python_number_is_an_argument_and_no_memory(runtime: TapeRuntime):
    source, result = torch.tensor([1.0, -1.0]), torch.zeros(2)
    graph = runtime.capture(lambda: result.copy_(torch.where(source > 0, source, 7.0)))

    graph.replay()

    assert result.tolist() == [1.0, 7.0]


def test_a_tensor_of_one_number_is_memory(runtime: TapeRuntime):
    factor, result = torch.tensor(2.0), torch.zeros(1)
    graph = runtime.capture(lambda: result.copy_(factor * 3))

    factor.fill_(5.0)
    graph.replay()

    assert result.tolist() == [15.0]


def test_an_input_that_was_freed_is_an_error(runtime: TapeRuntime):
    holder, result = [torch.zeros(1)], torch.zeros(1)
    graph = runtime.capture(lambda: result.copy_(holder[0]))

    holder.clear()

    with pytest.raises(RuntimeError, match=r"memory that was given back: torch.float32 \[1\]"):
        graph.replay()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_lies_in_the_pool_is_nan_once_another_graph_was_replayed(
    runtime: TapeRuntime, dtype: torch.dtype
):
    source, kept = torch.ones(2, dtype=dtype), []
    first = runtime.capture(lambda: kept.append(source + 1))
    second = runtime.capture(lambda: source + 2)

    first.replay()
    assert kept[0].tolist() == [2.0, 2.0]
    second.replay()

    assert kept[0].isnan().all()


def test_what_a_capture_made_is_nan_before_its_first_replay(runtime: TapeRuntime):
    source, kept = torch.ones(2), []

    runtime.capture(lambda: kept.append(source + 1))

    assert kept[0].isnan().all()


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.masked_select(x > 0),
        lambda x: bool((x > 0).all()),
    ],
)
def test_work_that_waits_for_the_device_cannot_be_captured(runtime: TapeRuntime, work):
    source = torch.ones(3)

    with pytest.raises(RuntimeError, match="not permitted while capturing"):
        runtime.capture(lambda: work(source))


def test_a_failed_capture_leaves_memory_as_it_was(runtime: TapeRuntime):
    counter = torch.zeros(1)

    def work() -> None:
        counter.add_(1)
        counter.item()

    with pytest.raises(RuntimeError):
        runtime.capture(work)

    assert counter.tolist() == [0.0]


def test_a_released_graph_is_not_replayed(runtime: TapeRuntime):
    source = torch.ones(1)
    graph = runtime.capture(lambda: source.add_(1))

    graph.release()
    graph.release()

    with pytest.raises(RuntimeError, match="after its release"):
        graph.replay()


def test_the_pool_counts_what_captures_made(runtime: TapeRuntime):
    source = torch.ones(100)

    runtime.capture(lambda: source + 1)

    assert runtime.pool_bytes() == 400


def test_a_tape_is_for_a_cpu():
    with pytest.raises(RuntimeError, match="not on cuda"):
        TapeRuntime(torch.device("cuda"))
