"""Documents, help, messages and docstrings use the words of agecli/README.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PHRASES = {
    r"\banew\b": "again",
    r"\bas if nothing had happened\b": "exactly, from the last epoch",
    r"\bbegun? with weights|\bweights to begin with\b": "initial weights",
    r"\bbehind each other|\bbehind the other\b": "one after another",
    r"\b(?:could|can) be had\b|\bto be had\b": "available",
    r"\bdisturb(?:ed|ances|s)\b": "perturbed, perturbations",
    r"\bgive[ns]? (?:it |them |a trial |hopeless trials )?up\b": "stop, prune, end",
    r"\bgoes on\b|\bgoing on with\b": "continues, resumes",
    r"\bgone through\b": "iterated, read",
    r"\bhears? of\b": "receives",
    r"\bhow right\b": "accuracy",
    r"\bin little memory\b": "in constant memory",
    r"\bknow themselves\b|\bsays? of (?:itself|themselves)\b": "metadata, self-describing",
    r"\bknows nothing of\b": "does not know",
    r"(?<!there )\b(?:is|are) no (?:face|file|folder|image|model|number|run)s?\b": "is not a",
    r"\bmost epochs\b": "maximum number of epochs",
    r"\bof which is said\b|\bthe rest is said\b": "the rest is reported",
    r"\bpictures? of no face\b": "negatives",
    r"\bput (?:it|that|those|the right one) back\b": "restore",
    r"\bstumbl(?:e|es|ed) (?:over|on)\b": "fails on",
    r"\bwent astray\b|\bgoes astray\b": "diverged",
    r"\bwhole or not at all\b": "completely or not at all",
    r"\bwhoever\b": "name who",
    r"\banswered group\b": "predicted group",
    r"\bleast side\b": "smallest side",
}
"""Phrases that are not the field's English, and what to write."""

OPENINGS = ("Give", "Have", "Hear", "Of", "Say", "Tell")
"""Words with which no docstring begins: Return, Compute, Make, Receive or a noun do."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the text of a document, or the strings and comments of a module, with their lines."""
    source = path.read_text()
    if path.suffix != ".py":  # tables have a column of words to avoid
        yield from ((n, line) for n, line in enumerate(source.splitlines(), 1) if line[:1] != "|")
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for number, line in enumerate(source.splitlines(), 1):
        if comment := re.search(r"(?:^|  )# (.*)", line):
            yield number, comment[1]


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of modules, classes and functions, and those below attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.lineno, str(node.value.value)


def files(*patterns: str) -> list[Path]:
    """List the files to check."""
    found = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    assert found
    return [path for path in found if path != Path(__file__)]


def test_no_text_has_a_phrase_to_avoid():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]!r}: write {better}"
        for path in files("*.md", "agecli/**/*.md", "demo/*.md", "weights/*.md", "tests/*.md",
                          "agecli/**/*.py", "demo/**/*.py", "tests/**/*.py")
        for line, text in texts(path)
        for phrase, better in PHRASES.items()
        if (match := re.search(phrase, " ".join(text.split()), re.IGNORECASE))
    ]  # fmt: skip
    assert not found, "\n".join(found)


def test_docstrings_begin_with_a_plain_verb_or_a_noun():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.strip().split(chr(10))[0]}"
        for path in files("agecli/**/*.py", "demo/**/*.py", "tests/**/*.py")
        for line, text in docstrings(path)
        if text.split() and text.split()[0] in OPENINGS
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "the training goes on as it was",
        "Gives hopeless trials up",
        "The weights are no file of ours",
    ],
)
def test_the_phrases_are_found(text):
    assert any(re.search(phrase, text, re.IGNORECASE) for phrase in PHRASES)
