"""What a study does with a run once it is scored: analysis, drift and validity.

A later step is done again only when the maps, films or constants it stands on have changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import pandas as pd

from cxrkeras.errors import RunError
from cxrkeras.store import key8
from cxrkeras.study import Cell
from cxrkeras.workflow.analyse import analyse, read_analysis
from cxrkeras.workflow.drift.drift import drift
from cxrkeras.workflow.map_options import map_parameters
from cxrkeras.workflow.score.score import films_key
from cxrkeras.workflow.study.config import drift_epochs, recommended_on
from cxrkeras.workflow.study.scores import Scored, ScoreWork
from cxrkeras.workflow.validity import validity

# Raise it when analysis, drift or validity would come out otherwise from the same maps.
ANALYSIS_VERSION = 1


class LaterWork:
    """Analysis, drift and validity of one run of a study.

    Args:
        work: the run's scores.
        scored: what of them could be made.
    """

    def __init__(self, work: ScoreWork, scored: Scored) -> None:
        self.work, self.scored, self.settings = work, scored, work.config.study

    def is_current(self, cell: Cell) -> bool:
        """Whether a step was done with the maps, films and constants that are there now."""
        run = self.work.opened.run
        stored = {
            "analyse": run.analysis_path(cell.split, "recommendation"),
            "drift": run.drift_path(*drift_epochs(self.work.config, self.work.member), cell.split, "summary"),
            "validity": run.validity_path(cell.epoch or 0, cell.split, "perturbation"),
        }[cell.work]
        record = self.work.study.record(cell)
        return record.get("state") == "done" and record.get("inputs") == self._inputs(cell) and stored.exists()

    def analysis_pieces(self) -> list[list[Cell]]:
        """The analysis over all checkpoints, where there is anything to analyse."""
        name = self.work.member.name
        if self.scored.missing:
            self.work.reporter.notice(
                f"{name}: {', '.join(self.scored.missing)} left out of analysis, drift and validity, because not every "
                "checkpoint could be scored."
            )
        return [[Cell(name, "analyse", split=self.work.split)]] if self.scored.methods else []

    def analyse(self, cells: Sequence[Cell]) -> None:
        """Store findings, recommendation and the tables they rest on."""
        work = self.work
        chosen = {
            name: work.evidence(name, recommended_on(work.config, work.methods[name])) for name in self.scored.chosen
        }
        analyse(
            work.opened,
            {name: work.evidence(name, work.split) for name in self.scored.methods},
            epochs=self.scored.epochs,
            recommend=chosen or None,
            reporter=work.reporter,
        )
        work.study.note_inputs(cells[0], self._inputs(cells[0]))

    def drift_pieces(self) -> list[list[Cell]]:
        """The drift between two checkpoints, where there are two."""
        first, last = drift_epochs(self.work.config, self.work.member)
        if not self.settings.drift.enabled:
            return []
        if not self._drifting():
            self.work.reporter.notice(
                f"{self.work.member.name}: no drift, because none of {', '.join(self.settings.drift.methods)} is "
                "scored at every checkpoint. Name others under study.drift.methods."
            )
            return []
        if first == last or first == 0:
            self.work.reporter.notice(f"{self.work.member.name}: no drift, because there is one stage only.")
            return []
        if not {first, last} <= set(self.work.epochs):
            self.work.reporter.notice(
                f"{self.work.member.name}: no drift, because epochs {first} and {last} are not both stored. "
                "Name stored ones under study.drift.from and study.drift.to."
            )
            return []
        return [[Cell(self.work.member.name, "drift", split=self.work.split)]]

    def drift(self, cells: Sequence[Cell]) -> None:
        """Store the drift between two checkpoints."""
        evidence = {name: self.work.evidence(name, self.work.split) for name in self._drifting()}
        drift(
            self.work.opened, evidence, *drift_epochs(self.work.config, self.work.member), reporter=self.work.reporter
        )
        self.work.study.note_inputs(cells[0], self._inputs(cells[0]))

    def validity_pieces(self) -> list[list[Cell]]:
        """The validity checks, a cell a checkpoint at which one of the methods is reported."""
        if not self.settings.validity.enabled:
            return []
        return [
            [Cell(self.work.member.name, "validity", epoch=epoch, split=self.work.split)] for epoch in self._checked
        ]

    def validity(self, cells: Sequence[Cell]) -> None:
        """Store the validity checks of one checkpoint."""
        (cell,), wanted = cells, self.settings.validity
        evidence = {name: self.work.evidence(name, cell.split) for name in self._checked[cell.epoch]}
        validity(
            self.work.opened,
            cell.epoch,
            evidence,
            films=wanted.films,
            steps=wanted.steps,
            reporter=self.work.reporter,
        )
        self.work.study.note_inputs(cell, self._inputs(cell))

    def _drifting(self) -> list[str]:
        return [name for name in self.settings.drift.methods if name in self.scored.methods]

    @cached_property
    def _checked(self) -> dict[int, list[str]]:
        """Methods whose validity is checked, by the checkpoint they are reported at."""
        analysis = read_analysis(self.work.opened.run, self.work.split)
        if analysis is None:
            raise RunError(f"{self.work.opened.run.path} has no analysis. Repeat the command; it will be made.")
        checked: dict[int, list[str]] = {}
        for name in self.settings.validity.methods:
            if name in self.scored.methods:
                epoch, _ = reported_epoch(analysis.recommendation, analysis.auc, name)
                checked.setdefault(epoch, []).append(name)
        return checked

    def _inputs(self, cell: Cell) -> str:
        """Eight hex digits that stand for the maps, films and constants of a step."""
        more: Any = None
        epochs: Sequence[int] = self.scored.epochs
        if cell.work == "analyse":
            places = [(name, cell.split) for name in self.scored.methods]
            places += [(name, recommended_on(self.work.config, self.work.methods[name])) for name in self.scored.chosen]
            more = self.work.opened.config.score.model_dump()
        elif cell.work == "drift":
            places, epochs = (
                [(name, cell.split) for name in self._drifting()],
                drift_epochs(self.work.config, self.work.member),
            )
        else:
            places, epochs = [(name, cell.split) for name in self._checked[cell.epoch]], (cell.epoch,)
            more = [self.settings.validity.films, self.settings.validity.steps]
        return key8([ANALYSIS_VERSION, list(epochs), [self._place_key(*place, epochs) for place in places], more])

    def _place_key(self, name: str, split: str, epochs: Sequence[int]) -> list[str]:
        evidence, opened = self.work.evidence(name, split), self.work.opened
        maps = [key8(map_parameters(opened, epoch, name, evidence.options)) for epoch in epochs]
        return [name, split, films_key(evidence.selection), *maps]


def reported_epoch(recommendation: pd.DataFrame, auc: pd.DataFrame, method: str) -> tuple[int, bool]:
    """The checkpoint a method is reported at: the recommended one, else that of the best AUC, ties to the earliest.

    Args:
        recommendation: `method, status, checkpoint, …`.
        auc: `epoch, auc, …`.
        method: the method.

    Returns:
        The epoch, and whether it was recommended.
    """
    rows = recommendation[(recommendation["method"] == method) & (recommendation["status"] == "recommended")]
    if len(rows):
        return int(rows["checkpoint"].iloc[0]), True
    ranked = auc.sort_values(["auc", "epoch"], ascending=[False, True], na_position="last")
    return int(ranked["epoch"].iloc[0]), False
