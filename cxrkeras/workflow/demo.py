"""The demo: the whole way on the embedded phantom films, ending in one figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cxrkeras.events import SILENT, Reporter
from cxrkeras.render.figures import Tile, summary_figure
from cxrkeras.run import Run, fresh_name, resolve_path
from cxrkeras.store import atomic_path
from cxrkeras.workflow.evidence import ensure
from cxrkeras.workflow.explain import explain_selection
from cxrkeras.workflow.map_options import map_options
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.runs import stored_auc
from cxrkeras.workflow.score.score import score_selection
from cxrkeras.workflow.selection import Selection, select
from cxrkeras.workflow.train import resolved_config, train

OVERLAYS = 12


def demo(run: str | Path | None = None, reporter: Reporter = SILENT) -> tuple[Run, pd.DataFrame, Path]:
    """Train on phantom films, explain with all six methods, score every checkpoint, and draw one summary.

    Repeating it goes on where it stopped; a finished demo is only scored again.

    Args:
        run: name or path of the run; None is `demo`, or a fresh name where that one holds something else.
        reporter: told of progress.

    Returns:
        The run, the long table of scores of all checkpoints, and the figure's file.
    """
    made = _trained(run, reporter)
    opened = OpenRun(made)
    selection = select(opened)
    options = map_options(opened, selection)
    scores = score_selection(opened, made.epochs(), selection, "all", options, {}, reporter=reporter)
    best = made.resolve_epoch("best")
    explain_selection(opened, best, selection, "all", options, overlays=OVERLAYS, reporter=reporter)
    figure = made.summary_path
    with atomic_path(figure) as partial:
        draw_summary(partial, opened, best, selection, scores)
    return made, scores, figure


def _trained(run: str | Path | None, reporter: Reporter) -> Run:
    config = resolved_config("phantom", None, {})
    path = resolve_path(run if run is not None else "demo")
    if run is None and (path / "run.json").is_file() and Run(path).config != config:
        path = fresh_name("demo")
    if (path / "run.json").is_file() and Run(path).state == "complete":
        reporter.notice(f"{path} is trained already; scoring it.")
        return Run(path)
    return train("phantom", run=path, resume=(path / "run.json").is_file(), reporter=reporter)


def draw_summary(target: Path, opened: OpenRun, epoch: int, selection: Selection, scores: pd.DataFrame) -> None:
    """AUC and C-Score per checkpoint over a grid of overlays: the most confident correct film of each class."""
    run = opened.run
    history = run.history()
    history = history.assign(test_auc=[stored_auc(run, int(e), "test") for e in history["epoch"]])
    methods = list(dict.fromkeys(scores["method"]))
    all_maps = ensure(opened, epoch, selection, methods, map_options(opened, selection), SILENT)
    first = all_maps[methods[0]]
    confidence = first.probabilities[np.arange(len(first)), selection.films.labels]
    tiles = []
    for label, name in enumerate(opened.classes):
        members = np.flatnonzero(selection.films.labels == label)
        row = members[np.argmax(confidence[members])]
        film = selection.films.store.get([selection.films.indices[row]])[0]
        for method in methods:
            maps = all_maps[method]
            tiles.append(
                Tile(
                    film=film,
                    heat=maps.values[row],
                    image=str(selection.films.ids[row]),
                    class_name=name,
                    probability=float(confidence[row]),
                    method=method,
                    status=str(maps.status[row]),
                )
            )
    config = run.config
    title = f"{config.model.backbone} on {Path(config.data.path).name}: AUC, C-Score, and the maps at epoch {epoch}"
    summary_figure(target, history, scores, tiles, title=title)
