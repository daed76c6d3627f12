"""The layouts a user may bring, each read to one plain table: folders of films, or a CSV that lists them.

Knows where films, labels, patients and splits are written; checks what only the layout can tell (see `manifest`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from cxrkeras.data.images import SUFFIXES
from cxrkeras.errors import DataError, did_you_mean

TABLE_NAMES = ("manifest.csv", "metadata.csv")
# A column of tables that we write: the folder film ids are relative to, so that they stay what they were.
FILMS_ROOT = "films_root"
ALIASES = {
    "path": ("path", "image", "image_index", "imgid", "image_id", "imageid", "filename"),
    "label": ("label", "class"),
    "patient": ("patient", "patient_id", "patient_group", "patientid"),
    "split": ("split",),
}
SplitName = Callable[[str], str | None]


def films_of_folders(folder: Path, split_name: SplitName) -> tuple[pd.DataFrame, list[str]]:
    """Read `split/class/*` or `class/*`, films at any depth below their class folder.

    Args:
        folder: the root, absolute.
        split_name: turns a folder name into a split, or None.

    Returns:
        A table `path, label[, split]` with paths relative to `folder`, and notices.

    Raises:
        DataError: no class folders, no films, or an empty class folder.
    """
    inside = _subfolders(folder)
    splits = [entry for entry in inside if split_name(entry.name)]
    if not splits:
        return pd.DataFrame(_films_of_classes(folder, folder)), []
    rows = [row | {"split": split_name(split.name)} for split in splits for row in _films_of_classes(split, folder)]
    others = [entry.name for entry in inside if entry not in splits]
    notices = [f"Folders beside the splits are not read: {', '.join(others)}."] if others else []
    return pd.DataFrame(rows), notices


def films_of_table(
    file: Path, columns: Mapping[str, str | None], *, labelled: bool = True, partial: bool = False
) -> tuple[pd.DataFrame, Path, list[str]]:
    """Read a CSV that lists films.

    Args:
        file: the table, absolute.
        columns: for `label`, `patient` and `split` the column asked for by name, or None for the aliases.
        labelled: a column holds each film's one class; without it no label is read, and a column of that name is kept
            as `original_label`.
        partial: the table lists a whole data set of which a part is here: the other films are left out and counted.

    Returns:
        The table with `path`, `label` if asked, and, where found, `patient` and `split`; the folder that the paths
        are relative to; notices.

    Raises:
        DataError: an unreadable table, a missing column, or listed films that do not exist.
    """
    chosen = _chosen_columns(table_columns(file), columns, file, labelled)
    raw = read_table(file, dtype=dict.fromkeys(chosen.values(), "str"))
    if raw.empty:
        raise DataError(f"{file} lists no films. Expected one row per film below the header; fill it.")
    frame = raw.copy() if labelled else label_set_aside(raw)
    for name, column in chosen.items():
        if name in raw and column != name:
            frame[f"original_{name}"] = raw[name]
        frame[name] = raw[column]
    notices = []
    files = _listed_files(frame["path"].fillna(""), file, by_stem=plain_name(chosen["path"]) != "path", partial=partial)
    if absent := sum(film is None for film in files):
        notices.append(f"{absent} of {len(files)} films listed in {file} are not below its folder, and are left out.")
        frame = frame[[film is not None for film in files]].reset_index(drop=True)
        files = [film for film in files if film is not None]
    root = _stated_root(frame, files) or common_root(files, file.parent)
    frame = frame.drop(columns=FILMS_ROOT, errors="ignore")
    frame["path"] = [path.relative_to(root).as_posix() for path in files]
    if root != file.parent:
        notices.append(f"Films lie outside the table's folder; ids are relative to {root}.")
    return frame, root, notices


def plain_name(column: object) -> str:
    """A column's name as aliases are written: `Patient ID` is `patient_id`."""
    return str(column).strip().lower().replace(" ", "_")


def with_plain_names(frame: pd.DataFrame, names: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """The table with columns under plain names, where none has that name yet.

    Args:
        frame: the table.
        names: for each plain name, others that it goes by, as `plain_name` writes them; the first that is there is
            taken.
    """
    have = {plain_name(column): column for column in reversed(frame.columns)}
    found = {name: [have[other] for other in others if other in have] for name, others in names.items()}
    return frame.rename(columns={olds[0]: name for name, olds in found.items() if olds and name not in frame})


def _subfolders(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}). Expected a readable folder of films.") from error
    return [entry for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__"))]


def _films_of_classes(folder: Path, root: Path) -> list[dict[str, str]]:
    classes = _subfolders(folder)
    found = {entry: sorted(_films_below(entry)) for entry in classes}
    if not any(found.values()):
        raise DataError(_nothing_found(folder, classes))
    rows = []
    for entry, films in found.items():
        if not films:
            raise DataError(
                f"class folder {entry} has no films. Expected {', '.join(SUFFIXES)} files in it{_suffixes_in(entry)}; "
                "fill it or remove it."
            )
        rows += [{"path": film.relative_to(root).as_posix(), "label": entry.name} for film in films]
    return rows


def _films_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(parent, name)


def _nothing_found(folder: Path, classes: list[Path]) -> str:
    if any(entry.suffix.lower() in SUFFIXES for entry in folder.iterdir()):
        return (
            f"the films in {folder} lie in no class folder, so they have no label. Expected {folder.name}/CLASS/film; "
            f"sort them into class folders, or add a {TABLE_NAMES[0]} with columns path and label."
        )
    return (
        f"{folder} has no films. Expected train/CLASS/*, CLASS/*, or a {' or '.join(TABLE_NAMES)}, with files "
        f"{', '.join(SUFFIXES)}; found {len(classes)} folders{_suffixes_in(folder)}. Name the folder with --data PATH."
    )


def _suffixes_in(folder: Path) -> str:
    counts: dict[str, int] = {}
    for _, _, names in os.walk(folder):
        for name in names:
            suffix = Path(name).suffix.lower() or name
            counts[suffix] = counts.get(suffix, 0) + 1
    listed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items(), key=lambda item: -item[1])[:3])
    return f", files found: {listed}" if listed else ""


