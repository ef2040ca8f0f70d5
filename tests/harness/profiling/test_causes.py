"""What a senior engineer would say, from rows that changed."""

import re
from collections.abc import Callable

from harness.profiling.causes import causes, sentence
from harness.profiling.difference import difference
from harness.profiling.record import Profile

Make = Callable[..., list[Profile]]
LINEAR = ("aten::linear", "m/decoder.py:step", 30, 9e6)
HOST = ("(host)", "m/decoder.py:step", 90, 1e6)


def test_the_sentence_names_operator_file_line_and_how_often(profiles: Make) -> None:
    slow = [LINEAR, HOST, ("aten::copy_", "m/cache.py:bump", 30, 2e6)]
    change = difference(profiles([LINEAR, HOST]), profiles(slow, seed=1), "decode")
    assert change is not None

    text = sentence(change, causes(change))

    assert re.match(r"decode \+(19|20)\.\d % \[\+1\d", text), text
    assert "aten::copy_ called from m/cache.py:41 (bump), new: 30 calls" in text


def test_rows_of_one_function_are_one_cause(profiles: Make) -> None:
    loop = [("aten::bmm", "m/a.py:heads", 270, 3e6), ("(host)", "m/a.py:heads", 900, 4e6)]
    change = difference(profiles([LINEAR, HOST]), profiles([LINEAR, HOST, *loop], seed=1), "decode")
    assert change is not None

    found = causes(change)

    assert len(found) == 1
    assert "aten::bmm" in found[0].words


def test_fewer_threads_come_before_the_operators_they_slow_down(profiles: Make) -> None:
    slow = [("aten::linear", "m/decoder.py:step", 30, 16e6), HOST]
    change = difference(profiles([LINEAR, HOST]), profiles(slow, seed=1), "decode")
    assert change is not None

    found = causes(change, {"threads": 2}, {"threads": 1})

    assert found[0].words == "threads 2 → 1: the same calls, each slower"


def test_time_of_the_host_alone_is_named_with_its_function(profiles: Make) -> None:
    slow = [LINEAR, HOST, ("(host)", "m/helper.py:wait", 1, 3e6)]
    change = difference(profiles([LINEAR, HOST]), profiles(slow, seed=1), "decode")
    assert change is not None

    assert "m/helper.py:41 (wait)" in causes(change)[0].words


def test_without_a_change_no_cause_is_named(profiles: Make) -> None:
    change = difference(profiles([LINEAR, HOST]), profiles([LINEAR, HOST], seed=7), "decode")
    assert change is not None

    assert causes(change) == []
    assert "no cause is named" in sentence(change, [])
