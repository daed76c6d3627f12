"""Which films a command works on, and which directory takes its results.

A split of the run, a manifest from outside, or loose images; results go into the run unless another place is named.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxrkeras.data.filmset import FilmSet
from cxrkeras.data.findings import FindingPolicy
from cxrkeras.data.images import SUFFIXES
from cxrkeras.data.manifest import Manifest, holds_findings, manifest_from_frame, read_manifest
from cxrkeras.data.splits import limit_films
from cxrkeras.errors import DataError, UsageError, unknown
from cxrkeras.events import SILENT, Reporter
from cxrkeras.run import Run
from cxrkeras.store import key8
from cxrkeras.tables import truth_columns
from cxrkeras.workflow.confounded import ARTEFACT
from cxrkeras.workflow.dataset import (
    check_unchanged,
    data_root,
    film_set,
    finding_policy,
    hashed_frame,
    patients_of,
    patients_or_films,
)
from cxrkeras.workflow.opened import OpenRun


@dataclass(frozen=True)
class Selection:
    """Films to work on.

    Attributes:
        films: pixels, labels (−1 unknown), ids and hashes.
        frame: the manifest's rows, one per film.
        split: name under which results are stored.
        sink: directory, laid out like a run, that takes the results.
        inside: the films belong to the run.
    """

    films: FilmSet
    frame: pd.DataFrame
    split: str
    sink: Run
    inside: bool

    def __len__(self) -> int:
        return len(self.films)

    def take(self, rows: np.ndarray) -> Selection:
        """The films at these positions."""
        return replace(self, films=self.films.take(rows), frame=self.frame.iloc[rows].reset_index(drop=True))

    @property
    def patients(self) -> np.ndarray | None:
        """Patient ids, where known."""
        return patients_of(self.frame)

    @property
    def patients_or_films(self) -> np.ndarray:
        """Patient ids ``[n]``; without them every film is its own patient."""
        return patients_or_films(self.frame)

    @property
    def labelled(self) -> bool:
        """Whether every film's label is a class of the run, or something is known of the films' findings."""
        if self.films.truth is not None:
            return bool(np.isfinite(self.films.truth).any())
        return bool((self.films.labels >= 0).all())


def select(
    opened: OpenRun,
    *,
    data: str | Path | None = None,
    image: Sequence[str | Path] = (),
    split: str | None = None,
    limit: int | None = None,
    split_column: str | None = None,
    label_column: str | None = None,
    patient_column: str | None = None,
    positive: str | None = None,
    negative: str | None = None,
    map_class: Sequence[tuple[str, str]] = (),
    out: Path | None = None,
    reporter: Reporter = SILENT,
) -> Selection:
    """The films a command names: loose images, a manifest from outside, or a split of the run (default `test`).

    Args:
        opened: the run.
        data: folder or CSV from outside the run.
        image: film files or folders of films; their labels are unknown.
        split: split to take; with `data`, None takes all films.
        limit: at most this many films a class.
        split_column, label_column, patient_column: columns of `data` when named otherwise.
        positive, negative: the finding of `data` that makes two classes, and the one of the other class; None for the
            run's own where `data` is a table of findings.
        map_class: labels of `data` as (theirs, ours).
        out: directory for the results; None: the run, for outside films `outside/` in it.
        reporter: told of progress.

    Raises:
        UsageError: both `data` and `image`, or options that would be ignored.
        DataError: the films cannot be used.
    """
    if out is not None and (out / "run.json").exists():
        raise UsageError(f"--out {out} is a run; results of other films would mix with its own. Name another folder.")
    if image and (data or split or limit):
        raise UsageError("--image names the films itself: leave out --data, --split and --limit.")
    if not data and (split_column or label_column or patient_column or positive or negative or map_class):
        raise UsageError("column names, --positive and --map-class describe --data, which was not given.")
    if image:
        return loose_images(opened, image, out=out, reporter=reporter)
    if data is None:
        return run_split(opened, split or "test", limit, out, reporter)
    columns = Columns(split_column, label_column, patient_column, dict(map_class), positive, negative)
    return outside_manifest(opened, data, columns, split=split, limit=limit, out=out, reporter=reporter)


@dataclass(frozen=True)
class Columns:
    """How an outside manifest is read: column names, its labels in the run's words, and its finding of two classes."""

    split: str | None = None
    label: str | None = None
    patient: str | None = None
    renamed: Mapping[str, str] | None = None
    positive: str | None = None
    negative: str | None = None


def run_split(
    opened: OpenRun, split: str, limit: int | None = None, out: Path | None = None, reporter: Reporter = SILENT
) -> Selection:
    """Films of one of the run's splits, at most `limit` a class.

    Raises:
        DataError: no such split, or a film that is not the one the run was started with.
    """
    rows = opened.split(split)
    if limit is not None:
        rows = rows[_limited(opened.frame.iloc[rows], opened, limit)]
    frame = opened.frame.iloc[rows].reset_index(drop=True)
    check_unchanged(frame, data_root(opened.config, opened.run.info.get("data_root")), reporter)
    return Selection(opened.films.take(rows), frame, split, Run(out) if out else opened.run, inside=True)


