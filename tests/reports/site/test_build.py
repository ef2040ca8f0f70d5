import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.gate.judge import judge
from harness.gate.rules import Rules
from harness.gate.sources import earlier_runs, two_sides
from harness.store import Store
from harness.testing.runs import example_record
from reports.site import workers
from reports.site.build import StaticSite

Add = Callable[..., object]

OLD, NEW = "a" * 40, "b" * 40
LATENCY = "smollm2-135m/eager[dtype=float32]/latency"
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e\x1b[31m&amp;"


def contents(folder: Path) -> dict[str, str]:
    """Every file but the state, by a digest of its bytes."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".site.json"
    }


def test_every_run_case_backend_and_machine_has_a_page(
    store: Store, add: Add, tmp_path: Path
) -> None:
    add(1)
    add(2)

    assert StaticSite().build(store, tmp_path / "site") == 2

    files = contents(tmp_path / "site")
    assert len([f for f in files if f.startswith("runs/")]) == 2
    assert len([f for f in files if f.startswith("cases/")]) == 6
    assert len([f for f in files if f.startswith("backends/")]) == 1
    assert len([f for f in files if f.startswith("machines/")]) == 1
    assert {"index.html", "compare.html", "feed.xml", "badges/gate.svg", "style.css"} <= set(files)
    assert {"data/runs.json", "data/history.parquet", "data/README.md"} <= set(files)


def test_every_link_leads_to_a_file(store: Store, add: Add, tmp_path: Path) -> None:
    add(1)
    add(2, factor=1.2)
    site = tmp_path / "site"
    StaticSite().build(store, site)

    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_same_store_gives_the_same_bytes_whether_built_at_once_or_run_by_run(
    store: Store, add: Add, tmp_path: Path
) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    for day in (2, 1, 3):
        add(day, factor=1 + day / 10)
        assert StaticSite().build(store, grown) == 1

    StaticSite().build(store, whole)

    assert contents(grown) == contents(whole)


@pytest.mark.slow
def test_many_runs_are_read_by_several_processes_into_the_same_bytes(
    store: Store, add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(1)
    add(2, factor=1.1)
    StaticSite().build(store, tmp_path / "alone")

    monkeypatch.setattr(workers, "_ALONE", 0)
    StaticSite().build(store, tmp_path / "together")

    assert contents(tmp_path / "alone") == contents(tmp_path / "together")


def test_nothing_is_read_again_where_nothing_changed(
    store: Store, add: Add, tmp_path: Path
) -> None:
    add(1)
    StaticSite().build(store, tmp_path / "site")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "site").rglob("*.html")}

    assert StaticSite().build(store, tmp_path / "site") == 0
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_a_run_that_is_gone_leaves_nothing_behind(store: Store, add: Add, tmp_path: Path) -> None:
    site, other = tmp_path / "site", tmp_path / "other"
    add(1)
    StaticSite().build(store, other)
    add(2, factor=2.0)
    StaticSite().build(store, site)

    shutil.rmtree(store.root / "runs" / "20261102-041502-default-3f2a")
    StaticSite().build(store, site)

    assert contents(site) == contents(other)


def test_a_regression_of_the_gate_is_on_the_first_page_in_the_feed_and_on_the_badge(
    store: Store, add: Add, tmp_path: Path
) -> None:
    for day in range(1, 9):
        add(day, revision=OLD)
    add(9, factor=1.2, revision=NEW)
    site = tmp_path / "site"
    StaticSite().build(store, site, url="https://example.org/perf/")

    assert "itl_ms rose by 20." in (site / "index.html").read_text()
    feed = ET.fromstring((site / "feed.xml").read_text())
    entries = feed.findall("{http://www.w3.org/2005/Atom}entry")
    titles = [entry.findtext("{http://www.w3.org/2005/Atom}title") or "" for entry in entries]
    assert any("itl_ms rose by 20.0 % (27.4 ms → 32.9 ms)" in title for title in titles)
    assert not any("decode_tokens_per_s" in title for title in titles)  # more of it is better
    badge = ET.fromstring((site / "badges" / "gate.svg").read_text())
    assert "regressions" in (badge.get("aria-label") or "")
    assert "https://example.org/perf/index.html" in (site / "sitemap.xml").read_text()


def test_each_run_says_of_the_one_before_what_harness_compare_says(
    store: Store, add: Add, tmp_path: Path
) -> None:
    for day, revision in enumerate((OLD, OLD, OLD, NEW, NEW), 1):
        add(day, factor=1 + 0.07 * (day > 3) + 0.001 * day, revision=revision)
    site = tmp_path / "site"
    StaticSite().build(store, site)

    runs = sorted(store.ids())
    for before, name in pairwise(runs):
        said = json.loads((site / "data" / "runs" / f"{name}.json").read_text())["against"]
        one, other = two_sides(store, [before], [name])
        known = [e for e in earlier_runs(store, one, other) if e.record.id < before]
        judgement = judge(one, other, Rules.of_suite(other.record.suite_resolved), history=known)
        expected = {
            (row.case, row.metric, row.point): (row.verdict, row.reason, row.ratio)
            for row in judgement.rows
            if row.primary
        }
        assert said["run"] == before
        assert said["verdict"] == judgement.verdict
        assert {
            (row["case"], row["metric"], row["point"]): (
                row["verdict"],
                row["reason"],
                pytest.approx(row["ratio"], rel=1e-9),
            )
            for row in said["rows"]
        } == expected


def test_what_the_gate_does_not_call_a_change_is_in_no_feed(
    store: Store, add: Add, tmp_path: Path
) -> None:
    timed = example_record()
    timed.cases = [case for case in timed.cases if case.scenario != "memory"]
    add(1, record=timed)
    add(2, record=timed, factor=1.1)  # one run says too little of how far runs lie apart
    StaticSite().build(store, tmp_path / "site")

    assert "<entry>" not in (tmp_path / "site" / "feed.xml").read_text()
    badge = ET.fromstring((tmp_path / "site" / "badges" / "gate.svg").read_text())
    assert badge.get("aria-label") == "gate: inconclusive"


def test_tokens_that_are_wrong_are_a_regression_without_a_ratio(
    store: Store, add: Add, tmp_path: Path
) -> None:
    add(1)
    add(2, record=example_record(statuses={LATENCY: "incorrect"}))
    StaticSite().build(store, tmp_path / "site")

    feed = (tmp_path / "site" / "feed.xml").read_text()
    assert feed.count("<entry>") == 1
    assert LATENCY in feed


def test_a_run_put_between_two_others_is_what_the_later_one_is_held_against(
    store: Store, add: Add, tmp_path: Path
) -> None:
    add(1)
    add(3)
    site = tmp_path / "site"
    StaticSite().build(store, site)
    add(2)
    StaticSite().build(store, site)

    page = (site / "runs" / "20261103-041502-default-3f2a.html").read_text()
    assert "harness compare 20261102-041502-default-3f2a" in page


def test_runs_of_other_machines_are_not_compared(store: Store, add: Add, tmp_path: Path) -> None:
    add(1)
    other = example_record()
    other.environment = {**other.environment, "cpu": {"model": "another"}}
    add(2, factor=5.0, record=other)
    StaticSite().build(store, tmp_path / "site")

    assert "not compared" in (tmp_path / "site" / "badges" / "gate.svg").read_text()
    assert "<entry>" not in (tmp_path / "site" / "feed.xml").read_text()
    assert len(list((tmp_path / "site" / "machines").iterdir())) == 2


def test_hostile_names_are_text_in_pages_file_names_feed_and_badges(
    store: Store, add: Add, tmp_path: Path
) -> None:
    record = example_record()
    record.suite = HOSTILE
    case = record.cases[0]
    case.id = case.model = case.backend = case.scenario = HOSTILE
    record.environment = {"cpu": {"model": HOSTILE}, "git": {"revision": HOSTILE}}
    add(1, record=record)
    site = tmp_path / "site"
    StaticSite().build(store, site)

    for path in site.rglob("*"):
        assert re.fullmatch(r"[\w.-]+", path.name)
        text = path.read_text(errors="replace") if path.suffix in (".html", ".xml", ".svg") else ""
        assert "<img" not in text
        assert "<script>" not in text
        assert "\x1b" not in text
    ET.fromstring((site / "feed.xml").read_text())
    for badge in (site / "badges").iterdir():
        ET.fromstring(badge.read_text())


def test_a_damaged_run_is_named_with_its_reason(store: Store, add: Add, tmp_path: Path) -> None:
    add(1)
    broken = store.root / "runs" / "20261103-000000-broken-0000"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    StaticSite().build(store, tmp_path / "site")

    assert "20261103-000000-broken-0000" in (tmp_path / "site" / "index.html").read_text()
    assert (tmp_path / "site" / "runs" / "20261103-000000-broken-0000.html").exists()


def test_the_data_say_what_the_pages_say(store: Store, add: Add, tmp_path: Path) -> None:
    add(1)
    add(2, factor=1.2)
    site = tmp_path / "site"
    StaticSite().build(store, site)

    table = pq.read_table(site / "data" / "history.parquet").to_pandas()
    itl = table[(table["metric"] == "itl_ms") & table["case"].str.contains("float32]/latency")]
    assert itl["value"].tolist() == pytest.approx([27.4, 32.88])
    (run,) = [r for r in json.loads((site / "data" / "runs.json").read_text()) if "1102" in r["id"]]
    assert run["suite"] == "default"
    described = (site / "data" / "README.md").read_text()
    assert all(name in described for name in table.columns)


def test_a_new_address_builds_all_anew(store: Store, add: Add, tmp_path: Path) -> None:
    add(1)
    StaticSite().build(store, tmp_path / "site")

    assert StaticSite().build(store, tmp_path / "site", url="https://example.org") == 1
