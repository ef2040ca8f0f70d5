"""Every chart as it looked when a person last looked at it; `make golden` renews the pictures.

Compared by root mean square of the difference, so that another version of a font rasteriser
passes and a lost line does not. What is drawn is tested in test_drawn.
"""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.charts import LIGHT, chart, charts
from harness.pictures import png
from harness.store import Run

HERE = Path(__file__).parent / "golden"
TOLERANCE = 12.0
"""Of 255; a missing series of a chart gives 15 and more."""


ELSEWHERE = {"comparison", "history", "telemetry", "energy"}
"""Need more than the sample has; test_contract draws them."""


def picture(name: str, run: Run, *, narrow: bool) -> Image.Image:
    figure = chart(name).figure(chart(name).data([run]), LIGHT.narrowed() if narrow else LIGHT)
    return Image.open(io.BytesIO(png(figure, dpi=60))).convert("RGB")


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", [name for name in charts() if name not in ELSEWHERE])
def test_it_looks_as_it_did(name: str, narrow: bool, sample: Run) -> None:
    drawn = picture(name, sample, narrow=narrow)
    file = HERE / f"{name}{'-narrow' if narrow else ''}.png"
    if os.environ.get("HARNESS_GOLDEN"):
        HERE.mkdir(exist_ok=True)
        drawn.quantize(64).save(file, optimize=True)
    expected = Image.open(file).convert("RGB")

    assert drawn.size == expected.size
    difference = np.asarray(drawn, float) - np.asarray(expected, float)
    assert np.sqrt((difference**2).mean()) < TOLERANCE


def test_a_chart_that_lost_a_series_does_not_pass(sample: Run) -> None:
    data = chart("batch").data([sample])
    whole, less = (
        np.asarray(
            Image.open(io.BytesIO(png(chart("batch").figure(some), dpi=60))).convert("RGB"), float
        )
        for some in (data, data[data["series"] == 0])
    )

    assert np.sqrt(((whole - less) ** 2).mean()) > TOLERANCE
