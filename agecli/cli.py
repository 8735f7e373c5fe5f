"""The command line: assembles the commands and turns errors into one line."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import Annotated, Any, NoReturn

import typer

from agecli import __version__, distributed
from agecli.commands import evaluate, export, predict, prepare, train, tune
from agecli.errors import AgecliError

OTHERS_WAIT = 3.0
"""Seconds until a process of a launch that is not the first one tells of its failure."""

app = typer.Typer(
    name="agecli",
    help="Tell the age group from a face picture: prepare, train, tune, evaluate, export, predict.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: Rich's takes three times as long to import
    add_completion=False,
)
training = typer.Typer(help="Train a model on a prepared data set.", no_args_is_help=True)
search = typer.Typer(
    help="Search the settings with which a model trains best.", no_args_is_help=True
)

app.command(epilog=prepare.EXAMPLES)(prepare.prepare)
app.add_typer(training, name="train")
train.add_commands(training)
app.add_typer(search, name="tune")
tune.add_commands(search)
app.command(epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(epilog=export.EXAMPLES)(export.export)
app.command(epilog=predict.EXAMPLES)(predict.predict)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agecli {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; every failure becomes one line on stderr and an exit code."""
    try:
        code = app(standalone_mode=False) or 0
        distributed.leave()
        sys.exit(code)
    except AgecliError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted" if distributed.is_main() else "", 130)
    except BrokenPipeError:  # the reader of our output went away, as in `agecli ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        what = f": {error.filename}" if error.filename else ""
        _fail(f"{error.strerror or error}{what}", 1)
    except MemoryError:
        _fail("out of memory: use a smaller --batch-size or --image-size", 1)
    except Exception as error:
        if hasattr(error, "format_message"):  # Typer's own: wrong usage; empty after a help page
            _fail(_usage(error), 2)
        if distributed.is_loss(error):
            _fail("another process of the launch has ended", 1)
        if os.environ.get("AGECLI_TRACEBACK"):
            raise
        _fail(
            f"internal error, {type(error).__name__}: {error} "
            "(please report it; AGECLI_TRACEBACK=1 shows where)",
            1,
        )


def _usage(error: Any) -> str:
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message} (see {context.command_path} --help)" if message and context else message


def _fail(message: str, code: int) -> NoReturn:
    if line := re.sub(r"\s*[\n\r]\s*", " ", message).strip():  # spaces may be a file's name
        where = ""
        if not distributed.is_main():
            # What every process runs into is said once: the first one's end ends this one here.
            time.sleep(OTHERS_WAIT)
            where = f"rank {distributed.rank()}: "
        print(f"agecli: {where}{line}", file=sys.stderr)  # noqa: T201 - the one place for errors
    sys.exit(code)
