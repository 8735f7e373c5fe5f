"""agecli guide: documentation, a page per task."""

from __future__ import annotations

import re
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
        return
    text = read_page(page)
    if out.is_terminal:
        from rich.markdown import Markdown
        from rich.theme import Theme

        # Without the languages of its blocks: colours of code are too pale on light terminals.
        plain = re.sub(r"^( *```)[a-z]+$", r"\1", text, flags=re.MULTILINE)
        with out.use_theme(Theme({"markdown.code": "bold"})):
            out.print(Markdown(plain, code_theme="ansi_dark"))
    else:
        typer.echo(text, nl=False)
