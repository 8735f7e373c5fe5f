"""Files are written completely or not at all, and outputs overwrite nothing else."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agecli import files
from agecli.errors import DiskError, UsageError
from agecli.files import (
    Output,
    check_outputs,
    growing,
    marked,
    partial_folder,
    room_for,
    whole,
    write_text,
)  # fmt: skip

# Completely or not at all


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "table.csv"
    with whole(path) as partial:
        partial.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half" and list(tmp_path.iterdir()) == [path]


def test_where_writing_fails_the_earlier_file_stays_alone(tmp_path: Path):
    path = tmp_path / "table.csv"
    write_text(path, "earlier: ä")
    with pytest.raises(OSError, match="broken"), whole(path) as partial:
        partial.write_text("half")
        raise OSError("broken")
    assert path.read_text(encoding="utf-8") == "earlier: ä" and list(tmp_path.iterdir()) == [path]


def test_a_growing_file_keeps_what_it_has_under_another_name(tmp_path: Path):
    path, partial = tmp_path / "table.csv", tmp_path / "table.csv.partial"
    write_text(path, "earlier")
    with pytest.raises(KeyboardInterrupt), growing(path) as other:
        other.write_text("half")
        raise KeyboardInterrupt
    assert (path.read_text(), partial.read_text()) == ("earlier", "half")
    with growing(path) as other:
        other.write_text("whole")
        with pytest.raises(UsageError, match=r"table\.csv is being written"), growing(path):
            pass
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_name_do_not_trip_over_each_other(tmp_path: Path):
    path = tmp_path / "table.csv"
    with whole(path) as one, whole(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]

    def write(number: int) -> None:
        for _ in range(50):
            write_text(path, str(number) * 1000)

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(path.read_text())) == 1 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("length", [251, 255])
def test_the_longest_names_can_be_written(tmp_path: Path, length: int):
    path = tmp_path / ("ä" * ((length - 4) // 2) + ".csv")
    write_text(path, "whole")
    assert path.read_text() == "whole"


def test_permissions_follow_the_umask(tmp_path: Path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


WRITER = """
import sys, time
from pathlib import Path
from agecli.files import whole
with whole(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print(partial, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_left_goes_and_what_a_live_one_writes_stays(tmp_path: Path):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    partials = [Path(writer.stdout.readline().strip()) for writer in writers]  # type: ignore[union-attr]
    writers[0].send_signal(signal.SIGKILL)
    writers[0].wait()
    (tmp_path / ".mine.partial").touch()
    files.clear_leftovers.cache_clear()
    write_text(tmp_path / "b", "")
    assert [partial.exists() for partial in partials] == [False, True]
    assert (tmp_path / ".mine.partial").exists()
    writers[1].kill()
    writers[1].wait()


def test_a_folder_that_is_missing_is_named_by_the_file_and_not_by_its_partial(tmp_path: Path):
    with pytest.raises(FileNotFoundError) as caught:
        write_text(tmp_path / "no" / "a.csv", "")
    assert caught.value.filename == str(tmp_path / "no" / "a.csv")


def test_a_partial_folder_is_gone_after_the_block_and_after_a_kill(tmp_path: Path):
    with partial_folder(tmp_path / "a") as folder:
        (folder / "x").touch()
        files.clear_leftovers.cache_clear()
        files.clear_leftovers(tmp_path)  # it lives
        assert (folder / "x").exists()
    (tmp_path / folder.name).mkdir()  # as a kill leaves it
    (tmp_path / folder.name / "x").touch()
    files.clear_leftovers.cache_clear()
    files.clear_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


# No room


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_one_error_with_file_need_and_way_on(tmp_path: Path, number: int):
    path = tmp_path / "state.pt"
    path.write_text("earlier")
    with pytest.raises(DiskError, match="No room") as caught, whole(path, needed=12_300_000):
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise RuntimeError("unexpected pos 64 vs 32") from error  # as torch wraps it
    text = str(caught.value)
    assert text.startswith(f"No room for {path} ({os.strerror(number)}): 12.3 MB needed, ")
    assert "free some" in text
    assert path.read_text() == "earlier" and list(tmp_path.iterdir()) == [path]


def test_other_errors_stay_what_they_are(tmp_path: Path):
    with pytest.raises(PermissionError), room_for(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "denied")


# Outputs destroy nothing


OURS = marked("source,left")


def check(path: Path, *inputs: Path) -> None:
    check_outputs([Output("--csv", path, OURS)], inputs)


@pytest.mark.parametrize("content", [None, "", "source,left\n1,2\n"])
def test_a_free_name_an_empty_file_and_our_own_are_taken(tmp_path: Path, content: str | None):
    path = tmp_path / "ages.csv"
    if content is not None:
        path.write_text(content)
    check(path, tmp_path / "face.jpg")


def test_what_would_be_destroyed_is_refused(tmp_path: Path):
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("name,age\n")
    with pytest.raises(
        UsageError, match=r"--csv: .*foreign.csv exists and was not written by this command"
    ):
        check(foreign)
    with pytest.raises(UsageError, match="is a folder:"):
        check(tmp_path)
    with pytest.raises(UsageError, match=r"there is no folder .*gone"):
        check(tmp_path / "gone" / "ages.csv")
    os.mkfifo(tmp_path / "pipe")
    for device in (Path("/dev/null"), tmp_path / "pipe"):
        with pytest.raises(UsageError, match="device or pipe"):
            check(device)


def test_an_input_is_refused_by_whatever_name(tmp_path: Path):
    picture, other = tmp_path / "a.csv", tmp_path / "b.csv"
    picture.write_text("source,left")  # though it looks like ours
    os.link(picture, other)
    for path in (picture, other, tmp_path / ".." / tmp_path.name / "a.csv"):
        with pytest.raises(UsageError, match="is an input, which would be overwritten"):
            check(path, tmp_path / "gone", picture)


def test_links_are_refused_even_those_to_nothing(tmp_path: Path):
    (tmp_path / "empty").touch()
    for target in ("empty", "gone"):
        link = tmp_path / f"to {target}"
        link.symlink_to(target)
        with pytest.raises(UsageError, match="is a link"):
            check(link)


def test_two_outputs_of_one_name_are_refused(tmp_path: Path):
    outputs = [Output("--annotate", tmp_path / "a.png"), Output("--annotate", tmp_path / "a.png")]
    with pytest.raises(UsageError, match="written twice"):
        check_outputs(outputs)


def test_a_mark_is_found_at_either_end(tmp_path: Path):
    path, ours = tmp_path / "a", marked("agecli predict")
    for content in ("agecli predict" + "x" * 9999, "x" * 9999 + "agecli predict"):
        path.write_text(content)
        assert ours(path)
    for content in ("", "agecli evaluate", "x" * 9999 + "agecli predict" + "x" * 9999):
        path.write_text(content)
        assert not ours(path)
    assert not ours(tmp_path / "gone")
