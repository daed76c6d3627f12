"""The manifest: which films there are, of which class, patient and split, whatever the user's layout was.

`read_manifest` is the one entrance for folders and tables. Reads names and tables only: it opens no film, hashes
nothing and changes no split (see `splits` and `check`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from cxrkeras.data.chexpert import chexpert_tables, films_of_chexpert, is_chexpert
from cxrkeras.data.findings import FindingPolicy, rarest_positives, stated_findings
from cxrkeras.data.findings_tables import films_of_findings, needs_choice
from cxrkeras.data.layouts import TABLE_NAMES, films_of_folders, films_of_table, read_table, table_columns
from cxrkeras.data.nih import TABLES as NIH_TABLES
from cxrkeras.data.patients import patients_from_names, subtypes_from_names
from cxrkeras.errors import DataError, did_you_mean

# For folders of Kermany films this label column is read from the file names.
SUBTYPE = "subtype"
SPLITS = ("train", "val", "test")
_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_COLUMNS = ("path", "label", "patient", "split")


@dataclass(frozen=True, eq=False)
class Manifest:
    """A table of films, sorted by path.

    Attributes:
        frame: `path` (posix, relative to `root`; the film's id everywhere), `label` (class name), then, where known,
            `patient` and `split` (train, val, test), then every further column. Without any patient information the
            `patient` column is absent and every film counts as its own patient; with some, a film without it has
            its own path as patient.
        root: folder that the paths are relative to, absolute.
        classes: class names, sorted; a label's number is its place here. With several findings a film: the findings,
            in the order asked.
        notices: what the user should know about how the films were read, a sentence each.
        source: where the films came from.
        several: a film may have several findings: `truth_<finding>` columns hold 1, 0 or NaN (unknown), and `label`
            joins the positive ones.
    """

    frame: pd.DataFrame
    root: Path
    classes: tuple[str, ...]
    notices: tuple[str, ...]
    source: str
    several: bool = False

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def strata(self) -> pd.Series:
        """What splits and subsets are stratified by: the label, or a film's rarest positive finding."""
        return rarest_positives(self.frame, self.classes) if self.several else self.frame["label"]

    def file(self, i: int) -> Path:
        """Absolute path of film number `i`."""
        return self.root / self.frame["path"].iloc[i]

    def files(self) -> list[Path]:
        """Absolute paths of all films, in order."""
        return [self.root / path for path in self.frame["path"]]

    def with_frame(self, frame: pd.DataFrame, *notices: str) -> Manifest:
        """The same films under another table, with further notices."""
        return replace(self, frame=frame.reset_index(drop=True), notices=self.notices + notices)


def read_manifest(
    path: str | os.PathLike[str],
    *,
    split_column: str | None = None,
    label_column: str | None = None,
    patient_column: str | None = None,
    one_class: bool = False,
    findings: FindingPolicy | None = None,
) -> Manifest:
    """Read the films of a folder or of a CSV table.

    A folder may hold `manifest.csv` or `metadata.csv` (then that table is read), split folders with class folders in
    them, or class folders. A table has columns `path` or `image` or `image_index`, `label` or `class`, and may have
    `patient` or `patient_id` or `patient_group`, and `split`. Names are compared without regard to case. Where no
    column names patients, Kermany file names do. A CheXpert table, or a folder that holds one, gives several findings
    a film, and so does any table whose finding columns are named. NIH's `Data_Entry_2017.csv`, a folder that holds it,
    and TorchXRayVision's tables need one finding as `positive`, which makes two classes, or several by name. One
    finding may be taken of any table: of its columns, or of labels joined by `|`.

    Args:
        path: folder or CSV file.
        split_column: column that names the split, instead of `split`.
        label_column: column that names the class, instead of `label` or `class`.
        patient_column: column that names the patient, instead of the aliases. A column that another one displaces
            from `label`, `patient` or `split` is kept as `original_<name>`.
        one_class: accept films of a single class, which can be evaluated and explained but not trained on.
        findings: which findings are taken, one or several, and what uncertain and blank entries become.

    Returns:
        The manifest, splits as the user gave them.

    Raises:
        DataError: nothing there, no films, no labels, one class only, an empty class folder, listed films that do
            not exist (of NIH's table: none that does), a film listed twice, a column or a split name that does not
            exist, several findings a film where one has to be chosen.

    Example:
        >>> manifest = read_manifest("chest_xray/")  # doctest: +SKIP
        >>> manifest.frame[["path", "label", "patient", "split"]]  # doctest: +SKIP
    """
    source = Path(path).expanduser().absolute()
    if not source.exists():
        raise _missing(source)
    columns = {"split": split_column, "label": label_column, "patient": patient_column}
    tables = _tables_of(source, label_column)
    if not tables:
        _refuse_policy(findings, f"{source} is read by its class folders")
        return _manifest_of_folders(source, columns, one_class)
    table, have = tables[0], table_columns(tables[0])
    policy = findings or FindingPolicy()
    if policy.names is not None and label_column is not None and not _joins_findings(table, label_column, have):
        raise DataError(
            f"--label-column {label_column} names one class a film, --findings several. Leave one of them out."
        )
    if label_column is None and is_chexpert(have):
        return _manifest_of_chexpert(tables, columns, policy, one_class)
    chosen = policy.positive is not None or policy.names is not None
    if chosen or (label_column is None and (len(stated_findings(have)) > 1 or needs_choice(have))):
        frame, names, root, notices = films_of_findings(table, columns, policy, have)
        one_class = one_class or names is not None
        return _manifest(frame, root, notices, str(table), one_class=one_class, findings=names)
    _refuse_policy(findings, f"{table} is read by its label column")
    frame, root, notices = films_of_table(table, columns)
    return _manifest(frame, root, notices, str(table), one_class=one_class)


def holds_findings(path: str | os.PathLike[str]) -> bool:
    """Whether the films of a folder or table may have several findings each, so that no class stands by itself.

    Such films are read with one finding as `positive` or with several by name; see `read_manifest`.

    Raises:
        DataError: nothing there, or a table that cannot be read.
    """
    source = Path(path).expanduser().absolute()
    if not source.exists():
        raise _missing(source)
    tables = _tables_of(source, None)
    have = table_columns(tables[0]) if tables else []
    return is_chexpert(have) or needs_choice(have) or len(stated_findings(have)) > 1


def _tables_of(source: Path, label_column: str | None) -> list[Path]:
    """The tables that a source is read from: itself, those a folder holds, or none where its folders are read."""
    if not source.is_dir():
        return [source]
    own = [source / name for name in TABLE_NAMES if (source / name).is_file()]
    if own or label_column == SUBTYPE:
        return own[:1]
    nih = [source / name for name in NIH_TABLES if (source / name).is_file()]
    return ([] if label_column else chexpert_tables(source)) or nih[:1]


def _joins_findings(table: Path, column: str, have: list[str]) -> bool:
    return column in have and bool(read_table(table, usecols=[column], dtype="str")[column].str.contains(r"\|").any())


def manifest_from_frame(
    frame: pd.DataFrame, root: str | os.PathLike[str], *, findings: tuple[str, ...] | None = None
) -> Manifest:
    """Rebuild a manifest from a stored table, for example a run's.

    Args:
        frame: `path`, `label` and further columns; `patient` and `split` where known. File names are not asked for
            patients, no film has to exist, and one class is enough.
        root: folder that the paths are relative to.
        findings: the findings whose truth the table holds, where a film may have several.

    Raises:
        DataError: a column is missing, a label is empty, or a split name is unknown.
    """
    missing = [name for name in ("path", "label") if name not in frame]
    if missing:
        raise DataError(
            f"a stored manifest needs the columns path and label. Missing: {', '.join(missing)}; received "
            f"{', '.join(map(str, frame.columns))}. Use the run's manifest.csv."
        )
    folder = Path(root).expanduser().absolute()
    return _manifest(frame, folder, [], "stored table", one_class=True, names=False, findings=findings)


def split_name(word: str) -> str | None:
    """`train`, `val` or `test` for any spelling of it, None for any other word."""
    return _SPLIT_NAMES.get(word.strip().lower())


def _manifest_of_folders(folder: Path, columns: dict[str, str | None], one_class: bool) -> Manifest:
    by_name = columns["label"] == SUBTYPE
    named = [f"{name}_column" for name, column in columns.items() if column and not (by_name and name == "label")]
    if named:
        raise DataError(
            f"{named[0]} '{columns[named[0].removesuffix('_column')]}' needs a table, and {folder} holds neither "
            f"{' nor '.join(TABLE_NAMES)}. Give a CSV file, or leave the option out to read the folders."
        )
    frame, notices = films_of_folders(folder, split_name)
    if by_name:
        frame["label"] = subtypes_from_names(frame["path"], folder)
        notices = [*notices, "Labels are the subtypes in the Kermany file names, not the folders."]
    kind = "split folders" if "split" in frame else "class folders"
    return _manifest(frame, folder, notices, f"{kind} in {folder}", one_class=one_class)


def _manifest_of_chexpert(
    tables: list[Path], columns: dict[str, str | None], policy: FindingPolicy, one_class: bool
) -> Manifest:
    if named := [name for name, column in columns.items() if column]:
        raise DataError(
            f"--{named[0]}-column does not apply to the CheXpert table {tables[0]}: its paths name the patients. "
            "Leave it out, or rename the column Path to path to read a table of your own."
        )
    frame, findings, root, notices = films_of_chexpert(tables, policy)
    source = " and ".join(map(str, tables))
    one_class = one_class or findings is not None
    return _manifest(frame, root, notices, source, one_class=one_class, names=False, findings=findings)


def _refuse_policy(policy: FindingPolicy | None, instead: str) -> None:
    """A policy that would change nothing is a mistake of the user's."""
    if policy is not None and policy != FindingPolicy():
        raise DataError(
            f"--positive, --findings, --uncertain, --blank and --views read a table of findings, but {instead}. "
            "Name the columns with --findings, or leave these options out."
        )


def _manifest(
    frame: pd.DataFrame,
    root: Path,
    notices: list[str],
    source: str,
    *,
    one_class: bool,
    names: bool = True,
    findings: tuple[str, ...] | None = None,
) -> Manifest:
    frame = frame.copy()
    for column in {"path", "label", "patient", "split"} & set(frame.columns):
        frame[column] = frame[column].astype("str").fillna("")
        if column != "path":
            frame[column] = frame[column].str.strip()
    _check_ids(frame["path"], source)
    classes = findings or _checked_classes(frame, source, one_class)
    if "split" in frame:
        frame["split"] = _checked_splits(frame, source)
    if "patient" not in frame and names:
        frame["patient"] = patients_from_names(frame["path"])
        if frame["patient"].ne("").any():
            notices = [*notices, "Patients are taken from Kermany file names; bacterial and viral films of one "
                       "number count as one patient."]  # fmt: skip
    if "patient" in frame:
        frame, more = _with_own_patients(frame)
        notices = [*notices, *more]
    order = [column for column in _COLUMNS if column in frame]
    frame = frame[order + [column for column in frame if column not in order]]
    frame = frame.sort_values("path", ignore_index=True)
    return Manifest(frame, root, classes, tuple(notices), source, several=findings is not None)


def _with_own_patients(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    unknown = frame["patient"].eq("")
    if unknown.all():
        return frame.drop(columns="patient"), []
    if not unknown.any():
        return frame, []
    notice = f"{unknown.sum()} of {len(frame)} films have no patient; each counts as its own."
    return frame.assign(patient=frame["patient"].mask(unknown, frame["path"])), [notice]


def _check_ids(paths: pd.Series, source: str) -> None:
    repeated = paths[paths.duplicated()].unique()
    if len(repeated):
        raise DataError(
            f"{len(repeated)} films are listed more than once in {source}, first '{sorted(repeated)[0]}'. "
            "Expected one row per film; keep one row of each."
        )


def _checked_classes(frame: pd.DataFrame, source: str, one_class: bool) -> tuple[str, ...]:
    without = frame["path"][frame["label"].eq("")]
    if len(without):
        raise DataError(
            f"{len(without)} of {len(frame)} films in {source} have no label, first '{without.iloc[0]}'. "
            "Expected a class name for every film; fill them in or take the rows out."
        )
    classes = tuple(sorted(set(frame["label"])))
    if len(classes) == 1 and not one_class:
        raise DataError(
            f"{source} has one class only, '{classes[0]}'. Expected at least two; add films of another class, "
            "or name the column that separates them with --label-column."
        )
    folded: dict[str, str] = {}
    for name in classes:
        twin = folded.setdefault(name.lower(), name)
        if twin != name:
            raise DataError(
                f"classes '{twin}' and '{name}' in {source} differ only in case. "
                "Expected one spelling per class; rename one of them."
            )
    return classes


def _checked_splits(frame: pd.DataFrame, source: str) -> pd.Series:
    splits = frame["split"].map(split_name)
    strange = frame["split"][splits.isna()]
    if len(strange):
        words = sorted(set(strange))
        shown = ", ".join(f"'{word}'" for word in words[:3]) + ("…" if len(words) > 3 else "")
        raise DataError(
            f"{len(strange)} films in {source} have an unknown split: {shown}. Expected one of: "
            f"{', '.join(_SPLIT_NAMES)}.{did_you_mean(words[0], _SPLIT_NAMES)}"
            " Rename them, or name another column with --split-column."
        )
    return splits.astype("str")


def _missing(source: Path) -> DataError:
    try:
        siblings = [entry.name for entry in source.parent.iterdir()]
    except OSError:
        siblings = []
    return DataError(
        f"no films at {source}: it does not exist. Expected a folder or a CSV file."
        f"{did_you_mean(source.name, siblings)} Name it with --data PATH."
    )
