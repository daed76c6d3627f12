"""CheXpert's `train.csv` and `valid.csv` (Irvin et al. 2019, arXiv 1901.07031) as a table of films with findings.

Knows its columns and where its paths lead; what −1 and blanks become is `findings`'s.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cxrkeras.data.findings import ALL, FindingPolicy, chosen_findings, finding_marks, with_truth
from cxrkeras.data.findings_tables import with_two_classes
from cxrkeras.data.layouts import absent_films, common_root, read_table, table_columns
from cxrkeras.errors import DataError

FINDINGS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
# the five that the competition and most papers report
COMPETITION = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
TABLES = {"train.csv": "train", "valid.csv": "test"}
_PATH, _VIEW = "Path", "Frontal/Lateral"
_RENAMED = {"Sex": "sex", "Age": "age", _VIEW: "view", "AP/PA": "projection"}
_PATIENT = r"(patient\d+)(?:/|$)"


def is_chexpert(columns: Sequence[str]) -> bool:
    """Whether these are the columns of a CheXpert table: its paths with its views, or with its five findings."""
    known = set(columns)
    return _PATH in known and ((_VIEW in known and bool(known & set(FINDINGS))) or set(COMPETITION) <= known)


def chexpert_tables(folder: Path) -> list[Path]:
    """The CheXpert tables of a folder, training first; none where `train.csv` is another table or absent."""
    found = [folder / name for name in TABLES if (folder / name).is_file()]
    return [file for file in found if is_chexpert(table_columns(file))]


def films_of_chexpert(
    files: Sequence[Path], policy: FindingPolicy
) -> tuple[pd.DataFrame, tuple[str, ...] | None, Path, list[str]]:
    """Read one CheXpert table, or `train.csv` and `valid.csv` together.

    Read together, the expert-labelled `valid.csv` is the test set, as most papers take it; alone, a table has no
    splits. The patient is read from the path. Paths may begin with the data set's folder, whether it is there or not.

    Args:
        files: tables, absolute, in one folder.
        policy: which findings, and what −1 and blanks become. Without names: the competition's five, or the two
            classes of one finding.

    Returns:
        A table `path, label, patient[, split], sex, age, view, projection, truth_<finding>…` and the columns as
        written; the findings, None where there are two classes; the folder that the paths are relative to; notices.

    Raises:
        DataError: films that do not exist, an unreadable table, or an unknown finding.
    """
    source = " and ".join(map(str, files))
    raw = [read_table(file, dtype={_PATH: "str"}).assign(table=file.name) for file in files]
    frame = pd.concat(raw, ignore_index=True)
    if frame.empty:
        raise DataError(f"{source} lists no films. Expected one row per film below the header; fill it.")
    findings = None
    if policy.positive is None:
        findings = _findings(policy.names, [column for column in frame if column != "table"], source)
    notices = [f"A CheXpert table: {source}."]
    if len(files) > 1:
        frame["split"] = frame["table"].map(TABLES)
        notices.append("train.csv is split train; the expert-labelled valid.csv is split test; val is carved of train.")
    if policy.views == "frontal" and _VIEW in frame:
        lateral = frame[_VIEW].fillna("").str.strip().str.lower().eq("lateral")
        frame = frame[~lateral].reset_index(drop=True)
        if lateral.any():
            notices.append(f"{lateral.sum()} of {len(lateral)} films are lateral and left out; --views all keeps them.")
    located = _located_files(frame, files[0].parent)
    root = common_root(located, files[0].parent)
    frame["path"] = [file.relative_to(root).as_posix() for file in located]
    patients = frame[_PATH].str.extract(_PATIENT, expand=False).fillna("")
    if patients.ne("").any():
        frame["patient"] = patients
        notices.append("Patients are taken from the paths.")
    if findings is None:
        marks = finding_marks(frame, [name for name in FINDINGS if name in frame], source)
        frame, told = with_two_classes(frame, marks, policy, source)
    else:
        frame, told = with_truth(frame, findings, policy, source)
    frame = frame.drop(columns=[_PATH, "table"]).rename(columns=_RENAMED)
    if "view" in frame:
        frame["view"] = frame["view"].fillna("").str.strip().str.lower()
    return frame, findings, root, notices + told


def _findings(asked: Sequence[str] | None, columns: Sequence[str], source: str) -> tuple[str, ...]:
    if asked is None:
        return chosen_findings(COMPETITION, columns, source)
    if tuple(asked) == (ALL,):
        return chosen_findings([name for name in FINDINGS if name in columns], columns, source)
    return chosen_findings(asked, columns, source)


def _located_files(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Every film's file; a path may name the data set's folder first, which may be `folder`, in it, or not there."""
    files, absent = [], []
    for value in frame[_PATH].fillna(""):
        inner = value.partition("/")[2] or value
        candidates = (folder / inner, folder / value, folder.parent / value)
        file = next((file for file in candidates if value and file.is_file()), None)
        if file is None:
            absent.append(value)
        else:
            files.append(Path(os.path.normpath(file)))
    if absent:
        table = folder / frame["table"].iloc[0]
        expected = f"the paths, with or without their first folder, under {folder} or beside it"
        raise absent_films(absent, len(frame), table, expected)
    return files
