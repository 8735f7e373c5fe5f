"""Commands in messages: a shell takes them as they are."""

import os
import subprocess

import pytest

from agecli.errors import pasteable


@pytest.mark.parametrize(
    "word", ["plain", "a (2)", "it's", "two  spaces", "a\nb\t'\\", "\udcff", "-ü猫"]
)
def test_a_command_can_be_pasted_into_a_shell(word: str):
    line = pasteable("printf", "%s", word)
    assert "\n" not in line
    shown = subprocess.run(["bash", "-c", os.fsencode(line)], capture_output=True)
    assert shown.stdout == os.fsencode(word)
