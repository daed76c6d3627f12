"""Drift: how the maps of a run's films changed between two of its checkpoints, and what that says across runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxrkeras.drift.metrics import DriftOptions
from cxrkeras.drift.reversal import reversals
from cxrkeras.drift.summary import drift_summary
from cxrkeras.events import SILENT, Reporter
from cxrkeras.run import Run
from cxrkeras.workflow.drift.films import checkpoints, measured, retained_maps
from cxrkeras.workflow.drift.tables import FILMS, RULES, SUMMARY, replace_drift_rows, stored_drift
from cxrkeras.workflow.evidence import Evidence
from cxrkeras.workflow.opened import OpenRun

DEFAULT_METHODS = ("layercam", "gradcam++")


@dataclass(frozen=True)
class Drift:
    """The drift between two checkpoints of one run.

    Attributes:
        first, last: epochs of the checkpoints.
        films: a row per method and film that is correct at both: `image`, `class`, `patient`, `method`, `backbone`,
            `seed`, the columns of `drift.metrics.film_drift`, and how it was measured.
        summary: a row per method, class (then ``all``) and metric, as `drift.summary.drift_summary`.
    """

    first: int
    last: int
    films: pd.DataFrame
    summary: pd.DataFrame


def drift(
    opened: OpenRun,
    evidence: Mapping[str, Evidence],
    first: int | None = None,
    last: int | None = None,
    *,
    options: DriftOptions | None = None,
    reporter: Reporter = SILENT,
) -> Drift:
    """Measure the drift of methods between two checkpoints, computing what maps are missing, and store both tables.

    Rows stored before for the same methods, checkpoints and split are replaced.

    Args:
        opened: the run.
        evidence: method -> its labelled films and how its maps are made, target `label`; all of one split.
        first: epoch before; None: the last checkpoint of transfer learning.
        last: epoch after; None: the last checkpoint.
        options: which overlap and correlation.
        reporter: told of progress.

    Raises:
        UsageError: `last` does not come after `first`, no method, or maps of another target than the label.
        DataError: a film's label is unknown.
        CheckpointError: no such checkpoint.
    """
    opened.require_one_class("drift")
    options = options or DriftOptions()
    first, last = checkpoints(opened.run, first, last)
    way = {"iou_rule": options.iou_rule, "correlation_rule": options.correlation}
    films, summaries = [], []
    for kept in retained_maps(opened, evidence, first, last, reporter):
        table = measured(kept.selection, opened.classes, kept.first, kept.last, options)
        counts = np.bincount(kept.evidence.selection.films.labels, minlength=len(opened.classes))
        totals = dict(zip(opened.classes, counts.tolist(), strict=True))
        how = {
            "backbone": opened.config.model.backbone,
            "seed": opened.config.training.seed,
            "method": kept.method,
            **way,
        }
        films.append(table.assign(**how))
        summaries.append(drift_summary(table, totals, options.metrics).assign(**how))
    result = Drift(
        first,
        last,
        _ordered(films, ["image", "class", "patient", "method", "backbone", "seed"]),
        _ordered(summaries, ["backbone", "seed", "method"]),
    )
    chosen = next(iter(evidence.values())).selection
    replace_drift_rows(chosen.sink.drift_path(first, last, chosen.split, FILMS), result.films, evidence, way)
    replace_drift_rows(
        chosen.sink.drift_path(first, last, chosen.split, SUMMARY), result.summary, evidence, way, reporter
    )
    return result


def study_drift(
    runs: Sequence[Run],
    split: str = "test",
    first: int | None = None,
    last: int | None = None,
    *,
    reporter: Reporter = SILENT,
) -> pd.DataFrame:
    """Ranking reversals across the methods and backbones of several runs, from their stored drift.

    Args:
        runs: runs on the same films.
        split: split that drift was measured on.
        first, last: epochs; None: as in `drift`.
        reporter: told which runs have no stored drift.

    Returns:
        As `drift.reversal.reversals`.

    Raises:
        RunError: no run has drift stored, or it was not measured in one way.
    """
    return reversals(stored_drift(runs, FILMS, split, first, last, reporter=reporter))


def _ordered(tables: list[pd.DataFrame], head: list[str]) -> pd.DataFrame:
    """The tables below each other, `head` first, and last how they were measured."""
    joined = pd.concat(tables, ignore_index=True)
    tail = [name for name in ("layer", "grid", *RULES) if name in joined]
    return joined[[*head, *(name for name in joined if name not in (*head, *tail)), *tail]]
