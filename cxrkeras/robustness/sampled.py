"""Shortcuts that no pixel is changed for: a column of the manifest that goes with the class, by the choice of films.

Knows a table's columns, no pixels and no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from cxrkeras.errors import DataError, UsageError, did_you_mean, unknown

UNKNOWN = "unknown"
# Kinds of confounders by their level (MICCAT, "Source Matters")
LEVELS = {"demographic": "patient", "anatomical": "patient", "external": "environment", "imaging": "environment"}
_KINDS = {
    **dict.fromkeys(("sex", "gender", "age", "race"), "demographic"),
    **dict.fromkeys(("view", "scanner", "hospital", "device"), "external"),
}
_SHOWN = 8


@dataclass(frozen=True)
class Sampled:
    """Films chosen so that a column's value goes with the class.

    Attributes:
        column: of the manifest.
        value: that the share p of the positive films has, as text.
        given_kind: demographic, anatomical, external or imaging, for columns that are not known by name.
    """

    column: str
    value: str
    given_kind: str | None = None

    planted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.column or not self.value:
            raise UsageError("a sampled confounder is column:NAME=VALUE, for example column:sex=F.")
        if self.given_kind is not None and self.given_kind not in LEVELS:
            raise unknown("kind of confounder", self.given_kind, LEVELS)

    @property
    def name(self) -> str:
        """`column:NAME=VALUE`."""
        return f"column:{self.column}={self.value}"

    @property
    def kind(self) -> str:
        """Demographic, anatomical, external or imaging; `unknown` where neither the name nor the user says."""
        return self.given_kind or _KINDS.get(self.column.lower(), UNKNOWN)

    @property
    def level(self) -> str:
        """`patient` or `environment`, or `unknown`."""
        return LEVELS.get(self.kind, UNKNOWN)

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter by name."""
        return {"column": self.column, "value": self.value}

    def has(self, frame: pd.DataFrame) -> np.ndarray:
        """Which films have the value, bool ``[n]``.

        Args:
            frame: a row a film.

        Raises:
            DataError: no such column, films without an entry in it, or no film with the value.
        """
        if self.column not in frame:
            columns = ", ".join(map(str, frame.columns))
            hint = did_you_mean(self.column, map(str, frame.columns))
            raise DataError(f"the films have no column '{self.column}'. Expected one of: {columns}.{hint}")
        entries = frame[self.column]
        text = entries.map(_as_text)
        if blank := int(text.eq("").sum()):
            raise DataError(
                f"{blank} of {len(frame)} films have no entry in column '{self.column}', so they neither have "
                f"{self.value} nor another value. Fill them in, or take these films out."
            )
        has = text.eq(_as_text(float(self.value)) if _is_number(entries, self.value) else self.value)
        if not has.any():
            counts = text.value_counts()
            shown = ", ".join(f"{value} ({count})" for value, count in counts.iloc[:_SHOWN].items())
            more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
            raise DataError(
                f"no film has {self.column}={self.value}. Values and their films: {shown}{more}."
                f"{did_you_mean(self.value, counts.index)}"
            )
        return has.to_numpy(bool)


def _as_text(entry: object) -> str:
    """An entry as typed: whole numbers without their point, nothing for a missing one."""
    if pd.isna(entry):
        return ""
    if isinstance(entry, float | np.floating) and float(entry).is_integer():
        return str(int(entry))
    return str(entry).strip()


def _is_number(entries: pd.Series, value: str) -> bool:
    if not pd.api.types.is_numeric_dtype(entries) or pd.api.types.is_bool_dtype(entries):
        return False
    try:
        return np.isfinite(float(value))
    except ValueError:
        return False
