"""Where plugins keep what can be made again."""

from pathlib import Path

import pytest

from harness.cache import CACHE_VARIABLE, cache_folder
from harness.errors import StoreError


def test_the_folder_lies_where_the_engine_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_folder("onnx", "abc") == tmp_path / "onnx" / "abc"
    assert (tmp_path / "onnx" / "abc").is_dir()


def test_without_a_word_of_the_engine_it_lies_in_the_default_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    assert cache_folder("onnx") == tmp_path / ".harness" / "cache" / "onnx"


@pytest.mark.parametrize("part", ["..", "../..", "a/b", "", "."])
def test_a_name_cannot_lead_out_of_the_cache(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_folder("onnx", part).parent == tmp_path / "onnx"


def test_a_cache_that_cannot_be_made_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(StoreError, match="cannot be written"):
        cache_folder("onnx")
