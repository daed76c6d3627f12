"""The scores of one run of a study: which cells there are, which are stored, and how missing ones are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cxrkeras.cams.registry import FORWARD, METHODS
from cxrkeras.events import SILENT, Reporter
from cxrkeras.run import Run
from cxrkeras.store import key8
from cxrkeras.study import Cell, Member, Outcome, Study, StudyConfig
from cxrkeras.study.config import StudyMethod
from cxrkeras.workflow.evidence import Evidence
from cxrkeras.workflow.map_options import map_options
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.score.score import resolved_settings, score_selection, stored_rows
from cxrkeras.workflow.selection import Selection, select
from cxrkeras.workflow.study.config import methods_for, recommended_on, stored_epochs


class ScoreWork:
    """The scores of one run of a study.

    Args:
        study: the study.
        config: its resolved configuration.
        member: the run.
        reporter: told of progress.
    """

    def __init__(self, study: Study, config: StudyConfig, member: Member, reporter: Reporter = SILENT) -> None:
        self.study, self.config, self.member, self.reporter = study, config, member, reporter
        self.split = config.study.split
        self.methods = methods_for(config, member.label)
        self.epochs = stored_epochs(member, Run(study.run_path(member.name)))
        self._selections: dict[tuple[str, int | None], Selection] = {}

    @cached_property
    def opened(self) -> OpenRun:
        """The run, its classifier and films at hand."""
        return OpenRun(Run(self.study.run_path(self.member.name)))

    def evidence(self, name: str, split: str) -> Evidence:
        """Films and options of a method on a split."""
        method = self.methods[name]
        key = split, method.limit
        if key not in self._selections:
            self._selections[key] = select(self.opened, split=split, limit=method.limit, reporter=self.reporter)
        selection = self._selections[key]
        return Evidence(selection, map_options(self.opened, selection, given=method.options))

    def splits(self, name: str) -> tuple[str, ...]:
        """Splits a method is scored on: the evaluation split, and the one its checkpoint is chosen on."""
        return tuple(dict.fromkeys((self.split, recommended_on(self.config, self.methods[name]))))

    def epochs_of(self, method: StudyMethod) -> list[int]:
        """Checkpoints of this run that a method is scored at; runs of other recipes may have others."""
        return [epoch for epoch in self.epochs if method.epochs is None or epoch in method.epochs]

    def pieces(self) -> list[list[Cell]]:
        """Cells to score: what shares a forward together, each method with forwards of its own alone and last."""
        pieces: dict[tuple[Any, ...], list[Cell]] = {}
        for name, method in self.methods.items():
            own = name if METHODS[name].kind == FORWARD else ""
            for split in self.splits(name):
                for epoch in self.epochs_of(method):
                    place = (bool(own), epoch, split, own, *_group(method))
                    pieces.setdefault(place, []).append(Cell(self.member.name, "score", name, epoch, split))
        return [pieces[place] for place in sorted(pieces, key=lambda place: place[:2])]

    def is_scored(self, cell: Cell) -> bool:
        """Whether the rows of a cell are stored, made with exactly these maps, films and constants."""
        evidence = self.evidence(cell.method, cell.split)
        settings = resolved_settings(self.opened, {})
        rows = stored_rows(self.opened, cell.epoch, evidence.selection, cell.method, evidence.options, settings)
        return rows is not None

    def score(self, cells: Sequence[Cell]) -> None:
        """Score cells of one checkpoint, beside what is scored there already on the same films."""
        first = cells[0]
        evidence = self.evidence(first.method, first.split)
        score_selection(
            self.opened,
            [first.epoch],
            evidence.selection,
            ",".join(name for name in self.methods if self._belongs(name, cells)),
            evidence.options,
            {},
            reuse=True,
            reporter=self.reporter,
        )

    def _belongs(self, name: str, cells: Sequence[Cell]) -> bool:
        """Whether a method is among the cells, or scored before at the same place."""
        first, method = cells[0], self.methods[name]
        if name in {cell.method for cell in cells}:
            return True
        if _group(method) != _group(self.methods[first.method]) or first.split not in self.splits(name):
            return False
        at_this_epoch = first.epoch in self.epochs_of(method)
        return at_this_epoch and self.is_scored(Cell(first.run, "score", name, first.epoch, first.split))


@dataclass(frozen=True)
class Scored:
    """What of a run was scored, so that later steps leave out what was not.

    Attributes:
        epochs: checkpoints with at least one scored method.
        methods: methods scored at every one of them, on the evaluation split.
        chosen: those of them scored everywhere on the split their checkpoint is chosen on, where it is another one.
        missing: methods that later steps have to do without, though they were to be scored at every checkpoint.
    """

    epochs: tuple[int, ...]
    methods: tuple[str, ...]
    chosen: tuple[str, ...]
    missing: tuple[str, ...]


def scored_of(outcomes: Sequence[Outcome], work: ScoreWork) -> Scored:
    """Sum up the outcomes of a run's score cells."""
    done = {(o.cell.split, o.cell.epoch, o.cell.method) for o in outcomes if o.state == "done"}
    whole = [name for name, method in work.methods.items() if method.epochs is None]
    epochs = tuple(e for e in work.epochs if any((work.split, e, name) in done for name in whole))
    methods = tuple(name for name in whole if epochs and all((work.split, e, name) in done for e in epochs))
    chosen = tuple(
        name
        for name in methods
        if (on := recommended_on(work.config, work.methods[name])) != work.split
        and all((on, e, name) in done for e in epochs)
    )
    return Scored(epochs, methods, chosen, tuple(name for name in whole if name not in methods))


def _group(method: StudyMethod) -> tuple[int, str]:
    """Methods of one group have the same films and options, and are scored side by side."""
    return method.limit or 0, key8(method.options)
