"""CSV rows as text, strictly: a row that does not fit its header is an error, never shifted.

Knows no subject; what the columns mean is the reader's business.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrkeras.errors import DataError


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        where: file name and line, for messages.
        values: stripped text by folded column name (see `folded`).
    """

    where: str
    values: dict[str, str]

    def number(self, column: str) -> float:
        """The value as a finite number.

        Raises:
            DataError: it is none.
        """
        try:
            value = float(self.values[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(
                f"{self.where}: column '{column}' holds '{self.values[column]}'. Expected a number; correct the row."
            )
        return value

    def text(self, column: str) -> str:
        """The value, which must not be empty.

        Raises:
            DataError: it is empty.
        """
        if not self.values[column]:
            raise DataError(f"{self.where}: column '{column}' is empty. Expected a value; fill it or take the row out.")
        return self.values[column]


def folded(column: str) -> str:
    """A column name without case, spaces as underscores."""
    return column.strip().lower().replace(" ", "_")


def cells(file: Path) -> list[tuple[int, list[str]]]:
    """The lines of a CSV file that are not blank: line number and stripped cells.

    Raises:
        DataError: the file cannot be read as UTF-8 CSV, or is empty.
    """
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"table {file} cannot be read ({reason}). Expected a UTF-8 CSV file with a header.") from error
    if not lines:
        raise DataError(f"table {file} is empty. Expected a header and one row per mark.")
    return lines


def read_rows(file: Path) -> tuple[tuple[str, ...], list[Row]]:
    """The folded column names and the rows of a CSV file.

    Raises:
        DataError: unreadable, empty, a column twice, or a row with more or fewer cells than the header.
    """
    (_, header), *lines = cells(file)
    columns = tuple(folded(column) for column in header)
    repeated = sorted({column for column in columns if column and columns.count(column) > 1})
    if repeated:
        raise DataError(
            f"table {file} has the column '{repeated[0]}' more than once (case and spaces aside). "
            "Expected each once; rename or remove one."
        )
    rows = []
    for number, line in lines:
        if len(line) != len(columns):
            raise DataError(
                f"{file.name} line {number} has {len(line)} cells. Expected {len(columns)}, as in its header; "
                "quote values that hold a comma."
            )
        rows.append(Row(f"{file.name} line {number}", dict(zip(columns, line, strict=True))))
    return columns, rows


def chosen_column(columns: Sequence[str], names: Sequence[str], what: str, file: Path) -> str:
    """The first of `names` that the table has.

    Raises:
        DataError: it has none of them.
    """
    found = [name for name in names if name in columns]
    if not found:
        raise DataError(
            f"{file} has no {what} column. Expected one of: {', '.join(names)}; "
            f"received {', '.join(column for column in columns if column)}. Rename one of them."
        )
    return found[0]
