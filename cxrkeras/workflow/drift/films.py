"""What drift is measured on: two checkpoints of a run, the films correct at both, their maps, and each film's drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxrkeras.drift.metrics import DriftOptions, film_drift
from cxrkeras.errors import CheckpointError, DataError, UsageError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.maps import Maps
from cxrkeras.run import Run
from cxrkeras.training.routine import STAGES
from cxrkeras.workflow.evidence import Evidence, alike, ensure
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.predictions import ensure_predictions
from cxrkeras.workflow.selection import Selection


@dataclass(frozen=True)
class Retained:
    """The films that are correct at both checkpoints, with a method's maps of them.

    Attributes:
        method: the method.
        evidence: all its films, and how its maps are made.
        selection: those correct at both checkpoints, in the order of the maps.
        first, last: their maps; None where no film is correct at both.
    """

    method: str
    evidence: Evidence
    selection: Selection
    first: Maps | None
    last: Maps | None


def checkpoints(run: Run, first: int | None = None, last: int | None = None) -> tuple[int, int]:
    """Epochs of the two checkpoints; None: the last one of transfer learning, and the last of all.

    Raises:
        UsageError: the second does not come after the first.
        CheckpointError: no such checkpoint, or none of transfer learning.
    """
    before, after = stage_ends(run)
    first, last = before if first is None else first, after if last is None else last
    if first is None or last is None:
        raise CheckpointError(
            f"{run.path} has no checkpoint of transfer learning to start from. "
            f"Stored: {', '.join(map(str, run.epochs())) or 'none'}; name one with --from."
        )
    first, last = run.resolve_epoch(first), run.resolve_epoch(last)
    if first >= last:
        raise UsageError(
            f"drift leads from an earlier checkpoint to a later one. Received from {first} to {last}; "
            f"stored: {', '.join(map(str, run.epochs()))}. Choose with --from and --to."
        )
    return first, last


def stage_ends(run: Run) -> tuple[int | None, int | None]:
    """The last epoch of transfer learning and the last of all; of a run still in training, those with a checkpoint."""
    history = run.history()
    if run.state != "complete":
        history = history[history["epoch"].isin(run.epochs())]
    head = history.loc[history["stage"] == STAGES[0], "epoch"]
    return (int(head.max()) if len(head) else None), (int(history["epoch"].max()) if len(history) else None)


def retained_maps(
    opened: OpenRun, evidence: Mapping[str, Evidence], first: int, last: int, reporter: Reporter = SILENT
) -> list[Retained]:
    """Each method's films that are correct at both checkpoints, with their maps, computed where they are missing.

    Raises:
        UsageError: no method, maps of another target than the label, or several splits.
        DataError: a film's label is unknown.
    """
    _check(evidence)
    found: dict[str, Retained] = {}
    for names, own in alike(evidence):
        correct = [is_correct(opened, epoch, own.selection, reporter) for epoch in (first, last)]
        kept = own.selection.take(np.flatnonzero(correct[0] & correct[1]))
        maps = [
            ensure(opened, epoch, kept, names, own.options, reporter) if len(kept) else dict.fromkeys(names)
            for epoch in (first, last)
        ]
        found |= {name: Retained(name, own, kept, maps[0][name], maps[1][name]) for name in names}
    return [found[name] for name in evidence]


def is_correct(opened: OpenRun, epoch: int, selection: Selection, reporter: Reporter = SILENT) -> np.ndarray:
    """Whether each film is classified correctly at a checkpoint, bool ``[n]``."""
    return ensure_predictions(opened, epoch, selection, reporter).argmax(axis=1) == selection.films.labels


def measured(
    selection: Selection, classes: tuple[str, ...], first: Maps | None, second: Maps | None, options: DriftOptions
) -> pd.DataFrame:
    """The drift of each film: `image`, `class`, `patient`, the metrics of `film_drift`, `layer` and `grid`.

    Args:
        selection: the films, in the order of the maps.
        classes: class names.
        first, second: maps of one method; None for no film.
        options: which overlap and correlation.
    """
    none = np.empty((0, 1, 1), np.float32)
    table = film_drift(*(none if maps is None else maps.values for maps in (first, second)), options)
    about = {
        "image": selection.films.ids.tolist(),
        "class": [classes[label] for label in selection.films.labels],
        "patient": selection.patients_or_films.tolist(),
    }
    layer, grid = ("", "") if first is None else (first.layer, "×".join(map(str, first.grid)))
    return pd.concat([pd.DataFrame(about, dtype="str"), table], axis=1).assign(layer=layer, grid=grid)


def _check(evidence: Mapping[str, Evidence]) -> None:
    if not evidence:
        raise UsageError("drift needs at least one method. Received none; for example layercam.")
    for name, own in evidence.items():
        if not own.selection.labelled:
            raise DataError("drift needs a label for every film: it compares films that are classified correctly.")
        if own.options.target != "label":
            raise UsageError(
                f"drift compares maps of the films' labels. Received target '{own.options.target}' for {name}. "
                "Leave the target out."
            )
    splits = sorted({own.selection.split for own in evidence.values()})
    if len(splits) > 1:
        raise UsageError(f"drift is measured on one split at a time. Received {', '.join(splits)}.")
