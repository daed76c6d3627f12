"""Files are whole or absent, and a lock is one process's."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from cxrkeras.errors import RunError
from cxrkeras.store import atomic_directory, atomic_path, check_writable, exclusive, key8, sha256_file, write_json


def _half_written(writing, name: str) -> None:
    with writing as partial:
        (partial / name if partial.is_dir() else partial).write_text("half")
        raise RuntimeError("stop")


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


def test_a_directory_is_replaced_as_a_whole(tmp_path):
    state = tmp_path / "state"
    with atomic_directory(state) as partial:
        (partial / "a").write_text("1")
    with atomic_directory(state) as partial:
        (partial / "b").write_text("2")
    assert [p.name for p in state.iterdir()] == ["b"]
    with pytest.raises(RuntimeError, match="stop"):
        _half_written(atomic_directory(state), "c")
    assert [p.name for p in state.iterdir()] == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


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
