"""What reports say in words: a table of the stated side and zone of each finding.

Knows the table only; what share of a map lies there is measured elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from cxrkeras.data.annotations.boxes import FINDING, IMAGE
from cxrkeras.data.annotations.names import canonical_findings
from cxrkeras.data.annotations.rows import Row, chosen_column, read_rows
from cxrkeras.errors import DataError, did_you_mean

SIDES = ("left", "right", "bilateral")
ZONES = ("upper", "mid", "lower")


def read_statements(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a CSV `image, finding, side, zone`; side is the patient's, zone a third of the film's height.

    Args:
        path: the table. `side` is left, right, bilateral or empty, `zone` upper, mid, lower or empty; one of the two
            columns may be absent. Further columns are ignored.

    Returns:
        Text columns `image` (as written), `finding` (canonical), `side`, `zone`, empty where not stated;
        `attrs["notices"]` lists the findings that were renamed.

    Raises:
        DataError: a missing column, an unknown word, or two different statements of one finding on one film.
    """
    file = Path(path).expanduser().absolute()
    columns, rows = read_rows(file)
    image = chosen_column(columns, IMAGE, "image", file)
    finding = chosen_column(columns, FINDING, "finding (label)", file)
    chosen_column(columns, ("side", "zone"), "side or zone", file)
    if not rows:
        raise DataError(f"{file} states nothing. Expected one row per film and finding below the header; fill it.")
    names, notices = canonical_findings(row.text(finding) for row in rows)
    stated: dict[tuple[str, str], tuple[str, str]] = {}
    for row in rows:
        words = _word(row, "side", SIDES), _word(row, "zone", ZONES)
        before = stated.setdefault((row.text(image), names[row.text(finding)]), words)
        if before != words:
            raise DataError(
                f"{row.where}: '{row.text(finding)}' of '{row.text(image)}' is stated as {_said(words)} here and as "
                f"{_said(before)} above. Expected one statement per film and finding; join or remove one."
            )
    frame = pd.DataFrame(
        [(*key, *words) for key, words in stated.items()], columns=["image", "finding", "side", "zone"]
    )
    frame.attrs["notices"] = notices
    return frame


def _word(row: Row, column: str, known: tuple[str, ...]) -> str:
    word = row.values.get(column, "").lower()
    if word and word not in known:
        raise DataError(
            f"{row.where}: unknown {column} '{row.values[column]}'. Expected one of: {', '.join(known)}, or nothing."
            f"{did_you_mean(word, known)}"
        )
    return word


def _said(words: tuple[str, str]) -> str:
    return "'" + " ".join(word or "-" for word in words) + "'"
