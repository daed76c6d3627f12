"""The Python interface to a run: `train`, `explain`, `score`, `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrkeras.consistency import ConsistencyScore, c_score
from cxrkeras.events import SILENT, Reporter
from cxrkeras.maps import Maps
from cxrkeras.run import Run
from cxrkeras.workflow.evaluate import Evaluation
from cxrkeras.workflow.evaluate import evaluate as _evaluate
from cxrkeras.workflow.evidence import ensure
from cxrkeras.workflow.map_options import map_options
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.score.rows import score_rows
from cxrkeras.workflow.score.score import resolved_settings
from cxrkeras.workflow.score.table import every_status
from cxrkeras.workflow.selection import select
from cxrkeras.workflow.train import train

__all__ = ["evaluate", "explain", "score", "train"]


def explain(
    run: Run | str | Path,
    epoch: int | str = "last",
    method: str = "gradcam++",
    *,
    target: str | None = None,
    layer: str = "head_input",
    engine: str = "cxrkeras",
    on: str = "logit",
    options: Mapping[str, Any] | None = None,
    split: str = "test",
    limit: int | None = None,
    reporter: Reporter = SILENT,
) -> Maps:
    """Maps of one method for a split of a run, read from the run or computed and stored there.

    Args:
        run: a run, its name or its path.
        epoch: a stored checkpoint's epoch, `best` or `last`.
        method: one method's name.
        target: `label` (default), `predicted` or a class name.
        layer: layer name or role.
        engine: `cxrkeras`, or `tf-keras-vis` for the peer's own maps.
        on: what gradient methods explain: `logit`, `probability` or `margin`.
        options: options of the method, such as `{"max_channels": 256}`; see `cams.METHODS`.
        split: split of the run.
        limit: at most this many films a class.
        reporter: told of progress.

    Raises:
        CxrKerasError: a run, checkpoint, method, layer or target that does not exist.

    Example:
        >>> maps = explain("kermany-resnet", epoch=20, method="scorecam")  # doctest: +SKIP
    """
    opened = OpenRun(_opened(run))
    selection = select(opened, split=split, limit=limit)
    wanted = map_options(opened, selection, target=target, layer=layer, engine=engine, on=on, given=options or {})
    number = opened.run.resolve_epoch(epoch)
    return ensure(opened, number, selection, [method], wanted, reporter)[method]


def score(
    run: Run | str | Path,
    epoch: int | str = "last",
    method: str = "gradcam++",
    *,
    layer: str = "head_input",
    engine: str = "cxrkeras",
    on: str = "logit",
    options: Mapping[str, Any] | None = None,
    split: str = "test",
    limit: int | None = None,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> ConsistencyScore:
    """C-Score of one method at one checkpoint of a run.

    Args:
        run, epoch, method, layer, engine, on, options, split, limit, reporter: as in `explain`.
        **settings: keywords of `consistency.c_score`; the run's configuration gives the others.

    Raises:
        CxrKerasError: as `explain`.

    Example:
        >>> score("kermany-resnet", epoch=20, method="layercam").per_class  # doctest: +SKIP
    """
    opened = OpenRun(_opened(run))
    selection = select(opened, split=split, limit=limit)
    wanted = map_options(opened, selection, layer=layer, engine=engine, on=on, given=options or {})
    number = opened.run.resolve_epoch(epoch)
    rows = score_rows(opened, number, selection, [method], wanted, reporter)
    maps, constants = rows.maps[method], resolved_settings(opened, settings)
    return c_score(
        maps, rows.labels, rows.probabilities, patients=rows.patients, status=every_status(maps), **constants
    )


def evaluate(
    run: Run | str | Path,
    epoch: int | str = "best",
    *,
    data: str | Path | None = None,
    split: str | None = None,
    reporter: Reporter = SILENT,
    **columns: Any,
) -> Evaluation:
    """How well a checkpoint classifies a split of its run, or films from outside.

    Args:
        run, epoch, reporter: as in `explain`.
        data: folder or CSV of films from outside the run.
        split: split to take.
        **columns: `split_column`, `label_column`, `patient_column`, `map_class` for `data`.

    Raises:
        CxrKerasError: as `explain`, and films that cannot be used.
    """
    opened = OpenRun(_opened(run))
    selection = select(opened, data=data, split=split, reporter=reporter, **columns)
    return _evaluate(opened, opened.run.resolve_epoch(epoch), selection, reporter=reporter)


def _opened(run: Run | str | Path) -> Run:
    return run if isinstance(run, Run) else Run.open(run)
