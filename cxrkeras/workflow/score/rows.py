"""What a C-Score judges: a row a film, or a row a film and positive finding where a film may have several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxrkeras.errors import DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.maps import Maps, concatenate
from cxrkeras.workflow.evidence import ensure
from cxrkeras.workflow.map_options import MapOptions, map_parameters, positive_parts
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.predictions import ensure_predictions
from cxrkeras.workflow.selection import Selection


@dataclass(frozen=True)
class ScoreRows:
    """The rows of a C-Score.

    Attributes:
        maps: method -> its maps, one a row.
        labels: class that each map explains, int ``[n]``.
        probabilities: of each row's film, ``[n, n_classes]``.
        patients: patient of each row's film ``[n]``; None where every film is its own.
    """

    maps: dict[str, Maps]
    labels: np.ndarray
    probabilities: np.ndarray
    patients: np.ndarray | None


def score_rows(
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    methods: Sequence[str],
    options: MapOptions,
    reporter: Reporter = SILENT,
) -> ScoreRows:
    """The rows of a C-Score, computing what maps and predictions are missing.

    Where a film may have several findings it has a row for each positive one, with the map of that finding; its rows
    share its patient, so that no pair is a film with itself while pairs of one patient are dropped.

    Args:
        opened, epoch, selection, methods, options, reporter: as in `evidence.ensure`; target `label`.

    Raises:
        DataError: no film has a positive finding.
    """
    probabilities = ensure_predictions(opened, epoch, selection, reporter)
    if not opened.several:
        maps = ensure(opened, epoch, selection, methods, options, reporter)
        return ScoreRows(maps, selection.films.labels, probabilities, selection.patients)
    parts = positive_parts(opened, selection, options)
    if not parts:
        raise DataError(
            f"no film of {selection.split} has a positive finding ({', '.join(opened.classes)}). Expected some: a map "
            "is judged where its finding is. Choose another --split or films."
        )
    each = [ensure(opened, epoch, films, methods, own, reporter) for films, own in parts]
    place = {image: row for row, image in enumerate(selection.films.ids.tolist())}
    rows = np.array([place[image] for films, _ in parts for image in films.films.ids.tolist()], int)
    labels = [np.full(len(films), opened.classes.index(own.target)) for films, own in parts]
    maps = {}
    for name in methods:
        # stored finding by finding; together they are what the label asks for
        parameters = map_parameters(opened, epoch, name, options)
        maps[name] = concatenate([replace(found[name], parameters=parameters) for found in each])
    return ScoreRows(maps, np.concatenate(labels), probabilities[rows], selection.patients_or_films[rows])
