"""The predictor, with a toy model, against answers worked out by other means."""

from __future__ import annotations

import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from agecli import Prediction, Predictor
from agecli.ages import Scheme
from agecli.config import DETECTOR, FACE_MARGIN, IMAGENET_MEAN, IMAGENET_STD
from agecli.decision import LIKELIEST, MEDIAN, Decision
from agecli.errors import AgecliError, DataError, UsageError, WeightsError
from agecli.faces import Face
from agecli.inference import pictures, predictor
from agecli.inference.pictures import find_pictures, worker_count
from agecli.inference.prediction import labels_of, name_answer
from agecli.inference.predictor import load_model
from agecli.inference.pytorch import LoadedModel
from agecli.models.cnn import CNN
from agecli.sets import Sets
from agecli.weights import Metadata, load_weights, save_weights
from tests.inference.test_fitted import write_fitted
from tests.launching import pretend

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"


def toy_metadata(size: int = 32, outputs: int = 8, **changes: object) -> Metadata:
    metadata = Metadata(
        model="cnn",
        architecture={"outputs": outputs, "image_size": size},
        objective="groups" if outputs == 8 else "ages",
        scheme=Scheme.parse("adience8").labels,
        image_size=size,
        mean=list(IMAGENET_MEAN),
        std=list(IMAGENET_STD),
        crop={"detector": DETECTOR, "margin": FACE_MARGIN},
    )
    return replace(metadata, **changes)


def write_toy(path: Path, size: int = 32, outputs: int = 8, **changes: object) -> Path:
    torch.manual_seed(size + outputs)
    save_weights(
        path,
        CNN(outputs=outputs, image_size=size).state_dict(),
        toy_metadata(size, outputs, **changes),
    )
    return path


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy") / "cnn.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two portraits of one face, a picture of nothing, one that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    shutil.copy(PORTRAIT, folder / "a.jpg")
    Image.new("RGB", (60, 50), "navy").save(folder / "b.png")
    (folder / "c.jpg").write_text("not a picture")
    (folder / "sub").mkdir()
    shutil.copy(PORTRAIT, folder / "sub/d.jpg")
    return folder


def test_a_row_says_everything(toy: Path):
    (row,) = Predictor([toy], device="cpu").predict([PORTRAIT])
    assert row.source == str(PORTRAIT)
    assert (row.model, row.status, row.error, row.age) == ("cnn", "ok", None, None)
    assert list(row.probabilities) == toy_metadata().scheme
    assert sum(row.probabilities.values()) == pytest.approx(1, abs=1e-3)
    assert row.probability == max(row.probabilities.values())
    assert row.probabilities[row.group] == row.probability
    assert row.face.box[2] - row.face.box[0] == pytest.approx(88, abs=8)


@pytest.mark.parametrize("kind", [str, Path, lambda path: path.parent, lambda path: [path]])
def test_weights_are_one_name_or_several(toy: Path, kind):
    (row,) = Predictor(kind(toy), device="cpu").predict([PORTRAIT])
    assert row.status == "ok"
    with pytest.raises(WeightsError, match="No weights at oracle"):
        Predictor("oracle")


