"""Files that are either whole or absent: atomic writes, a lock, hashes.

Knows no subject: paths and bytes only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from cxrkeras.errors import RunError

# What reading a truncated or foreign .npz can raise; a broken archive is neither an OSError nor a ValueError.
NPZ_ERRORS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes `path`'s name only if the block succeeds.

    The temporary name keeps the suffixes, because savers choose their format by them.

    Raises:
        RunError: the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix="".join(path.suffixes[-2:]), dir=path.parent)
    except OSError as error:
        raise not_writable(path.parent, error) from error
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with open(partial, "r+b") as written:
            os.fsync(written.fileno())
        partial.chmod(0o666 & ~_umask())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary directory; it takes `path`'s name, which must be free or empty, only if the block succeeds."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=path.parent))
    except OSError as error:
        raise not_writable(path.parent, error) from error
    try:
        yield partial
        partial.chmod(0o777 & ~_umask())
        if path.exists():
            path.rmdir()
        os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


@contextlib.contextmanager
def exclusive(directory: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the directory's lock; the system frees it however the process ends.

    Raises:
        RunError: another process holds it, or the directory cannot be written.
    """
    directory = Path(directory)
    check_writable(directory)
    lock = filelock.FileLock(directory / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise RunError(
            f"{directory} is in use by another cxrkeras process. Wait for it to end, or choose another --run."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def one_at_a_time(directory: str | os.PathLike[str]) -> Iterator[None]:
    """Wait for the directory's turn: around reading a file, merging into it and writing it back."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(Path(directory) / ".merge.lock", timeout=120):
        yield


def sweep_partials(directory: str | os.PathLike[str]) -> None:
    """Remove what killed writes left behind; the directory's lock must be held."""
    for partial in Path(directory).rglob(".partial-*"):
        shutil.rmtree(partial, ignore_errors=True) if partial.is_dir() else partial.unlink(missing_ok=True)


def check_writable(directory: str | os.PathLike[str]) -> None:
    """Fail before the work rather than after it when `directory` cannot take files.

    Raises:
        RunError: nothing can be written there.
    """
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise not_writable(Path(directory), error) from error


def not_writable(directory: Path, error: OSError) -> RunError:
    """The one wording for a directory that takes no files."""
    return RunError(
        f"cannot write into {directory} ({error.strerror or error}). Expected a writable directory; "
        "change its permissions, or write elsewhere with --out DIR (explain, score, evaluate) or --run PATH (train)."
    )


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` without pickles; whatever is wrong with the file is one of `NPZ_ERRORS`."""
    # np.load keeps the file open when the archive is broken
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
        return dict(stored)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key8(parameters: Any) -> str:
    """Eight hex digits that stand for JSON-able `parameters`, independent of key order."""
    text = json.dumps(parameters, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def cache_directory() -> Path:
    """Where caches live: `$CXRKERAS_CACHE`, else the user's cache directory."""
    configured = os.environ.get("CXRKERAS_CACHE")
    if configured:
        return Path(configured)
    import platformdirs

    return Path(platformdirs.user_cache_dir("cxrkeras"))


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
