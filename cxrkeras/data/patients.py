"""Patients: what a Kermany file name says about whose film it is, and which patients are in two splits.

Knows names and tables, no pixels and no layouts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from cxrkeras.errors import DataError

PNEUMONIA_KINDS = ("bacteria", "virus")
_PERSON = re.compile(r"person(\d+)_(bacteria|virus)_\d+(?!\d)", re.IGNORECASE)
_NORMAL = re.compile(r"(?:NORMAL(\d+)-)?IM-(\d+)-\d+(?!\d)", re.IGNORECASE)
_VERSION_3 = re.compile(r"(NORMAL|BACTERIA|VIRUS)-(\d+)-\d+(?!\d)", re.IGNORECASE)


@dataclass(frozen=True)
class FilmName:
    """What a Kermany file name tells.

    Attributes:
        patient: patient key. Bacterial and viral films of one number share it, because nobody published whether
            they are one child: grouping them can only prevent a leak.
        kind: `normal`, `bacteria` or `virus`.
    """

    patient: str
    kind: str


@dataclass(frozen=True)
class SharedPatient:
    """A patient with films in more than one split.

    Attributes:
        patient: patient key.
        splits: the splits, sorted.
        films: film ids, sorted.
        number_only: only a bacterial and a viral film share the number across splits, which may be two children.
    """

    patient: str
    splits: tuple[str, ...]
    films: tuple[str, ...]
    number_only: bool


def film_name(path: str) -> FilmName | None:
    """Read patient and kind from the name of a Kermany film, or None for any other name.

    Args:
        path: file name or path. Version 2 and Kaggle: `person7_virus_13`, `IM-0115-0001`, `NORMAL2-IM-1427-0001`;
            version 3: `NORMAL-*`, `BACTERIA-*`, `VIRUS-*` with two numbers. Anything may follow (`(1)`, `_aug_3`).

    Returns:
        Keys: `P0007`; series and first number `N1_0115`, `N2_1427`; version 3 `N3_28501` and `P3_28501`.

    Example:
        >>> film_name("train/PNEUMONIA/person7_virus_13.jpeg")
        FilmName(patient='P0007', kind='virus')
    """
    name = PurePosixPath(path).name
    if match := _PERSON.match(name):
        return FilmName(f"P{int(match[1]):04d}", match[2].lower())
    if match := _NORMAL.match(name):
        return FilmName(f"N{match[1] or 1}_{match[2]}", "normal")
    if match := _VERSION_3.match(name):
        kind = match[1].lower()
        return FilmName(f"{'N' if kind == 'normal' else 'P'}3_{match[2]}", kind)
    return None


def subtypes_from_names(paths: Iterable[str], source: object) -> list[str]:
    """`normal`, `bacteria` or `virus` of every Kermany film.

    Raises:
        DataError: a name that carries none.
    """
    names = {path: film_name(path) for path in paths}
    without = [path for path, name in names.items() if name is None]
    if without:
        raise DataError(
            f"{len(without)} film names in {source} carry no subtype, first '{without[0]}'. Expected Kermany names "
            "such as person7_virus_13.jpeg; leave --label-column out to take the folders as classes."
        )
    return [name.kind for name in names.values()]


def patients_from_names(paths: Iterable[str]) -> list[str]:
    """Patient key of every film, ``""`` where its name carries none."""
    names = (film_name(path) for path in paths)
    return [name.patient if name else "" for name in names]


def same_number_patients(frame: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Patients with bacterial and viral Kermany films, each with its film ids.

    Args:
        frame: `path` and, if known, `patient`.
    """
    if "patient" not in frame:
        return {}
    kinds = _pneumonia_kinds(frame["path"])
    films = frame.loc[kinds.ne(""), ["path", "patient"]].assign(kind=kinds[kinds.ne("")])
    both = films.groupby("patient")["kind"].nunique()
    mixed = films[films["patient"].isin(both.index[both > 1])]
    return {patient: tuple(sorted(group)) for patient, group in mixed.groupby("patient")["path"]}


def shared_patients(frame: pd.DataFrame) -> list[SharedPatient]:
    """Patients with films in more than one split, sorted by key.

    Args:
        frame: `path` and, if known, `patient` and `split`; without either nothing is known to be shared.
    """
    if "patient" not in frame or "split" not in frame:
        return []
    n_splits = frame.groupby("patient")["split"].nunique()
    crossing = frame[frame["patient"].isin(n_splits.index[n_splits > 1])]
    crossing = crossing[["path", "patient", "split"]].assign(kind=_pneumonia_kinds(crossing["path"]))
    found = []
    for patient, films in crossing.groupby("patient"):
        one_split_a_kind = films.groupby("kind")["split"].nunique().eq(1).all()
        found.append(
            SharedPatient(
                patient=str(patient),
                splits=tuple(sorted(set(films["split"]))),
                films=tuple(sorted(films["path"])),
                number_only=bool(films["kind"].ne("").all() and one_split_a_kind),
            )
        )
    return found


def _pneumonia_kinds(paths: pd.Series) -> pd.Series:
    """`bacteria` or `virus` per film, ``""`` for every other name."""
    names = [film_name(path) for path in paths]
    kinds = [name.kind if name and name.kind in PNEUMONIA_KINDS else "" for name in names]
    return pd.Series(kinds, index=paths.index, dtype="str")
