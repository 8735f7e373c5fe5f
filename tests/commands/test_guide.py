"""The guide: its pages, how they are shown, and whether their commands exist."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer

from agecli.cli import app
from agecli.guide import PAGES, read_page, title_of

ROOT = Path(__file__).parents[2]
TEXTS = {name: read_page(name) for name in PAGES} | {
    "README": (ROOT / "README.md").read_text(encoding="utf-8")
}


def commands(text: str) -> list[list[str]]:
    """Return the words of each agecli command in a text's shell blocks."""
    blocks = re.findall(r"^ *```(?:bash|console)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.search(r"\bagecli( (?![-\w]*:)[^|>]*)$", line.split(" #")[0]) for line in lines]
    return [shlex.split(one[1].replace("2>&1", "")) for one in found if one]


def test_every_page_is_listed_with_its_title(cli):
    lines = cli("guide").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(PAGES)
    assert all(line.endswith(title_of(name)) for line, name in zip(lines, PAGES, strict=True))
    assert all(map(title_of, PAGES))
    assert {path.stem for path in (ROOT / "agecli/guide").glob("*.md")} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_short_and_begins_with_commands(name: str):
    assert len(TEXTS[name].encode()) <= 8000
    title, _, block, *_ = TEXTS[name].splitlines()
    assert title.startswith("# ") and block in ("```bash", "```python")
    for code in re.findall(
        r"^```(?:bash|python)\n(.*?)^```", TEXTS[name], re.DOTALL | re.MULTILINE
    ):
        assert max(map(len, code.splitlines())) <= 78, "wrapped in a terminal of 80 columns"


def test_a_page_is_markdown_in_a_pipe_and_laid_out_in_a_terminal(cli):
    assert cli("guide", "train").stdout == TEXTS["train"]
    shown = cli("guide", "train", FORCE_COLOR="1", COLUMNS="80", TERM="xterm").stdout
    assert "\x1b[" in shown and "```" not in shown
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert "agecli train cnn --image-size 96 --amp" in plain
    assert max(map(len, plain.splitlines())) <= 80


@pytest.mark.parametrize(
    ("page", "near"), [("trian", "name one of train"), ("Memory", "memory"), ("x", "sources, ")]
)
def test_an_unknown_page_is_one_line_with_the_nearest(cli, one_line, page: str, near: str):
    assert near in one_line(cli("guide", page), 2)


@pytest.mark.parametrize("name", TEXTS)
def test_commands_and_their_options_exist(name: str):
    for words in commands(TEXTS[name]):
        command = typer.main.get_command(app)
        context = typer.Context(command)
        while hasattr(command, "get_command") and words and not words[0].startswith("-"):
            name, *words = words
            command = command.get_command(context, name)
            assert command, name
        known = {
            flag for one in command.get_params(context) for flag in (*one.opts, *one.secondary_opts)
        }
        given = {word.split("=")[0] for word in words if word.startswith("--")}
        assert given <= known, (command.name, given - known)


def test_a_model_is_used_without_torch_as_the_page_says(
    toy_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(toy_onnx, "cnn.onnx")
    for name in ("face.jpg", "chip.jpg"):
        shutil.copy(ROOT / "demo/examples/astronaut.jpg", name)
    for example in re.findall(r"```python\n(.*?)```", TEXTS["export"], re.DOTALL):
        exec(example, {})
    predicted, of_crop = capsys.readouterr().out.splitlines()
    labels = ("0-2", "4-6", "8-13", "15-20", "25-32", "38-43", "48-53", "60+")
    assert predicted.split()[0] in labels and of_crop in labels
