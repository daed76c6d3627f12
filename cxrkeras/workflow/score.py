"""Score: the C-Score of checkpoints of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cxrkeras.consistency import c_score
from cxrkeras.errors import DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.store import check_writable, key8
from cxrkeras.workflow.evidence import MapOptions, chosen_methods, ensure
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
        frames = []
        for name in names:
            maps = all_maps[name]
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
                    max_channels="exact" if options.max_channels is None else str(options.max_channels),
                    films=films_key(selection),
                )
            )
        table = _ordered(pd.concat(frames, ignore_index=True))
        selection.sink.write_scores(epoch, table)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def films_key(selection: Selection) -> str:
    """Which films a score stands on: their number and 8 hex of their hashes."""
    return f"{len(selection)}-{key8(sorted(selection.films.hashes.tolist()))}"


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    first = ["epoch", "split", "engine", "method", "target", "layer", "level", "class"]
    return table[[*first, *(column for column in table.columns if column not in first)]]
