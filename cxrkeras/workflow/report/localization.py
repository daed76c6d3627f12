"""What is stored of a run's localization, as a report shows it: a part per checkpoint and way of scoring."""

from __future__ import annotations

import pandas as pd

from cxrkeras.report.contents import Localized
from cxrkeras.run import Run
from cxrkeras.workflow.localize.printed import sentences, way_words
from cxrkeras.workflow.localize.tables import (
    CHANCE,
    COMPARISONS,
    READERS,
    SUMMARY,
    TERCILES,
    WAY,
    read_localization,
)

_PATIENT = "patient"


def stored_localizations(run: Run, split: str) -> tuple[Localized, ...]:
    """Every stored localization of a split, checkpoints ascending, ways in the order they were first stored."""
    found = []
    for epoch in run.epochs():
        summary = _table(run, epoch, split, SUMMARY)
        if summary.empty:
            continue
        others = {name: _table(run, epoch, split, name) for name in (CHANCE, COMPARISONS, TERCILES, READERS)}
        for key, rows in summary.groupby(list(WAY), sort=False, dropna=False):
            rows = _one_bootstrap(rows)
            way = dict(zip(WAY, map(str, key), strict=True))
            own = {name: _one_bootstrap(_of(table, way)) for name, table in others.items()}
            found.append(
                Localized(
                    epoch=epoch,
                    way=way_words(way),
                    trained="trained" not in rows or bool((rows["trained"] != "no").all()),
                    summary=rows.drop(columns=list(WAY)),
                    sentences=sentences(rows, own[CHANCE]),
                    **own,
                )
            )
    return tuple(found)


def _table(run: Run, epoch: int, split: str, name: str) -> pd.DataFrame:
    file = run.localization_path(epoch, split, name)
    return read_localization(file) if file.exists() else pd.DataFrame()


def _of(table: pd.DataFrame, way: dict[str, str]) -> pd.DataFrame:
    """The rows of a way, without the columns that say it; annotators agree whatever the threshold."""
    shared = [name for name in way if name in table]
    if table.empty:
        return table
    chosen = (table[shared].astype(str) == [way[name] for name in shared]).all(axis=1)
    return table[chosen].drop(columns=shared)


def _one_bootstrap(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of one bootstrap: that of patients where both were asked for."""
    if "bootstrap" not in table or table["bootstrap"].nunique() < 2:
        return table
    return table[table["bootstrap"] == _PATIENT]
