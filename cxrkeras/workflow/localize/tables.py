"""The tables of a localization as they are stored: what a row stands for, and which rows a new one replaces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cxrkeras.run import Run
from cxrkeras.tables import read_csv, replace_rows

FILMS, CHANCE_FILMS, SUMMARY, CHANCE = "films", "chance_films", "summary", "chance"
COMPARISONS, TERCILES, READERS = "comparisons", "terciles", "readers"
STATEMENTS, STATEMENT_FILMS = "statements", "statement_films"
WAY = ("annotations", "rule", "tolerance", "slice", "cutoff", "options")
ABOUT = ["finding", "class", "annotator"]
# the annotator of marks that all annotators made together
UNION = "union"
# whose rows a new row replaces, beside the same way
KEYS: Mapping[str, tuple[str, ...]] = {
    FILMS: (*ABOUT, "method"),
    CHANCE_FILMS: (*ABOUT, "method", "against"),
    SUMMARY: (*ABOUT, "method", "metric", "bootstrap"),
    CHANCE: (*ABOUT, "method", "metric", "against"),
    COMPARISONS: (*ABOUT, "method", "metric", "compared", "first", "second"),
    TERCILES: (*ABOUT, "method", "metric", "tercile", "bootstrap"),
    READERS: ("finding", "first", "second", "bootstrap"),
    STATEMENTS: ("finding", "class", "method", "stated"),
    STATEMENT_FILMS: ("finding", "class", "method"),
}

# ids and hashes may look like numbers, and a key must come back as it was written
TEXT = (
    "image", "patient", *ABOUT, "method", "metric", "against", "compared", "first", "second", "tercile", "bootstrap",
    "annotations", "rule", "slice", "cutoff", "options", "status", "map_status", "grid", "layer", "maps_key", "above",
    "trained", "side", "zone", "stated",
)  # fmt: skip


def read_localization(file: Path) -> pd.DataFrame:
    """A stored table of localization; ids, hashes and words stay text.

    Raises:
        RunError: it cannot be read.
    """
    frame = read_csv(file, text=TEXT)
    return frame.astype({name: "Int64" for name in frame.columns if name == "n" or name.startswith("n_")})


def store_tables(sink: Run, epoch: int, split: str, tables: Mapping[str, pd.DataFrame]) -> None:
    """Store every table that has rows."""
    for name, table in tables.items():
        key = [column for column in (*KEYS[name], *WAY) if column in table]
        if len(table):
            replace_rows(sink.localization_path(epoch, split, name), table, key, read_localization)
