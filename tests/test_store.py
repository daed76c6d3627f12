"""Files are whole or absent, and a lock is one process's."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from cxrkeras.errors import RunError
from cxrkeras.store import (
    atomic_directory,
    atomic_path,
    check_writable,
    exclusive,
    key8,
    sha256_file,
    sweep_partials,
    write_json,
)


def _half_written(writing, name: str) -> None:
    with writing as partial:
        (partial / name if partial.is_dir() else partial).write_text("half")
        raise RuntimeError("stop")


def _written(writing) -> None:
    with writing as partial:
        (partial / "b").write_text("2")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="stop"):
        _half_written(atomic_path(target), ".")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_a_write_keeps_both_suffixes_for_savers_that_read_them(tmp_path):
    with atomic_path(tmp_path / "epoch_001.weights.h5") as partial:
        assert partial.name.endswith(".weights.h5")
        partial.write_bytes(b"x")
    assert (tmp_path / "epoch_001.weights.h5").read_bytes() == b"x"


def test_a_directory_appears_as_a_whole_or_not_at_all(tmp_path):
    films = tmp_path / "films"
    with pytest.raises(RuntimeError, match="stop"):
        _half_written(atomic_directory(films), "c")
    assert list(tmp_path.iterdir()) == []
    with atomic_directory(films) as partial:
        (partial / "a").write_text("1")
    assert [p.name for p in films.iterdir()] == ["a"]
    with pytest.raises(OSError, match="not empty"):
        _written(atomic_directory(films))
    assert [p.name for p in tmp_path.iterdir()] == ["films"]


def test_leftovers_of_killed_writes_are_swept(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / ".partial-x.npz").write_text("half")
    (tmp_path / ".partial-dir").mkdir()
    (tmp_path / "state" / "state.npz").write_text("whole")
    sweep_partials(tmp_path)
    assert [p.name for p in tmp_path.rglob("*")] == ["state", "state.npz"]


def test_the_lock_is_refused_to_another_process_and_freed_when_its_owner_is_killed(tmp_path):
    script = (
        "import sys, time\nfrom cxrkeras.store import exclusive\n"
        f"with exclusive({str(tmp_path)!r}):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="in use by another"), exclusive(tmp_path):
            pass
        owner.kill()
        owner.wait()
    with exclusive(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write into"):
        check_writable(tmp_path / "file" / "below")
    with pytest.raises(RunError, match="cannot write into"):
        write_json(tmp_path / "file" / "x.json", {})


def test_hash_and_key(tmp_path):
    (tmp_path / "film").write_bytes(b"film")
    assert sha256_file(tmp_path / "film") == hashlib.sha256(b"film").hexdigest()
    assert key8({"a": 1, "b": [2]}) == key8({"b": [2], "a": 1}) != key8({"a": 1, "b": [3]})
    assert len(key8({})) == 8