@pytest.mark.parametrize("align", ["none", "points"])
def test_probabilities_are_the_models_on_the_cropped_face(toy: Path, align: str):
    """The whole chain again, by PIL and plain torch."""
    (row,) = Predictor([toy], device="cpu", flip=False, align=align).predict([PORTRAIT])
    image = Image.open(PORTRAIT).convert("RGB")
    left, top, right, bottom = row.face.box
    assert (row.face.angle != 0) == (align == "points")
    middle = ((left + right) / 2, (top + bottom) / 2)
    image = image.rotate(row.face.angle, Image.Resampling.BICUBIC, center=middle)
    pad = FACE_MARGIN * (right - left)
    box = (left - pad, top - pad, right + pad, bottom + pad)
    crop = image.resize((32, 32), Image.Resampling.BILINEAR, box=box)
    pixels = torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None] / 255
    module, _ = load_weights(toy)
    x = (pixels - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(
        3, 1, 1
    )
    with torch.no_grad():
        truth = module(x).softmax(1)[0]
    np.testing.assert_allclose(list(row.probabilities.values()), truth, atol=2e-3)


def test_a_tilted_face_is_predicted_like_the_upright_one(toy: Path):
    image = Image.open(PORTRAIT).convert("RGB")
    turned = image.rotate(-20, Image.Resampling.BICUBIC, center=(223, 123))
    upright, tilted = Predictor([toy], device="cpu").predict([image, turned])
    assert tilted.face.angle - upright.face.angle == pytest.approx(20, abs=5)
    answers = [list(row.probabilities.values()) for row in (upright, tilted)]
    raw = next(Predictor([toy], device="cpu", align="none").predict([turned]))
    assert raw.face.angle == 0
    difference = np.abs(np.subtract(*answers)).max()
    assert difference < np.abs(np.subtract(answers[0], list(raw.probabilities.values()))).max()


def test_a_face_below_the_least_score_is_none(toy: Path):
    (row,) = Predictor([toy], device="cpu").predict([PORTRAIT])
    assert 0.9 < row.face.score <= 1
    (none,) = Predictor([toy], device="cpu", min_face_score=0.99).predict([PORTRAIT])
    assert none.status == "no_face"


def test_order_and_reasons(toy: Path, folder: Path):
    rows = list(Predictor([toy], device="cpu").predict(find_pictures([folder]).paths))
    assert [Path(row.source).name for row in rows] == ["a.jpg", "b.png", "c.jpg", "d.jpg"]
    assert [row.status for row in rows] == ["ok", "no_face", "unreadable", "ok"]
    assert rows[2].error == "not an image"
    assert rows[0].probabilities == rows[3].probabilities


@pytest.mark.parametrize("options", [{"workers": 2}, {"batch_size": 1}])
def test_workers_and_batches_change_nothing(toy: Path, folder: Path, options: dict):
    paths = find_pictures([folder]).paths * 3
    plain = list(Predictor([toy], device="cpu").predict(paths))
    other = list(Predictor([toy], device="cpu", **options).predict(paths))
    for a, b in zip(plain, other, strict=True):
        assert (a.source, a.face, a.status, a.group) == (b.source, b.face, b.status, b.group)
        assert a.probability is None or a.probability == pytest.approx(b.probability, abs=2e-4)


def test_fallback_and_crops_use_the_whole_picture(toy: Path, folder: Path):
    blank = folder / "b.png"
    (row,) = Predictor([toy], device="cpu", fallback="centre").predict([blank])
    (crop,) = Predictor([toy], device="cpu", crops=True).predict([blank])
    assert row == crop
    assert (row.status, row.face) == ("ok", None)
    (whole,) = Predictor([toy], device="cpu", crops=True).predict([PORTRAIT])
    assert whole.face is None


def test_pictures_in_memory(toy: Path):
    image = Image.open(PORTRAIT)
    sources = [image, np.asarray(image), np.zeros((8, 8), np.uint8), np.zeros((2, 2, 7))]
    rows = list(Predictor([toy], device="cpu").predict(sources))
    assert rows[0].probabilities == rows[1].probabilities
    assert [row.source for row in rows] == [f"picture {n}" for n in range(4)]
    assert [row.status for row in rows] == ["ok", "ok", "no_face", "unreadable"]


def save_as(kind: str, path: Path) -> Path:
    image = Image.open(PORTRAIT).convert("RGB")
    path = (
        path
        / f"{kind}.{'jpg' if kind in ('exif', 'cmyk') else 'tif' if kind == 'grey16' else 'png'}"
    )
    if kind == "exif":  # lying on its side, and the EXIF tag says so
        exif = Image.Exif()
        exif[274] = 6
        image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    elif kind == "grey":
        image.convert("L").save(path)
    elif kind == "palette":
        image.quantize(256).save(path)
    elif kind == "alpha":
        image.putalpha(255)
        image.save(path)
    elif kind == "cmyk":
        image.convert("CMYK").save(path, quality=95)
    else:
        grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
        Image.fromarray(grey).save(path)
    return path


@pytest.mark.parametrize("kind", ["exif", "grey", "palette", "alpha", "cmyk", "grey16"])
def test_kinds_of_picture(toy: Path, tmp_path: Path, kind: str):
    plain, other = Predictor([toy], device="cpu").predict([PORTRAIT, save_as(kind, tmp_path)])
    assert other.status == "ok"
    np.testing.assert_allclose(other.face.box, plain.face.box, atol=8)
    if kind not in ("grey", "grey16"):  # without its colour a face looks different
        assert other.probability == pytest.approx(plain.probability, abs=0.05)


def test_several_models_predict_each_face(toy: Path, folder: Path, tmp_path: Path):
    years = write_toy(tmp_path / "years.safetensors", size=48, outputs=101)
    scene = Image.new("RGB", (1100, 512))
    scene.paste(Image.open(PORTRAIT), (0, 0))
    scene.paste(Image.open(PORTRAIT), (580, 0))
    predictor = Predictor([toy, years], device="cpu")
    rows = list(predictor.predict([scene, folder / "b.png"]))
    assert [row.model for row in rows] == [str(toy), str(years)] * 2 + [None]
    assert rows[0].face == rows[1].face != rows[2].face
    assert rows[0].age is None
    assert 0 < rows[1].age < 100
    alone = list(Predictor([years], device="cpu").predict([scene]))
    assert [row.probabilities for row in alone] == [row.probabilities for row in rows[1:4:2]]


class MeanModel(nn.Module):
    """Answers with the mean of the left and of the right half of the red channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[3] // 2
        return torch.stack([x[:, 0, :, :half].mean((1, 2)), x[:, 0, :, half:].mean((1, 2))], 1)


def two_groups(**changes: object) -> LoadedModel:
    metadata = toy_metadata(32, scheme=["0-20", "21+"], mean=[0.0] * 3, std=[1.0] * 3, **changes)
    return LoadedModel(MeanModel(), metadata)


def test_distributions_flip_and_temperature():
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[:, :, :16, 0] = 255  # logits (1, 0), mirrored (0, 1)
    sure = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(two_groups().distributions(images, flip=False)[0], [sure, 1 - sure])
    np.testing.assert_allclose(two_groups().distributions(images, flip=True), 0.5)
    warm = two_groups(temperature=0.5).distributions(images, flip=False)
    np.testing.assert_allclose(warm[1, 0], 1 / (1 + np.exp(-2)))


def test_resizing_is_pils():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1, 200, 200, 3), dtype=np.uint8)
    seen = []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x.mean((2, 3))[:, :2]

    metadata = toy_metadata(64, mean=[0.0] * 3, std=[1.0] * 3)
    LoadedModel(Spy(), metadata).distributions(pixels, flip=False)
    truth = Image.fromarray(pixels[0]).resize((64, 64), Image.Resampling.BILINEAR)
    difference = seen[0][0].permute(1, 2, 0).numpy() * 255 - np.asarray(truth, dtype=float)
    assert abs(difference).max() <= 1.5


def test_a_model_in_training_stays_in_training():
    model = CNN(outputs=8, image_size=32, dropout=0.9).train()
    loaded = LoadedModel(model, toy_metadata())
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(loaded.distributions(images), loaded.distributions(images))
    assert model.training


def test_streams_in_constant_memory(toy: Path):
    drawn = 0

    def endless():
        nonlocal drawn
        while True:
            drawn += 1
            yield np.zeros((100, 100, 3), np.uint8)

    rows = Predictor([toy], device="cpu", crops=True, batch_size=8).predict(endless())
    next(rows)
    tracemalloc.start()
    for _ in range(400):
        assert isinstance(next(rows), Prediction)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert drawn < 401 + 2 * 8
    assert peak < 3e6  # the 400 pictures are 12 MB


def test_a_batch_is_predicted_when_it_is_full_of_faces_or_of_pictures_without(toy: Path):
    drawn = 0

    def endless(size: int):
        nonlocal drawn
        while True:
            drawn += 1
            yield np.zeros((size, size, 3), np.uint8)

    rows = Predictor([toy], device="cpu", crops=True, batch_size=3).predict(endless(32))
    for drawn_by_then in (3, 3, 3, 6, 6, 6, 9):
        assert next(rows).status == "ok"
        assert drawn == drawn_by_then
    drawn = 0
    rows = Predictor([toy], device="cpu", batch_size=2).predict(endless(8))
    for drawn_by_then in [32] * 32 + [64]:
        assert next(rows).status == "no_face"
        assert drawn == drawn_by_then


def test_a_batch_has_a_face_at_least(toy: Path):
    assert next(Predictor([toy], device="cpu", batch_size=0).predict([PORTRAIT])).status == "ok"


def test_answers_are_rounded(toy: Path, tmp_path: Path):
    years = write_toy(tmp_path / "years.safetensors", size=48, outputs=101)
    (row,) = Predictor([years], device="cpu").predict([PORTRAIT])
    chances = list(row.probabilities.values())
    assert chances == [round(chance, 4) for chance in chances]
    assert chances != [round(chance, 3) for chance in chances]
    assert row.age == round(row.age, 1)
    assert row.probability == max(chances)


def test_the_rule_of_the_file_decides(tmp_path: Path):
    """All of an untrained model's groups are nearly alike: their median is in the middle."""
    for rule in (LIKELIEST, MEDIAN, Decision("adjusted", 1.0, (0.9, *[0.01] * 7))):
        path = write_toy(tmp_path / f"{rule.rule}.safetensors", decision=rule)
        (row,) = Predictor([path], device="cpu").predict([PORTRAIT])
        chances = np.array([*row.probabilities.values()])
        group = list(row.probabilities).index(row.group)
        assert group == rule.decide(chances[None])[0]
        assert row.probability == chances[group]
        assert row.torn == (group != chances.argmax())
    assert group > 0


def test_a_face_of_few_pixels_has_a_wider_set(tmp_path: Path):
    """The same picture, smaller; and a whole picture counts as a face's chip."""
    rows = ((0.999,) * 3, (0.9,) * 3, (0.0,) * 3)
    path = write_toy(tmp_path / "m.safetensors", outputs=101, sets=Sets((0.125,) * 8, rows, rows))
    image = Image.open(PORTRAIT)
    widths = []
    for side in (40, 60, 300):
        predictor = Predictor([path], device="cpu", crops=True)
        (row,) = predictor.predict([image.resize((side, side))])
        widths.append((len(row.set), row.age_high - row.age_low))
    assert widths[0] == (8, 100) and widths[1] > widths[2]
    assert widths[2][0] == 1
    (row,) = Predictor([path], device="cpu").predict([PORTRAIT])
    assert row.face.box[2] - row.face.box[0] >= 96 and row.set == (row.group,)


def test_a_coverage_that_was_not_fitted_is_refused(toy: Path):
    with pytest.raises(UsageError, match=r"--coverage: 0.85 is not one of 0.8, 0.9 and 0.95"):
        Predictor([toy], coverage=0.85)


def test_an_age_in_a_gap_lies_between_two_groups():
    labels, chances = Scheme.parse("adience8").labels, np.eye(8)[4] * 0.6 + np.eye(8)[5] * 0.4
    assert name_answer(labels, chances, 29.0, LIKELIEST)["between"] is None
    answer = Prediction("a", **name_answer(labels, chances, 36.8, MEDIAN))
    assert (answer.group, answer.doubt) == ("25-32", "between 25-32 and 38-43")
    torn = Prediction("a", **name_answer(labels, chances, 41.0, LIKELIEST))
    assert (torn.group, torn.doubt) == ("25-32", "torn between 25-32 and 38-43")


def test_labels_are_short_and_one_for_each_model():
    face, other = Face((0, 0, 9, 9), 0.9), Face((20, 0, 29, 9), 0.9)
    rows = [
        Prediction("a", face, "cnn", "25-32", 0.636, age=28.6),
        Prediction("a", face, "resnet", "60+", 0.995),
        Prediction("a", other, "cnn", "0-2", 0.5, age=0.4),
    ]
    assert labels_of(rows) == {
        face: ["25-32 64%, 29 y", "60+ 100%"], other: ["0-2 50%, 0 y"]
    }  # fmt: skip


def test_the_detector_is_missed_at_once_where_it_is_needed(
    toy: Path, monkeypatch: pytest.MonkeyPatch
):
    def missing() -> None:
        raise AgecliError("no detector")

    monkeypatch.setattr(predictor, "load_detector", missing)
    with pytest.raises(AgecliError, match="no detector"):
        Predictor([toy])
    assert next(Predictor([toy], device="cpu", crops=True).predict([PORTRAIT])).status == "ok"


def test_weights_that_name_no_margin_have_the_usual_one(toy: Path, tmp_path: Path):
    bare = write_toy(tmp_path / "cnn.safetensors", crop={"detector": DETECTOR})
    wide = write_toy(tmp_path / "wide.safetensors", crop={"detector": DETECTOR, "margin": 0.5})
    answers = [next(Predictor([path], device="cpu").predict([PORTRAIT])) for path in (toy, bare)]
    assert answers[0].probabilities == answers[1].probabilities
    assert Predictor([toy, bare, wide]).views == {(32, FACE_MARGIN), (32, 0.5)}


def test_wrong_use(toy: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="--fallback"):
        Predictor([toy], fallback="left")
    with pytest.raises(UsageError, match="--align"):
        Predictor([toy], align="eyes")
    with pytest.raises(UsageError, match="--device"):
        _ = Predictor([toy], device="tpu").models
    with pytest.raises(WeightsError, match="upgrade agecli"):
        other = write_toy(tmp_path / "other.safetensors", crop={"detector": "other", "margin": 0})
        Predictor([other])
    with pytest.raises(WeightsError, match="No weights at"):
        Predictor([tmp_path / "none.safetensors"])


def test_weights_of_an_earlier_detector_answer_as_those_of_the_present_one(
    toy: Path, tmp_path: Path
):
    crop = {"detector": "dlib-hog", "margin": FACE_MARGIN}
    earlier = write_toy(tmp_path / "cnn.safetensors", crop=crop)
    rows = [list(Predictor([path], device="cpu").predict([PORTRAIT])) for path in (toy, earlier)]
    assert rows[0] == rows[1]


def test_predictions_of_nan_are_an_error(tmp_path: Path):
    model = CNN(outputs=8, image_size=32)
    nn.init.constant_(model.head[-1].bias, float("nan"))
    save_weights(tmp_path / "nan.safetensors", model.state_dict(), toy_metadata())
    with pytest.raises(WeightsError, match="NaN"):
        list(Predictor([tmp_path / "nan.safetensors"], device="cpu").predict([PORTRAIT]))


def test_find_pictures(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "notes.txt").write_text("")
    (folder / ".hidden").mkdir(exist_ok=True)
    shutil.copy(PORTRAIT, folder / ".hidden/e.jpg")
    monkeypatch.chdir(folder)
    found = find_pictures(["."])
    assert found.paths == [Path(n) for n in ("a.jpg", "b.png", "c.jpg", "sub/d.jpg")]
    assert found.skipped == [Path("notes.txt")]
    assert find_pictures(["notes.txt", ".", "a.jpg"]) == ([Path("notes.txt"), *found.paths], [])
    assert find_pictures(["**/*.jpg"]).paths == [Path(n) for n in ("a.jpg", "c.jpg", "sub/d.jpg")]
    shutil.copy("a.jpg", "odd[1].jpg")
    assert find_pictures(["odd[1].jpg"]).paths == [Path("odd[1].jpg")]
    for wrong in ("*.gif", "none.jpg", ".hidden/empty"):
        with pytest.raises(DataError):
            find_pictures([wrong])


def test_a_picture_in_which_no_face_has_room_has_none_unless_it_is_taken_whole(toy: Path):
    line = Image.new("RGB", (30_000, 1))
    (row,) = Predictor([toy], device="cpu").predict([line])
    assert (row.status, row.error) == ("no_face", "no face found")
    for options in ({"crops": True}, {"fallback": "centre"}):
        (row,) = Predictor([toy], device="cpu", **options).predict([line])
        assert row.status == "ok" and row.face is None


def test_many_pictures_get_a_process_per_cpu_of_this_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "default_workers", lambda: 8)
    assert [worker_count(number) for number in (1, 49, 50)] == [0, 0, 8]
    pretend(monkeypatch, 4, local=2)
    assert worker_count(50) == 4