def label_set_aside(raw: pd.DataFrame) -> pd.DataFrame:
    """The table with its label as `original_label`; one that is there already was set aside before, and stays."""
    if "original_label" in raw:
        return raw.drop(columns=["label"], errors="ignore")
    return raw.rename(columns={"label": "original_label"})


def table_columns(file: Path) -> list[str]:
    """Column names of a table.

    Raises:
        DataError: it cannot be read.
    """
    return list(read_table(file, nrows=0).columns)


def read_table(file: Path, **options: object) -> pd.DataFrame:
    """A table as the user wrote it; `options` go to `pandas.read_csv`.

    Raises:
        DataError: it cannot be read.
    """
    try:
        # "NA" and "None" are legal class names: only an empty field is missing.
        frame = pd.read_csv(file, keep_default_na=False, na_values=[""], encoding="utf-8-sig", **options)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"table {file} cannot be read ({reason}). Expected a UTF-8 CSV file with a header.") from error
    return frame


def _chosen_columns(have: list[str], asked: Mapping[str, str | None], file: Path, labelled: bool) -> dict[str, str]:
    """Which column of the table plays which part."""
    plain = {}
    for column in have:
        plain.setdefault(plain_name(column), column)
    chosen = {}
    for name, aliases in ALIASES.items():
        if name == "label" and not labelled:
            continue
        wanted = asked.get(name)
        if wanted is not None:
            if wanted not in have:
                raise DataError(
                    f"{file} has no column '{wanted}' for the {name}. Columns: {', '.join(map(str, have))}."
                    f"{did_you_mean(wanted, have)} Name one of them with --{name}-column."
                )
            chosen[name] = wanted
        elif found := [plain[alias] for alias in aliases if alias in plain]:
            chosen[name] = found[0]
    if "path" not in chosen:
        raise DataError(
            f"{file} has no column that names the films. Expected one of: {', '.join(ALIASES['path'])}; columns: "
            f"{', '.join(map(str, have))}. Rename one of them."
        )
    if labelled and "label" not in chosen:
        raise DataError(
            f"{file} has no label column. Expected one of: {', '.join(ALIASES['label'])}; columns: "
            f"{', '.join(map(str, have))}. Name the column that holds the class with --label-column."
        )
    return chosen


def _listed_files(values: pd.Series, table: Path, by_stem: bool, partial: bool) -> list[Path | None]:
    """Absolute path of every listed film; image names may have another folder and suffix than the file.

    With `partial` None for a film that does not exist, as long as one does.
    """
    files = [Path(os.path.normpath(table.parent / value)) for value in values]
    absent = [i for i, file in enumerate(files) if not values.iloc[i] or not file.is_file()]
    if absent and by_stem:
        known: dict[str, list[Path]] = {}
        for film in sorted(_films_below(table.parent)):
            known.setdefault(film.stem, []).append(film)
        for i in absent:
            files[i] = _same_stem(values.iloc[i], known, table) or files[i]
        absent = [i for i in absent if not values.iloc[i] or not files[i].is_file()]
    if partial and absent and len(absent) == len(files):
        raise DataError(
            f"none of the {len(files)} films listed in {table} is below {table.parent}. "
            "Expected them there, in folders of any name; move the table to its films."
        )
    if absent and not partial:
        raise absent_films([values.iloc[i] for i in absent], len(files), table, f"paths relative to {table.parent}")
    missing = set(absent)
    return [None if i in missing else file for i, file in enumerate(files)]


def absent_films(absent: Sequence[str], n: int, table: Path, expected: str) -> DataError:
    """The error that names every listed film that does not exist.

    Args:
        absent: their paths as written.
        n: films listed in all.
        table: the table.
        expected: what its paths should be.
    """
    named = ", ".join(f"'{value}'" for value in absent)
    return DataError(
        f"{len(absent)} of {n} films listed in {table} do not exist: {named}. "
        f"Expected {expected}; correct them or take the rows out."
    )


def _same_stem(value: str, known: Mapping[str, list[Path]], table: Path) -> Path | None:
    name = Path(value).name
    stem = Path(name).stem if name.lower().endswith(SUFFIXES) else name
    films = known.get(stem, [])
    exact = [film for film in films if film.name == name]
    if len(exact) == 1:
        return exact[0]
    if len(films) > 1:
        raise DataError(
            f"image '{value}' of {table} fits {len(films)} files, first {films[0]} and {films[1]}. "
            "Expected one file per name; give a path column with the folder in it."
        )
    return films[0] if films else None


def _stated_root(frame: pd.DataFrame, files: list[Path]) -> Path | None:
    """The folder that the table says its films' ids are relative to, if it holds all of them."""
    stated = set(frame[FILMS_ROOT].astype(str)) if FILMS_ROOT in frame else set()
    root = Path(os.path.normpath(stated.pop())) if len(stated) == 1 else None
    return root if root is not None and all(file.is_relative_to(root) for file in files) else None


def common_root(files: list[Path], folder: Path) -> Path:
    """`folder` if it holds all the files, else the deepest folder that does."""
    if all(file.is_relative_to(folder) for file in files):
        return folder
    return Path(os.path.commonpath([file.parent for file in files]))
