"""Join: the films of several hospitals as one manifest, with a column that says whose each film is.

Reads and writes tables, and hashes films to find those that are in two sets; opens no film.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxrkeras.data.findings import FindingPolicy
from cxrkeras.data.layouts import ALIASES, FILMS_ROOT, plain_name
from cxrkeras.data.manifest import Manifest, holds_findings, read_manifest
from cxrkeras.errors import DataError, UsageError, unknown
from cxrkeras.events import SILENT, Reporter
from cxrkeras.store import check_writable
from cxrkeras.tables import write_csv
from cxrkeras.workflow.dataset import hashed_frame
from cxrkeras.workflow.fractions import check_same, with_absolute_paths

_PARTS = ("path", "label", "patient", "split")
_NAME = re.compile(r"[\w.+-]+")


@dataclass(frozen=True, eq=False)
class Joined:
    """Sets of films that were joined.

    Attributes:
        counts: films and patients by set, class and, where they were kept, split: `set, class[, split], films,
            patients`; patients are missing where a set names none.
        duplicates: films with the same bytes in more than one set, `sha256, set, path, label`.
        file: the manifest that was written.
    """

    counts: pd.DataFrame
    duplicates: pd.DataFrame
    file: Path


def join_sets(
    sets: Sequence[tuple[str, str | Path]],
    out: str | Path,
    *,
    column: str = "hospital",
    map_class: Sequence[tuple[str, str]] = (),
    positive: str | None = None,
    negative: str | None = None,
    reporter: Reporter = SILENT,
) -> Joined:
    """Write one manifest of several sets of films, which `train --data FILE` reads as it is.

    Args:
        sets: name and folder or table of each, two or more.
        out: the CSV. Film paths in it are absolute; the same sets may be joined into it again.
        column: column that holds the set's name.
        map_class: classes as (theirs, ours), in every set that has them.
        positive, negative: the finding, and the one of the other class, of the sets that are tables of findings.
        reporter: told how the films were read, what was left out, and of films that are in two sets.

    Raises:
        UsageError: fewer than two sets, a name twice or one that cannot be a name, or a class or option for nothing.
        DataError: films that cannot be used, classes that are not the same in every set, or a column that is there.
        RunError: the file cannot be written, or exists with other films.
    """
    names = [name for name, _ in sets]
    strange = [name for name in names if not _NAME.fullmatch(name)]
    if len(set(names)) < max(2, len(names)) or strange:
        raise UsageError(
            "joining takes two sets or more of different names made of letters, digits and . + - _. "
            f"Received {', '.join(names)}. Example: nih=nih_cxr14/ kermany=chest_xray/"
        )
    read = dict(zip(names, _read_sets(sets, positive, negative), strict=True))
    for name, manifest in read.items():
        for text in manifest.notices:
            reporter.notice(f"{name}: {text}")
    frames = _same_classes({name: manifest.frame for name, manifest in read.items()}, dict(map_class))
    frames, told = _same_splits(_same_columns(frames, column, reporter))
    for text in told:
        reporter.notice(text)
    parts = []
    for name, manifest in read.items():
        frame = with_absolute_paths(manifest.with_frame(frames[name])).assign(**{column: name})
        if "patient" in frame:
            own = frame["patient"].eq(manifest.frame["path"])
            frame["patient"] = (f"{name}:" + frame["patient"]).mask(own, "")
        parts.append(frame)
    joined = pd.concat(parts, ignore_index=True)
    joined[FILMS_ROOT] = os.path.commonpath([manifest.root for manifest in read.values()])
    if "patient" in joined:
        joined["patient"] = joined["patient"].fillna("")
    order = [name for name in (*_PARTS, column) if name in joined]
    joined = joined[order + [name for name in joined if name not in order]]
    duplicates = _in_two_sets(joined, column, reporter)
    file = Path(out).expanduser()
    check_writable(file.parent)
    check_same(file.parent, {file.name: joined})
    write_csv(file, joined)
    return Joined(_counts(joined, column), duplicates, file)


def _read_sets(sets: Sequence[tuple[str, str | Path]], positive: str | None, negative: str | None) -> list[Manifest]:
    policy = FindingPolicy(positive=positive, negative=negative)
    of_findings = [holds_findings(path) for _, path in sets]
    if positive is not None and not any(of_findings):
        raise UsageError(
            f"--positive {positive} chooses a finding, and none of the sets is a table of findings. Leave it out."
        )
    read = []
    for (name, path), several in zip(sets, of_findings, strict=True):
        manifest = read_manifest(path, one_class=True, findings=policy if several else None)
        if manifest.several:
            raise DataError(
                f"set {name} has several findings a film, and a joined manifest one class. "
                f"Choose one of {', '.join(manifest.classes)} with --positive."
            )
        read.append(manifest)
    return read


def _same_classes(frames: Mapping[str, pd.DataFrame], renamed: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """The sets with their classes renamed, which must then be the same in each."""
    known = sorted(set().union(*(frame["label"] for frame in frames.values())))
    for theirs in renamed:
        if theirs not in known:
            raise unknown("class of the sets", theirs, known, UsageError)
    frames = {name: frame.assign(label=frame["label"].replace(dict(renamed))) for name, frame in frames.items()}
    classes = {name: sorted(set(frame["label"])) for name, frame in frames.items()}
    if len(set(map(tuple, classes.values()))) > 1:
        told = "; ".join(f"{name}: {', '.join(of_set)}" for name, of_set in classes.items())
        raise DataError(
            f"the sets do not have the same classes, so a model would learn the set from the class. Received {told}. "
            "Rename them with --map-class THEIRS=OURS."
        )
    return frames


def _same_columns(frames: Mapping[str, pd.DataFrame], column: str, reporter: Reporter) -> dict[str, pd.DataFrame]:
    """The sets with what plays a part and the further columns that all of them have."""
    taken = {FILMS_ROOT, *(name for names in ALIASES.values() for name in names)}
    further = {
        name: [other for other in frame if other not in _PARTS and plain_name(other) not in taken]
        for name, frame in frames.items()
    }
    if column in _PARTS or plain_name(column) in taken or any(column in names for names in further.values()):
        raise DataError(
            f"column '{column}' cannot name the set: a set has it, or a manifest needs it. Choose another --column."
        )
    shared = [name for name in next(iter(further.values())) if all(name in names for names in further.values())]
    if dropped := sorted({name for names in further.values() for name in names} - set(shared)):
        reporter.notice(f"Columns that not every set has are left out: {', '.join(dropped)}.")
    return {name: frame[[part for part in _PARTS if part in frame] + shared] for name, frame in frames.items()}


def _same_splits(frames: Mapping[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """The sets with their splits where all have them; a validation that only some have is training."""
    frames = dict(frames)
    splits = {name: set(frame["split"]) if "split" in frame else set() for name, frame in frames.items()}
    outer = {frozenset(found - {"val"}) for found in splits.values()}
    if len(outer) > 1 or frozenset() in outer:
        if not any(splits.values()):
            return frames, []
        told = "; ".join(f"{name}: {', '.join(sorted(found)) or 'none'}" for name, found in splits.items())
        notice = (
            f"The splits are left out, because they are not the same in every set ({told}); training makes its own."
        )
        return {name: frame.drop(columns="split", errors="ignore") for name, frame in frames.items()}, [notice]
    if len({"val" in found for found in splits.values()}) > 1:
        frames = {name: frame.assign(split=frame["split"].replace("val", "train")) for name, frame in frames.items()}
        return frames, ["Not every set has a val split: val films count as train, and training makes its own val."]
    return frames, []


def _in_two_sets(joined: pd.DataFrame, column: str, reporter: Reporter) -> pd.DataFrame:
    hashed = hashed_frame(joined[["path", "label", column]], Path(), reporter)
    n_sets = hashed.groupby("sha256")[column].transform("nunique")
    found = hashed[n_sets > 1].sort_values(["sha256", column, "path"], ignore_index=True)
    if len(found):
        first = found[found["sha256"] == found["sha256"].iloc[0]]
        named = " and ".join(f"{row.path} ({getattr(row, column)})" for row in first.itertuples())
        reporter.notice(
            f"{found['sha256'].nunique()} films are in more than one set, byte for byte, first {named}. "
            "Keep one of each; data check names all."
        )
    return found.rename(columns={column: "set"})[["sha256", "set", "path", "label"]]


def _counts(joined: pd.DataFrame, column: str) -> pd.DataFrame:
    keys = [column, "label", *(["split"] if "split" in joined else [])]
    groups = joined.groupby(keys, sort=True)
    counts = groups.size().rename("films").reset_index()
    if "patient" in joined:
        known = joined[joined["patient"].ne("")].groupby(keys)["patient"].nunique().rename("patients")
        counts = counts.merge(known.reset_index(), how="left", on=keys).astype({"patients": "Int64"})
    return counts.rename(columns={column: "set", "label": "class"})
