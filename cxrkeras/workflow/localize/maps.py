"""Maps of annotated films, scored film by film.

Makes the maps of every class that is asked for and hands each with its truth to the pure metrics of `localization`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from cxrkeras.events import SILENT, Reporter
from cxrkeras.localization import FILM_METRICS, Threshold, film_localization
from cxrkeras.maps import Maps
from cxrkeras.store import key8
from cxrkeras.workflow.evidence import ensure
from cxrkeras.workflow.explain import warn_of_gaps
from cxrkeras.workflow.localize.films import AnnotatedFilms
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun

WHO = ("image", "patient", "finding", "class", "annotator")
_THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Rule:
    """How a map becomes a mask and is scored.

    Attributes:
        thresholds: (finding, method) -> threshold.
        tolerance: how far from the truth the peak may lie, pixels of the annotation.
        cutoff: probability of the class below which the mask is empty; None in the slice `tp`, which asks only where.
    """

    thresholds: Mapping[tuple[str, str], Threshold]
    tolerance: float = 0.0
    cutoff: float | None = None


@dataclass(frozen=True)
class FilmMaps:
    """The maps of annotated films, class by class.

    Attributes:
        truth: the films.
        regions: which part of each map the film of a member fills; one per member.
        of_class: class -> method -> maps of the films of `AnnotatedFilms.of_class`, in that order.
    """

    truth: AnnotatedFilms
    regions: tuple[tuple[float, float, float, float] | None, ...]
    of_class: Mapping[str, Mapping[str, Maps]]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the order asked for."""
        return tuple(next(iter(self.of_class.values())))

    def place(self, i: int) -> int:
        """Row of member `i` among the maps of its class."""
        member = self.truth.members[i]
        return int(np.searchsorted(self.truth.of_class(member.class_name), member.row))

    def probability(self, i: int) -> float:
        """The model's probability of the class of member `i`."""
        maps = next(iter(self.of_class[self.truth.members[i].class_name].values()))
        return float(maps.probabilities[self.place(i), maps.targets[self.place(i)]])


def film_maps(
    opened: OpenRun,
    epoch: int,
    truth: AnnotatedFilms,
    methods: Sequence[str],
    options: MapOptions,
    reporter: Reporter = SILENT,
) -> FilmMaps:
    """Maps of every annotated film for its finding's class, computed where they are missing.

    Args:
        opened: the run.
        epoch: epoch of a stored checkpoint.
        truth: the films.
        methods: registry names.
        options: how the maps are made; the target is replaced by the class.
        reporter: told of progress.

    Raises:
        CxrKerasError: as `evidence.ensure`.
    """
    found = {}
    for name in truth.classes:
        films = truth.selection.take(truth.of_class(name))
        found[name] = ensure(opened, epoch, films, methods, replace(options, target=name), reporter)
        for maps in found[name].values():
            warn_of_gaps(maps, reporter)
    return FilmMaps(truth, tuple(truth.region(i, opened) for i in range(len(truth))), found)


def film_rows(maps: FilmMaps, rule: Rule, reporter: Reporter = SILENT) -> pd.DataFrame:
    """A row per member and method: who, the metrics, and how the map was made.

    Returns:
        Columns `image, patient, finding, class, annotator, method`, the metrics of `film_localization`, `area_gt`,
        `area_pred`, `threshold`, `prob`, `status`, `map_status` (of the map itself), `grid`, `layer`, `maps_key`.
    """

    def one(i: int) -> list[dict[str, Any]]:
        member, place, truth = maps.truth.members[i], maps.place(i), maps.truth.truth(i)
        probability, rows = maps.probability(i), []
        for method, own in maps.of_class[member.class_name].items():
            scored = scored_map(own.values[place], truth, method, i, maps, rule)
            made = {
                "prob": probability,
                "status": scored.pop("status"),
                "map_status": str(own.status[place]),
                "grid": "×".join(map(str, own.grid)),
                "layer": own.layer,
                "maps_key": key8(own.parameters),
            }
            rows.append({**who(maps.truth, i), "method": method, **scored, **made})
        return rows

    label = f"score {len(maps.truth)} annotated films: {', '.join(maps.methods)}"
    table = pd.DataFrame([row for rows in over_members(one, len(maps.truth), label, reporter) for row in rows])
    order = {name: number for number, name in enumerate(maps.methods)}
    findings = {name: number for number, name in enumerate(maps.truth.findings)}
    keys = {"method": order, "finding": findings}
    return table.sort_values(
        ["finding", "method"], key=lambda column: column.map(keys[column.name]), kind="stable", ignore_index=True
    )


def scored_map(
    heat: np.ndarray, truth: np.ndarray, method: str, i: int, maps: FilmMaps, rule: Rule, *, whole: bool = False
) -> dict[str, Any]:
    """The metrics of one raw map of member `i`, as `film_localization`.

    Args:
        heat: raw map ``[h, w]``.
        truth: bool ``[H, W]``.
        method: whose threshold is taken.
        i: the member.
        maps: whose film the map is of.
        rule: how it is scored.
        whole: the map covers the annotated picture, not the model's input.
    """
    return film_localization(
        heat,
        truth,
        threshold=rule.thresholds[maps.truth.members[i].finding, method],
        tolerance=rule.tolerance,
        region=None if whole else maps.regions[i],
        probability=maps.probability(i),
        cutoff=rule.cutoff,
    )


def who(truth: AnnotatedFilms, i: int) -> dict[str, str]:
    """Whose row it is."""
    member = truth.members[i]
    return dict(
        zip(WHO, (member.image, member.patient, member.finding, member.class_name, member.annotator), strict=True)
    )


def over_members(work: Callable[[int], Any], n: int, label: str, reporter: Reporter = SILENT) -> list[Any]:
    """`work(i)` for every member, in order, on all cores."""
    found = []
    # BLAS threads of its own under every thread of ours double the time and more
    with threadpool_limits(1, "blas"), reporter.task(label, n) as advance, ThreadPoolExecutor(_THREADS) as pool:
        for result in pool.map(work, range(n)):
            found.append(result)
            advance(1)
    return found


def averaged(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each metric over several maps of one film, those without contrast left out."""
    rows = list(rows)
    numbers = [name for name in rows[0] if name in (*FILM_METRICS, "area_gt", "area_pred", "threshold")]
    found: dict[str, Any] = {}
    for name in numbers:
        known = [row[name] for row in rows if not np.isnan(row[name])]
        found[name] = float(np.mean(known)) if known else float("nan")
    statuses = [row["status"] for row in rows]
    return {**found, "status": "ok" if "ok" in statuses else statuses[0]}
