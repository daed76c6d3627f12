"""Localization in a study: one cell a run, judged at the checkpoint that the study names against experts' marks.

Done again only when the maps, marks, films or settings it stands on have changed, or when the run was localized
otherwise since: its table holds the rows of all who asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from cxrkeras.cams.registry import FORWARD, METHODS
from cxrkeras.data.annotations import Annotations, read_annotations
from cxrkeras.errors import CheckpointError
from cxrkeras.run import Run
from cxrkeras.store import key8, sha256_file
from cxrkeras.study import Cell, StudyConfig
from cxrkeras.workflow.localize.films import annotated_films, own_masks
from cxrkeras.workflow.localize.localize import LocalizeSettings, localize
from cxrkeras.workflow.map_options import map_options, map_parameters
from cxrkeras.workflow.score.score import films_key
from cxrkeras.workflow.selection import Selection, select
from cxrkeras.workflow.study.config import methods_for
from cxrkeras.workflow.study.scores import ScoreWork

WORK = "localize"
# Raise it when localization would come out otherwise from the same maps and marks.
LOCALIZE_VERSION = 1


class LocalizeWork:
    """Localization of one run of a study.

    Args:
        work: the run's scores, for its run, films and reporter.
    """

    def __init__(self, work: ScoreWork) -> None:
        self.work, self.wanted = work, work.config.study.localize

    def pieces(self) -> list[list[Cell]]:
        """The cell, where the study localizes."""
        if not self.wanted.enabled:
            return []
        run, split = Run(self.work.study.run_path(self.work.member.name)), localize_split(self.work.config)
        return [[Cell(self.work.member.name, WORK, epoch=localize_epoch(self.work.config, run), split=split)]]

    def is_current(self, cell: Cell) -> bool:
        """Whether it was done with the maps, marks, films and settings that are there now."""
        record = self.work.study.record(cell)
        if record.get("state") != "done" or cell.epoch is None:
            return False
        return self._summary(cell).exists() and record.get("inputs") == self._inputs(cell)

    def localize(self, cells: Sequence[Cell]) -> None:
        """Store where the maps lie."""
        (cell,), work = cells, self.work
        if cell.epoch is None:
            # says why there is none
            work.opened.run.resolve_epoch(self.wanted.epoch)
        truth = annotated_films(
            work.opened, self._selection, self._annotations, self.wanted.map, reporter=work.reporter
        )
        options = map_options(work.opened, self._selection)
        methods = localize_methods(work.config, work.member.label)
        localize(work.opened, cell.epoch, truth, methods, options, self._settings, reporter=work.reporter)
        work.study.note_inputs(cell, self._inputs(cell))

    @property
    def _settings(self) -> LocalizeSettings:
        return LocalizeSettings(
            threshold=self.wanted.threshold,
            tolerance=self.wanted.tolerance,
            chance=self.wanted.chance,
            draws=self.wanted.draws,
            allow_untrained=self.work.config.study.allow_untrained,
        )

    @cached_property
    def _selection(self) -> Selection:
        return select(self.work.opened, split=localize_split(self.work.config), reporter=self.work.reporter)

    @cached_property
    def _annotations(self) -> Annotations:
        marks = self.wanted.boxes or self.wanted.masks
        if marks is None:
            return own_masks(self.work.opened, self._selection)
        return read_annotations(marks, box_size=self.wanted.box_size, finding=self.wanted.finding)

    def _inputs(self, cell: Cell) -> str:
        """Eight hex digits that stand for the maps, marks, films, settings and the stored table."""
        opened, options = self.work.opened, map_options(self.work.opened, self._selection)
        methods = localize_methods(self.work.config, self.work.member.label)
        maps = [key8(map_parameters(opened, cell.epoch, name, options)) for name in methods]
        wanted = self.wanted.model_dump(exclude={"boxes", "masks"})
        made = [LOCALIZE_VERSION, wanted, self._annotations.sha256, films_key(self._selection), maps]
        return key8([*made, sha256_file(self._summary(cell))])

    def _summary(self, cell: Cell) -> Path:
        return self.work.opened.run.localization_path(cell.epoch, cell.split, "summary")


def localize_split(config: StudyConfig) -> str:
    """The split that a study localizes on."""
    return config.study.localize.split or config.study.split


def localize_methods(config: StudyConfig, label: str) -> tuple[str, ...]:
    """The methods whose maps are judged for a backbone: as named, else those that need no forwards of their own."""
    if config.study.localize.methods is not None:
        return config.study.localize.methods
    return tuple(name for name in methods_for(config, label) if METHODS[name].kind != FORWARD)


def localize_epoch(config: StudyConfig, run: Run) -> int | None:
    """The checkpoint a run is localized at; None where it has no such one."""
    which = config.study.localize.epoch
    return best_checkpoint(run) if which == "best" else _resolved(run, which)


def best_checkpoint(run: Run) -> int | None:
    """The checkpoint of the highest validation AUC; the last of a run without a trained epoch; None if unknown."""
    return _resolved(run, "best" if run.head_trained else "last")


def _resolved(run: Run, which: int | str) -> int | None:
    try:
        return run.resolve_epoch(which)
    except CheckpointError:
        return None
