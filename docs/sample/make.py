"""Make the sample report and the pictures of the docs again: `python docs/sample/make.py`."""  # noqa: INP001

from pathlib import Path

from harness.charts import LIGHT, chart
from harness.pictures import png, svg
from harness.store import Run
from reports.html.report import HtmlReport

HERE = Path(__file__).parent
PICTURES = ("fastest", "roofline", "latencies")


def main() -> None:
    """Write report.html beside this file, and pictures as PNG and SVG to docs/images."""
    run = Run(HERE / "run")
    HtmlReport().write([run], HERE / "report.html")
    images = HERE.parent / "images"
    images.mkdir(exist_ok=True)
    for name in PICTURES:
        data = chart(name).data([run])
        figure = chart(name).figure(data, LIGHT)
        (images / f"{name}.png").write_bytes(png(figure))
        label = chart(name).alt(data)
        (images / f"{name}.svg").write_text(svg(figure, prefix=name, label=label))


if __name__ == "__main__":
    main()
