"""A C-Score as a long table, and as the two tables a reader is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.consistency import ConsistencyScore
from cxrkeras.maps import Maps
from cxrkeras.tables import is_count

PRINTED = [
    "method", "class", "score", "ci_low", "ci_high", "baseline", "excess", "excess_stderr", "n_gold", "n_patients",
    "coverage", "n_degenerate", "n_uninformative", "status", "flags",
]  # fmt: skip


def every_status(maps: Maps) -> np.ndarray:
    """Status of each map with `approximate` added where a graver one stands before it, text ``[n]``."""
    if "channels_used" not in maps.extras:
        return maps.status
    capped = maps.extras["channels_used"] < maps.extras["n_live"]
    hidden = capped & (np.char.find(maps.status, "approximate") < 0)
    return np.where(hidden, np.char.add(maps.status, ",approximate"), maps.status)


def long_table(result: ConsistencyScore) -> pd.DataFrame:
    """Class rows and global rows (`macro`, `micro`, `min`, `range`) of one score, with every parameter a column."""
    classes = result.per_class.assign(level="class")
    summary = result.summary()
    globals_ = summary.rename(columns={"statistic": "class", "value": "score"}).assign(level="global")
    columns = [*result.per_class.columns, "level"]
    table = pd.DataFrame(
        {
            name: [*classes[name], *(globals_[name] if name in globals_ else _empty(classes[name], len(globals_)))]
            for name in columns
        }
    )
    table = table.astype({name: "Int64" for name in table.columns if is_count(name)})
    parameters = dict(result.parameters)
    parameters["macro_rule"] = parameters.pop("macro")
    parameters["pair_seed"] = parameters.pop("seed")
    return table.assign(**{name: _plain(value) for name, value in parameters.items()})


def printed_classes(table: pd.DataFrame, epoch: int) -> pd.DataFrame:
    """The class rows of one epoch, in the columns a reader needs first."""
    return table[(table["epoch"] == epoch) & (table["level"] == "class")][PRINTED]


def printed_globals(table: pd.DataFrame, epoch: int) -> pd.DataFrame:
    """The global rows of one epoch: a row a method, and the grid its maps were made on."""
    rows = table[(table["epoch"] == epoch) & (table["level"] == "global")]
    wide = rows.pivot(index="method", columns="class", values="score").reset_index()
    shown = ["native_grid", "nearest_method", "largest_difference", "status"]
    status = rows[rows["class"] == "macro"].set_index("method")[[name for name in shown if name in rows]]
    wide = wide[["method", "macro", "micro", "min", "range"]].join(status, on="method")
    wide["grids_differ"] = "yes" if wide["native_grid"].nunique() > 1 else ""
    order = {name: i for i, name in enumerate(dict.fromkeys(rows["method"]))}
    return wide.sort_values("method", key=lambda names: names.map(order))


def _empty(column: pd.Series, n: int) -> list[Any]:
    if column.dtype.kind in "if":
        return [float("nan")] * n
    return [""] * n


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