def test_freed_memory_is_kept_wherever_a_model_is_loaded(toy: Path, monkeypatch):
    calls: list[None] = []
    monkeypatch.setattr(predictor, "keep_freed_memory", lambda: calls.append(None))
    predictor.load_model(toy, "cpu")
    assert len(calls) == 1


@pytest.mark.parametrize("better", [True, False])
def test_a_fitted_ensemble_comes_before_or_after_its_models(
    toy: Path, tmp_path: Path, better: bool
):
    years = write_toy(tmp_path / "years.safetensors", size=48, outputs=101)
    paths = [Path(shutil.copy(toy, tmp_path)), years]
    fitted = write_fitted({paths[0]: 0.3, paths[1]: 0.9}, better=better)
    options = {"device": "cpu", "crops": True, "batch_size": 2}
    crops = list(np.random.default_rng(0).integers(256, size=(5, 32, 32, 3), dtype=np.uint8))
    plain = list(Predictor(paths, **options).predict(crops))
    rows = list(Predictor(paths, ensemble=fitted, **options).predict(crops))
    assert len(rows) == 15
    joint = rows[::3] if better else rows[2::3]
    assert [row for row in rows if row not in joint] == plain
    answers = [load_model(path, "cpu").answer(np.stack(crops)) for path in paths]
    wanted = fitted.combine(paths, answers)
    for row, own, chances, age in zip(joint, plain[::2], wanted.groups, wanted.ages, strict=True):
        assert (row.model, row.source, row.face) == ("ensemble", own.source, own.face)
        assert list(row.probabilities.values()) == pytest.approx(chances, abs=1e-3)
        assert row.age == pytest.approx(age, abs=0.1)
        assert row.seen is None
