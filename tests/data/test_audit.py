"""Clusters of the same picture: copies meet, different faces do not."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from agecli.data import patches
from agecli.data.audit import MEASURES, age_spans, find_clusters
from agecli.data.images import read_image
from agecli.data.pixels import PixelFile
from tests.archives import SPREAD_AGES, draw_face, jpeg_bytes
from tests.data.pictures import Inline, clusters_of, near_pairs, textured, traces_of

BOTH = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


@BOTH
@pytest.mark.parametrize(
    "change",
    [
        lambda image: read_image(jpeg_bytes(image)),
        lambda image: image.resize((40, 40)),
        lambda image: image.resize((300, 300), Image.Resampling.BICUBIC),
        lambda image: ImageEnhance.Brightness(image).enhance(1.06),
        lambda image: ImageEnhance.Color(image).enhance(0.9),
    ],
    ids=["recompressed", "smaller", "larger", "brighter", "paler"],
)
def test_a_changed_copy_is_the_same_picture(change, measure):
    pictures = [textured(seed) for seed in range(5)]
    copies = [change(picture) for picture in pictures]
    assert clusters_of(pictures + copies, measure) == [0, 1, 2, 3, 4] * 2


@BOTH
def test_different_faces_are_different_pictures(measure):
    faces = [draw_face(age, seed=age) for age in SPREAD_AGES]
    pictures = faces + [textured(seed) for seed in range(30)]
    assert len(set(clusters_of(pictures, measure))) == len(pictures)


@BOTH
def test_equal_files_meet_without_a_look_at_their_pixels(measure, monkeypatch):
    monkeypatch.setattr(measure, "is_copy", lambda a, b: pytest.fail("no need"))
    pictures = [textured(0), textured(1), textured(0), textured(2), textured(0)]
    digests = [bytes(31) + letter for letter in (b"b", b"a", b"b", b"c", b"b")]
    assert clusters_of(pictures, measure, digests) == [0, 1, 0, 2, 0]


@BOTH
def test_digests_that_begin_alike_are_different_files(measure):
    pictures = [textured(number) for number in range(4)]
    digests = [bytes(31) + letter for letter in (b"b", b"a", b"b", b"a")]
    assert clusters_of(pictures[:2] * 2, measure, digests) == [0, 1, 0, 1]
    assert clusters_of(pictures, measure) == [0, 1, 2, 3]


@BOTH
def test_what_cannot_be_used_is_in_no_cluster(measure, tmp_path):
    digests = np.arange(3, dtype=np.uint8).repeat(32).reshape(3, 32)
    usable = np.array([False, True, False])
    traces = np.zeros(3, measure.TRACE)
    images = PixelFile(tmp_path, 3, 8)
    assert find_clusters(digests, usable, traces, images, measure, Inline()).tolist() == [-1, 0, -1]


@BOTH
def test_clusters_are_the_components_of_the_confirmed_pairs(measure):
    pictures = [textured(number % 9) for number in range(30)]
    pictures = [
        ImageEnhance.Brightness(picture).enhance(1 + 0.01 * number)
        for number, picture in enumerate(pictures)
    ]
    pixels = [np.asarray(picture) for picture in pictures]
    edges = [
        (i, j)
        for i, j in near_pairs(traces_of(pictures, measure), measure)
        if measure.is_copy(pixels[i], pixels[j])
    ]
    rows, columns = np.array(edges).T
    graph = coo_array((np.ones(len(edges)), (rows, columns)), shape=(30, 30))
    expected = connected_components(graph, directed=False)[1]
    assert clusters_of(pictures, measure) == expected.tolist()
    assert 9 <= len(set(expected.tolist())) < 30


def test_content_decides_which_of_two_is_looked_for_in_the_other(monkeypatch):
    """A measure that says yes for one order of a pair alone: names and rows must not decide."""
    pictures, asked = [textured(1), textured(1).resize((40, 40))], []
    monkeypatch.setattr(patches, "is_copy", lambda a, b: asked.append((a, b)))
    one, other = bytes([1] * 32), bytes([2] * 32)
    for step in (1, -1):
        clusters_of(pictures[::step], patches, [one, other][::step])
    assert (asked[0][0] == asked[1][0]).all() and (asked[0][1] == asked[1][1]).all()
    assert (asked[0][0] != asked[0][1]).any()


def test_age_spans_are_the_years_between_a_clusters_ages():
    clusters, years = np.array([0, 1, 0, 2, 1, 0]), [30, 5, 41, 8, 5, 33]
    ages = np.stack([years, years], axis=1)
    assert age_spans(clusters, ages).tolist() == [11, 0, 11, 0, 0, 11]
    ages[0] = 30, 40
    assert age_spans(clusters, ages).tolist() == [8, 0, 8, 0, 0, 8]
    ages[2] = 35, 45
    assert age_spans(clusters, ages).tolist() == [2, 0, 2, 0, 0, 2]
    assert age_spans(np.array([], int), np.empty((0, 2), int)).tolist() == []
