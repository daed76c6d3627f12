"""TorchXRayVision's tables (Cohen et al. 2022, arXiv 2111.00595): a column a pathology with 1, 0 or nothing.

Knows their names; what becomes of the findings is `findings_tables`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cxrkeras.data.layouts import ALIASES, plain_name, with_plain_names
from cxrkeras.data.nih import NO_FINDING, PLAIN_NAMES, age_in_years

# `default_pathologies` of the library, then those that single data sets of it add
PATHOLOGIES = (
    "Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema", "Fibrosis", "Effusion",
    "Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule", "Mass", "Hernia", "Lung Lesion", "Fracture",
    "Lung Opacity", "Enlarged Cardiomediastinum",
    NO_FINDING, "Pleural Effusion", "Pleural Other", "Support Devices", "Airspace opacity", "Nodule/Mass",
    "Granuloma", "Flattened Diaphragm", "Bronchiectasis", "Aortic Elongation", "Scoliosis", "Hilar Enlargement",
    "Tuberculosis", "Air Trapping", "Costophrenic Angle Blunting", "Aortic Atheromatosis", "Hemidiaphragm Elevation",
    "Tube", "COVID-19", "Viral Pneumonia", "Bacterial Pneumonia", "Calcified Granuloma", "Opacity", "Lesion",
)  # fmt: skip
_KNOWN = {plain_name(name) for name in PATHOLOGIES}
_PLAIN_NAMES = {
    "age": ("age_years", *PLAIN_NAMES["age"]),
    "sex": ("gender", *PLAIN_NAMES["sex"]),
    "view": ("viewposition", "projection", *PLAIN_NAMES["view"]),
}
_MALE, _FEMALE = "sex_male", "sex_female"


def pathology_columns(columns: Sequence[str]) -> list[str]:
    """The columns that are known pathologies, in the table's order."""
    return [column for column in columns if plain_name(column) in _KNOWN]


def is_xrv(columns: Sequence[str]) -> bool:
    """Whether these are the columns of such a table: two pathologies or more, a film, and no class."""
    names = {plain_name(column) for column in columns}
    return (
        len(pathology_columns(columns)) > 1 and bool(names & set(ALIASES["path"])) and not names & set(ALIASES["label"])
    )


def with_people(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with `age` (years), `sex` (M, F or nothing) and `view` under these names, where it knows them."""
    frame = with_plain_names(frame, _PLAIN_NAMES)
    if "age" in frame:
        frame = frame.assign(age=age_in_years(frame["age"]))
    if "sex" not in frame and {_MALE, _FEMALE} <= set(frame.columns):
        male, female = (frame[name].astype("str").str.lower().isin(("true", "1", "1.0")) for name in (_MALE, _FEMALE))
        frame = frame.assign(sex=pd.Series("", frame.index).mask(male, "M").mask(female & ~male, "F"))
    return frame
