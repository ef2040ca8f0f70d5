import json
from pathlib import Path

import jsonschema
import pytest

from harness.store.migrate import dump_record
from harness.store.schema import schema_text
from harness.testing.runs import example_record

_PUBLISHED = Path(__file__).parents[3] / "docs" / "run.schema.json"


def test_the_published_schema_is_current() -> None:
    assert _PUBLISHED.read_text(encoding="utf-8") == schema_text(), (
        "renew it: .venv/bin/python -m harness.store.schema > docs/run.schema.json"
    )


def test_a_run_as_it_is_written_fits_the_published_schema() -> None:
    jsonschema.validate(
        json.loads(dump_record(example_record())), json.loads(_PUBLISHED.read_text())
    )


def test_a_run_with_an_unknown_key_does_not_fit_the_published_schema() -> None:
    data = json.loads(dump_record(example_record())) | {"surprise": 1}

    with pytest.raises(jsonschema.ValidationError, match="surprise"):
        jsonschema.validate(data, json.loads(_PUBLISHED.read_text()))
