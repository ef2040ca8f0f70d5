"""Arguments to verbs, and the only place where an error becomes a line and an exit status.

Exit statuses: 0 all good; 1 unexpected, or a regression; 2 bad input; 3 some case has no figure;
4 inconclusive; 5 incomparable; 130 interrupted.
"""

import os
import sys
from typing import Annotated, NoReturn

import typer

import harness

# One line per verb: its function lies in a module of the verb's name.
from harness.cli.ab import ab
from harness.cli.baseline import baseline
from harness.cli.bisect import bisect
from harness.cli.check_plugin import check_plugin
from harness.cli.compare import compare
from harness.cli.doctor import doctor
from harness.cli.explain import explain
from harness.cli.export import export
from harness.cli.gate import gate
from harness.cli.generate import generate
from harness.cli.history import history
from harness.cli.importing import importing
from harness.cli.listing import listing
from harness.cli.profile import profile
from harness.cli.report import report
from harness.cli.run import run
from harness.cli.selftest import selftest
from harness.cli.show import show
from harness.cli.site import site
from harness.cli.watch import watch
from harness.errors import HarnessError

__all__ = ["app", "main"]

app = typer.Typer(
    name="harness",
    help=harness.__doc__,
    epilog="Start with: harness run quick. Shell completion: harness --install-completion.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
for verb in (
    run,
    show,
    report,
    site,
    compare,
    gate,
    ab,
    bisect,
    history,
    selftest,
    profile,
    explain,
    watch,
):
    app.command()(verb)
app.command("import")(importing)
app.command()(export)
app.command()(generate)
app.command()(doctor)
app.command("list")(listing)
app.command("check-plugin")(check_plugin)
app.add_typer(baseline, name="baseline")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(harness.__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback where something goes wrong.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version
    if debug:
        os.environ["HARNESS_DEBUG"] = "1"


def main() -> NoReturn:
    """Run the command line; exit with its status."""
    # `--debug` works anywhere on the line: that is where one adds it to a command that failed.
    arguments = sys.argv[1:]
    if "--debug" in arguments:
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    sys.exit(_status_of(arguments))


def _status_of(arguments: list[str]) -> int:
    try:
        return int(app(arguments, prog_name="harness", standalone_mode=False) or 0)
    except HarnessError as error:
        return _fail(error, str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output left (`| head`); nothing is wrong. Keep Python from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage:
            return _fail(error, f"{usage()} harness --help shows what there is", 2)
        if os.environ.get("HARNESS_DEBUG"):
            raise
        return _fail(error, f"{type(error).__name__}: {error}; --debug shows where", 1)


def _fail(error: Exception, line: str, status: int) -> int:
    if os.environ.get("HARNESS_DEBUG"):
        raise error
    typer.echo(f"error: {line}", err=True)
    return status
