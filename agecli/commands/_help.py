"""Help pages by Rich, in panels; ours, since Typer's own take twice as long to load.

Rich is imported only by --help.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup

VERBATIM = "\b\n"
"""Prefix of a paragraph whose line breaks are kept."""
WIDEST = 36
"""Most characters of the column of names."""


class Command(TyperCommand):
    """A command whose help page is ours."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help page."""
        show_help(self, ctx)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; of a line that the shell completes, they stay as typed."""
        parameters = super().get_params(ctx)
        return unconverted(parameters) if ctx.resilient_parsing else parameters


class Group(TyperGroup):
    """A group of commands whose help page is ours."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help page."""
        show_help(self, ctx)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, which are flags."""
        return unconverted(super().get_params(ctx))


def unconverted(parameters: list[Any]) -> list[Any]:
    """Leave the values of parameters as they are typed.

    Pydantic converts them, and takes as long to load as all else: too long for flags, for a help
    page and for the shell, which completes a line that no command reads.
    """

    def process(parameter: Any, context: Any, value: Any) -> Any:
        return parameter.callback(context, parameter, value) if parameter.callback else value

    for parameter in parameters:
        parameter.process_value = partial(process, parameter)
    return parameters


def show_help(command: Command | Group, context: Any) -> None:
    """Print usage, description, panels of arguments, options and commands, and examples."""
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.text import Text

    from agecli.commands._console import out

    panels = _panels(command, context)
    width = max(len(name) for rows in panels.values() for name, _ in rows)
    usage = Text(command.get_usage(context), style="bold")
    for text in (usage, *map(Text, _paragraphs(command.help or ""))):
        out.print(Padding(text, (1, 2, 0, 2), expand=False))
    out.print()
    for title, rows in panels.items():
        table = _table(rows, min(width, WIDEST))
        out.print(Panel(table, title=title, title_align="left", border_style="dim"))
    for text in map(Text, _paragraphs(command.epilog or "")):
        out.print(Padding(text, (1, 2, 0, 2), expand=False))


def _panels(command: Command | Group, context: Any) -> dict[str, list[tuple[str, str]]]:
    """Return rows of names and help by the panel's title, in order of first appearance."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        usual = "Arguments" if isinstance(parameter, TyperArgument) else "Options"
        if record := parameter.get_help_record(context):
            title = getattr(parameter, "rich_help_panel", None) or usual
            panels.setdefault(title, []).append(record)
    if isinstance(command, TyperGroup):
        for name in command.list_commands(context):
            about = _paragraphs(getattr(command.get_command(context, name), "help", None) or "")
            panels.setdefault("Commands", []).append((name, about[0]))
    return panels


def _table(rows: list[tuple[str, str]], width: int) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="cyan", width=width, overflow="fold")
    table.add_column()
    for name, about in rows:
        text = Text(about)
        text.highlight_regex(r"\[default: .*\]$", "dim")
        table.add_row(Text(name), text)
    return table


def _paragraphs(text: str) -> list[str]:
    """Split a text into paragraphs, joining their lines."""
    parts = inspect.cleandoc(text).split("\n\n") if text else []
    return [
        part.removeprefix(VERBATIM) if part.startswith(VERBATIM) else " ".join(part.split())
        for part in parts
    ]
