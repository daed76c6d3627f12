"""What more labels buy: AUC and localization against the share of the training patients.

Tables in, a section out. Knows no study directory.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from cxrkeras.errors import UsageError
from cxrkeras.render.efficiency import METRICS, efficiency_panel, percent, series_names, series_of, spread_words
from cxrkeras.report.contents import Contents
from cxrkeras.report.panels import panel_of
from cxrkeras.report.parts import Group, Panel, Section
from cxrkeras.report.tables import table_of
from cxrkeras.report.words import listed, number
from cxrkeras.tables import with_text


def fractions_section(contents: Contents) -> Section | None:
    """Curves over label fractions, a panel a metric and method; None where no share of the labels was varied."""
    table = contents.fractions
    if table.empty:
        return None
    table = with_text(table, ("backbone", "source", "recipe", "method"))
    seeds = contents.fraction_seeds
    groups = []
    for backbone, rows in table.groupby("backbone", sort=False):
        own = seeds[seeds["backbone"] == backbone] if len(seeds) else None
        panels, lead = (), " ".join(spread_words(rows))
        try:
            panels = tuple(_panels(str(backbone), rows, own))
        except UsageError as error:
            lead = f"{lead} No figure: {error}"
        shown = table_of(f"fractions-{backbone}", "AUC and localization by share of labels", rows)
        heading = str(backbone) if table["backbone"].nunique() > 1 else ""
        groups.append(Group(heading, lead, panels, (shown,)))
    lead = (
        "The share is of the training patients, each smaller one inside the larger. The checkpoint is chosen by the "
        "validation films: unless these were scaled down too, they hold more labels than the smallest shares."
    )
    return Section("fractions", "Label fractions", lead, tuple(groups))


def _panels(backbone: str, table: pd.DataFrame, seeds: pd.DataFrame | None) -> Iterator[Panel]:
    places = table[["metric", "method"]].drop_duplicates().itertuples(index=False, name=None)
    for metric, method in places:
        if metric not in METRICS:
            continue
        title = METRICS[metric][0].upper() + METRICS[metric][1:] + (f", {method}" if method else "")
        figure = efficiency_panel(table, metric, method, title, seeds=seeds)
        part = table[(table["metric"] == metric) & (table["method"] == method)]
        yield panel_of(f"fractions-{backbone}-{metric}-{method}", title, figure, _sentence(title, table, part))


def _sentence(title: str, table: pd.DataFrame, part: pd.DataFrame) -> str:
    """Every curve's values from the smallest share to the largest."""
    words = []
    series = series_of(table)
    for key, name in zip(series, series_names(series), strict=True):
        own = part[(part[["backbone", "source", "recipe"]].astype(str) == list(key)).all(axis=1)]
        values = [
            f"{number(row['mean'], row['status'])}{_spread(row)} at {percent(row['fraction'])}"
            for _, row in own.sort_values("fraction").iterrows()
        ]
        words.append(f"{name} {listed(values)}" if values else f"{name} not measured")
    return f"{title}: {'; '.join(words)}."


def _spread(row: pd.Series) -> str:
    return f" ± {number(row['sd'])}" if pd.notna(row["sd"]) and pd.notna(row["mean"]) else ""
