from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError
from harness.store import Run, Store

Command = Callable[..., Any]
Keep = Callable[..., Run]


def test_the_site_of_the_store_is_built_and_the_runs_that_were_read_are_counted(
    keep: Keep, harness: Command, tmp_path: Path
) -> None:
    keep()

    assert harness("site").stdout.strip() == "site/index.html  (1 runs, 1 read anew)"
    assert harness("site").stdout.strip() == "site/index.html  (1 runs, 0 read anew)"
    assert "eager bfloat16" in (tmp_path / "site" / "index.html").read_text()


def test_a_store_without_runs_is_bad_input(store: Store, harness: Command) -> None:
    del store

    with pytest.raises(InputError, match="holds no run"):
        harness("site")


def test_what_is_no_address_is_bad_input(keep: Keep, harness: Command) -> None:
    keep()

    with pytest.raises(InputError, match="is no address"):
        harness("site", "--url", "example.org")
