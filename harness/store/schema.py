"""`python -m harness.store.schema > docs/run.schema.json`: the published schema of `run.json`."""

import json
import sys
from typing import Any

from harness.store.record import SCHEMA_VERSION, RunRecord

__all__ = ["schema_text"]


def schema_text() -> str:
    """Return the JSON Schema of `RunRecord`; a test holds docs/run.schema.json to it."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"inference-harness run, schema {SCHEMA_VERSION}",
        **{
            k: v
            for k, v in RunRecord.model_json_schema(mode="serialization").items()
            if k != "title"
        },
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
