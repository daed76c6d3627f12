"""Which annotations take part: findings matched with classes, films by view and by label, and what is left out said.

Knows names, labels and marks; no mask, no map.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from cxrkeras.data.annotations import Annotations, Region, canonical_finding
from cxrkeras.errors import UsageError, did_you_mean
from cxrkeras.events import SILENT, Reporter
from cxrkeras.workflow.localize.tables import UNION
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.selection import Selection

EACH = "each"
FRONTAL, ALL_VIEWS = "frontal", "all"
VIEW_COLUMNS = ("view", "view_position", "viewposition", "frontal/lateral")
_LATERAL = {"ll", "lateral", "l", "rl", "lat", "left lateral", "right lateral"}
_FRONTAL = {"pa", "ap", "ap supine", "ap erect", "frontal", "f", "ap semi erect", "lld", "rld"}

# the marks of one finding on one film (row of the selection) by one annotator
Marks = Mapping[tuple[str, int, str], list[Region]]


def mapped_findings(
    found: Iterable[str],
    classes: tuple[str, ...],
    given: Mapping[str, str],
    reporter: Reporter = SILENT,
) -> dict[str, str]:
    """Finding -> class for every finding that has one.

    Args:
        found: findings as annotated.
        classes: of the run.
        given: finding -> class, where their names differ; the others go by their own name.
        reporter: told the mapping, and the findings without a class.

    Raises:
        UsageError: a mapping of a finding that is not annotated, or to a class that does not exist; or no finding has
            a class.
    """
    found = list(dict.fromkeys(found))
    by_name = {name.lower(): name for name in classes}
    canonical = {canonical_finding(name).lower(): name for name in found}
    chosen: dict[str, str] = {}
    for name, class_name in given.items():
        if canonical_finding(name).lower() not in canonical:
            known = ", ".join(found)
            raise UsageError(
                f"--map {name}={class_name}: '{name}' is not annotated. Expected one of: {known}."
                f"{did_you_mean(name, found)}"
            )
        if class_name.lower() not in by_name:
            raise UsageError(
                f"--map {name}={class_name}: '{class_name}' is no class of the run. Expected one of: "
                f"{', '.join(classes)}.{did_you_mean(class_name, classes)}"
            )
        chosen[canonical[canonical_finding(name).lower()]] = by_name[class_name.lower()]
    same = {canonical_finding(name).lower(): name for name in classes}
    for key, name in canonical.items():
        if key in same:
            chosen.setdefault(name, same[key])
    without = [name for name in found if name not in chosen]
    if not chosen:
        raise UsageError(
            f"no finding of {', '.join(found) or 'these annotations'} is a class of the run ({', '.join(classes)}). "
            f'Say which class stands for it: --map "{found[0] if found else "FINDING"}={classes[-1]}".'
        )
    reporter.notice("findings: " + ", ".join(f"{name} → {chosen[name]}" for name in found if name in chosen) + ".")
    if without:
        reporter.notice(f"findings without a class, left out: {', '.join(without)}. Name one with --map FINDING=CLASS.")
    return {name: chosen[name] for name in found if name in chosen}


def tell_unmatched(
    annotations: Annotations, mapped: Mapping[str, str], place: Mapping[str, int], reporter: Reporter
) -> None:
    """Say how many annotated films are among the films."""
    images = {region.image for region in annotations.regions if region.finding in mapped}
    missing = len(images - set(place))
    reporter.notice(
        f"annotated films: {len(images)}; among the films: {len(images) - missing}; without a film: {missing}."
    )


def frontal_films(selection: Selection, views: str, reporter: Reporter) -> np.ndarray:
    """Whether each film may take part, bool ``[n]``."""
    column = next((name for name in selection.frame if str(name).lower() in VIEW_COLUMNS), None)
    if views == ALL_VIEWS or column is None:
        return np.ones(len(selection), bool)
    words = selection.frame[column].fillna("").astype(str).str.strip().str.lower()
    lateral = words.isin(_LATERAL).to_numpy()
    if lateral.any():
        reporter.notice(f"lateral films left out: {lateral.sum()} of {len(words)} (column {column}; --views all).")
    strange = sorted(set(words) - _LATERAL - _FRONTAL - {""})
    if strange:
        reporter.notice(f"views taken for frontal: {', '.join(strange)} (column {column}).")
    return ~lateral


def positive_marks(
    opened: OpenRun,
    selection: Selection,
    marks: Marks,
    mapped: Mapping[str, str],
    reporter: Reporter,
) -> dict[tuple[str, int, str], list[Region]]:
    """The marks on films whose label is the finding's class, or is not known."""
    films, kept = selection.films, {}
    negative: set[tuple[str, int]] = set()
    unknown: set[int] = set()
    for key, own in marks.items():
        name, row, _ = key
        index = opened.classes.index(mapped[name])
        # a film of several findings has a truth for each; NaN is not known
        value = films.truth[row, index] if films.truth is not None else np.nan
        if films.truth is None and films.labels[row] >= 0:
            value = float(films.labels[row] == index)
        if value == 0:
            negative.add((name, row))
            continue
        kept[key] = own
        if np.isnan(value):
            unknown.add(row)
    if negative:
        counts = {name: sum(finding == name for finding, _ in negative) for name in mapped}
        told = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        reporter.notice(f"annotated films whose label is not the class, left out: {told} (slice tp).")
    if unknown:
        reporter.notice(f"annotated films whose label is not known, taken as positive: {len(unknown)}.")
    return kept


def with_negatives(
    marks: Marks, mapped: Mapping[str, str], rows: np.ndarray
) -> dict[tuple[str, int, str], list[Region]]:
    """The marks, and an empty list for every film without one, finding by finding and annotator by annotator."""
    readers = {name: {key[2] for key in marks if key[0] == name} or {UNION} for name in mapped}
    return {
        (name, int(row), reader): marks.get((name, int(row), reader), [])
        for name in mapped
        for row in rows
        for reader in sorted(readers[name])
    }
