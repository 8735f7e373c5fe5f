"""Run folders: made once, kept whole, opened again."""

import json
import resource
import shlex
from pathlib import Path

import pytest
import torch

from agecli.config import CnnConfig
from agecli.errors import DiskError, TrainingError, UsageError
from agecli.training.records import Epoch, Validation
from agecli.training.runs import Run, check_world


def test_a_run_keeps_its_configuration(tmp_path: Path):
    config = CnnConfig(image_size=32, lr=0.5, amp=True)
    Run.create(tmp_path / "run", config)
    assert Run.open(tmp_path / "run")[1] == config


def test_a_folder_in_use_is_refused(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(TrainingError, match="not empty and not a run"):
        Run.create(tmp_path, CnnConfig())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_free_folders_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert Run.free_folder("cnn") == Path("runs/cnn")
    assert Path("runs/cnn").is_dir()  # taken at once, so that no other training takes it
    assert Run.free_folder("cnn") == Path("runs/cnn-2")


def test_a_run_that_was_killed_at_its_very_start_is_free_and_no_hint_names_it(tmp_path: Path):
    (tmp_path / f".config.json.{'0' * 12}.partial").write_text("{")
    Run.create(tmp_path, CnnConfig())
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    with pytest.raises(TrainingError, match="continue it with --resume"):
        Run.create(tmp_path, CnnConfig())
    (tmp_path / "config.json").rename(tmp_path / "mine.json")
    with pytest.raises(TrainingError, match="not empty and not a run: choose another --run"):
        Run.create(tmp_path, CnnConfig())


def test_the_way_on_can_be_pasted(tmp_path: Path):
    folder = tmp_path / "it's (2)"
    Run.create(folder, CnnConfig())
    with pytest.raises(TrainingError) as caught:
        Run.create(folder, CnnConfig())
    words = shlex.split(str(caught.value).split("continue it with ")[1].split(", or")[0])
    assert words == ["--resume", str(folder)]


def test_a_kill_between_its_two_files_costs_no_line_of_the_metrics(tmp_path: Path, monkeypatch):
    run = Run.create(tmp_path / "run", CnnConfig())
    history = [Epoch(n, 2.0, 1e-3, 9.0, 1.5, True, Validation(0.5)) for n in (1, 2)]
    run.save(history[:1])
    replace, replaced = Path.replace, []

    def kill_at_the_second(path: Path, target: Path) -> Path:
        if replaced:
            raise KeyboardInterrupt
        replaced.append(target)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", kill_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run.save(history)
    monkeypatch.undo()
    assert len(run.history()) == 1
    state = run.load()
    assert state and state["history"] == run.history() == history


def test_equal_states_are_equal_files(tmp_path: Path):
    content = []
    for name in ("one", "two"):
        run = Run.create(tmp_path / name, CnnConfig())
        run.save([], model={"w": torch.arange(3.0)})
        content.append((run.folder / "last" / "state.pt").read_bytes())
    assert content[0] == content[1]


def test_a_full_disk_is_one_error_and_the_last_state_stays(tmp_path: Path):
    run = Run.create(tmp_path / "run", CnnConfig())
    run.save([], model={"w": torch.zeros(9)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(DiskError, match=r"No room for .*state\.pt \(File too large\): 4\.0 MB"):
            run.save([], model={"w": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    state = run.load()
    assert state and torch.equal(state["model"]["w"], torch.zeros(9))
    assert [path.name for path in (run.folder / "last").iterdir()] == ["state.pt"]


def test_state_comes_back_as_it_was_saved(tmp_path: Path):
    run = Run.create(tmp_path / "run", CnnConfig())
    assert run.load() is None
    history = [Epoch(1, 2.0, 1e-3, 9.0, 1.5, True, Validation(0.5, exact=0.25))]
    run.save(history, model={"w": torch.arange(3.0)})
    loaded = run.load()
    assert torch.equal(loaded["model"]["w"], torch.arange(3.0))
    assert loaded["history"] == run.history() == history
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"epoch": 1, "train_loss": 2.0, "lr": 1e-3, "images_per_second": 9.0, "seconds": 1.5,
         "best": True, "val_loss": 0.5, "val_exact": 0.25}
    ]  # fmt: skip
    assert not list(run.folder.rglob("*.partial"))


def test_a_pickle_in_place_of_the_state_is_not_run(tmp_path: Path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "pwned",))

    run = Run.create(tmp_path / "run", CnnConfig())
    (run.folder / "last").mkdir()
    (run.folder / "last" / "state.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(TrainingError, match="damaged"):
        run.load()
    assert not (tmp_path / "pwned").exists()


def test_what_is_not_a_run_is_named(tmp_path: Path):
    with pytest.raises(TrainingError, match="No run in"):
        Run.open(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(TrainingError, match="damaged"):
        Run.open(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(TrainingError, match="damaged"):
        Run.open(tmp_path)
    (tmp_path / "config.json").write_text('{"model": "cnn", "vram_budget": 4}')
    with pytest.raises(UsageError, match=r"config\.json: --vram-budget: 4 is not text"):
        Run.open(tmp_path)
    (tmp_path / "config.json").write_text('{"model": "cnn", "wings": 2}')
    with pytest.raises(UsageError, match="wings"):
        Run.open(tmp_path)


def test_another_number_of_processes_cannot_resume():
    check_world({"history": []})
    check_world({"history": [], "world": 1})
    with pytest.raises(TrainingError, match="start 4, or a new run"):
        check_world({"history": [], "world": 4})


EPOCH = {
    "epoch": 1, "train_loss": 2.0, "lr": 1e-3, "images_per_second": 9.0, "seconds": 1.5,
    "best": True, "val_loss": 0.5, "val_exact": 0.25,
}  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "[" * 100_000, '{"model": null}', '{"model": []}', '{"model": "x"}',
             '{"model": "cnn", "lr": NaN}', '{"model": "cnn", "lr": {}}', '{"model": "cnn", "l',
             '{"model": "cnn", "mean": [1, 2, 1e99]}', '{"model": "cnn", "epochs": 1' + "0" * 999],
)  # fmt: skip
def test_settings_that_cannot_be_are_named_with_their_file(tmp_path: Path, text: str):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises((TrainingError, UsageError), match=r"config\.json") as caught:
        Run.open(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    "state",
    [[], None, 3, {}, {"history": None}, {"history": [1]}, {"history": [{}]},
     {"history": [EPOCH], "world": "x"}, {"history": [EPOCH | {"epoch": 2}]},
     {"history": [EPOCH | {"best": False}]}, {"history": [EPOCH | {"val_loss": float("nan")}]},
     {"history": [EPOCH | {"lr": "x"}]}, {"history": [EPOCH | {"phase": "third"}]}],
)  # fmt: skip
def test_a_state_that_cannot_be_is_refused(tmp_path: Path, state: object):
    run = Run.create(tmp_path / "run", CnnConfig())
    run.state.parent.mkdir()
    torch.save(state, run.state)
    with pytest.raises(TrainingError, match=r"state\.pt is damaged .*start a new run"):
        run.load()


@pytest.mark.parametrize(
    "text", ["[1]\n", "{}\n", '{"epoch": 1', "\xff", json.dumps(EPOCH | {"epoch": 3}) + "\n"]
)
def test_metrics_that_cannot_be_are_refused(tmp_path: Path, text: str):
    run = Run.create(tmp_path / "run", CnnConfig())
    run.save([Epoch.from_plain(EPOCH)])
    (run.folder / "metrics.jsonl").write_text(text, encoding="latin-1")
    with pytest.raises(TrainingError, match=r"metrics\.jsonl is damaged .*start a new run"):
        run.history()
