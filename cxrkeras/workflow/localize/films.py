"""Annotations × films: which films of a selection carry expert marks, for which class, and where they lie.

Knows annotations and films; no map, no metric and no file of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrkeras.data.annotations import (
    Annotations,
    Region,
    matched_films,
    read_annotations,
)
from cxrkeras.data.images import picture_size
from cxrkeras.errors import DataError, UsageError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.store import key8
from cxrkeras.workflow.localize.matching import (
    EACH,
    FRONTAL,
    frontal_films,
    mapped_findings,
    positive_marks,
    tell_unmatched,
    with_negatives,
)
from cxrkeras.workflow.localize.tables import UNION
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.selection import Selection

TP, FULL = "tp", "full"
SLICES = (TP, FULL)
# a film and its marks may differ by rounding to whole pixels, not by more
_SAME_SHAPE = 0.02


@dataclass(frozen=True)
class AnnotatedFilm:
    """A film with what was marked on it for one finding.

    Attributes:
        row: position of the film in the selection.
        image: the film's id.
        patient: its patient; the id where patients are unknown.
        finding: what was marked.
        class_name: class of the run that stands for it.
        annotator: who marked it, or `union`.
        regions: the marks; none, or empty ones, on a film that was read and is free of the finding.
    """

    row: int
    image: str
    patient: str
    finding: str
    class_name: str
    annotator: str
    regions: tuple[Region, ...]

    @property
    def marked(self) -> bool:
        """Whether anything was marked."""
        return any(not region.is_empty for region in self.regions)


@dataclass(frozen=True)
class AnnotatedFilms:
    """The films that maps are scored on, a member per film, finding and annotator.

    Attributes:
        selection: the films, each once.
        members: what is scored, in the order of findings, then films.
        findings: finding -> class of the run.
        film_sizes: ``(height, width)`` in pixels of each film's file, one per film of the selection.
        annotations: 8 hex of the annotations' SHA-256 and the sizes they are in.
        source: where the annotations came from.
        whole: all the films that they were taken from.
        slice: `tp` or `full`.
        annotators: `union` or `each`.
    """

    selection: Selection
    members: tuple[AnnotatedFilm, ...]
    findings: Mapping[str, str]
    film_sizes: tuple[tuple[int, int], ...]
    annotations: str
    source: str
    whole: Selection
    slice: str = TP
    annotators: str = UNION

    def __len__(self) -> int:
        return len(self.members)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that maps are needed of."""
        return tuple(dict.fromkeys(member.class_name for member in self.members))

    @property
    def patients(self) -> set[str]:
        """Patients of the films."""
        return {member.patient for member in self.members}

    def truth(self, i: int) -> np.ndarray:
        """What was marked on member `i`: the union of its regions, bool ``[H, W]`` at the annotation's own size."""
        member = self.members[i]
        if not member.regions:
            return np.zeros(self.film_sizes[member.row], bool)
        size = max((region.size for region in member.regions), key=lambda shape: shape[0] * shape[1])
        joined = np.zeros(size, bool)
        for region in member.regions:
            joined |= enlarged(region.mask(), size)
        return joined

    def region(self, i: int, opened: OpenRun) -> tuple[float, float, float, float] | None:
        """Which part of a run's input the film of member `i` fills, as `maps.resize` takes it; None: all of it."""
        return opened.film_region(self.film_sizes[self.members[i].row])

    def of_class(self, class_name: str) -> np.ndarray:
        """Positions in the selection of the films that need maps of a class, ascending."""
        return np.array(sorted({member.row for member in self.members if member.class_name == class_name}), int)


def own_masks(opened: OpenRun, selection: Selection) -> Annotations:
    """The masks that a selection's own manifest names, as the phantom's does.

    Raises:
        UsageError: it names none.
    """
    if "mask" not in selection.frame:
        raise UsageError(
            f"run {opened.run.name}, split {selection.split}: the films have no masks of their own. "
            "Give expert marks with --boxes FILE (CSV, json) or --masks DIR (PNG)."
        )
    table = Path(opened.config.data.path)
    if selection.inside and table.is_file():
        return read_annotations(table)
    film, name = selection.films.store.files[selection.films.indices[0]], str(selection.films.ids[0])
    return read_annotations(film.parents[name.count("/")])


