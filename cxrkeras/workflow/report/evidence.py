"""Which films and options stored scores were made with, so that a report works on the same maps.

Reads tables of scores; computes no map.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from cxrkeras.cams.registry import METHODS
from cxrkeras.errors import CxrKerasError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.store import key8
from cxrkeras.workflow.evidence import Evidence, chosen_methods
from cxrkeras.workflow.map_options import DEFAULT_LAYER, MapOptions, map_options, map_parameters
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.score.score import films_key
from cxrkeras.workflow.selection import Selection, run_split

ENGINE = "cxrkeras"
_ONE_WAY = [
    "films",
    "layer",
    "max_channels",
    "threshold",
    "gamma",
    "grid",
    "pair_weights",
    "macro_rule",
    "same_patient",
]


def main_scores(scores: pd.DataFrame, split: str) -> pd.DataFrame:
    """The scores of a split that a report shows: one way of making them a method.

    Args:
        scores: long table of all epochs, splits, films and constants.
        split: evaluation split.

    Returns:
        Rows of this package's maps for the label; of several ways the one with the most checkpoints, then the most
        films, then the latest in the table.
    """
    if scores.empty:
        return scores
    rows = scores[(scores["split"] == split) & (scores["engine"] == ENGINE) & (scores["target"] == "label")]
    kept = []
    for _, of_method in rows.groupby("method", sort=False):
        ways = [part for _, part in of_method.groupby(_ONE_WAY, sort=False, dropna=False)]
        kept.append(max(ways, key=lambda part: (part["epoch"].nunique(), _films(part), part.index.max())))
    chosen = pd.concat(kept) if kept else rows
    return chosen.sort_values("epoch", kind="stable").reset_index(drop=True)


def scored_evidence(
    opened: OpenRun, scores: pd.DataFrame, split: str, reporter: Reporter = SILENT
) -> dict[str, Evidence]:
    """Films and options of every scored method; of no scores, the methods that are affordable on the whole split.

    A method whose maps cannot be made again from its row, because it was given further options, is left out and named.

    Args:
        opened: the run.
        scores: as from `main_scores`.
        split: evaluation split.
        reporter: told what is left out.
    """
    whole = run_split(opened, split, reporter=reporter)
    if scores.empty:
        options = map_options(opened, whole)
        names = chosen_methods(None, opened, opened.run.epochs()[-1], whole, options, reporter)
        return {name: Evidence(whole, options) for name in names}
    found: dict[str, Evidence] = {}
    for method, rows in scores.groupby("method", sort=False):
        evidence = _evidence(opened, str(method), rows, whole)
        if evidence is None:
            reporter.notice(
                f"{method} is left out where maps are needed: it was scored on other films, with other options or by "
                "another version. Score it again to have it there."
            )
        else:
            found[str(method)] = evidence
    return found


def analysable(
    opened: OpenRun, evidence: dict[str, Evidence], scores: pd.DataFrame, reporter: Reporter = SILENT
) -> dict[str, Evidence]:
    """The methods that can be compared over all checkpoints without many more forwards.

    Args:
        opened: the run.
        evidence: of every scored method.
        scores: as from `main_scores`.
        reporter: told what is left out.
    """
    kept = {}
    for name, one in evidence.items():
        everywhere = set(opened.run.epochs()) <= set(scores[scores["method"] == name]["epoch"]) if len(scores) else True
        if METHODS[name].in_the_forward or everywhere:
            kept[name] = one
        else:
            reporter.notice(
                f"{name} is left out of the analysis: it was not scored at every checkpoint. "
                f"cxrkeras score --run {opened.run.name} --method {name} --epoch all makes that."
            )
    return kept


def _evidence(opened: OpenRun, method: str, rows: pd.DataFrame, whole: Selection) -> Evidence | None:
    selection = _selection(opened, rows, whole)
    if selection is None or method not in METHODS:
        return None
    row = rows[rows["level"] == "class"].iloc[-1]
    for given in _given(method, row):
        for layer in dict.fromkeys((DEFAULT_LAYER, str(row["layer"]))):
            options = map_options(opened, selection, layer=layer, given=given)
            if _key(opened, int(row["epoch"]), method, options) == row["maps_key"]:
                return Evidence(selection, options)
    return None


def _given(method: str, row: pd.Series) -> list[dict[str, Any]]:
    """Options that a row tells of: none, or a number of channels."""
    channels = pd.to_numeric(pd.Series([row.get("max_channels")]), errors="coerce").iloc[0]
    sampled = not pd.isna(channels) and "max_channels" in METHODS[method].defaults
    return [{"max_channels": int(channels)}] if sampled else [{}]


def _key(opened: OpenRun, epoch: int, method: str, options: MapOptions) -> str:
    try:
        return key8(map_parameters(opened, epoch, method, options))
    except CxrKerasError:
        return ""


def _selection(opened: OpenRun, rows: pd.DataFrame, whole: Selection) -> Selection | None:
    """The whole split, or its first films a class, whichever the scores stand on."""
    wanted = str(rows["films"].iloc[-1])
    if films_key(whole) == wanted:
        return whole
    limited = run_split(opened, whole.split, limit=int(rows["n_images"].dropna().max()))
    return limited if films_key(limited) == wanted else None


def _films(rows: pd.DataFrame) -> int:
    return int(str(rows["films"].iloc[0]).split("-")[0])
