"""agecli prepare: from an archive, a folder or a CSV file to a data set."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agecli import config
from agecli.commands import _options as options
from agecli.config import PrepareConfig

if TYPE_CHECKING:
    from agecli.data.receipt import Receipt

EXAMPLES = """\b
Examples:
  agecli prepare UTKFace.tar.gz
  agecli prepare part1.tar.gz part2.tar.gz data/both
  agecli prepare photographs/ data/mine --csv labels.csv --detect
"""


def prepare(
    source: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE [OUT]",
            help="UTKFace as .tar.gz, .tar, .zip or folder, or several. OUT, the data set, is a "
            "name that is not there yet, or an earlier data set; data/NAME by default.",
            show_default=False,
        ),
    ],
    csv: Annotated[
        Path | None,
        typer.Option(help="Ages in a CSV file (path, age, sex, race), not in the file names."),
    ] = None,
    detect: Annotated[
        bool,
        typer.Option("--detect", help="Find and crop the largest face, as predict does."),
    ] = False,
    scheme: Annotated[
        str, typer.Option(help='Age groups: adience8, decades, or your own, "0-12,13-19,20+".')
    ] = PrepareConfig.scheme,
    size: Annotated[
        int, typer.Option(help="Side of the stored images in pixels.")
    ] = PrepareConfig.size,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = PrepareConfig.seed,
    conflicts: Annotated[
        config.Conflicts,
        typer.Option(help="Training images whose copies are labelled over 5 years apart."),
    ] = PrepareConfig.conflicts,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; one per CPU by default.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Make OUT again where it exists.")] = False,
    as_json: options.Json = False,
) -> None:
    """Check, split and store pictures, so that training reads them without decoding.

    Exact and near duplicates never straddle train, validation and test (80/10/10). OUT holds
    images.npy, manifest.csv and receipt.json, and appears only when it is whole.
    """
    settings = PrepareConfig(scheme=scheme, size=size, seed=seed, conflicts=conflicts)

    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from agecli.commands._console import err, out
    from agecli.data.prepare import Crop
    from agecli.data.prepare import prepare as prepare_dataset

    crop: Crop | None = None
    if detect:
        from agecli.faces.detector import crop_largest

        crop = crop_largest
    sources, target = _split_arguments(source)
    columns = (
        TextColumn("{task.description}"), BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,}"), TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total, rate="")
            speed = bar.tasks[tasks[stage]].speed
            bar.update(tasks[stage], completed=done, rate=f"{speed:,.0f} images/s" if speed else "")

        receipt = prepare_dataset(
            sources, target, settings, labels=csv, crop=crop, workers=workers, force=force,
            progress=show,
        )  # fmt: skip
    if as_json:
        out.print_json(json.dumps(asdict(receipt)))
    else:
        _show(receipt, target)


def _split_arguments(paths: list[Path]) -> tuple[list[Path], Path]:
    """Separate OUT from the sources: as with cp, the last of several may be the target."""
    from agecli.data.sources import is_archive, name_of
    from agecli.data.staging import is_dataset

    *rest, last = paths
    if rest and not is_archive(last) and (not last.exists() or is_dataset(last) or _empty(last)):
        return rest, last
    return paths, Path("data", name_of(paths[0]).lower())


def _empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _show(receipt: Receipt, target: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    from agecli.commands._console import out

    clusters, options_ = receipt.clusters, receipt.options
    facts = Table(title=Text(str(target)), title_justify="left", box=None, show_header=False)
    facts.add_column(style="dim")
    facts.add_column()
    facts.add_row("images", f"{receipt.images:,}, of which {receipt.used:,} are used")
    if receipt.repaired_names:
        names = receipt.repaired_names
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        facts.add_row("repaired names", f"{len(names)}: {', '.join(names[:5])}{more}")
    if receipt.unlabelled:
        facts.add_row("without an age", f"{receipt.unlabelled:,}, left out")
    if receipt.missing:
        facts.add_row("without a picture", f"{receipt.missing:,} lines of the CSV file")
    for reason, count in receipt.excluded.items():
        facts.add_row("excluded", f"{count:,}: {reason}")
    facts.add_row(
        "same pictures",
        f"{clusters.images:,} images in {clusters.of_several:,} clusters, "
        f"{clusters.identical_files:,} of them byte for byte",
    )
    facts.add_row(
        "conflicting ages",
        f"{clusters.conflicting_ages:,} clusters, {clusters.over_2_years:,} more than 2 and "
        f"{clusters.over_5_years:,} more than 5 years apart ({options_['conflicts']})",
    )
    facts.add_row("split hash", receipt.split_hash[:16])
    out.print(facts, highlight=False, markup=False, soft_wrap=True)
    table = Table(title="images per age group and split")
    table.add_column("age group")
    splits = list(next(iter(receipt.counts.values())))
    for split in (*splits, "all"):
        table.add_column(split, justify="right")
    for group, counts in receipt.counts.items():
        row = [counts[split] for split in splits]
        table.add_row(group, *(f"{n:,}" for n in (*row, sum(row))), end_section=group == "gap")
    totals = [sum(c[split] for c in receipt.counts.values()) for split in splits]
    table.add_row("all", *(f"{n:,}" for n in (*totals, sum(totals))))
    out.print(table)
