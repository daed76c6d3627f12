"""Which films a gallery shows, which class of each is explained, and what experts marked on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrkeras.data.annotations import Annotations
from cxrkeras.errors import TargetError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.workflow.localize.films import AnnotatedFilms, annotated_films
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.selection import Selection

FILMS = 8


@dataclass(frozen=True)
class Marks:
    """What experts marked, and which class stands for a finding of another name."""

    annotations: Annotations
    findings: Mapping[str, str]


@dataclass(frozen=True)
class Shown:
    """The films of a gallery, in the order of its rows.

    Attributes:
        selection: the films, as the first run reads them.
        classes: class that is explained, a film each.
        members: positions in `annotated` of what was marked for that class, a tuple a film.
        annotated: the annotated films, or None without marks.
    """

    selection: Selection
    classes: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    annotated: AnnotatedFilms | None

    @property
    def ids(self) -> list[str]:
        """Film ids."""
        return [str(one) for one in self.selection.films.ids]

    @property
    def files(self) -> list[Path]:
        """The files of the films."""
        films = self.selection.films
        return [films.store.files[index] for index in films.indices]

    @property
    def patients(self) -> list[str]:
        """Patients, empty where unknown."""
        known = self.selection.patients
        return [""] * len(self.selection) if known is None else [str(one) for one in known]

    @property
    def marked(self) -> list[list[str]]:
        """Findings that were marked for the explained class, a list a film."""
        if self.annotated is None:
            return [[] for _ in self.members]
        members = self.annotated.members
        return [list(dict.fromkeys(members[i].finding for i in own)) for own in self.members]

    def truth(self, i: int) -> np.ndarray | None:
        """The union of what was marked on film `i` for its class, bool ``[H, W]``; None where nothing was."""
        if self.annotated is None or not self.members[i]:
            return None
        members = [self.annotated.members[place] for place in self.members[i]]
        joined = replace(members[0], regions=tuple(region for one in members for region in one.regions))
        return replace(self.annotated, members=(joined,)).truth(0)


def shown_films(
    opened: OpenRun,
    selection: Selection,
    target: str | None,
    marks: Marks | None,
    limit: int | None,
    every: bool,
    reporter: Reporter = SILENT,
) -> Shown:
    """Choose films: annotated ones first, evenly over the classes, drawn with the run's seed.

    Args:
        opened: the run.
        selection: films to choose from.
        target: class that is explained; None: the film's label, else the one class it is marked or positive for.
        marks: what experts marked, or None.
        limit: films a class; None: `FILMS` in all.
        every: take all of them.
        reporter: told which films cannot be shown.

    Raises:
        TargetError: no film has a class, or with `every` one has none.
    """
    annotated = None
    if marks is not None:
        annotated = annotated_films(opened, selection, marks.annotations, marks.findings, reporter=reporter)
    places = _members_by_image(annotated)
    ids = selection.films.ids.tolist()
    classes = [
        target or _class_of(opened, selection, row, annotated, places.get(ids[row], ())) for row in range(len(ids))
    ]
    members = [
        tuple(i for i in places.get(image, ()) if annotated.members[i].class_name == name)
        for image, name in zip(ids, classes, strict=True)
    ]
    known = np.array([name is not None for name in classes])
    if not known.all():
        told = f"{(~known).sum()} of {len(known)} films have no one class to explain"
        if every or not known.any():
            raise TargetError(f"{told}, first {ids[int(np.argmin(known))]}. Name one with --target CLASS.")
        reporter.notice(f"{told} and are not shown; --target CLASS takes them in.")
    usable = np.flatnonzero(known)
    rows = usable
    if not every:
        groups = np.unique([classes[row] for row in usable], return_inverse=True)[1]
        if target is not None:
            groups = selection.films.labels[usable]
        marked = np.array([bool(members[row]) for row in usable])
        rows = usable[chosen_rows(groups, marked, opened.config.data.seed, limit, None if limit else FILMS)]
    return Shown(
        selection.take(rows), tuple(classes[row] for row in rows), tuple(members[row] for row in rows), annotated
    )


def chosen_rows(
    groups: np.ndarray, marked: np.ndarray, seed: int, per_group: int | None, in_all: int | None
) -> np.ndarray:
    """Positions to show: marked ones first, the groups in turn, drawn at random; in the order of groups, then rows.

    Args:
        groups: group of each film, int ``[n]``.
        marked: whether an expert marked it, bool ``[n]``.
        seed: draws the films.
        per_group: at most so many of a group.
        in_all: at most so many.
    """
    drawn = np.random.default_rng(seed).permutation(len(groups))
    drawn = drawn[np.argsort(~marked[drawn], kind="stable")]
    turn = np.zeros(len(groups), int)
    for group in np.unique(groups):
        own = drawn[groups[drawn] == group]
        turn[own] = np.arange(len(own))
    order = np.lexsort((groups, turn, ~marked))
    if per_group is not None:
        order = order[turn[order] < per_group]
    chosen = np.sort(order[:in_all])
    return chosen[np.argsort(groups[chosen], kind="stable")]


def _members_by_image(annotated: AnnotatedFilms | None) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for i, member in enumerate(annotated.members if annotated is not None else ()):
        places.setdefault(member.image, []).append(i)
    return places


def _class_of(
    opened: OpenRun, selection: Selection, row: int, annotated: AnnotatedFilms | None, members: tuple[int, ...]
) -> str | None:
    """The film's label, else the one class it is marked for, else the one it is positive for."""
    films = selection.films
    if films.labels[row] >= 0:
        return opened.classes[films.labels[row]]
    named = {annotated.members[i].class_name for i in members} if annotated is not None else set()
    if not named and films.truth is not None:
        named = {opened.classes[index] for index in np.flatnonzero(films.truth[row] == 1)}
    return named.pop() if len(named) == 1 else None
