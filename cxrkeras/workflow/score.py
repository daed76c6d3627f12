"""Score: the C-Score of checkpoints of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cxrkeras.consistency import c_score
from cxrkeras.consistency.coincidence import Neighbour, nearest
from cxrkeras.errors import DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.store import check_writable, key8
from cxrkeras.workflow.evidence import chosen_methods, ensure
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.predictions import ensure_predictions
from cxrkeras.workflow.score_table import every_status, long_table
from cxrkeras.workflow.selection import Selection


def score_selection(
    opened: OpenRun,
    epochs: Sequence[int],
    selection: Selection,
    methods: str | None,
    options: MapOptions,
    settings: dict[str, Any],
    *,
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
        reporter: told of progress.

    Returns:
        The long table: a row per epoch, method and class, then the rows over all classes (`level` = `global`).

    Raises:
        DataError: a film's label is unknown.
    """
    if not selection.labelled:
        raise DataError("the C-Score needs a label for every film. Give a manifest or class folders with --data.")
    check_writable(selection.sink.path)
    resolved = {**opened.config.score.model_dump(), **{k: v for k, v in settings.items() if v is not None}}
    tables = []
    for epoch in epochs:
        names = chosen_methods(methods, opened, epoch, selection, options, reporter)
        all_maps = ensure(opened, epoch, selection, names, options, reporter)
        probabilities = ensure_predictions(opened, epoch, selection, reporter)
        neighbours = nearest({name: maps.values for name, maps in all_maps.items()})
        _say_what_coincides(neighbours, reporter)
        frames = []
        for name in names:
            maps, neighbour = all_maps[name], neighbours.get(name)
            result = c_score(
                maps,
                selection.films.labels,
                probabilities,
                patients=selection.patients,
                status=every_status(maps),
                **resolved,
            )
            frames.append(
                long_table(result).assign(
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
                    nearest_method=neighbour.method if neighbour else "",
                    largest_difference=neighbour.difference if neighbour else float("nan"),
                )
            )
        table = _ordered(pd.concat(frames, ignore_index=True))
        selection.sink.write_scores(epoch, table)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _say_what_coincides(neighbours: Mapping[str, Neighbour], reporter: Reporter) -> None:
    pairs = {tuple(sorted((name, near.method))): near.difference for name, near in neighbours.items() if near.same}
    for (one, other), difference in pairs.items():
        reporter.notice(
            f"{one} and {other} coincide here: largest difference of any cell {difference:.3f}. "
            "Read their scores as one piece of evidence, not two."
        )


def films_key(selection: Selection) -> str:
    """Which films a score stands on: their number and 8 hex of their hashes."""
    return f"{len(selection)}-{key8(sorted(selection.films.hashes.tolist()))}"


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    first = ["epoch", "split", "engine", "method", "target", "layer", "level", "class"]
    return table[[*first, *(column for column in table.columns if column not in first)]]
