"""Robustness of a toy model whose answers to each perturbation are known by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from agecli import distributed
from agecli.ages import Scheme
from agecli.decision import LIKELIEST
from agecli.errors import DataError
from agecli.evaluation.perturbations import PERTURBATIONS, middle, surround
from agecli.evaluation.report.grid import Worst
from agecli.evaluation.report.plots import plot_robustness
from agecli.evaluation.report.sets import robust_coverage_grids
from agecli.evaluation.report.tables import robustness_grid
from agecli.evaluation.robustness import (
    CLEAN,
    align_pictures,
    conditions,
    measure_robustness,
)
from agecli.faces import align, crop, detect
from agecli.inference.model import Model
from agecli.sets import Sets

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"
SIDE = 40
VALUES = [100, 100, 100, 200, 100]
AGES = [28, 28, 28, 65, 22]  # the last one has no group


class Data:
    """Plain grey chips; the young are darker than 150, the old lighter."""

    folder = "data"
    ages = np.array(AGES)
    images = np.ones((5, SIDE, SIDE, 3), np.uint8) * np.array(VALUES, np.uint8)[:, None, None, None]

    def rows(self, split: str) -> np.ndarray:
        return np.arange(5) if split == "test" else np.array([4])


class Meter(Model):
    """Says 60+ where a chip is lighter than 150, 25-32 where not."""

    scheme = Scheme.parse("adience8")
    metadata = SimpleNamespace(model="meter", knows_years=False, decision=LIKELIEST, sets=None)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def distributions(self, images: np.ndarray, flip: bool = False) -> np.ndarray:
        self.batches.append(len(images))
        light = images.mean(axis=(1, 2, 3)) >= 149.5
        return np.eye(8)[np.where(light, 7, 4)]


class Hedger(Meter):
    """Says as Meter, and 25-32 with 40 %: its sets are all from 25-32 to the answer."""

    metadata = SimpleNamespace(
        model="hedger", knows_years=False, decision=LIKELIEST,
        sets=Sets((1 / 8,) * 8, ((0.7,) * 3,) * 3),
    )  # fmt: skip

    def distributions(self, images: np.ndarray, flip: bool = False) -> np.ndarray:
        return 0.6 * super().distributions(images, flip) + 0.4 * np.eye(8)[4]


@pytest.fixture(scope="module")
def result():
    (result,) = measure_robustness(
        [Meter()], Data(), align=lambda pictures: middle(pictures) // 2, batch_size=3
    )
    return result


def find(result, name: str, strength: str, aligned: bool = False):
    (score,) = (
        s for s in result.scores
        if (s.perturbation, s.strength, s.aligned) == (name, strength, aligned)
    )  # fmt: skip
    return score


def test_every_condition_is_scored_on_the_images_with_a_group(result):
    assert result.n == 4
    count = 1 + sum(len(one.strengths) for one in PERTURBATIONS)
    assert len(result.scores) == 2 * count == 2 * len(conditions())


def test_the_scores_are_those_worked_out_by_hand(result):
    clean = find(result, CLEAN, "")
    assert (clean.exact, clean.one_off, clean.difference, clean.interval) == (1, 1, 0, (0, 0))
    dark = find(result, "brightness", "×0.5")  # 200 becomes 100: the old one is called young
    assert (dark.exact, dark.difference) == (3 / 4, -1 / 4)
    assert dark.interval[0] < -1 / 4 < dark.interval[1] == 0
    light = find(result, "brightness", "×1.5")  # 100 becomes 150: the young are called old
    assert (light.exact, light.one_off, light.difference) == (1 / 4, 1 / 4, -3 / 4)
    for name, strength in (("rotation", "45°"), ("shift", "25 %"), ("low resolution", "24 px")):
        assert find(result, name, strength).exact == 1  # plain chips look the same


def test_aligning_sees_the_perturbed_pictures_and_is_held_against_the_clean_chips(result):
    clean = find(result, CLEAN, "", aligned=True)  # all are half as light then
    assert (clean.exact, clean.difference) == (3 / 4, -1 / 4)
    light = find(result, "brightness", "×1.5", aligned=True)  # 255 // 2 is dark
    assert light.exact == 3 / 4


def test_faces_are_set_back_into_their_frame_and_chips_without_one_stay():
    with Image.open(PORTRAIT) as image:
        image = image.convert("RGB")
    chip = crop(image, align(detect(image)[0]), 100)
    pictures = surround(np.stack([chip, np.full_like(chip, 90), chip]))
    pictures[2] = np.roll(pictures[2], 15, axis=1)
    aligned = align_pictures(pictures)
    assert aligned.shape == (3, 100, 100, 3)
    assert (aligned[1] == 90).all()
    moved = np.abs(middle(pictures)[2].astype(float) - chip).mean()
    assert np.abs(aligned[2].astype(float) - aligned[0]).mean() < moved / 3


def test_the_table_marks_the_worst_and_the_brief_names_each(result):
    grid = robustness_grid({"meter": result})
    assert grid.head == ["", "meter", "meter, aligned"]
    assert grid.rows[0].cells[:2] == (CLEAN, "100.0%")
    (worst,) = (row.cells for row in grid.rows if isinstance(row.cells[1], Worst))
    assert worst[0] == "brightness ×1.5" and worst[1].startswith("25.0% -75.0 ±")
    first = result.plain()["scores"][0]
    assert first["disturbance"] == CLEAN and "perturbation" not in first
    brief = result.brief()
    assert brief["n"] == 4 and brief["exact"]["as they are"]["brightness ×0.5"] == 0.75
    assert brief["exact"]["aligned"][CLEAN] == 0.75


def test_coverage_is_that_of_the_sets_and_not_of_the_answers(tmp_path):
    (hedged,) = measure_robustness([Hedger()], Data(), align=lambda pictures: middle(pictures) // 2)
    light, dark = (find(hedged, "brightness", strength) for strength in ("×1.5", "×0.5"))
    assert (light.exact, light.coverage) == (1 / 4, 1)  # the young are called old, or anything
    assert (dark.exact, dark.coverage) == (3 / 4, 3 / 4)  # the old one is called young alone
    perturbed = [s.coverage for s in hedged.scores if not s.aligned and s.perturbation != CLEAN]
    figures = hedged.figures()
    assert len(perturbed) == len(conditions()) - 1
    assert figures["perturbed_coverage90"] == pytest.approx(sum(perturbed) / len(perturbed))
    assert figures.keys() == {f"{way}_{figure}" for way in ("perturbed", "aligned")
                              for figure in ("exact", "coverage90")}  # fmt: skip
    plain = hedged.plain()
    assert plain["perturbed_coverage90"] == figures["perturbed_coverage90"]
    assert plain["scores"][0]["coverage"] == 1
    assert hedged.brief()["coverage"]["as they are"]["brightness ×0.5"] == 0.75
    (grid,) = robust_coverage_grids({"hedger": hedged})
    assert grid.head == ["", "hedger", "hedger, aligned"]
    assert ("brightness ×0.5", "75.0%", "75.0%") in [row.cells for row in grid.rows]
    assert grid.rows[-1].cells[:2] == (
        "mean of perturbed", f"{figures['perturbed_coverage90']:.1%}"
    )  # fmt: skip


def test_without_sets_there_is_no_coverage(result):
    assert result.figures().keys() == {"perturbed_exact", "aligned_exact"}
    assert "coverage" not in result.brief() and not [*robust_coverage_grids({"meter": result})]


def test_models_see_the_same_images_in_batches():
    model = Meter()
    seen = []
    two = measure_robustness(
        [model, Meter()], Data(), batch_size=3, progress=lambda *done: seen.append(done)
    )
    assert two[0] == two[1] and len(two[0].scores) == len(conditions())
    assert set(model.batches) == {3, 1} and sum(model.batches) == 4 * len(conditions())
    assert seen[0] == (0, 4 * len(conditions())) and seen[-1][0] == seen[-1][1]


def test_processes_of_a_launch_share_the_images_and_each_has_all_scores(monkeypatch):
    (alone,) = measure_robustness([Meter()], Data())
    gathered = []
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed, "gather", lambda own: gathered.append(own) or list(gathered))
    models = [Meter(), Meter()]
    for rank in (1, 0):  # the second process receives what the first one has
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        (together,) = measure_robustness([models[rank]], Data(), parallel=True)
    assert [sum(model.batches) for model in models] == [2 * len(conditions())] * 2
    assert [(s.exact, s.difference) for s in together.scores] == [
        (s.exact, s.difference) for s in alone.scores
    ]


def test_a_split_without_groups_says_what_to_do():
    with pytest.raises(DataError, match="choose another --split or --data"):
        measure_robustness([Meter()], Data(), "val")


def test_the_plot_has_a_line_per_way(result, tmp_path):
    plot_robustness(tmp_path / "r.png", {"meter": result})
    with Image.open(tmp_path / "r.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert image.format == "PNG"
    blue = (pixels[..., 2] - pixels[..., 0]) > 60
    thirds = np.array_split(np.arange(pixels.shape[1]), 3)
    assert all(blue[:, part].sum() > 500 for part in thirds)
