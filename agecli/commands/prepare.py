"""agecli prepare: from an archive, a folder or a CSV file to a data set."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agecli import config
from agecli.commands import _options as options
from agecli.config import PrepareConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agecli.data.framing import Crop, Judge
    from agecli.data.receipt import Receipt

EXAMPLES = """\b
Examples:
  agecli prepare UTKFace.tar.gz
  agecli prepare UTKFace.tar.gz adience/aligned/ data/both
  agecli prepare photographs/ data/mine --csv labels.csv --slices hair,glasses
  agecli prepare AgeDB/ --names agedb
  agecli prepare faces/ --names '{identity}_{age}_{sex}.*'
"""


Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="SOURCE [OUT]",
        help="One or more data sets as .tar.gz, .tar, .zip or folder, recognised as UTKFace, "
        "Adience, FairFace, APPA-REAL, folders of ages or labels.csv. OUT, the result, is a new "
        "folder, or an earlier data set; data/NAME by default.",
        show_default=False,
    ),
]
Csv = Annotated[
    Path | None,
    typer.Option(
        help="Labels in a CSV file: path, age (or a range) and, if known, sex, race, split, fold, "
        "person."
    ),
]
Names = Annotated[
    str | None,
    typer.Option(
        help="Labels in file names: agedb, cacd, fgnet, or a pattern, '{identity}_{age}_*.jpg'."
    ),
]
Slices = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN,...",
        help="Keep more columns of the table, of at most 50 values each: `agecli evaluate` "
        "then scores each value separately.",
        show_default=False,
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        help="adience, fairface, appa-real, csv, utkface or folders; recognised by default."
    ),
]
Detect = Annotated[
    bool | None,
    typer.Option(
        "--detect/--no-detect",
        help="Detect and crop the largest face, like predict; by default in sources whose "
        "faces are not aligned like UTKFace's.",
        show_default=False,
    ),
]
SchemeText = Annotated[
    str, typer.Option(help='Age groups: adience8, decades, or your own, e.g. "0-12,13-19,20+".')
]
Size = Annotated[int, typer.Option(help="Side of the stored images in pixels.")]
Store = Annotated[
    config.Store, typer.Option(help="Store images as pixels, or compressed to 1/20 of the space.")
]
Seed = Annotated[int, typer.Option(help="Seed of the split.")]
Conflicts = Annotated[
    config.Conflicts,
    typer.Option(help="Training images whose duplicates are labelled over 5 years apart."),
]
Folds = Annotated[
    int, typer.Option(metavar="N", help="Make folds for `train --fold`, too; 0 = the data's own.")
]
Doubtful = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Images with doubtful labels, left out of training: a text file with an id from "
        "manifest.csv per line, or a CSV file with the column id.",
    ),
]
Audit = Annotated[
    int, typer.Option(min=1, max=2, help="How to find near duplicates; 1 reproduces older splits.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; one per CPU by default.")]
Force = Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")]


def prepare(
    source: Sources,
    csv: Csv = None,
    names: Names = None,
    layout: Layout = None,
    slices: Slices = None,
    detect: Detect = None,
    scheme: SchemeText = PrepareConfig.scheme,
    size: Size = PrepareConfig.size,
    store: Store = PrepareConfig.store,
    seed: Seed = PrepareConfig.seed,
    conflicts: Conflicts = PrepareConfig.conflicts,
    folds: Folds = PrepareConfig.folds,
    doubtful: Doubtful = None,
    audit: Audit = PrepareConfig.audit,
    workers: Workers = None,
    force: Force = False,
    as_json: options.Json = False,
) -> None:
    """Check, split and store images, so that training reads them without decoding.

    Exact and near duplicates never straddle train, validation and test (80/10/10). OUT contains
    images.npy, manifest.csv and receipt.json, and appears only when it is complete. With --store
    compressed, images.jpegs and offsets.npy replace images.npy.
    """
    settings = PrepareConfig(
        scheme=scheme, size=size, store=store, seed=seed, conflicts=conflicts, folds=folds,
        audit=audit,
    )  # fmt: skip

    from agecli.commands._console import show_json
    from agecli.commands._tables import stage_bars
    from agecli.data import prepare as library

    crop: Crop | None = None
    judge: Judge | None = None
    if detect is not False:
        from agecli.faces import detector, framing

        crop = detector.crop_largest
        judge = framing.judge if detect is None else None
    sources, target = _split_arguments(source)
    with stage_bars() as progress:
        receipt = library.prepare(
            sources, target, settings, labels=csv, names=names, layout=layout, doubtful=doubtful,
            slices=[] if slices is None else [name.strip() for name in slices.split(",")],
            crop=crop, judge=judge, workers=workers, force=force, progress=progress,
        )  # fmt: skip
    if as_json:
        show_json(asdict(receipt))
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

    from agecli.commands._console import out
    from agecli.commands._tables import lay_out
    from agecli.evaluation.report.grid import Grid

    facts = Table.grid(padding=(0, 1))
    facts.add_column(style="dim")
    for name, fact in _facts(receipt):
        facts.add_row(f" {name}", fact)
    out.print(target, highlight=False, markup=False, soft_wrap=True)
    out.print(facts, highlight=False, markup=False, soft_wrap=True)
    splits = list(next(iter(receipt.counts.values())))
    grid = Grid(["age group", *splits, "all"], "Images per age group and split")
    for group, counts in receipt.counts.items():
        own = [counts[split] for split in splits]
        grid.add(group, *(f"{n:,}" for n in (*own, sum(own))))
    totals = [sum(counts[split] for counts in receipt.counts.values()) for split in splits]
    grid.add("all", *(f"{n:,}" for n in (*totals, sum(totals))), style="best")
    out.print(lay_out(grid))


def _facts(receipt: Receipt) -> Iterator[tuple[str, str]]:
    """Yield what was found, and what was done about it."""
    from agecli.commands._console import shortened

    clusters = receipt.clusters
    for origin in receipt.origins:
        framing = "cropped" if origin.cropped else "not cropped"
        yield (
            "source",
            (
                f"{origin.name}: {origin.pictures:,} images, {origin.layout} by {origin.by}; "
                f"{framing}: {origin.why}"
            ),
        )
    yield "images", f"{receipt.images:,}, {receipt.used:,} used"
    if names := receipt.repaired_names:
        yield "repaired names", f"{len(names):,}: {shortened(names)}"
    if names := receipt.skipped:
        yield "not images", f"{len(names):,}, left out: {shortened(names)}"
    if names := [name for name in receipt.unreadable if name.endswith("/")]:
        yield "not opened", f"{len(names):,} folders: {shortened(names)}"
    for origin in receipt.origins:
        for reason, kind in origin.left_out.items():
            yield "left out", f"{kind.count:,} of {origin.name}, {reason}: {shortened(kind.files)}"
    if receipt.missing:
        yield "without an image", f"{receipt.missing:,} rows of tables"
    if names := receipt.unused_columns:
        yield "unused columns", f"{shortened(names)} (--slices keeps them for evaluate)"
    for reason, count in receipt.excluded.items():
        yield "excluded", f"{count:,}: {reason}"
    yield (
        "duplicates",
        (
            f"{clusters.images:,} images in {clusters.of_several:,} clusters, "
            f"{clusters.identical_files:,} of them byte for byte"
        ),
    )
    yield (
        "conflicting ages",
        (
            f"{clusters.conflicting_ages:,} clusters, {clusters.over_2_years:,} more than 2 and "
            f"{clusters.over_5_years:,} more than 5 years apart ({receipt.options['conflicts']})"
        ),
    )
    yield "split hash", receipt.split_hash[:16]
