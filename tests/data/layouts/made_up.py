"""Small sets in the published layouts, with drawn pictures and invented persons."""

from __future__ import annotations

import tempfile
from pathlib import Path

from agecli.data.labels import Label
from agecli.data.listing import LabelOptions, Listed, Listing, list_pictures
from tests.data.pictures import write_set

ADIENCE_COLUMNS = (
    "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial_yaw_angle\t"
    "fiducial_score\n"
)


def adience(folder: Path, kind: str = "aligned", per_fold: int = 4) -> Path:
    """Write five folds of `per_fold` faces, of two persons each; the last face has no age."""
    prefix = {"aligned": "landmark_aligned_face", "faces": "coarse_tilt_aligned_face"}[kind]
    ages = ["(0, 2)", "(25, 32)", "(60, 100)", "35"]
    names, tables = [], {}
    for fold in range(5):
        text = ADIENCE_COLUMNS
        for number in range(per_fold):
            face = fold * per_fold + number
            person, image = f"{fold * 2 + number % 2}@N00", f"1{face}_ab_o.jpg"
            names.append(f"{kind}/{person}/{prefix}.{face}.{image}")
            age = "None" if face == 5 * per_fold - 1 else ages[number % len(ages)]
            sex = "fmu"[number % 3]
            text += f"{person}\t{image}\t{face}\t{age}\t{sex}\t0\t0\t9\t9\t0\t0\t1\n"
        tables[f"fold_{fold}_data.txt"] = text
    return write_set(folder, names, tables)


def fairface(folder: Path, margin: str = "fairface-img-margin025-trainval") -> Path:
    """Write four pictures to train on and two to validate, and their tables."""
    names = [f"{margin}/train/{i}.jpg" for i in range(1, 5)]
    names += [f"{margin}/val/{i}.jpg" for i in (1, 2)]
    header = "file,age,gender,race,service_test\n"
    train = header + (
        "train/1.jpg,0-2,Male,East Asian,False\ntrain/2.jpg,more than 70,Female,Indian,False\n"
        "train/3.jpg,20-29,Male,Latino_Hispanic,True\ntrain/4.jpg,3-9,Female,Middle Eastern,False\n"
    )
    val = header + "val/1.jpg,3-9,Male,White,True\nval/2.jpg,60-69,Female,Black,False\n"
    tables = {"fairface_label_train.csv": train, "fairface_label_val.csv": val}
    return write_set(folder, names, tables)


def appa_real(folder: Path, faces: bool = True) -> Path:
    """Write two pictures in each split, each with its face."""
    names, tables = [], {}
    for number, split in enumerate(("train", "valid", "test")):
        text = "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age\n"
        for i in (2 * number, 2 * number + 1):
            names.append(f"{split}/{i:06}.jpg")
            if faces:
                names.append(f"{split}/{i:06}.jpg_face.jpg")
            text += f"{i:06}.jpg,38,{30.5 + i},5.25,{20 + i}\n"
        tables[f"gt_avg_{split}.csv"] = text
        tables[f"gt_{split}.csv"] = "file_name,rating,real_age,age,gender\n"
    return write_set(folder, names, tables)


def labels(source: Path, *more: Path, **asked: object) -> dict[str, Label]:
    """List sources; return the labels by the pictures' ids."""
    return {item.id: item.label for item in listed(source, *more, **asked)}


def listed(*sources: Path, **asked: object) -> list[Listed]:
    """List sources; return their pictures."""
    with tempfile.TemporaryDirectory() as work:
        listing = list_pictures(list(sources), Path(work), LabelOptions(**asked))  # type: ignore[arg-type]
        return list(listing.pictures)


def listing_of(*sources: Path, **asked: object) -> Listing:
    """List sources; return what is known of them."""
    with tempfile.TemporaryDirectory() as work:
        return list_pictures(list(sources), Path(work), LabelOptions(**asked))  # type: ignore[arg-type]