def outside_manifest(
    opened: OpenRun,
    data: str | Path,
    columns: Columns,
    *,
    split: str | None = None,
    limit: int | None = None,
    out: Path | None = None,
    reporter: Reporter = SILENT,
) -> Selection:
    """Films of a manifest from outside the run; with `split` only those, else all.

    Raises:
        DataError: the manifest cannot be used, or has labels that are no class of the run.
    """
    manifest = read_manifest(
        data,
        split_column=columns.split,
        label_column=columns.label,
        patient_column=columns.patient,
        one_class=True,
        findings=_policy(opened, data, columns),
    )
    renamed = dict(columns.renamed or {})
    _check_kind(opened, manifest, data, renamed)
    for theirs, ours in renamed.items():
        if ours not in opened.classes:
            raise unknown("class", ours, opened.classes, UsageError)
        if theirs not in set(manifest.frame["label"]):
            raise unknown("label", theirs, sorted(set(manifest.frame["label"])), UsageError)
    frame = manifest.frame.assign(label=manifest.frame["label"].replace(renamed))
    strange = [] if opened.several else sorted(set(frame["label"]) - set(opened.classes))
    if strange:
        raise DataError(
            f"{data} has labels that are no class of run {opened.run.name}: {', '.join(strange)}. "
            f"Expected {', '.join(opened.classes)}. Rename them with --map-class {strange[0]}={opened.classes[0]}."
        )
    if split is not None:
        known = sorted(set(frame["split"])) if "split" in frame else []
        frame = frame[frame["split"] == split] if split in known else frame.iloc[:0]
        if frame.empty:
            raise DataError(f"{data} has no films in split '{split}'. Known splits: {', '.join(known) or 'none'}.")
    if limit is not None:
        frame = frame.iloc[_limited(frame, opened, limit)]
    frame = hashed_frame(frame.reset_index(drop=True), manifest.root, reporter)
    return _outside(opened, frame, manifest.root, Path(data), out)


def _policy(opened: OpenRun, data: str | Path, columns: Columns) -> FindingPolicy | None:
    """How findings of an outside table are read: as asked, else as the run's own were."""
    settings = opened.config.data
    if opened.several:
        if columns.positive is not None:
            raise UsageError(
                f"--positive makes two classes, and run {opened.run.name} has several findings. Leave it out."
            )
        return finding_policy(settings, opened.classes)
    if columns.positive is not None or columns.negative is not None:
        asked = {"positive": columns.positive, "negative": columns.negative, "findings": None}
        return finding_policy(settings.model_copy(update=asked))
    own = settings.positive is not None and columns.label is None and holds_findings(data)
    return finding_policy(settings) if own else None


def _check_kind(opened: OpenRun, manifest: Manifest, data: str | Path, renamed: Mapping[str, str]) -> None:
    if manifest.several and not opened.several:
        raise DataError(
            f"{data} has several findings a film, and run {opened.run.name} one class: {', '.join(opened.classes)}. "
            "Name the column that holds the class with --label-column."
        )
    if renamed and opened.several:
        raise UsageError(
            f"--map-class renames one label a film, and run {opened.run.name} has several findings. "
            "Name the table's columns as the run's findings instead."
        )


def loose_images(
    opened: OpenRun, paths: Sequence[str | Path], *, out: Path | None = None, reporter: Reporter = SILENT
) -> Selection:
    """Single film files and all films below folders; their labels are unknown.

    Raises:
        DataError: a path does not exist, or a folder holds no films.
    """
    files, root = film_files(paths)
    frame = pd.DataFrame({"path": [file.relative_to(root).as_posix() for file in files]})
    return _outside(opened, hashed_frame(frame, root, reporter), root, root, out)


def film_files(paths: Sequence[str | Path]) -> tuple[list[Path], Path]:
    """Single film files and all films below folders, and the folder that all of them are in.

    Raises:
        DataError: a path does not exist, or a folder holds no films.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            if not found:
                raise DataError(f"folder {path} holds no films. Expected files ending in {', '.join(SUFFIXES)}.")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise DataError(f"image {path} does not exist. Expected a film file or a folder of films.")
    files = list(dict.fromkeys(file.resolve() for file in files))
    return files, Path(os.path.commonpath([str(file.parent) for file in files]))


def _limited(frame: pd.DataFrame, opened: OpenRun, n: int) -> np.ndarray:
    """Positions of at most `n` films a class, the same ones that a limited training would take.

    Where a film may have several findings it counts for the one of its positive ones that is rarest among these films.
    """
    findings, seed = opened.classes if opened.several else None, opened.config.data.seed
    whole = frame[["path", "label", *(truth_columns(findings) if findings else [])]].reset_index(drop=True)
    kept = limit_films(manifest_from_frame(whole, ".", findings=findings), n, seed).frame["path"]
    return np.flatnonzero(whole["path"].isin(set(kept)))


def _outside(opened: OpenRun, frame: pd.DataFrame, root: Path, origin: Path, out: Path | None) -> Selection:
    size, settings = opened.classifier.image_size, opened.config.data
    # a column of theirs is not the run's: films from outside never carry its artefact
    own = frame.drop(columns=ARTEFACT, errors="ignore")
    films = film_set(own, root, opened.classes, size, settings, several=opened.several)
    folder = out or opened.run.outside_path(f"{origin.stem}-{key8(str(root.resolve()))}")
    return Selection(films, frame, "all", Run(folder), inside=False)
