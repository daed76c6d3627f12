"""Score: the C-Score of checkpoints of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cxrkeras.consistency import c_score
from cxrkeras.consistency.coincidence import SAME, nearest
from cxrkeras.consistency.options import Options
from cxrkeras.errors import DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.store import check_writable, key8
from cxrkeras.workflow.evidence import chosen_methods
from cxrkeras.workflow.map_options import MapOptions, map_parameters
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.score.rows import score_rows
from cxrkeras.workflow.score.table import every_status, long_table
from cxrkeras.workflow.selection import Selection

# Raise it when the same maps would get other rows: stored rows are used again only under the same version.
SCORE_VERSION = 2
# constants whose name is another column's already
_COLUMNS = {"macro": "macro_rule", "seed": "pair_seed"}


def score_selection(
    opened: OpenRun,
    epochs: Sequence[int],
    selection: Selection,
    methods: str | None,
    options: MapOptions,
    settings: dict[str, Any],
    *,
    reuse: bool = False,
    reporter: Reporter = SILENT,
) -> pd.DataFrame:
    """Score checkpoints, computing what maps are missing, and store the rows.

    Args:
        opened: the run.
        epochs: epochs of stored checkpoints.
        selection: labelled films.
        methods: comma list, `all`, or None for what is affordable.
        options: how the maps are made; their target is the film's label.
        settings: threshold, gamma, grid, pair_weights, macro, same_patient; None takes the run's configuration.
        reuse: read rows that are stored under the same parameters instead of scoring again.
        reporter: told of progress.

    Returns:
        The long table: a row per epoch, method and class, then the rows over all classes (`level` = `global`). Where a
        film may have several findings a class is a finding, on its positive films.

    Raises:
        DataError: a film's label is unknown.
    """
    if not selection.labelled:
        raise DataError("the C-Score needs a label for every film. Give a manifest or class folders with --data.")
    check_writable(selection.sink.path)
    resolved = resolved_settings(opened, settings)
    tables = []
    for epoch in epochs:
        names = chosen_methods(methods, opened, epoch, selection, options, reporter)
        stored = _all_stored(opened, epoch, selection, names, options, resolved) if reuse else {}
        if not reuse or any(rows is None for rows in stored.values()):
            fresh = _scored(opened, epoch, selection, names, options, resolved, stored, reporter)
            selection.sink.write_scores(epoch, fresh)
            stored = _all_stored(opened, epoch, selection, names, options, resolved) if reuse else {}
        tables.append(_ordered(pd.concat(stored.values(), ignore_index=True)) if reuse else fresh)
    table = pd.concat(tables, ignore_index=True)
    _say_what_coincides(table, reporter)
    return table


def resolved_settings(opened: OpenRun, settings: dict[str, Any]) -> dict[str, Any]:
    """Every constant of the C-Score: what is given, and the run's configuration for the rest."""
    stated = {name: value for name, value in settings.items() if value is not None}
    decision = {"decision": "threshold"} if opened.several else {}
    return {**opened.config.score.model_dump(), **decision, **stated}


def stored_rows(
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    method: str,
    options: MapOptions,
    resolved: dict[str, Any],
) -> pd.DataFrame | None:
    """Rows of one method that are stored under exactly these parameters, or None.

    Args:
        opened, epoch, selection, method, options: whose rows.
        resolved: every constant of the C-Score, see `resolved_settings`.
    """
    return _all_stored(opened, epoch, selection, [method], options, resolved)[method]


def _all_stored(
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    methods: Sequence[str],
    options: MapOptions,
    resolved: dict[str, Any],
) -> dict[str, pd.DataFrame | None]:
    """The stored rows of several methods, the file read once."""
    table = selection.sink.scores(epoch)
    return {name: _matching(table, opened, epoch, selection, name, options, resolved) for name in methods}