def annotated_films(
    opened: OpenRun,
    selection: Selection,
    annotations: Annotations,
    findings: Mapping[str, str] | None = None,
    *,
    slice: str = TP,
    annotators: str = UNION,
    views: str = FRONTAL,
    negatives_read: bool = False,
    reporter: Reporter = SILENT,
) -> AnnotatedFilms:
    """Match annotations with films and findings with classes, and say what was left out.

    Args:
        opened: the run.
        selection: the films.
        annotations: what was marked.
        findings: finding -> class, where their names differ; others go by their own name, without regard to case.
        slice: `tp`: films that are marked and whose label is the class (an unknown label counts as it); `full`: every
            film that was read for the finding, whatever its label.
        annotators: `union` of all annotators, or `each` alone.
        views: `frontal` leaves lateral films out where a view column exists; `all`.
        negatives_read: all films of the selection without a mark were read and are free of the findings.
        reporter: told how findings are mapped, and how many films were left out and why.

    Raises:
        UsageError: a finding or class that does not exist, or the slice `full` of annotations that only list marks.
        DataError: no annotated film is left.
    """
    if slice == FULL and not negatives_read and not any(region.is_empty for region in annotations.regions):
        raise UsageError(
            "slice 'full' counts films without a mark, and lists of marks do not say which films were read. "
            "Give --negatives-read if every film of the selection was, or use --slice tp."
        )
    for text in annotations.notices:
        reporter.notice(text)
    mapped = mapped_findings(annotations.findings, opened.classes, findings or {}, reporter)
    place = matched_films(annotations.images, selection.films.ids.tolist())
    tell_unmatched(annotations, mapped, place, reporter)
    frontal = frontal_films(selection, views, reporter)
    marks: dict[tuple[str, int, str], list[Region]] = {}
    for region in annotations.regions:
        row = place.get(region.image)
        if region.finding in mapped and row is not None and frontal[row]:
            annotator = region.annotator if annotators == EACH else UNION
            marks.setdefault((region.finding, row, annotator), []).append(region)
    if slice == TP:
        marks = {key: own for key, own in marks.items() if any(not region.is_empty for region in own)}
        wanted = positive_marks(opened, selection, marks, mapped, reporter)
    else:
        wanted = with_negatives(marks, mapped, np.flatnonzero(frontal)) if negatives_read else marks
    if not wanted:
        raise DataError(
            f"no film of split '{selection.split}' of run {opened.run.name} is left to score. {annotations.source} "
            f"marks {len(annotations.images)} films, {len(place)} of them are in the split. "
            "Check --split, --data and the label of the films."
        )
    return _collected(opened, selection, annotations, wanted, mapped, slice, annotators, reporter)


def _collected(
    opened: OpenRun,
    selection: Selection,
    annotations: Annotations,
    marks: Mapping[tuple[str, int, str], list[Region]],
    mapped: Mapping[str, str],
    slice: str,
    annotators: str,
    reporter: Reporter,
) -> AnnotatedFilms:
    rows = np.array(sorted({row for _, row, _ in marks}), int)
    chosen = selection.take(rows)
    patients = chosen.patients_or_films
    order = list(mapped)
    members = tuple(
        AnnotatedFilm(
            row=at,
            image=str(chosen.films.ids[at]),
            patient=str(patients[at]),
            finding=name,
            class_name=mapped[name],
            annotator=annotator,
            regions=tuple(marks[name, row, annotator]),
        )
        for name, row, annotator in sorted(marks, key=lambda key: (order.index(key[0]), key[1], key[2]))
        for at in [int(np.searchsorted(rows, row))]
    )
    present = {member.finding for member in members}
    if gone := [name for name in mapped if name not in present]:
        reporter.notice(f"findings without a film to score: {', '.join(gone)}.")
    sizes = tuple(picture_size(chosen.films.store.files[index]) for index in chosen.films.indices)
    _tell_stretched(members, sizes, reporter)
    return AnnotatedFilms(
        selection=chosen,
        members=members,
        findings={name: to for name, to in mapped.items() if name in present},
        film_sizes=sizes,
        # a stated size of the pictures is as much part of the marks as the file
        annotations=key8([annotations.sha256, sorted({str(region.size) for region in annotations.regions})]),
        source=annotations.source,
        whole=selection,
        slice=slice,
        annotators=annotators,
    )


def _tell_stretched(members: tuple[AnnotatedFilm, ...], sizes: tuple[tuple[int, int], ...], reporter: Reporter) -> None:
    stretched = {
        member.image
        for member in members
        for region in member.regions
        if abs(_aspect(region.size) / _aspect(sizes[member.row]) - 1) > _SAME_SHAPE
    }
    if stretched:
        reporter.notice(
            f"{len(stretched)} films have another aspect ratio than their annotations, first {sorted(stretched)[0]}: "
            "the film is taken as the whole annotated picture, stretched. A film that was cut needs its own marks."
        )


def _aspect(size: tuple[int, int]) -> float:
    return size[0] / size[1]


def enlarged(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at a size that is at least its own, each pixel repeated."""
    if mask.shape == size:
        return mask
    rows, columns = ((np.arange(new) * old // new) for new, old in zip(size, mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]
