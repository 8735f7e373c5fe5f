"""The page's colours can be told apart: contrasts from the style sheet, by WCAG's formula."""

import re

import pytest

from demo.theme import THEME
from tests.demo.pictures import ROOT

STYLE = (ROOT / "demo" / "style.css").read_text("utf-8")
GROUNDS = ("card", "page", "tint")


def tokens(scheme: str) -> dict[str, str]:
    """Read the colours of a scheme: `light`, or `dark`."""
    block = re.search(
        rf"^{':root' if scheme == 'light' else '.dark'} {{(.*?)}}", STYLE, re.M | re.S
    )
    assert block
    return dict(re.findall(r"--([\w-]+): (#\w+)", block[1]))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#fff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "grounds", "least"),
    [
        ("ink", GROUNDS, 4.5), ("soft", GROUNDS, 4.5), ("accent", GROUNDS, 4.5),
        ("warn", ("warn-tint",), 4.5), ("ink", ("warn-tint",), 4.5),
        ("on-accent", ("accent",), 4.5),
        ("bar", GROUNDS, 3), ("edge", GROUNDS, 3), ("warn", GROUNDS, 3), ("accent", ("line",), 3),
        ("other", GROUNDS, 3),
    ],
)  # fmt: skip
def test_texts_bars_and_borders_stand_out(
    scheme: str, ink: str, grounds: tuple[str, ...], least: float
):
    colours = tokens(scheme)
    found = {ground: contrast(colours[ink], colours[ground]) for ground in grounds}
    assert min(found.values()) >= least, found


@pytest.mark.parametrize(("scheme", "suffix"), [("light", ""), ("dark", "_dark")])
def test_gradios_own_parts_have_the_same_colours(scheme: str, suffix: str):
    colours = tokens(scheme)
    for name, token in {
        "body_background_fill": "page", "body_text_color": "ink", "slider_color": "accent",
        "block_border_color": "edge", "input_border_color": "edge",
        "checkbox_border_color": "edge", "block_background_fill": "card",
    }.items():  # fmt: skip
        shown = getattr(THEME, name + suffix)
        assert contrast(shown, colours[token]) == 1, name
