"""Thresholds tuned on validation films that share no patient with the films they are used on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrkeras.data.annotations import Annotations, matched_films
from cxrkeras.errors import DataError, UsageError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.localization import Threshold, parse_threshold, tuned_threshold
from cxrkeras.workflow.localize.films import AnnotatedFilms, annotated_films
from cxrkeras.workflow.localize.maps import film_maps
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.selection import Selection, run_split

TUNED = "tuned"


def tuning_films(
    opened: OpenRun,
    scored: AnnotatedFilms,
    annotations: Annotations,
    reporter: Reporter = SILENT,
) -> AnnotatedFilms:
    """The films that a file of validation annotations marks: of the run's splits, or of the same outside films.

    Args:
        opened: the run.
        scored: the films that the thresholds will be used on.
        annotations: of the validation films.
        reporter: told what was left out.

    Raises:
        DataError: a patient of the scored films is among them, or they are in several splits.
    """
    where = _split_of(opened, annotations, reporter) if scored.selection.inside else scored.whole
    given = {name: to for name, to in scored.findings.items() if name in annotations.findings}
    if missing := [name for name in scored.findings if name not in given]:
        raise DataError(
            f"{annotations.source} marks no {', '.join(missing)}, so no threshold can be tuned for it. Expected marks "
            f"of {', '.join(scored.findings)}. Choose with --finding, or use --threshold otsu."
        )
    tuning = annotated_films(opened, where, annotations, given, reporter=reporter)
    shared = sorted(tuning.patients & scored.patients)
    if shared:
        raise DataError(
            f"thresholds cannot be tuned on patients they are used on: {annotations.source} shares {len(shared)} with "
            f"the films scored, first {shared[0]}. Give annotations of other patients, or use --threshold otsu."
        )
    return tuning


def tuned_thresholds(
    opened: OpenRun,
    epoch: int,
    tuning: AnnotatedFilms,
    methods: Sequence[str],
    options: MapOptions,
    reporter: Reporter = SILENT,
) -> dict[tuple[str, str], Threshold]:
    """(finding, method) -> the fixed threshold with the highest mean IoU on the tuning films.

    Args:
        opened: the run.
        epoch: epoch of the checkpoint.
        tuning: films with marks.
        methods: registry names.
        options: how the maps are made.
        reporter: told the thresholds.
    """
    maps = film_maps(opened, epoch, tuning, methods, options, reporter)
    found = {}
    for name, class_name in tuning.findings.items():
        rows = [i for i, member in enumerate(tuning.members) if member.finding == name]
        truths, regions = [tuning.truth(i) for i in rows], [maps.regions[i] for i in rows]
        for method in methods:
            values = maps.of_class[class_name][method].values
            best = tuned_threshold([values[maps.place(i)] for i in rows], truths, regions)
            found[name, method] = parse_threshold(f"fixed:{best:g}")
    reporter.notice("tuned thresholds: " + ", ".join(f"{n} {m} {t.value:g}" for (n, m), t in found.items()) + ".")
    return found


def _split_of(opened: OpenRun, annotations: Annotations, reporter: Reporter) -> Selection:
    rows = list(matched_films(annotations.images, opened.films.ids.tolist()).values())
    splits = sorted(set(opened.frame["split"].iloc[np.array(rows, int)]))
    if not splits:
        raise DataError(
            f"{annotations.source} marks no film of run {opened.run.name}, so no threshold can be tuned. "
            "Give annotations of its validation films."
        )
    if len(splits) > 1:
        raise UsageError(
            f"{annotations.source} marks films of several splits ({', '.join(splits)}). Give a file for one of them."
        )
    if splits[0] == "train":
        reporter.notice("thresholds are tuned on films that the run was trained on.")
    return run_split(opened, splits[0], reporter=reporter)
