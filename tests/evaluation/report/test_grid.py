"""The same cells as Markdown, as HTML and in a terminal."""

import re

import pytest
from rich.console import Console

from agecli.commands._tables import lay_out
from agecli.evaluation.report.grid import Grid, Worst
from agecli.evaluation.report.render import Page


@pytest.fixture
def grid() -> Grid:
    grid = Grid(["model", "exact", "a|b"], "Models [of ages]")
    grid.add("one", "75.0%", "1", style="best")
    grid.add("<two>", Worst("12.5%"), "[bold]2")
    grid.add("always", "40.0%", "", style="base")
    return grid


def test_markdown_keeps_pipes_apart_and_names_the_worst(grid):
    assert grid.markdown().splitlines() == [
        "| model | exact | a\\|b |",
        "| --- | ---: | ---: |",
        "| one | 75.0% | 1 |",
        "| <two> | worst: 12.5% | [bold]2 |",
        "| always | 40.0% |  |",
    ]


def test_html_escapes_and_marks(grid):
    html = Page("evaluate", "<A>", "lead & all", [("Part", [grid, "note <b>"])]).html()
    rows = re.findall(r"<tr(.*?)</tr>", html)
    assert rows[1] == " class=best><td>one</td><td>75.0%</td><td>1</td>"
    assert rows[2] == ("><td>&lt;two&gt;</td><td><mark>worst: 12.5%</mark></td><td>[bold]2</td>")
    assert rows[3].startswith(" class=base>")
    assert "<p class=note>note &lt;b&gt;</p>" in html and "<h1>&lt;A&gt;</h1>" in html
    assert "<b>" not in html and "lead &amp; all" in html


def test_a_terminal_marks_the_worst_and_takes_no_text_for_markup(grid):
    console = Console(width=60)
    with console.capture() as capture:
        console.print(lay_out(grid))
    text = capture.get()
    assert "Models [of ages]" in text and "[bold]2" in text
    assert "▼12.5%" in text and "▼ worst of its column" in text
    plain = Grid(["a"])
    plain.add("b")
    with console.capture() as capture:
        console.print(lay_out(plain))
    assert "▼" not in capture.get()


def test_rows_stand_out_in_a_terminal(grid):
    console = Console(width=60, force_terminal=True, color_system="truecolor")
    with console.capture() as capture:
        console.print(lay_out(grid))
    best, worst, base = (
        next(line for line in capture.get().splitlines() if name in line)
        for name in ("one", "<two>", "always")
    )
    assert "\x1b[1m" in best and "\x1b[1;31m▼" in worst and "\x1b[2m" in base