def _matching(
    table: pd.DataFrame,
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    method: str,
    options: MapOptions,
    resolved: dict[str, Any],
) -> pd.DataFrame | None:
    constants = Options(**resolved).as_parameters((0, 0))
    wanted = {
        "score_version": SCORE_VERSION,
        "epoch": epoch,
        "split": selection.split,
        "engine": options.engine,
        "method": method,
        "target": "label",
        "maps_key": key8(map_parameters(opened, epoch, method, options)),
        "films": films_key(selection),
        **{_COLUMNS.get(name, name): value for name, value in constants.items() if name != "native_grid"},
    }
    if not set(wanted) <= set(table.columns):
        return None
    for name, value in wanted.items():
        table = table.loc[[_same(cell, value) for cell in table[name]]]
    return None if table.empty else table.reset_index(drop=True)


def _same(cell: Any, value: Any) -> bool:
    """Whether a cell of a stored table is a value; a column that also holds words keeps its numbers as text."""
    if isinstance(value, int | float):
        try:
            return float(cell) == float(value)
        except ValueError:
            return False
    return str(cell) == ("x".join(map(str, value)) if isinstance(value, list) else str(value))


def _scored(
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    names: Sequence[str],
    options: MapOptions,
    resolved: dict[str, Any],
    stored: Mapping[str, pd.DataFrame | None],
    reporter: Reporter,
) -> pd.DataFrame:
    """Rows of every method at one checkpoint; those in `stored` only learn which maps they coincide with."""
    judged = score_rows(opened, epoch, selection, names, options, reporter)
    neighbours = nearest({name: maps.values for name, maps in judged.maps.items()})
    frames = []
    for name in names:
        maps, rows = judged.maps[name], stored.get(name)
        if rows is None:
            result = c_score(
                maps,
                judged.labels,
                judged.probabilities,
                patients=judged.patients,
                status=every_status(maps),
                **resolved,
            )
            rows = long_table(result).assign(
                epoch=epoch,
                split=selection.split,
                engine=options.engine,
                method=name,
                target="label",
                layer=maps.layer,
                maps_key=key8(maps.parameters),
                checkpoint=maps.parameters["checkpoint"][:12],
                max_channels=options.cap,
                films=films_key(selection),
                score_version=SCORE_VERSION,
            )
        neighbour = neighbours.get(name)
        frames.append(
            rows.assign(
                nearest_method=neighbour.method if neighbour else "",
                largest_difference=neighbour.difference if neighbour else float("nan"),
            )
        )
    return _ordered(pd.concat(frames, ignore_index=True))


def _say_what_coincides(table: pd.DataFrame, reporter: Reporter) -> None:
    near = table[(table["largest_difference"] <= SAME) & table["nearest_method"].isin(set(table["method"]))]
    pairs: dict[tuple[str, str], dict[int, float]] = {}
    for row in near.itertuples():
        pairs.setdefault(tuple(sorted((row.method, row.nearest_method))), {})[row.epoch] = row.largest_difference
    for (one, other), at in pairs.items():
        where = f"epoch {', '.join(map(str, at))}"
        reporter.notice(
            f"{one} and {other} coincide at {where}: largest difference of any cell {max(at.values()):.3f}. "
            "Read their scores as one piece of evidence, not two."
        )


def films_key(selection: Selection) -> str:
    """Which films a score stands on: their number and 8 hex of their hashes.

    The labels and patients of films from outside, which a corrected table may change, are part of it.
    """
    films = selection.films
    if selection.inside:
        return f"{len(films)}-{key8(sorted(films.hashes.tolist()))}"
    # a truth that is not known is no number that JSON has
    truth = films.labels.tolist() if films.truth is None else [list(map(str, row)) for row in films.truth.tolist()]
    rows = zip(films.hashes.tolist(), truth, map(str, selection.patients_or_films), strict=True)
    return f"{len(films)}-{key8(sorted(map(list, rows)))}"


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    first = ["epoch", "split", "engine", "method", "target", "layer", "level", "class"]
    return table[[*first, *(column for column in table.columns if column not in first)]]
