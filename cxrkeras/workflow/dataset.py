"""From a configuration to the films: which manifest, how split, and film sets that models can read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from cxrkeras.config import Config
from cxrkeras.data.films import FilmStore
from cxrkeras.data.filmset import FilmSet, altered_hashes
from cxrkeras.data.findings import FindingPolicy, truth_of
from cxrkeras.data.fractions import label_fraction
from cxrkeras.data.layouts import TABLE_NAMES
from cxrkeras.data.manifest import Manifest, read_manifest
from cxrkeras.data.phantom import cached_phantom
from cxrkeras.data.splits import limit_films, prepare_splits
from cxrkeras.errors import DataError, FilmError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.settings import PHANTOM, DataSettings
from cxrkeras.store import sha256_file
from cxrkeras.workflow.confounded import configured_alterations, confounded_manifest


def data_name(path: str) -> str:
    """What films are called after: their folder or table, or the folder of a table that is called like any other."""
    where = Path(path) if path == PHANTOM else Path(path).expanduser().resolve()
    return where.parent.name if where.name.lower() in TABLE_NAMES else where.stem


def configured_manifest(settings: DataSettings, reporter: Reporter = SILENT) -> Manifest:
    """The films that a configuration names, split for training, of train the label fraction that it asks for.

    With a confounder, the column `artefact` says which of them carry it, or the films are chosen for it.

    Raises:
        DataError: the folder or table cannot be used, or a class has no film in the label fraction.
        UsageError: an unknown confounder, or a class that it cannot go with.
    """
    if settings.path == PHANTOM:
        with reporter.task("phantom films", 1) as advance:
            folder = cached_phantom(**settings.phantom.model_dump())
            manifest = read_manifest(folder, findings=finding_policy(settings))
            advance(1)
    else:
        manifest = read_manifest(
            settings.path,
            split_column=settings.split_column,
            label_column=settings.label_column,
            patient_column=settings.patient_column,
            findings=finding_policy(settings),
        )
    manifest = prepare_splits(
        manifest,
        seed=settings.seed,
        validation_fraction=settings.validation_fraction,
        test_fraction=settings.test_fraction,
        drop_shared=settings.drop_shared,
    )
    if settings.limit:
        manifest = limit_films(manifest, settings.limit, settings.seed)
    if settings.fraction != 1:
        manifest = label_fraction(manifest, settings.fraction, settings.fraction_seed, scale_val=settings.scale_val)
    if settings.confounder is None:
        return manifest
    return confounded_manifest(manifest, settings.confounder, settings.positive)


def finding_policy(settings: DataSettings, findings: tuple[str, ...] | None = None) -> FindingPolicy:
    """How findings are read under a configuration; `findings` in place of those it names."""
    shared = {"uncertain": settings.uncertain, "blank": settings.blank, "views": settings.views}
    if findings is not None:
        return FindingPolicy(findings, **shared)
    return FindingPolicy(settings.findings, **shared, positive=settings.positive, negative=settings.negative)


def hashed_frame(frame: pd.DataFrame, root: Path, reporter: Reporter = SILENT) -> pd.DataFrame:
    """The frame with each film file's SHA-256 in a column `sha256`.

    Raises:
        FilmError: films that cannot be read; it names all of them.
    """
    hashes, unread = [], []
    with reporter.task("hash films", len(frame)) as advance, ThreadPoolExecutor(4) as pool:
        for digest, failure in pool.map(_digest_or_failure, (root / path for path in frame["path"])):
            hashes.append(digest)
            unread += [failure] if failure else []
            advance(1)
    if unread:
        raise FilmError(f"{len(unread)} films cannot be read: {', '.join(unread)}. Restore them or take them out.")
    return frame.assign(sha256=hashes)


def _digest_or_failure(file: Path) -> tuple[str, str]:
    try:
        return sha256_file(file), ""
    except OSError as error:
        return "", f"{file} ({error.strerror})"


def film_set(
    frame: pd.DataFrame,
    root: Path,
    classes: Sequence[str],
    image_size: int | tuple[int, int],
    settings: DataSettings,
    *,
    several: bool = False,
) -> FilmSet:
    """Every row of a manifest frame as one film set; split it with `FilmSet.take`.

    Args:
        frame: `path, sha256` and, where known, `label`; with a configured confounder, `artefact` says who carries it.
        root: folder the paths are relative to.
        classes: class names; a label among none of them becomes −1.
        image_size: side, or ``(H, W)``, in pixels.
        settings: how pixels are read, and which artefact films may carry.
        several: a film may have several of the classes: its truth is read from `truth_<class>` columns, unknown where
            there are none, and its label is −1.
    """
    files = [root / path for path in frame["path"]]
    number = {name: index for index, name in enumerate(classes)}
    labels = frame["label"] if "label" in frame and not several else pd.Series([""] * len(frame))
    size = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    alterations = configured_alterations(frame, settings.confounder, size)
    names = frame["sha256"].to_numpy(str)
    return FilmSet(
        store=FilmStore(
            files, size, resize=settings.resize, bits=settings.bits, alterations=alterations, names=names.tolist()
        ),
        indices=np.arange(len(frame)),
        labels=np.array([number.get(label, -1) for label in labels], np.int64),
        ids=frame["path"].to_numpy(str),
        hashes=names if alterations is None else altered_hashes(names, alterations),
        truth=truth_of(frame, classes) if several else None,
    )


def read_films(films: FilmSet, reporter: Reporter = SILENT) -> None:
    """Decode every film once before long work begins, so that a broken one is named now and not hours later.

    Raises:
        FilmError: a film cannot be read.
    """
    with reporter.task("read films", len(films)) as advance:
        for start in range(0, len(films), 64):
            rows = films.indices[start : start + 64]
            films.store.get(rows)
            advance(len(rows))


def check_unchanged(frame: pd.DataFrame, root: Path, reporter: Reporter = SILENT) -> None:
    """Make sure that films are the ones whose hashes a run noted.

    Raises:
        DataError: a film is gone or has other bytes.
    """
    now = hashed_frame(frame[[name for name in frame if name != "sha256"]], root, reporter)["sha256"]
    changed = frame["path"][now.to_numpy() != frame["sha256"].to_numpy()]
    if len(changed):
        raise DataError(
            f"{len(changed)} films are not the ones this run was started with, first {root / changed.iloc[0]}. "
            "Restore them, or train anew."
        )


def patients_of(frame: pd.DataFrame) -> np.ndarray | None:
    """Patient ids ``[n]`` where the manifest has them, else None."""
    return frame["patient"].to_numpy(str) if "patient" in frame else None


def patients_or_films(frame: pd.DataFrame) -> np.ndarray:
    """Patient ids ``[n]``; without them every film is its own patient."""
    return frame["patient" if "patient" in frame else "path"].to_numpy(str)


def data_root(config: Config, stored: str | None) -> Path:
    """Where the films of a stored manifest are; the phantom is made again if its cache was emptied.

    Raises:
        DataError: the folder is gone.
    """
    if config.data.path == PHANTOM:
        return cached_phantom(**config.data.phantom.model_dump()).parent
    root = Path(stored or config.data.path)
    if not root.is_dir():
        raise DataError(
            f"the films of this run were under {root}, which is not there any more. "
            "Put them back, or name films with --data PATH."
        )
    return root
