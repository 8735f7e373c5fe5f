"""agecli doctor: check the installation."""

from __future__ import annotations

from dataclasses import asdict

import typer

from agecli.commands._options import Json

EXAMPLES = """\b
Examples:
  agecli doctor
  agecli doctor --json > doctor.json
"""

STYLES = {"ok": "green", "absent": "yellow", "broken": "bold red"}


def doctor(as_json: Json = False) -> None:
    """Check the installation: versions, device, memory, caches, weights, hub, camera and extras.

    Include its output in bug reports. What is absent is optional. The exit
    code is 1 if something is broken.
    """
    from agecli.commands._console import err, out, show_json
    from agecli.health import doctor

    with err.status("checking packages, device, weights and hub"):
        findings = doctor()
    if as_json:
        show_json([asdict(finding) for finding in findings])
    else:
        from rich.text import Text

        from agecli.commands._tables import make_table

        table = make_table("", ["what", "state", "found"], texts=2)
        table.columns[2].justify = "left"
        for one in findings:
            advice = f"\n→ {one.advice}" if one.advice else ""
            state = Text(one.state, STYLES[one.state])
            table.add_row(one.what, state, Text(one.found + advice))
        out.print(table)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
