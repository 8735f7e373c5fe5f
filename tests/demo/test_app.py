import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from demo.app import parse
from tests.demo.pictures import ROOT


def run(app: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, app, *arguments], capture_output=True, text=True, timeout=300,
        cwd=app.parent, env=os.environ | extra,
    )  # fmt: skip


def test_options():
    wanted = parse(["--weights", "a", "b", "--auth", "me:se:cret", "--port", "80"])
    assert wanted.weights == ["a", "b"]
    assert wanted.auth.split(":", 1) == ["me", "se:cret"]
    assert (wanted.host, wanted.port, wanted.share, wanted.max_size) == (None, 80, False, 20)


@pytest.mark.parametrize(
    "bad", [["--auth", "me"], ["--auth", ":x"], ["--auth", "me:"], ["--max-size", "0"]]
)
def test_wrong_options_are_named(bad: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        parse(bad)
    assert caught.value.code == 2
    assert bad[0] in capsys.readouterr().err


def test_no_weights_is_one_line():
    result = run(ROOT / "demo" / "app.py", "--weights", "nowhere", PYTHONPATH=str(ROOT))
    assert result.returncode == 1
    assert result.stderr == (
        "agecli-demo: No weights at nowhere: pass a weights file or a folder of them\n"
    )


def test_a_space_is_the_folder_with_the_package_beside_it(tmp_path: Path):
    """As demo/README.md puts it together: what answers is the folder's own package."""
    space = tmp_path / "space"
    shutil.copytree(ROOT / "demo", space)
    shutil.copytree(ROOT / "agecli", space / "agecli")
    errors = space / "agecli" / "errors.py"
    errors.write_text(errors.read_text() + "\nAgecliError.exit_code = 17\n")
    result = run(space / "app.py", "--weights", "nowhere", PYTHONPATH="")
    assert result.returncode == 17, result.stderr
    assert "No weights at nowhere" in result.stderr


def test_a_space_installs_what_predicts():
    """The package's dependencies in requirements.txt, and those that Gradio and these bring."""
    brought = {"filelock", "huggingface-hub", "jinja2", "packaging", "rich", "typer"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name = re.compile(r"^[\w-]+", re.MULTILINE)
    installed = name.findall((ROOT / "demo/requirements.txt").read_text())
    missing = {name.match(one)[0] for one in project["dependencies"]} - brought - {*installed}
    assert {"fastai", "optuna"} <= missing
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({[*missing]!r}))\n"
        "import demo.app, demo.serve, agecli\n"
        "predictor, pictures = agecli.Predictor('all'), ['demo/examples/astronaut.jpg']\n"
        "print([row.group for row in predictor.predict(pictures)])"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT)
    assert shown.count("'25-32'") >= 3


def test_templates_are_found_beside_the_code_and_escape_what_they_show(tmp_path: Path):
    shutil.copytree(ROOT / "demo", tmp_path / "space")
    code = "from space.render import render; print(render('notice', text='<b>&'))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    shown = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment)
    assert shown == (
        '<div class="notice" role="alert"><strong>No answer.</strong> &lt;b&gt;&amp;</div>\n'
    )


def test_the_command_runs_the_demo_beside_the_package():
    """And says one line where gradio is missing."""
    call = "from agecli.commands._demo import main; main()"
    command = [sys.executable, "-c", call, "--weights", "nowhere"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 1
    assert result.stderr.startswith("agecli-demo: No weights at nowhere")
    command[2] = "import sys; sys.modules['gradio'] = None; " + call
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 1
    assert result.stderr == 'agecli-demo: the demo needs gradio: pip install "agecli[demo]"\n'
