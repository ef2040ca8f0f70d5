"""`harness check-plugin NAME`: does a plugin keep its contract? Arguments to checks to a table."""

import json as json_
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.arguments import JsonOption, PluginOption
from harness.cli.complete import model_names
from harness.contracts import Backend, Options, Sampler, Scenario
from harness.errors import PluginError, UnavailableError, did_you_mean
from harness.plugins import add_file, find, names
from harness.spec import Source, parse_setting, spec_error

if TYPE_CHECKING:
    from harness.testing import Finding

__all__ = ["check_plugin"]

_BROKEN = 3


def _known() -> list[str]:
    return sorted({*names(Backend), *names(Scenario), *names(Sampler)})


def _complete(incomplete: str) -> list[str]:
    return [name for name in _known() if name.startswith(incomplete)]


def check_plugin(
    name: Annotated[
        str, typer.Argument(help="A backend, scenario or sampler.", autocompletion=_complete)
    ],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="Precision of a backend.")] = "float32",
    model: Annotated[
        str, typer.Option(help="Preset, folder, .gguf or hf://…", autocompletion=model_names)
    ] = "tiny",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another option of the plugin's own."),
    ] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Say whether a backend, scenario or sampler keeps its contract.

    Exits with 0 where it does, with 3 where a check failed.
    """
    for path in plugin or ():
        add_file(path)
    own = dict(parse_setting(text) for text in settings or ())
    findings = _findings(name, device, dtype, model, own)
    if json:
        found = list(findings)
        shown = [finding.model_dump() for finding in found]
        typer.echo(json_.dumps({"plugin": name, "findings": shown}, indent=2))
    else:
        found = _show(name, findings)
    if not all(finding.ok for finding in found):
        raise typer.Exit(_BROKEN)


def _findings(
    name: str, device: str, dtype: str, model: str, own: dict[str, Any]
) -> Iterator["Finding"]:
    """Look the plugin up, whatever its kind, and run its checks."""
    from harness.model import open_model
    from harness.testing import iter_conformance, sampler_conformance, scenario_conformance

    opened = open_model(model)
    if name in names(Backend):
        backend = find(Backend, name)
        options = _options(name, backend.Options, {"device": device, "dtype": dtype, **own})
        can = backend.availability(options.device)
        if not can.ok:
            raise UnavailableError(
                f"cannot run on {device}: {can.reason}", where=name, remedy=can.remedy
            )
        return iter_conformance(backend, options, opened, options.device)
    if name in names(Scenario):
        scenario = find(Scenario, name)
        return iter(scenario_conformance(scenario, _options(name, scenario.Options, own), opened))
    if name in names(Sampler):
        return iter(sampler_conformance(find(Sampler, name)))
    known = _known()
    raise PluginError(
        f'no backend, scenario or sampler is called "{name}"',
        expected=f"one of {', '.join(known)}",
        remedy=did_you_mean(name, known).strip() or None,
    )


def _options(name: str, kind: type[Options], given: dict[str, Any]) -> Any:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise spec_error(error, Source(name, ""), (), lambda _: kind.model_fields) from error


def _show(name: str, findings: Iterable["Finding"]) -> list["Finding"]:
    """Print a row per check; where somebody watches, say which ones are through."""
    console = Console()
    found = []
    with console.status(f"checking {escape(name)}") as status:
        for finding in findings:
            found.append(finding)
            status.update(f"checking {escape(name)}: {escape(finding.name)}")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in found:
        mark = "[green]ok[/]" if finding.ok else "[red]failed[/]"
        table.add_row(mark, escape(finding.name), escape(finding.detail))
    console.print(table)
    broken = sum(not finding.ok for finding in found)
    verdict = f"{broken} of {len(found)} checks failed" if broken else "keeps its contract"
    console.print(f"{escape(name)}: {verdict}")
    return found
