"""The same annotated films in another run: another model's maps of them, scored against the same marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxrkeras.data.films import FilmStore
from cxrkeras.data.filmset import FilmSet, file_hashes
from cxrkeras.errors import RunError, UsageError, did_you_mean
from cxrkeras.events import SILENT, Reporter
from cxrkeras.run import Run
from cxrkeras.store import key8
from cxrkeras.workflow.localize.films import AnnotatedFilms
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.selection import Selection, run_split


@dataclass(frozen=True)
class Model:
    """A checkpoint of a run.

    Attributes:
        opened: the run.
        epoch: epoch of a stored checkpoint.
    """

    opened: OpenRun
    epoch: int

    @property
    def name(self) -> str:
        """`run@epoch`."""
        return f"{self.opened.run.name}@{self.epoch}"


def model_of(text: str) -> Model:
    """A checkpoint as typed: `RUN` (its last) or `RUN@EPOCH`, where an epoch is a number, `best` or `last`.

    Raises:
        RunError: no such run.
        UsageError: not an epoch.
    """
    name, _, epoch = text.rpartition("@") if "@" in text.rpartition("/")[2] else (text, "", "")
    run = Run.open(name)
    return Model(OpenRun(run), run.resolve_epoch(epoch or "last"))


def check_trained(opened: OpenRun, *, allow_untrained: bool, reporter: Reporter = SILENT) -> bool:
    """Whether a run's head was trained.

    Raises:
        RunError: it was not, and that is not allowed.
    """
    if opened.run.head_trained:
        return True
    if not allow_untrained:
        raise RunError(
            f"run {opened.run.name} was never trained: its head is random, so its maps explain no learned class. "
            "Train it (cxrkeras train --epochs N,M), or add --allow-untrained, which marks the rows and the figure."
        )
    reporter.notice(f"{opened.run.name}: head not trained. Its maps explain no learned class; rows and figure say so.")
    return False


def in_run(truth: AnnotatedFilms, own: OpenRun, other: OpenRun, reporter: Reporter = SILENT) -> AnnotatedFilms:
    """The same annotated films as another run reads them; see `films_in_run`."""
    return replace(truth, selection=films_in_run(truth.selection, truth.classes, own, other, reporter))


def films_in_run(
    selection: Selection, classes: Sequence[str], own: OpenRun, other: OpenRun, reporter: Reporter = SILENT
) -> Selection:
    """The same films as another run reads them, in the same order.

    Films that are all in one split of the other run are taken from there, by the bytes of their files; else they are
    films from outside it. Members keep their ids, so that both runs' rows are paired.

    Args:
        selection: the films.
        classes: classes that are explained.
        own: the run that they are a selection of.
        other: the other run.
        reporter: told when the other run was trained on some of them.

    Raises:
        UsageError: the other run does not know a class.
    """
    for name in classes:
        if name not in other.classes:
            raise UsageError(
                f"run {other.run.name} has no class '{name}', which is compared. Its classes: "
                f"{', '.join(other.classes)}.{did_you_mean(name, other.classes)}"
            )
    hashes = selection.films.hashes.tolist()
    trained = set(other.frame["sha256"][other.frame["split"] == "train"])
    seen = sum(digest in trained for digest in file_hashes(hashes))
    if seen:
        reporter.notice(
            f"{other.run.name} was trained on {seen} of the {len(hashes)} films: the comparison favours it."
        )
    place = {digest: row for row, digest in reversed(list(enumerate(other.films.hashes.tolist())))}
    rows = np.array([place[digest] for digest in hashes if digest in place], int)
    splits = set(other.frame["split"].iloc[rows])
    if len(rows) == len(hashes) and len(splits) == 1:
        whole = run_split(other, splits.pop(), reporter=reporter)
        at = {digest: row for row, digest in reversed(list(enumerate(whole.films.hashes.tolist())))}
        chosen = whole.take(np.array([at[digest] for digest in hashes], int))
    else:
        chosen = _from_outside(selection, own, other)
    # results that were asked for elsewhere (--out) leave the other run as it is
    elsewhere = not selection.sink.path.resolve().is_relative_to(own.run.path.resolve())
    return replace(chosen, sink=selection.sink) if elsewhere else chosen


def _from_outside(selection: Selection, own: OpenRun, other: OpenRun) -> Selection:
    films, size = selection.films, other.classifier.input_shape[:2]
    number = {name: index for index, name in enumerate(other.classes)}
    labels = [number.get(own.classes[label], -1) if label >= 0 else -1 for label in films.labels]
    settings = other.config.data
    files = [films.store.files[index] for index in films.indices]
    alterations = films.store.alterations
    there = FilmSet(
        store=FilmStore(
            files,
            size,
            resize=settings.resize,
            bits=settings.bits,
            alterations=alterations and [alterations[index] for index in films.indices],
            names=file_hashes(films.hashes),
        ),
        indices=np.arange(len(films)),
        labels=np.array(labels, np.int64),
        ids=films.ids,
        hashes=films.hashes,
    )
    folder = other.run.outside_path(f"{own.run.name}-{key8(str(own.run.path.resolve()))}")
    return Selection(there, selection.frame, "all", Run(folder), inside=False)
