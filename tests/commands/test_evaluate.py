"""`agecli evaluate` on noise and untrained weights: that figures come out, not what they are."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from agecli.ages import Scheme
from agecli.commands.evaluate import EXAMPLES, evaluate
from agecli.data.seen import BYTES, fingerprints_of
from agecli.data.store import open_dataset
from agecli.errors import DataError, UsageError, WeightsError
from agecli.evaluation.significance import Slice
from agecli.weights import read_metadata, save_weights
from tests.evaluation.toys import PER_SPLIT, write_data, write_weights
from tests.exporting.models import add_fingerprints


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "cnn"
    write_weights(folder / "best.safetensors")
    return folder


def _run(*arguments, code=0):
    app = typer.Typer()
    app.command(epilog=EXAMPLES)(evaluate)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_json_has_every_figure_and_nothing_else_is_on_stdout(data, run_folder):
    result = _run(run_folder, "--data", data, "--json", "--device", "cpu")
    scores = json.loads(result.stdout)
    assert scores["split"] == "test" and scores["same_split"]
    assert scores["weights"] == str(run_folder / "best.safetensors")
    assert 0 < scores["n"] <= scores["n_ages"] == PER_SPLIT
    assert scores["n"] == np.sum(scores["confusion"])
    assert scores["exact"] == np.trace(scores["confusion"]) / scores["n"]
    assert list(scores["per_group"]) == Scheme.parse("adience8").labels
    assert result.stderr == ""


def test_tables_show_the_numbers_of_the_json_without_colour(data, run_folder):
    scores = json.loads(_run(run_folder, "--data", data, "--json").stdout)
    text = _run(run_folder, "--data", data).stdout
    assert "\x1b" not in text
    assert "cnn on the test split" in text
    low, high = scores["exact_interval"]
    for expected in (
        f"{scores['exact']:.1%} {100 * low:.1f} – {100 * high:.1f}",
        f"always {scores['majority_group']} (majority baseline) {scores['majority']:.1%}",
        f"{scores['one_off']:.1%}",
        f"{scores['macro_f1']:.1%}",
        f"{scores['mae']:.2f} years",
    ):
        assert expected in " ".join(text.split())
    matrix = text.split("predicted group (columns)")[1]
    rows = [line.split() for line in matrix.splitlines() if line.split()[:1] == ["25-32"]]
    assert rows == [["25-32", *(f"{count}" if count else "·" for count in scores["confusion"][4])]]


def test_cells_are_coloured_in_a_terminal(data, run_folder, monkeypatch):
    from rich.console import Console

    from agecli.commands import _console

    terminal = Console(force_terminal=True, color_system="truecolor", width=100)
    monkeypatch.setattr(_console, "out", terminal)
    assert "\x1b[38;2;255;255;255;48;2;" in _run(run_folder, "--data", data).stdout


@pytest.mark.parametrize("split", ["val", "train"])
def test_other_splits_are_labelled(data, run_folder, split):
    text = _run(run_folder, "--data", data, "--split", split).stdout
    assert f"on the {split} split (it" in text


def test_another_split_is_refused_or_marked(data, tmp_path, run_folder):
    path = write_weights(tmp_path / "other.safetensors", split_hash="other")
    with pytest.raises(DataError, match=r"trained on another split.*--force"):
        _run(path, "--data", data, "--json")
    result = _run(path, "--data", data, "--json", "--force")
    assert result.stderr.startswith(f"agecli: warning: {path} may have seen these images")
    assert result.stderr.count("\n") == 1
    assert json.loads(result.stdout)["same_split"] is False
    assert "other (*)" in _run(path, run_folder, "--data", data, "--force").stdout


def test_images_left_out_of_other_data_are_reported(data, tmp_path):
    dataset = open_dataset(data)
    for count, says in ((5, "5 images are left out: "), (0, "All images are new to the")):
        prints = fingerprints_of(dataset, dataset.rows("test")[:count])
        path = write_weights(tmp_path / f"{count}.safetensors", split_hash="other")
        add_fingerprints(path, prints if count else np.full((1, BYTES), 170, dtype=np.uint8))
        result = _run(path, "--data", data, "--json")
        assert result.stderr.startswith(f"agecli: {says}") and result.stderr.count("\n") == 1
        assert json.loads(result.stdout)["left_out"] == count
        assert "(*)" not in _run(path, "--data", data).stdout


def test_a_gate_decides_on_the_exit_code(data, run_folder):
    def gate(*conditions, code=0):
        options = [part for condition in conditions for part in ("--gate", condition)]
        return _run(run_folder, "--data", data, "--json", *options, code=code)

    exact = json.loads(gate("exact>=0", "ece<=1").stdout)["exact"]
    failed = gate("exact >= 0", "exact>=1.01", code=4)
    assert failed.stderr == f"agecli: --gate: cnn: exact is {exact:.4g}, not >= 1.01\n"
    for wrong in ("exact", "exact>0.5", "fame>=1", "worst_slice>=0"):  # each slice is too small
        with pytest.raises(UsageError, match="--gate"):
            gate(wrong)


def test_several_models_are_compared_with_their_ensemble(data, run_folder, tmp_path):
    other = write_weights(tmp_path / "two.safetensors", seed=1)
    lines = _run(run_folder, other, "--data", data, "--json").stdout.splitlines()
    first, second, together, last = map(json.loads, lines)
    assert [row["name"] for row in (first, second, together)] == ["cnn", "two", "ensemble"]
    assert together["mae"] <= max(first["mae"], second["mae"])
    (pair,) = last["pairs"]
    assert pair["difference"] == pytest.approx(first["exact"] - second["exact"])
    text = _run(run_folder, other, "--data", data).stdout
    assert "2 models on the test split" in text and "not told apart" in text
    assert "Images by true group" not in text


def test_an_ensemble_is_fitted_on_validation_and_used_on_test(data, tmp_path):
    paths = [write_weights(tmp_path / f"{name}.safetensors", seed=n) for n, name in enumerate("ab")]
    fitted = _run(tmp_path, "--data", data, "--split", "val", "--fit-ensemble")
    assert f"agecli: wrote {tmp_path / 'ensemble.json'}: a " in fitted.stderr
    assert "images left out of the fit" in fitted.stderr
    used = _run(*paths, "--data", data, "--json")
    assert f"agecli: {tmp_path / 'ensemble.json'}: a " in used.stderr
    assert json.loads(used.stdout.splitlines()[2])["title"] == "fitted on validation images"
    other = _run(paths[0], write_weights(tmp_path / "c.safetensors"), "--data", data, "--json")
    assert "warning: " in other.stderr and "plain mean" in other.stderr
    assert json.loads(other.stdout.splitlines()[2])["title"] == "plain mean"


def test_an_ensemble_is_fitted_on_one_data_set(cli, one_line, data, tmp_path):
    for seed, name in enumerate("ab"):
        write_weights(tmp_path / f"{name}.safetensors", seed=seed)
    other = write_data(tmp_path / "other", seed=1)
    given = "evaluate", tmp_path, "--data", data, "--split", "val", "--fit-ensemble"
    assert "pass one --data" in one_line(cli(*given, "--data", other), 2)
    assert "--split val" in one_line(cli("evaluate", tmp_path, "--data", data, "--fit-ensemble"), 2)


def test_several_data_sets_are_a_line_a_table_and_a_section_each(data, run_folder, tmp_path):
    other = write_data(tmp_path / "my own", seed=1)
    both = ["--data", data, "--data", other]
    report, plots = tmp_path / "report", tmp_path / "plots"
    result = _run(run_folder, *both, "--json", "--report", report, "--plots", plots)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    alone = [json.loads(_run(run_folder, "--data", one, "--json").stdout) for one in both[1::2]]
    assert [line["data"] for line in lines] == [str(data), str(other)]
    assert [line["confusion"] for line in lines] == [line["confusion"] for line in alone]

    text = _run(run_folder, *both).stdout
    assert "The test split of 2 data sets" in text
    for name, line in zip((data.name, "my own"), lines, strict=True):
        assert f" {name} cnn {line['n']} {line['exact']:.1%}" in " ".join(text.split())
        assert f"{name}: Exact accuracy by slice" in text
        assert (plots / name / "cnn-test-confusion.png").is_file()
        assert (report / name / "cnn-errors.png").is_file()
    page = (report / "report.md").read_text()
    assert "## Data sets" in page and "## cnn on my own" in page
    assert "](my%20own/cnn-confusion.png)" in page
    (report / "my own" / "cnn-errors.png").write_text("my own")
    with pytest.raises(UsageError, match=r"--report: .*cnn-errors\.png exists"):
        _run(run_folder, *both, "--report", report)

    failed = _run(run_folder, *both, "--gate", "exact>=2", code=4).stderr.splitlines()
    assert [line.split(": ")[2] for line in failed] == [data.name, "my own"]


def test_slices_of_many_models_keep_their_names_in_a_narrow_terminal():
    from rich.console import Console

    from agecli.commands._tables import lay_out
    from agecli.evaluation.report.tables import slices_grid

    part = Slice("age group", "38-43", 154, 0.331, [0.26, 0.41], 0.9, -0.33)
    for count in range(1, 7):
        rows = [
            SimpleNamespace(name=f"model{i}", slices=[part], worst_slice=part) for i in range(count)
        ]
        console = Console(width=80)
        with console.capture() as capture:
            console.print(lay_out(slices_grid(rows, wide=False)))
        line = next(line for line in capture.get().splitlines() if "age group: 38-43" in line)
        assert line.count("▼33%") == count


def test_the_calibration_error_follows_the_files_temperature(data, run_folder, tmp_path):
    source = run_folder / "best.safetensors"
    warm = tmp_path / "warm.safetensors"
    save_weights(warm, load_file(source), replace(read_metadata(source), temperature=3.0))
    cold, hot = (json.loads(_run(path, "--data", data, "--json").stdout) for path in (source, warm))
    assert (cold["temperature"], hot["temperature"]) == (1.0, 3.0)
    assert hot["ece_raw"] == pytest.approx(cold["ece"], abs=1e-6) == cold["ece_raw"]
    assert hot["ece"] != hot["ece_raw"]


def test_groups_alone_give_no_years(data, tmp_path):
    path = write_weights(tmp_path / "groups.safetensors", objective="groups")
    result = _run(path, "--data", data)
    assert "years" not in result.stdout and "macro-F1" in result.stdout


def test_where_no_year_is_known_there_are_no_figures_in_years(run_folder, tmp_path):
    data = write_data(tmp_path / "ranges", years=3)
    report = tmp_path / "report"
    result = _run(run_folder, "--data", data, "--json", "--report", report, "--plots", tmp_path)
    scores = json.loads(result.stdout)
    assert scores["n"] > 0 and not {"mae", "cs5", "n_ages", "nearest"} & set(scores)
    text = (report / "report.md").read_text()
    assert "an age, over which errors" not in text and not (report / "cnn-errors.png").exists()
    other = write_weights(tmp_path / "two.safetensors", seed=1)
    table = _run(run_folder, other, "--data", data).stdout
    assert ["cnn", "–", "–", "–"] in [line.split()[:4] for line in table.splitlines()]
    with pytest.raises(UsageError, match="no figure 'mae'"):
        _run(run_folder, "--data", data, "--gate", "mae<=5")


def test_several_models_are_a_line_each_and_a_picture_each(data, run_folder, tmp_path):
    other = write_weights(tmp_path / "cnn.safetensors", seed=1, margin=0.1)
    plots = tmp_path / "new" / "plots"
    result = _run(run_folder, other, "--data", data, "--json", "--plots", plots)
    first, second, *_ = map(json.loads, result.stdout.splitlines())
    assert first["mae"] != second["mae"]
    names = [f"{name}-test-confusion.png" for name in ("cnn", "cnn-2", "ensemble")]
    assert sorted(path.name for path in plots.iterdir()) == sorted(names)
    for name in names:
        with Image.open(plots / name) as image:
            assert image.format == "PNG"
        assert name in result.stderr


def test_reports_and_plots_spare_what_is_not_of_evaluate(data, run_folder, tmp_path):
    for option, name in (("--report", "report.md"), ("--plots", "cnn-test-confusion.png")):
        folder = tmp_path / option.strip("-")
        for _ in range(2):  # its own it writes again
            _run(run_folder, "--data", data, option, folder)
        (folder / name).write_text("my own")
        with pytest.raises(
            UsageError, match=f"{option}: .*{name} exists and was not written by this"
        ):
            _run(run_folder, "--data", data, option, folder)
        assert (folder / name).read_text() == "my own"


def test_store_does_not_write_over_a_link(data, run_folder, tmp_path):
    link = tmp_path / "cnn.safetensors"
    link.symlink_to(run_folder / "best.safetensors")
    with pytest.raises(UsageError, match=r"--store: .* is a link"):
        _run(link, "--data", data, "--robustness", "--store")


def test_flip_and_batch_size(data, run_folder):
    def figures(*options):
        scores = json.loads(_run(run_folder, "--data", data, "--json", *options).stdout)
        return [scores["mae"], scores["exact"]]

    np.testing.assert_allclose(figures(), figures("--batch-size", "5"), rtol=1e-4)
    assert figures("--flip")[0] != figures()[0]


def test_robustness_is_shown_drawn_reported_and_stored(data, run_folder, tmp_path):
    weights = tmp_path / "kept.safetensors"
    shutil.copy(run_folder / "best.safetensors", weights)
    before, tensors = read_metadata(weights), load_file(weights)
    result = _run(
        weights, "--data", data, "--robustness", "--store", "--json", "--plots", tmp_path,
        "--report", tmp_path / "report",
    )  # fmt: skip
    row, line = map(json.loads, result.stdout.splitlines())
    scores = line["robustness"]["kept"]["scores"]
    assert scores[0]["disturbance"] == "clean" and scores[0]["exact"] == row["exact"]
    assert sum(score["aligned"] for score in scores) == len(scores) / 2 > 30

    after = read_metadata(weights)
    kept = after.metrics["robustness"]
    assert kept["n"] == row["n"] and kept["exact"]["as they are"]["clean"] == round(row["exact"], 4)
    assert replace(after, metrics=before.metrics) == before
    for name, tensor in load_file(weights).items():
        assert tensor.dtype == tensors[name].dtype and torch.equal(tensor, tensors[name])

    text = (tmp_path / "report" / "report.md").read_text()
    assert "## Robustness" in text and "| JPEG quality 10 |" in text
    for folder in (tmp_path, tmp_path / "report"):
        with Image.open(folder / "robustness.png") as image:
            assert image.format == "PNG"
    assert "## Photographs" not in text


def test_photographs_are_scored_by_all_models_at_once(data, run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("agecli.evaluation.photographs.COUNT", 5)
    monkeypatch.setattr("agecli.evaluation.photographs.NO_FACES", 2)
    monkeypatch.setattr("agecli.data.workers.default_workers", lambda: 0)
    other = write_weights(tmp_path / "two.safetensors", seed=1)
    result = _run(run_folder, other, "--data", data, "--photographs", "--json")
    figures = json.loads(result.stdout.splitlines()[-1])["photographs"]
    assert (figures["n"], figures["without_faces"]) == (5, 2)
    assert list(figures["models"]) == ["cnn", "two"]  # noise: no face is found, and that is said
    assert figures["models"]["cnn"]["all"]["n"] == 5 and figures["found"]["all"] == 0
    text = _run(run_folder, "--data", data, "--photographs").stdout
    assert "Faces in photographs: 0 false detections beside 5 faces, 0 in 2 negatives" in text


def test_what_cannot_be_stored_is_refused(data, run_folder, toy_onnx):
    for arguments in (
        [run_folder, "--store"],
        [run_folder, "--store", "--robustness", "--split", "val"],
        [run_folder, "--store", "--robustness", "--force"],
        [toy_onnx, "--store", "--robustness"],
    ):
        with pytest.raises(UsageError, match="--store: "):
            _run(*arguments, "--data", data)


def test_misuse(data, run_folder, tmp_path):
    with pytest.raises(DataError, match="run `agecli prepare"):
        _run(run_folder, "--data", tmp_path / "none")
    with pytest.raises(WeightsError, match="none"):
        _run(tmp_path / "none", "--data", data)
    text = tmp_path / "notes.txt"
    text.write_text("not weights")
    with pytest.raises(WeightsError, match=r"notes\.txt is not a complete safetensors file"):
        _run(text, "--data", data)
    for wrong in (
        ["--split", "none"],
        ["--batch-size", "0"],
        ["--device", "abacus"],
        ["--plots", text],
    ):
        assert wrong[0] in _run(run_folder, "--data", data, *wrong, code=2).stderr
    _run("--data", data, code=2)
