"""The ensemble's file, when it is used, and how its members answer together."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agecli.ages import YEARS, Answers, Scheme
from agecli.decision import MEDIAN
from agecli.inference.fitted import FILE, Fitted, Member, combine, find_fitted, sha256_of

SCHEME = Scheme.parse("0-2,4-6,8-13")
LABELS = Scheme.parse("adience8").labels


def draw(seed: int, outputs: int) -> Answers:
    chances = np.random.default_rng(seed).dirichlet(np.ones(outputs), size=5)
    return Answers(chances, SCHEME, outputs == YEARS)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = [tmp_path / f"{name}.safetensors" for name in ("one", "two")]
    for path in found:
        path.write_bytes(path.name.encode())
    return found


def write_fitted(powers: dict[Path, float], *, better: bool = True) -> Fitted:
    """Write an ensemble of weights files beside them; the best is the first."""
    members = [Member(path.name, sha256_of(path), power, 0.7) for path, power in powers.items()]
    fitted = Fitted(
        members, better, 0.01 if better else 0.3, {"exact": 0.8}, 100, "0123", LABELS, MEDIAN
    )
    fitted.write(next(iter(powers)).with_name(FILE))
    return fitted


@pytest.fixture
def fitted(paths: list[Path]) -> Fitted:
    return write_fitted({paths[1]: 0.5, paths[0]: 0.25})


def test_the_product_of_groups_is_their_geometric_mean():
    one, two = draw(1, 3), draw(2, 3)
    joint = combine([one, two], [0.5, 0.5])
    mean = np.sqrt(one.groups * two.groups)
    np.testing.assert_allclose(joint.groups, mean / mean.sum(axis=1, keepdims=True))
    assert joint.ages is None


def test_a_power_of_one_alone_changes_nothing():
    one, two = draw(1, YEARS), draw(2, 3)
    joint = combine([one, two], [1, 0])
    np.testing.assert_allclose(joint.distribution, np.maximum(one.distribution, 1e-6), rtol=1e-3)
    np.testing.assert_allclose(joint.ages, one.ages, atol=1e-2)


def test_beside_years_a_model_of_groups_counts_by_groups():
    years, groups = draw(1, YEARS), draw(2, 3)
    joint = combine([years, groups], [1, 0.5])
    product = years.groups * groups.groups**0.5
    np.testing.assert_allclose(
        joint.groups, product / product.sum(axis=1, keepdims=True), rtol=1e-3
    )
    ratio = joint.distribution / years.distribution  # (5, YEARS), up to a factor
    np.testing.assert_allclose(ratio[:, 0], ratio[:, 2])  # within a group
    np.testing.assert_allclose(ratio[:, 3], np.sqrt(ratio[:, 2] * ratio[:, 4]))  # in a gap
    np.testing.assert_allclose(ratio[:, 13], ratio[:, 100])  # beyond the oldest group


def test_no_model_alone_rules_an_answer_out():
    never = replace(draw(1, 3), distribution=np.array([[0.0, 0.5, 0.5]]))
    sure = replace(draw(1, 3), distribution=np.array([[1.0, 0.0, 0.0]]))
    assert combine([never, sure], [0.3, 0.7]).groups.argmax() == 0


def test_it_is_found_where_all_its_members_are(paths: list[Path], fitted: Fitted):
    found = find_fitted(paths)
    assert found.fitted == fitted and found.note == "" and found.file == paths[0].with_name(FILE)
    assert found.fitted.sort(paths) == paths[::-1]
    assert find_fitted(paths[:1]).note == ""
    other = paths[0].with_name("three.safetensors")
    other.write_bytes(b"")
    assert find_fitted([*paths, other]) == found
    assert find_fitted([paths[0], other]).fitted is None
    assert "other models (two.safetensors, one.safetensors)" in find_fitted([paths[0], other]).note


def test_members_are_recognised_by_their_names(paths: list[Path], fitted: Fitted):
    one, two = draw(1, 3), draw(2, 3)
    joint = fitted.combine(paths, [one, two])
    np.testing.assert_allclose(joint.groups, combine([one, two], [0.25, 0.5]).groups)
    np.testing.assert_allclose(joint.groups, fitted.combine(paths[::-1], [two, one]).groups)
    assert joint.decision == MEDIAN
    other = draw(3, 5)  # of other groups
    beside = fitted.combine([paths[0].with_name("three"), *paths], [other, one, two])
    np.testing.assert_array_equal(joint.groups, beside.groups)


def test_none_is_found_without_a_file_or_in_several_folders(paths: list[Path], tmp_path: Path):
    assert find_fitted(paths) == (None, None, "")
    away = tmp_path / "away"
    away.mkdir()
    paths[0].with_name(FILE).write_text("{}")
    assert find_fitted([paths[0], paths[1].rename(away / paths[1].name)]) == (None, None, "")


def test_what_has_changed_is_reported_in_a_line(paths: list[Path], fitted: Fitted):
    paths[1].write_bytes(b"other weights")
    found = find_fitted(paths)
    assert found.fitted is None
    said = f"warning: {paths[0].with_name(FILE)}: two.safetensors has changed since it was fitted"
    assert found.note.startswith(said)
    assert "plain mean" in found.note and "--fit-ensemble" in found.note and "\n" not in found.note


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "newer agecli"),
        ({"members": []}, "members"),
        ({"p": 2}, "p: "),
        ({"figures": {"exact": "high"}}, "figures"),
        ({"better": "yes"}, "better"),
        ({"split_hash": "\n"}, "split_hash"),
        ({"power": -1}, "power"),
        ({"power": 1e9}, "power"),
        ({"power": 0}, "none of its members counts"),
        ({"file": "two.safetensors"}, "names a file twice"),
        ({"sha256": "no"}, "sha256"),
        ({"decision": {"rule": "adjusted", "tau": 0.3, "shares": [0.5, 0.5]}}, "decision: "),
        ({"decision": {"rule": "best"}}, "decision"),
        ({"sets": {"shares": [0.5, 0.5], "groups": [[0.1, 0.2, 0.3]] * 3}}, "sets: 2 shares"),
        ({"sets": {"shares": [5e-324] * 8, "groups": [[0.1, 0.2, 0.3]] * 3}}, "shares"),
    ],
)
def test_a_file_that_cannot_be_is_reported_and_not_used(paths, fitted, changes, words):
    file = paths[0].with_name(FILE)
    plain = json.loads(file.read_text())
    if changes.keys() & plain["members"][0].keys():
        plain["members"] = [member | changes for member in plain["members"]]
    else:
        plain |= changes
    file.write_text(json.dumps(plain))
    found = find_fitted(paths)
    assert found.fitted is None and words in found.note


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{" * 10**5, b'{"format": 1}'])
def test_what_is_not_an_ensemble_is_reported_and_not_used(paths, content):
    paths[0].with_name(FILE).write_bytes(content)
    found = find_fitted(paths)
    assert found.fitted is None and found.note and len(found.note) < 600
