"""A run as a table for the terminal: readable at 80 columns and without colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.cli.bars import comparison_bars, sequence_line
from harness.profiling.stored import profiles_of
from harness.profiling.words import profile_line
from harness.reading import Reading
from harness.shown import interval, printable, quantity
from harness.store import Run
from harness.store.accounts import Account, accounts_of
from harness.store.answer import answers, tokens_words
from harness.store.beside import Beside, beside, no_energy
from harness.store.record import CaseRecord, RunRecord
from harness.store.simulated import simulated_words
from harness.store.view import (
    Line,
    caution_words,
    cautions_of,
    check_words,
    environment_words,
    lines,
    run_words,
    why_no_figures,
)

__all__ = ["run_table", "stdout"]

_WIDTHS = {"value": 10, "spread": 8, "p90": 8, "p99": 8, "share": 9}
_LABEL, _LABEL_BESIDE_TAILS = 29, 21


def stdout() -> Console:
    """Return the console for tables: no markup, no highlighting, as the terminal allows."""
    return Console(markup=False, highlight=False, emoji=False)


def run_table(run: Run, *, only: Sequence[str] = (), everything: bool = False) -> RenderableType:
    """Return the table of a run.

    Args:
        run: Finished or not.
        only: Metrics to show; all where empty.
        everything: Whether to show every statistic with its interval, and rates behind MBU and MFU.
    """
    record = run.record
    parts: list[RenderableType] = [*_header(run), Text()]
    for case in record.cases:
        found = lines(case, record, only=only, rates=everything)
        if only and case.status == "done" and not found:
            continue
        parts.append(_case_heading(case))
        if why := why_no_figures(case):
            parts += _no_figures(run, case, why)
        elif found:
            parts.append(Padding(_detailed(found) if everything else _short(found), (0, 0, 0, 2)))
            parts += _sequence(run, case) if everything else _reasons(found)
        if not only and case.status == "done":
            parts += [Padding(_account(a), (0, 0, 0, 2)) for a in accounts_of(case)]
        if not only and (rows := beside(case)):
            parts.append(Padding(_beside(rows), (0, 0, 0, 2)))
        parts += [_indented(f"! {caution_words(c)}", "yellow") for c in cautions_of(case)]
        parts.append(Text())
    parts += [_indented(f"left out: {problem}", "red") for problem in run.problems]
    parts += () if only else _where_time_goes(run)
    return Group(*parts, *_closing(record, only, short=not everything))


def _header(run: Run) -> Iterator[Text]:
    record = run.record
    yield Text(printable(run_words(record)), style="bold")
    yield Text(printable(environment_words(record)), style="dim")
    yield Text(f"run {printable(record.id)}", style="dim")
    if said := simulated_words(record):
        yield Text(printable(said), style="bold red")


def _where_time_goes(run: Run) -> Iterator[RenderableType]:
    """One line for each case that was profiled in extra rounds, which give no figure."""
    seen = profiles_of(run)
    if seen:
        yield Text("where the time goes", style="bold")
    for one in seen:
        yield Padding(Text(f"{printable(one.case)}:", style="cyan"), (0, 0, 0, 2))
        yield _indented(f"  {profile_line(one.profile)}", "")
    if seen:
        yield Text()


def _closing(record: RunRecord, only: Sequence[str], *, short: bool) -> Iterator[RenderableType]:
    tails = [f for c in record.cases for f in c.figures if f.statistic in ("p90", "p99")]
    if short and any(figure.reading.value is None for figure in tails):
        yield Text("– is not known from these samples; harness show -a says why", style="dim")
    if why := no_energy(record):
        yield Text(printable(why), style="dim")
    yield from comparison_bars(record, only)
    for sentence in answers(record):
        yield Text(printable(sentence), style="bold")
    yield Text(printable(tokens_words(record)))


def _case_heading(case: CaseRecord) -> Text:
    style = {"done": "bold cyan", "pending": "dim"}.get(case.status, "bold red")
    heading = Text(printable(case.id), style=style)
    if case.status == "done":
        heading.append(f"  {printable(check_words(case))}", style="green")
    return heading


def _no_figures(run: Run, case: CaseRecord, why: str) -> Iterator[RenderableType]:
    yield _indented(why, "red")
    bad = next((r for r in case.rounds if r.status != "done"), None)
    if bad is None:
        return
    log = run.log_path(case.id, bad.round)
    if log.exists():
        yield _indented(f"log: {log}", "dim")
    elif bad.failure and bad.failure.log_tail:
        yield _indented(bad.failure.log_tail.strip().splitlines()[-1], "dim")


def _short(found: Sequence[Line]) -> Table:
    """One line a metric and point: headline, spread, tails, share of the ceiling."""
    tails = [t for t in ("p90", "p99") if any(line.tail(t) for line in found)]
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=bool(tails))
    table.add_column(
        "", no_wrap=False, overflow="fold", width=_LABEL_BESIDE_TAILS if tails else _LABEL
    )
    for name in ("value", "spread"):
        header = found[0].headline.statistic if name == "value" else ""
        table.add_column(header, justify="right", min_width=_WIDTHS[name], no_wrap=True)
    for name in tails:
        table.add_column(name, justify="right", min_width=_WIDTHS[name], no_wrap=True)
    table.add_column("", justify="right", min_width=_WIDTHS["share"], no_wrap=True)
    for name, group in groupby(found, key=lambda line: line.metric.name):
        same = list(group)
        single = len(same) == 1 and not same[0].point
        if not single:
            table.add_row(Text(printable(name), style=_weight(same[0])))
        for line in same:
            label = Text(printable(name if single else f"  {line.point or 'all points'}"))
            label.style = _weight(line) if single else ""
            cells = [line.value, line.spread, *(line.tail(t) for t in tails), line.share]
            table.add_row(label, *(Text(cell) for cell in cells))
    return table


def _sequence(run: Run, case: CaseRecord) -> Iterator[Padding]:
    line = sequence_line(run, case)
    if line is not None:
        yield Padding(line, (0, 0, 0, 2))


def _reasons(found: Sequence[Line]) -> Iterator[Padding]:
    """Say why a headline is absent: one line for all metrics of one reason."""
    reasons: dict[str, list[str]] = {}
    for line in found:
        if line.absent:
            reasons.setdefault(line.absent, []).append(f"{line.metric.name} {line.point}".strip())
    for reason, names in reasons.items():
        yield _indented(f"– {', '.join(names)}: {reason}", "dim")


def _detailed(found: Sequence[Line]) -> Table:
    """One line a statistic, with both ends of its interval or why there is none."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("metric", overflow="fold", max_width=_LABEL)
    table.add_column("", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 % interval, or why there is none", overflow="fold")
    table.add_column("n", justify="right", no_wrap=True)
    for line in found:
        name = " ".join(filter(None, [line.metric.name, line.point]))
        for statistic, figure in line.figures.items():
            reading = figure.reading
            table.add_row(
                Text(printable(name), style=_weight(line)),
                Text(printable(statistic)),
                Text(line.shown(reading)),
                Text(printable(interval(reading, line.metric.unit))),
                Text("" if reading.n is None else str(reading.n)),
            )
            name = ""
        if line.share:
            table.add_row("", "", Text(line.share), Text("of the ceiling measured beside it"), "")
    return table


def _account(account: Account) -> Table:
    """A total, its parts with what they should be, and the remainder with its name."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(overflow="fold", width=_LABEL)
    table.add_column(justify="right", min_width=_WIDTHS["value"], no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text(account.name, style="bold"), _bytes(account.total), "")
    for part in account.parts:
        off = part.off_by
        against = "" if off is None else f"{off:+.1%} against {part.computed_by}"
        beside = "; ".join(filter(None, [against, part.note]))
        table.add_row(Text(f"  {part.name}"), _bytes(part.measured), Text(beside, style="dim"))
    rest = account.remainder
    table.add_row(Text("  remainder"), _bytes(rest), Text(rest.reason or account.rest, style="dim"))
    return table


def _beside(rows: Sequence[Beside]) -> Table:
    """Energy, memory, disturbance; what a row is made of beneath it."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(overflow="fold", width=_LABEL)
    table.add_column(justify="right", min_width=_WIDTHS["value"], no_wrap=True)
    table.add_column(justify="right", min_width=_WIDTHS["spread"], no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        note = Text(printable(row.note), style="dim")
        table.add_row(Text(printable(row.name)), Text(row.value), Text(row.spread), note)
    return table


def _bytes(reading: Reading) -> Text:
    return Text("–" if reading.value is None else quantity(reading.value, "bytes"))


def _weight(line: Line) -> str:
    return "bold" if line.metric.primary else ""


def _indented(words: str, style: str) -> Padding:
    return Padding(Text(printable(words), style=style), (0, 0, 0, 2))
