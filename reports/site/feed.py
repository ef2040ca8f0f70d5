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
_GOOD, _BAD, _PLAIN = "#1a6e3a", "#b3261e", "#0b63c5"


def change_words(change: Change) -> str:
    """Return `itl_ms rose by 7.2 % (27.4 ms → 29.4 ms)`."""
    value = change.ratio.value or 1.0
    before, after = (quantity(row["value"], change.unit) for row in (change.before, change.after))
    way = "rose" if value > 1 else "fell"
    what = f"{change.metric} {change.point}".strip()
    return f"{what} {way} by {100 * abs(value - 1):.1f} % ({before} → {after})"


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
    link = f"{base}cases/{change.slug}.html"
    what = f"{change.metric}:{change.point}".replace(" ", "-")
    name = f"urn:inference-harness:{change.after['run']}:{change.slug}:{what}"
    revisions = [row["revision"] or "unknown revision" for row in (change.before, change.after)]
    return "\n".join(
        [
            "<entry>",
            f"<title>{escape(f'{change.case}: {change_words(change)}')}</title>",
            f"<id>{escape(name)}</id>",
            f"<updated>{escape(change.after['created_at'])}</updated>",
            f"<link href={quoteattr(link)}/>",
            f"<summary>{escape(f'between {revisions[0]} and {revisions[1]}')}</summary>",
            "</entry>",
        ]
    )


def badges(
    cases: Sequence[Mapping[str, Any]], moved: Sequence[Change]
) -> Iterator[tuple[str, str]]:
    """Yield (name, SVG): each case's latest primary figure, and whether anything got worse."""
    for case in cases:
        row = next((r for r in reversed(case["rows"]) if r.get("value") is not None), None)
        if row is not None:
            words = f"{row['metric']} {row['point']}".strip()
            yield case["slug"], _badge(words, row["shown"], _PLAIN)
        elif case["rows"]:
            yield case["slug"], _badge(case["id"], case["rows"][-1]["status"], _BAD)
    latest: dict[tuple[str, str, str], Change] = {}
    for change in moved:  # newest first
        latest.setdefault((change.slug, change.metric, change.point), change)
    last = {case["slug"]: case["rows"][-1]["run"] for case in cases if case["rows"]}
    worse = [c for c in latest.values() if c.worse and c.after["run"] == last[c.slug]]
    said = f"{len(worse)} regression{'' if len(worse) == 1 else 's'}" if worse else "no regression"
    yield "gate", _badge("inference", said, _BAD if worse else _GOOD)


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
