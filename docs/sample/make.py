"""Make the sample report, the sample site and the pictures of the docs: `make samples`.

python docs/sample/make.py           # from the runs that are kept in docs/sample/store
python docs/sample/make.py --fresh   # makes these runs first, on a machine that should be quiet
"""  # noqa: INP001

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from harness.charts import LIGHT, chart
from harness.pictures import png, svg
from harness.store import Run, Store
from reports.html.report import HtmlReport
from reports.site.build import StaticSite

HERE = Path(__file__).parent
MODEL = HERE.parents[1] / ".models" / "SmolLM2-135M-Instruct.gguf"
PICTURES = ("fastest", "roofline", "latencies", "memory", "startup", "batch", "correctness")
NIGHTS = 4
KEPT = {"profiles", "run.json", "samples.parquet", "telemetry.parquet"}


def main() -> None:
    """Write report.html and site/ beside this file, and pictures as PNG and SVG to docs/images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="make the runs anew first")
    parser.add_argument("--model", default=str(MODEL), help="weights for --fresh")
    asked = parser.parse_args()
    if asked.fresh:
        _make_runs(asked.model)
    store = Store(HERE / "store")
    runs = [Run(store.root / "runs" / name) for name in store.ids()]
    sample = max(runs, key=lambda run: len(run.record.cases))
    HtmlReport().write([sample], HERE / "report.html")
    shutil.rmtree(HERE / "site", ignore_errors=True)
    StaticSite().build(store, HERE / "site")
    (HERE / "site" / ".site.json").unlink()  # times of files: of no use to who clones this
    _draw(sample, HERE.parent / "images")
    size = sum(file.stat().st_size for file in (HERE / "site").rglob("*") if file.is_file())
    print(f"{HERE / 'report.html'}  {(HERE / 'report.html').stat().st_size / 1e6:.1f} MB")
    print(f"{HERE / 'site' / 'index.html'}  {size / 1e6:.1f} MB in all, {len(runs)} runs")


def _make_runs(model: str) -> None:
    """Replace the kept runs: one of every backend, and a few nights of two."""
    shutil.rmtree(HERE / "store", ignore_errors=True)
    every = ["backends", "--rounds", "4", "--set", "telemetry.hz=5.0", "--profile"]
    for suite in (every, *[[str(HERE / "nightly.toml")]] * NIGHTS):
        asked = ["run", *suite, "--store", str(HERE / "store"), "--model", model]
        done = subprocess.run([sys.executable, "-P", "-m", "harness", *asked], check=False)
        if done.returncode not in (0, 3):  # 3: a backend that cannot run here, which is shown too
            raise SystemExit(done.returncode)
    (HERE / "store" / ".gitignore").unlink()  # these runs are kept
    shutil.rmtree(HERE / "store" / "cache", ignore_errors=True)
    for run in (HERE / "store" / "runs").iterdir():
        for path in run.iterdir():
            if path.is_dir() and path.name not in KEPT:
                shutil.rmtree(path)
            elif path.is_file() and path.name not in KEPT:
                path.unlink()


def _draw(sample: Run, images: Path) -> None:
    images.mkdir(exist_ok=True)
    for name in PICTURES:
        data = chart(name).data([sample])
        if data.empty:  # the suite `backends` leaves memory out
            continue
        figure = chart(name).figure(data, LIGHT)
        (images / f"{name}.png").write_bytes(png(figure))
        label = chart(name).alt(data)
        (images / f"{name}.svg").write_text(svg(figure, prefix=name, label=label))


if __name__ == "__main__":
    main()
