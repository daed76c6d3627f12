"""NIH ChestX-ray14's `Data_Entry_2017.csv` (Wang et al., CVPR 2017) as a table of films with findings.

Knows its columns, its ages and its lists of the official split; what becomes of the findings is `findings_tables`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cxrkeras.data.layouts import films_of_table, plain_name, with_plain_names
from cxrkeras.errors import DataError

NO_FINDING = "No Finding"
LABELS = "finding_labels"
# the labels of 2017 and their correction of 2020, which is taken where a folder has both
TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
PLAIN_NAMES = {
    "age": ("patient_age",),
    "sex": ("patient_gender", "patient_sex"),
    "view": ("view_position",),
    "follow_up": ("follow-up_#",),
    "image_index": ("image_index",),
    LABELS: (LABELS,),
}
_YEARS = {"Y": 1.0, "": 1.0, "M": 1 / 12, "D": 1 / 365.25}


def is_nih(columns: Sequence[str]) -> bool:
    """Whether these are the columns of an NIH table, by their names as NIH writes them."""
    return {"Image Index", "Finding Labels"} <= set(columns) and "path" not in map(plain_name, columns)


def films_of_nih(file: Path, columns: Mapping[str, str | None]) -> tuple[pd.DataFrame, pd.DataFrame, Path, list[str]]:
    """Read NIH's table: the films that are below its folder, by name, whatever folder or suffix they have there.

    Args:
        file: the table, absolute. `train_val_list.txt` and `test_list.txt` beside it give the official split, of which
            val is carved out later.
        columns: for `split` and `patient` the column asked for by name, or None.

    Returns:
        A table `path, patient[, split], image_index, age` (years)`, sex, view, follow_up, finding_labels` and the
        columns as written; what it says of each finding, 1 or 0; the folder that the paths are relative to; notices.

    Raises:
        DataError: an unreadable table, none of its films, or a film in neither or both lists of the split.
    """
    frame, root, notices = films_of_table(file, columns, labelled=False, partial=True)
    unnamed = [name for name in frame if str(name).startswith("Unnamed") and frame[name].isna().all()]
    frame = with_plain_names(frame.drop(columns=unnamed), PLAIN_NAMES)
    if "age" in frame:
        frame["age"] = age_in_years(frame["age"])
    if "split" not in frame:
        frame, told = _with_official_split(frame, file.parent)
        notices += told
    return frame, joined_marks(frame[LABELS]), root, [f"An NIH table: {file}.", *notices]


def age_in_years(ages: pd.Series) -> pd.Series:
    """Ages in years: `58`, `058Y`, `011M` (months), `003D` (days); NaN for anything else."""
    parts = ages.astype("str").str.extract(r"^\s*(\d+(?:\.\d*)?)\s*([YMDymd]?)\s*$")
    years = pd.to_numeric(parts[0]) * parts[1].str.upper().map(_YEARS)
    whole = years.notna().all() and years.mod(1).eq(0).all()
    return years.astype("int64") if whole else years.astype("float64")


def joined_marks(labels: pd.Series) -> pd.DataFrame:
    """What labels joined by `|` say of every finding that occurs in them: 1 or 0, a column each, sorted by name."""
    tidy = labels.fillna("").astype("str").str.replace(r"\s*\|\s*", "|", regex=True).str.strip()
    return tidy.str.get_dummies("|").astype("float64")


def _with_official_split(frame: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    there = [name for name in LISTS if (folder / name).is_file()]
    if len(there) < len(LISTS):
        alone = [f"{there[0]} is not read: the official split takes {' and '.join(LISTS)}."] if there else []
        return frame, alone
    listed = {name: set((folder / name).read_text(encoding="utf-8").split()) for name in LISTS}
    of_list = pd.DataFrame({LISTS[name]: frame["image_index"].isin(films) for name, films in listed.items()})
    strange = frame["image_index"][of_list.sum(axis=1).ne(1)]
    if len(strange):
        raise DataError(
            f"{len(strange)} films of {folder} are in neither or both of {' and '.join(LISTS)}, first "
            f"'{strange.iloc[0]}'. Expected each in one; correct the lists, or move them away to split anew."
        )
    return frame.assign(split=of_list.idxmax(axis=1).astype("str")), [f"The split is that of {' and '.join(LISTS)}."]
