"""agecli guide: how to do what, a page per task."""

from __future__ import annotations

from typing import Annotated

import typer

from agecli.commands import _completion as completion

EXAMPLES = """\b
Examples:
  agecli guide
  agecli guide train
  agecli guide train > train.md
"""

Page = Annotated[
    str | None,
    typer.Argument(
        metavar="[PAGE]",
        help="The page to show; all are listed by default.",
        autocompletion=completion.pages,
    ),
]


def guide(page: Page = None) -> None:
    """Show a page of the guide: commands, options and background of one task.

    In a pipe or a file, the page is plain Markdown.
    """
    from agecli.commands._console import out
    from agecli.guide import PAGES, read_page, title_of

    if page is None:
        width = max(map(len, PAGES))
        for name in PAGES:
            typer.echo(f"{name:<{width}}  {title_of(name)}")
    elif out.is_terminal:
        from rich.markdown import Markdown

        out.print(Markdown(read_page(page), code_theme="ansi_dark"))
    else:
        typer.echo(read_page(page), nl=False)
