"""The floor of drift: how far apart the maps of two runs that differ in nothing but the seed are.

Fine-tuning moves maps, and so does training once more; drift says something only above that floor.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cxrkeras.drift.metrics import DriftOptions
from cxrkeras.drift.summary import drift_above_floor
from cxrkeras.errors import DataError, UsageError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.workflow.drift.films import checkpoints, is_correct, measured, retained_maps
from cxrkeras.workflow.drift.tables import FLOOR, replace_drift_rows
from cxrkeras.workflow.evidence import Evidence, ensure
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.selection import Selection, run_split

# What a training does to the maps; the seed is compared, the rest only decides what is stored and how fast.
_RECIPE = (
    "batch_size", "learning_rate", "head_steps", "weight_decay", "layerwise_decay", "layer_groups", "plateau",
    "augment", "batch_norm", "class_weights", "mixed_precision",
)  # fmt: skip


def drift_floor(
    opened: OpenRun,
    other: OpenRun,
    evidence: Mapping[str, Evidence],
    first: int | None = None,
    last: int | None = None,
    *,
    options: DriftOptions | None = None,
    reporter: Reporter = SILENT,
) -> pd.DataFrame:
    """Drift beside the difference between two seeds, at the checkpoint before and at the one after, and store it.

    Args:
        opened, evidence, first, last, options, reporter: as in `workflow.drift.drift.drift`.
        other: a run of the same backbone on the same films with another seed, with the same checkpoints.

    Returns:
        A row per method, class (then ``all``), metric and checkpoint (`at`: ``from`` or ``to``) with the columns of
        `drift.summary.drift_above_floor`, on films that are correct at both checkpoints and, there, in both runs.

    Raises:
        UsageError: the other run differs in more than the seed, or not in the seed.
        DataError: the other run does not have the same films.
        CheckpointError: the other run lacks a checkpoint.
    """
    options = options or DriftOptions()
    first, last = checkpoints(opened.run, first, last)
    _check_comparable(opened, other, (first, last))
    retained = retained_maps(opened, evidence, first, last, reporter)
    tables = []
    for kept in retained:
        drifted = measured(kept.selection, opened.classes, kept.first, kept.last, options)
        theirs = _same_films(other, kept.selection, reporter)
        together = [each.method for each in retained if each.selection is kept.selection]
        for at, epoch, maps in (("from", first, kept.first), ("to", last, kept.last)):
            rows = np.flatnonzero(is_correct(other, epoch, theirs, reporter)) if len(theirs) else np.empty(0, int)
            pair = (None, None)
            if len(rows):
                made = ensure(other, epoch, theirs.take(rows), together, kept.evidence.options, reporter)
                pair = maps.subset(rows), made[kept.method]
            floor = measured(kept.selection.take(rows), opened.classes, *pair, options)
            table = drift_above_floor(drifted, floor, opened.classes, options.metrics)
            tables.append(table.assign(method=kept.method, at=at, epoch=epoch))
    joined = pd.concat(tables, ignore_index=True)
    head = ["method", "class", "metric", "at", "epoch"]
    way = {"floor_run": other.run.name, "iou_rule": options.iou_rule, "correlation_rule": options.correlation}
    joined = joined[[*head, *(name for name in joined if name not in head)]].assign(**way)
    chosen = next(iter(evidence.values())).selection
    replace_drift_rows(chosen.sink.drift_path(first, last, chosen.split, FLOOR), joined, evidence, way, reporter)
    return joined


def _check_comparable(opened: OpenRun, other: OpenRun, epochs: tuple[int, int]) -> None:
    mine, theirs = (
        {
            "classes": run.classes,
            "backbone": run.config.model.backbone,
            "weights": run.config.model.weights,
            "dropout": run.config.model.dropout,
            "image size": run.classifier.image_size,
            "resize": run.config.data.resize,
            "bits": run.config.data.bits,
            **{name.replace("_", " "): getattr(run.config.training, name) for name in _RECIPE},
            **{f"stage of epoch {epoch}": _stage(run, epoch) for epoch in epochs},
        }
        for run in (opened, other)
    )
    for name, value in mine.items():
        if theirs[name] != value:
            raise UsageError(
                f"the floor is the difference between two seeds, but {name} differs too: expected {value}, "
                f"received {theirs[name]} in {other.run.path}. Name a run that differs in nothing but --seed."
            )
    if opened.config.training.seed == other.config.training.seed:
        raise UsageError(
            f"the floor needs another seed: {opened.run.name} and {other.run.name} both have "
            f"{opened.config.training.seed}. Train one more run with another --seed."
        )


def _stage(opened: OpenRun, epoch: int) -> str:
    opened.run.resolve_epoch(epoch)
    return str(opened.run.history().set_index("epoch").loc[epoch, "stage"])


def _same_films(other: OpenRun, selection: Selection, reporter: Reporter) -> Selection:
    """The films of a selection in another run, in the same order.

    Raises:
        UsageError: the selection is not of a run's split.
        DataError: a film is not in that split of the other run, or has another label there.
    """
    if not selection.inside:
        raise UsageError("the floor is measured on a split that both runs have, not on films from outside.")
    whole = run_split(other, selection.split, reporter=reporter)
    where = {digest: row for row, digest in enumerate(whole.films.hashes.tolist())}
    mine = zip(selection.films.ids.tolist(), selection.films.hashes.tolist(), selection.films.labels, strict=True)
    rows = []
    for image, digest, label in mine:
        row = where.get(digest)
        if row is None or whole.films.labels[row] != label:
            raise DataError(
                f"the two runs do not have the same films: {image} is "
                f"{'not in' if row is None else 'labelled otherwise in'} split '{selection.split}' of {other.run.path} "
                "(compared by SHA-256). Name a run that was trained on the same data and split."
            )
        rows.append(row)
    return whole.take(np.array(rows, int))
