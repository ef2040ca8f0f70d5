"""What other programs read of a site: an Atom feed of changes, badges, a sitemap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from harness.shown import quantity
from reports.site.series import Change

__all__ = ["atom", "badges", "change_words", "sitemap"]

_ENTRIES = 100
_GOOD, _BAD, _PLAIN, _GREY = "#1a6e3a", "#b3261e", "#0b63c5", "#5b6570"
_COLORS = {"pass": _GOOD, "improvement": _GOOD, "regression": _BAD, "no-figure": _BAD}
_GRAVEST = ("regression", "no-figure", "incomparable", "inconclusive", "improvement", "pass")
"""As `harness gate` orders its verdicts."""


def change_words(change: Change) -> str:
    """Return `itl_ms rose by 7.2 % (27.4 ms → 29.4 ms)`, or the gate's reason without a ratio."""
    row = change.row
    what = f"{change.metric} {change.point}".strip()
    if row.get("ratio") is None or row.get("base") is None or row.get("value") is None:
        return ": ".join(filter(None, [what, row["reason"]]))
    way = "rose" if row["ratio"] > 1 else "fell"
    before, after = (quantity(row[name], row["unit"]) for name in ("base", "value"))
    if not 0.1 < row["ratio"] < 10:
        return f"{what} {way} to {row['ratio']:,.3g}× ({before} → {after})"
    return f"{what} {way} by {100 * abs(row['ratio'] - 1):.1f} % ({before} → {after})"


def atom(runs: Sequence[Mapping[str, Any]], moved: Sequence[Change], url: str | None) -> str:
    """Return the feed of regressions, newest first."""
    base = url.rstrip("/") + "/" if url else ""
    newest = next(
        (run["created_at"] for run in runs if run["created_at"]), "1970-01-01T00:00:00+00:00"
    )
    entries = [_entry(change, base) for change in moved if change.worse][:_ENTRIES]
    return "\n".join(
        [
            '<?xml version="1.0" encoding="utf-8"?>',
            '<feed xmlns="http://www.w3.org/2005/Atom">',
            "<title>Regressions – inference-harness</title>",
            f"<id>{escape(base or 'urn:inference-harness:regressions')}</id>",
            f"<updated>{escape(newest)}</updated>",
            f"<link href={quoteattr(base or 'index.html')}/>",
            "<author><name>inference-harness</name></author>",
            *entries,
            "</feed>",
            "",
        ]
    )


def _entry(change: Change, base: str) -> str:
    row, link = change.row, f"{base}cases/{change.slug}.html"
    what = f"{change.metric}:{change.point}".replace(" ", "-")
    name = f"urn:inference-harness:{row['run']}:{change.slug}:{what}"
    revisions = [side["revision"] or "unknown revision" for side in (row["against"], row)]
    said = f"between {revisions[0]} and {revisions[1]}: {row['reason']}"
    return "\n".join(
        [
            "<entry>",
            f"<title>{escape(f'{change.case}: {change_words(change)}')}</title>",
            f"<id>{escape(name)}</id>",
            f"<updated>{escape(row['created_at'])}</updated>",
            f"<link href={quoteattr(link)}/>",
            f"<summary>{escape(said)}</summary>",
            "</entry>",
        ]
    )


def badges(
    runs: Sequence[Mapping[str, Any]], cases: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Yield (name, SVG): each case's latest primary figure, and what the gate said last.

    Args:
        runs: Lines of the index, newest first.
        cases: Documents of all cases.
    """
    for case in cases:
        row = next((r for r in reversed(case["rows"]) if r.get("value") is not None), None)
        if row is not None:
            words = f"{row['metric']} {row['point']}".strip()
            yield case["slug"], _badge(words, row["shown"], _PLAIN)
        elif case["rows"]:
            yield case["slug"], _badge(case["id"], case["rows"][-1]["status"], _BAD)
    newest: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        if run.get("against"):
            newest.setdefault(run["suite"], run["against"])
    said = min((a["verdict"] for a in newest.values()), key=_GRAVEST.index, default="not compared")
    count = sum(against["counts"].get(said, 0) for against in newest.values())
    words = f"{count} {said}{'' if count == 1 else 's'}" if said == "regression" else said
    yield "gate", _badge("gate", words, _COLORS.get(said, _GREY))


def _badge(left: str, right: str, color: str) -> str:
    left, right = left[:48], right[:32]
    a, b = (round(6.6 * len(words) + 12) for words in (left, right))
    label = quoteattr(f"{left}: {right}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{a + b}" height="20" role="img" '
        f"aria-label={label}><title>{escape(f'{left}: {right}')}</title>"
        f'<clipPath id="r"><rect width="{a + b}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><path fill="#444c55" d="M0 0h{a}v20H0z"/>'
        f'<path fill="{color}" d="M{a} 0h{b}v20H{a}z"/></g>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="6" y="14" textLength="{a - 12}">{escape(left)}</text>'
        f'<text x="{a + 6}" y="14" textLength="{b - 12}">{escape(right)}</text></g></svg>\n'
    )


def sitemap(folder: Path, url: str) -> str:
    """Return every page of the folder with its whole address."""
    pages = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    base = url.rstrip("/")
    return "\n".join(
        [
            '<?xml version="1.0" encoding="utf-8"?>',
            '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">',
            *(f"<url><loc>{escape(f'{base}/{page}')}</loc></url>" for page in pages),
            "</urlset>",
            "",
        ]
    )
