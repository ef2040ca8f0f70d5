"""JUnit XML: one test case per figure that decides, a class per case of the suite."""

from __future__ import annotations

from xml.etree import ElementTree as ET  # written, never parsed

from harness.gate.judgement import Judgement, Row
from harness.gate.outputs.words import sentence
from harness.shown import printable

__all__ = ["junit_xml"]

_FAILS = ("regression", "no-figure", "incomparable", "inconclusive")


def junit_xml(judgement: Judgement, *, inconclusive_passes: bool = False) -> bytes:
    """Return the document; an inconclusive figure that passes is a skipped test."""
    rows = [row for row in judgement.rows if row.primary]
    suites = ET.Element("testsuites", name="harness gate")
    suite = ET.SubElement(suites, "testsuite", name="harness gate", tests=str(len(rows)))
    counts = {"failures": 0, "errors": 0, "skipped": 0}
    for row in rows:
        case = ET.SubElement(suite, "testcase", classname=_safe(row.case), name=_safe(row.name))
        kind = _element(row, inconclusive_passes=inconclusive_passes)
        if kind is not None:
            counts[{"failure": "failures", "error": "errors"}.get(kind, kind)] += 1
            said = _safe(sentence(row))
            found = ET.SubElement(case, kind, message=said, type=row.verdict)
            found.text = said
        else:
            ET.SubElement(case, "system-out").text = _safe(sentence(row))
    for element in (suites, suite):
        element.attrib |= {name: str(count) for name, count in counts.items()}
    ET.indent(suites)
    document: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _element(row: Row, *, inconclusive_passes: bool) -> str | None:
    if row.verdict == "inconclusive" and inconclusive_passes:
        return "skipped"
    if row.verdict not in _FAILS:
        return None
    return "failure" if row.verdict in ("regression", "inconclusive") else "error"


def _safe(text: str) -> str:
    """XML 1.0 has no place for control characters, escaped or not."""
    return printable(text, 2000)
