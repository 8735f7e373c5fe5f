"""The command line: assembles the commands and turns errors into one line."""

from __future__ import annotations

import codecs
import os
import re
import sys
import time
from typing import Annotated, Any, NoReturn

import typer

from agecli import __version__, distributed, memory
from agecli.commands import doctor, evaluate, export, guide, predict, prepare, train, tune
from agecli.commands._help import Command, Group
from agecli.errors import AgecliError

OTHERS_WAIT = 3.0
"""Seconds until a process of a launch other than the first reports its failure."""

TOO_LITTLE = (
    "out of memory: raise this process's limit (`ulimit -v`, a container's limit), or use a "
    "smaller --batch-size, --image-size or --workers"
)
PLAIN = str.maketrans(dict(zip("–…×·▼→█▉▊▋▌▍▎▏", "-.x.v>########", strict=True)))
"""Replacements for characters that a console cannot show."""

ORDER = ["prepare", "train", "tune", "evaluate", "export", "predict", "guide", "doctor"]
"""The order of the commands in the help: that of their use."""


class Root(Group):
    """The commands in their order."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    name="agecli",
    cls=Root,
    help="Predict the age group of faces: prepare, train, tune, evaluate, export, predict.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # our help uses Rich: _help
)
training = typer.Typer(
    cls=train.TrainCommands, help="Train a model on a prepared data set.", no_args_is_help=True
)
search = typer.Typer(
    cls=tune.TuneCommands,
    help="Search for the settings with which a model trains best.",
    no_args_is_help=True,
)

app.command(cls=Command, epilog=prepare.EXAMPLES)(prepare.prepare)
app.add_typer(training, name="train")
app.add_typer(search, name="tune")
app.command(cls=Command, epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(cls=Command, epilog=export.EXAMPLES)(export.export)
app.command(cls=Command, epilog=predict.EXAMPLES)(predict.predict)
app.command(cls=Command, epilog=guide.EXAMPLES)(guide.guide)
app.command(cls=Command, epilog=doctor.EXAMPLES)(doctor.doctor)


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
        _open_consoles()
        distributed.check_launch()
        code = app(standalone_mode=False) or 0
        distributed.leave()
        sys.exit(code)
    except AgecliError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted" if distributed.is_main() else "", 130)
    except BrokenPipeError:  # the reader of our output has gone, as in `agecli ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if memory.lacks_main_memory(error):
            _fail(TOO_LITTLE, 1)
        what = f": {error.filename}" if error.filename else ""
        _fail(f"{error.strerror or error}{what}", 1)
    except Exception as error:
        if hasattr(error, "format_message"):  # Typer's own: wrong usage; empty after a help page
            _fail(_usage(error), 2)
        if memory.lacks_main_memory(error):
            _fail(TOO_LITTLE, 1)
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
    if line := re.sub(r"\s*[\n\r]\s*", " ", message).strip():  # spaces may be part of a file's name
        where = ""
        if not distributed.is_main():
            # An error that all processes share is printed once: the first one's end ends this one.
            time.sleep(OTHERS_WAIT)
            where = f"rank {distributed.rank()}: "
        print(f"agecli: {where}{line}", file=sys.stderr)  # noqa: T201 - the one place for errors
    sys.exit(code)


def _open_consoles() -> None:
    """Replace characters that a console cannot show instead of raising an error."""
    codecs.register_error("agecli", _replace)
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", "") == "strict":
            stream.reconfigure(errors="agecli")  # type: ignore[union-attr]


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    shown = error.object[error.start : error.end].translate(PLAIN)
    return "".join(char if char.isascii() else "?" for char in shown), error.end
