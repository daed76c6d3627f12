"""Frames as tables of the page: every number formatted, every undefined one with its reason.

Knows no HTML; a table's CSV holds the frame as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cxrkeras.report.parts import Cell, Table
from cxrkeras.report.words import column_label, is_undefined, number, plain_reason

_WHOLE = ("epoch", "from", "to", "checkpoint", "steps", "seed")
_ALERTS = {"unchanged", "false_alarm", "miss"}
_GOOD = {"changes"}


def table_of(
    name: str, title: str, frame: pd.DataFrame, columns: Sequence[str] | None = None, *, shown_open: bool = False
) -> Table:
    """A frame as a table of the page.

    Args:
        name: of the CSV, unique in the report.
        title: caption.
        frame: rows; a `status` column gives the reason of undefined numbers.
        columns: columns to show, those that the frame lacks are left out; None shows all.
        shown_open: stands in the page rather than one click away.
    """
    shown = [column for column in (columns or list(frame.columns)) if column in frame.columns]
    numeric = {column: _is_numeric(frame[column]) for column in shown}
    rows = []
    for row in frame.to_dict("records"):
        reason = row.get("status", "")
        rows.append(tuple(cell(row[column], column, numeric[column], reason) for column in shown))
    return Table(name, title, tuple(column_label(column) for column in shown), tuple(rows), frame, shown_open)


def cell(value: Any, column: str, numeric: bool, reason: Any = "") -> Cell:
    """One value as a reader sees it."""
    if is_undefined(value):
        return Cell(f"undefined ({plain_reason(reason)})" if numeric else "", "undefined" if numeric else "")
    if not numeric:
        text = str(value)
        look = "alert" if text in _ALERTS else "good" if text in _GOOD else ""
        return Cell(text.replace("_", " ") if column in ("status", "kind", "outcome", "verdict") else text, look)
    if column in _WHOLE or column.startswith("n_") or isinstance(value, int):
        return Cell(f"{int(value):,}" if column not in _WHOLE else str(int(value)), "number")
    return Cell(number(value), "number")


def _is_numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
