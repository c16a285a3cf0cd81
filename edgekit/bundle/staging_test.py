import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.bundle.staging import remove_partial, staged_folder
from edgekit.errors import OutputError


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def write(output, *, text="new", replace=False):
    with staged_folder(output, replace=replace, marker="manifest.json") as folder:
        (folder / "manifest.json").write_text(text)
        (folder / "sub").mkdir()


def test_appears_in_whole(tmp_path):
    output = tmp_path / "deep" / "out"
    with staged_folder(output, replace=False, marker="manifest.json") as folder:
        (folder / "a").write_text("x")
        assert not output.exists()
    assert (output / "a").read_text() == "x"
    assert listing(tmp_path / "deep") == ["out"]


def test_an_error_leaves_nothing(tmp_path):
    with (
        pytest.raises(RuntimeError),
        staged_folder(tmp_path / "out", replace=False, marker="m") as folder,
    ):
        (folder / "a").write_text("x")
        raise RuntimeError
    assert listing(tmp_path) == []


def test_an_existing_bundle_needs_force(tmp_path):
    write(tmp_path / "out", text="old")
    with pytest.raises(OutputError, match="--force"):
        write(tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").read_text() == "old"
    write(tmp_path / "out", replace=True)
    assert (tmp_path / "out" / "manifest.json").read_text() == "new"
    assert listing(tmp_path) == ["out"]


def test_an_empty_folder_is_taken_as_it_is(tmp_path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").exists()


def test_force_never_replaces_other_peoples_files(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="holds other files"):
        write(tmp_path / "out", replace=True)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"


def test_a_file_is_in_the_way(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(OutputError, match="not a folder"):
        write(tmp_path / "out", replace=True)


def test_a_failed_replacement_keeps_the_old_bundle(tmp_path):
    write(tmp_path / "out", text="old")
    with (
        pytest.raises(RuntimeError),
        staged_folder(tmp_path / "out", replace=True, marker="manifest.json"),
    ):
        raise RuntimeError
    assert (tmp_path / "out" / "manifest.json").read_text() == "old"


def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(OutputError, match="No space left") as caught,
        staged_folder(tmp_path / "out", replace=False, marker="m") as folder,
    ):
        (folder / "a").write_text("x")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "free some space" in caught.value.hint
    assert listing(tmp_path) == []


def test_what_a_killed_process_left_is_removed_by_the_next_run(tmp_path):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from edgekit.bundle.staging import staged_folder\n"
        "with staged_folder(Path(sys.argv[1]), replace=False, marker='m') as f:\n"
        "    (f / 'a').write_text('x'); print('ready', flush=True); time.sleep(60)\n"
    )
    output = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(output)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    assert not output.exists()
    assert len(listing(tmp_path)) == 1
    write(output)
    assert listing(tmp_path) == ["out"]


def test_remove_partial(tmp_path):
    left = tmp_path / ".out.edgekit-partial-123"
    left.mkdir()
    remove_partial(tmp_path / "out", 123)
    assert not left.exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        write(Path(blocker) / "out")
