"""The history of a run's checkpoints: AUC, gold lists, scores, and what changed between two of them.

Turns stored predictions, score rows and maps into the plain record that the findings are read from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.consistency.coverage import gold_coverage
from cxrkeras.consistency.history import Checkpoint, ClassState, History, MethodState
from cxrkeras.consistency.paired import Changes, consistency_change
from cxrkeras.errors import UsageError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.maps import Maps
from cxrkeras.stats import exact_auc, patient_bootstrap, resampled_auc
from cxrkeras.workflow.evidence import Evidence, ensure
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.predictions import ensure_predictions
from cxrkeras.workflow.score.table import every_status
from cxrkeras.workflow.selection import Selection, run_split

AUC_COLUMNS = ["epoch", "stage", "split", "auc", "ci_low", "ci_high", "status"]


@dataclass(frozen=True)
class Scored:
    """Every film that is judged, its probabilities and the scores of each method.

    Attributes:
        opened: the run.
        evidence: method name -> its films and options.
        whole: all films of the split; the AUC and the gold lists stand on them even where a method has fewer.
        epochs: epochs of the checkpoints, ascending.
        scores: the long table of every method and epoch.
        settings: every constant of the C-Score.
    """

    opened: OpenRun
    evidence: Mapping[str, Evidence]
    whole: Selection
    epochs: Sequence[int]
    scores: pd.DataFrame
    settings: Mapping[str, Any]


def whole_split(opened: OpenRun, evidence: Mapping[str, Evidence], reporter: Reporter = SILENT) -> Selection:
    """All films of the split that the evidence is from; of films from outside, those of the method with the most.

    Raises:
        UsageError: no method, or methods whose films are from different splits or go to different places.
    """
    selections = [own.selection for own in evidence.values()]
    if not selections:
        raise UsageError("nothing to analyse: expected at least one method, received none. Name some with --method.")
    first = selections[0]
    places = {(one.split, one.inside, str(one.sink.path)) for one in selections}
    if len(places) > 1:
        raise UsageError(
            f"an analysis is of one split: expected the same split and directory for every method, received "
            f"{', '.join(sorted(f'{split} in {path}' for split, _, path in places))}. Analyse one after the other."
        )
    if not first.inside:
        return max(selections, key=len)
    return replace(run_split(opened, first.split, reporter=reporter), sink=first.sink)


def auc_table(scored: Scored, reporter: Reporter = SILENT) -> pd.DataFrame:
    """Exact AUC of every checkpoint on the whole split, with its interval over resampled patients."""
    whole, rows = scored.whole, []
    patients = whole.patients_or_films
    stages = scored.opened.run.history().set_index("epoch")["stage"].to_dict()
    for epoch in scored.epochs:
        probabilities = ensure_predictions(scored.opened, epoch, whole, reporter)
        auc = exact_auc(whole.films.labels, probabilities)
        around = patient_bootstrap(resampled_auc(whole.films.labels, probabilities), patients)
        status = auc.status if auc.status != "ok" else around.status
        rows.append([epoch, stages.get(epoch, ""), whole.split, auc.value, around.low, around.high, status])
    return pd.DataFrame(rows, columns=AUC_COLUMNS)


def run_history(scored: Scored, auc: pd.DataFrame, reporter: Reporter = SILENT) -> History:
    """The history of the checkpoints on one split.

    Args:
        scored: what they were scored on.
        auc: the table of `auc_table`.
        reporter: told of progress.
    """
    opened, whole = scored.opened, scored.whole
    aucs = auc.set_index("epoch")["auc"]
    points = []
    for epoch in scored.epochs:
        gold, largest = gold_coverage(
            whole.films.labels,
            ensure_predictions(opened, epoch, whole, reporter),
            threshold=scored.settings["threshold"],
            classes=opened.classes,
            patients=whole.patients,
        )
        here = scored.scores[scored.scores["epoch"] == epoch]
        methods = {name: _state(here[here["method"] == name]) for name in scored.evidence}
        points.append(Checkpoint(epoch, float(aucs[epoch]), gold, methods, largest))
    return History(opened.run.name, tuple(points), _Changes(scored), scored.settings["threshold"])


def judged_maps(scored: Scored, method: str, epoch: int) -> tuple[Maps, np.ndarray]:
    """A method's maps and the probabilities of its films at one checkpoint."""
    own = scored.evidence[method]
    maps = ensure(scored.opened, epoch, own.selection, [method], own.options)[method]
    return maps, ensure_predictions(scored.opened, epoch, own.selection)


class _Changes:
    """The changes of a run, read from its maps when they are asked for."""

    def __init__(self, scored: Scored) -> None:
        self._scored = scored
        # The checkpoint that others are compared with, and the last ones met.
        self._side = lru_cache(maxsize=4)(lambda method, epoch: judged_maps(scored, method, epoch))

    def __call__(self, method: str, earlier: int, later: int) -> Changes:
        selection = self._scored.evidence[method].selection
        (maps_from, p_from), (maps_to, p_to) = (self._side(method, epoch) for epoch in (earlier, later))
        return consistency_change(
            maps_from,
            p_from,
            maps_to,
            p_to,
            selection.films.labels,
            patients=selection.patients,
            status_from=every_status(maps_from),
            status_to=every_status(maps_to),
            **self._scored.settings,
        )


def _state(rows: pd.DataFrame) -> MethodState:
    over_all = rows[rows["level"] == "global"].set_index("class")["score"]
    classes = {
        str(row["class"]): ClassState(
            score=float(row["score"]),
            coverage=float(row["coverage"]),
            n_gold=int(row["n_gold"]),
            n_patients=int(row["n_patients"]),
            n_degenerate=int(row["n_degenerate"]),
            excess=float(row["excess"]),
            excess_stderr=float(row["excess_stderr"]),
            status=str(row["status"]),
        )
        for _, row in rows[rows["level"] == "class"].iterrows()
    }
    return MethodState(float(over_all["macro"]), classes)
