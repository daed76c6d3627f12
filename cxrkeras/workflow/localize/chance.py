"""What a map would score that knows nothing: by area, by where lesions usually lie, and by a network never trained.

The last asks for the checkpoint's weights drawn anew; it is loaded as it was afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.cams.registry import FORWARD, METHODS, PATH
from cxrkeras.events import SILENT, Reporter
from cxrkeras.localization import area_chance, centre_gaussian, mean_mask_maps
from cxrkeras.localization.chance import AREA, CENTRE, MEAN_MASK, RANDOM_WEIGHTS
from cxrkeras.models.randomise import randomised
from cxrkeras.workflow.explainers import passing_maps
from cxrkeras.workflow.localize.maps import FilmMaps, Rule, averaged, over_members, scored_map, who
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun

NO_OTHER_PATIENT = "one_patient"


def chance_rows(
    opened: OpenRun,
    epoch: int,
    maps: FilmMaps,
    options: MapOptions,
    rule: Rule,
    draws: int,
    reporter: Reporter = SILENT,
) -> pd.DataFrame:
    """A row per member and kind of chance, and one per method where they differ.

    `area`: the expected values of a map that knows nothing; `centre`: a Gaussian about the middle; `mean_mask`: the
    mean of the other patients' masks of the finding; `random_weights`: maps of the same method by networks whose every
    layer was drawn anew, the mean of each metric over the draws.

    Args:
        opened: the run.
        epoch: epoch of the checkpoint.
        maps: of the films.
        options: how they were made.
        rule: how they were scored.
        draws: random networks.
        reporter: told of progress.

    Returns:
        Columns `image, patient, finding, class, annotator, method` (empty where the same for all), `against`, the
        metrics, `status`.
    """
    still = _without_a_network(maps, rule, reporter)
    random = _random_networks(opened, epoch, maps, options, rule, draws, reporter)
    table = pd.DataFrame([*still, *random])
    return table[[*(name for name in table if name != "status"), "status"]]


def _without_a_network(maps: FilmMaps, rule: Rule, reporter: Reporter) -> list[dict[str, Any]]:
    means = _mean_masks(maps)

    def one(i: int) -> list[dict[str, Any]]:
        member, truth = maps.truth.members[i], maps.truth.truth(i)
        about, probability = who(maps.truth, i), maps.probability(i)
        area = _of_the_area(truth, probability, rule)
        rows = [{**about, "method": "", "against": AREA, **area}]
        # one threshold for all methods is scored once
        own = {rule.thresholds[member.finding, method]: method for method in reversed(maps.methods)}
        for method in own.values():
            shown = "" if len(own) == 1 else method
            for kind, heat in ((CENTRE, centre_gaussian(truth.shape)), (MEAN_MASK, means[i])):
                if heat is None:
                    scored = {name: float("nan") for name in area if name != "status"} | {"status": NO_OTHER_PATIENT}
                else:
                    scored = scored_map(heat, truth, method, i, maps, rule, whole=True)
                methods = [shown] if len(own) == 1 else _alike(maps, rule, member.finding, method)
                rows += [{**about, "method": name, "against": kind, **scored} for name in methods]
        return rows

    found = over_members(one, len(maps.truth), "chance by area, centre and mean mask", reporter)
    return [row for rows in found for row in rows]


def _of_the_area(truth: np.ndarray, probability: float, rule: Rule) -> dict[str, Any]:
    """A mask of the whole picture, or none where the classifier says no."""
    found = area_chance(truth, rule.tolerance)
    if rule.cutoff is None:
        return found
    if probability < rule.cutoff:
        missed = 0.0 if truth.any() else float("nan")
        return found | {"iou": missed, "peak_iou": missed, "area_pred": 0.0}
    return found if truth.any() else found | {"iou": 0.0, "area_pred": 1.0}


def _alike(maps: FilmMaps, rule: Rule, finding: str, method: str) -> list[str]:
    """The methods with the threshold of this one."""
    same = rule.thresholds[finding, method]
    return [name for name in maps.methods if rule.thresholds[finding, name] == same]


def _mean_masks(maps: FilmMaps) -> dict[int, np.ndarray | None]:
    """Member -> mean of the other patients' masks of its finding, None where there is no other patient.

    Films without a mark only weaken the mean, which is scaled before it is scored.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for i, member in enumerate(maps.truth.members):
        groups.setdefault((member.finding, member.annotator), []).append(i)
    found: dict[int, np.ndarray | None] = {}
    for rows in groups.values():
        truths = [maps.truth.truth(i) for i in rows]
        patients = [maps.truth.members[i].patient for i in rows]
        found |= dict(zip(rows, mean_mask_maps(truths, patients), strict=True))
    return found


def _random_networks(
    opened: OpenRun,
    epoch: int,
    maps: FilmMaps,
    options: MapOptions,
    rule: Rule,
    draws: int,
    reporter: Reporter,
) -> list[dict[str, Any]]:
    drawn = _drawn_maps(opened, epoch, maps, options, draws, reporter)

    def one(i: int) -> list[dict[str, Any]]:
        member, place, truth = maps.truth.members[i], maps.place(i), maps.truth.truth(i)
        rows = []
        for method in maps.methods:
            heats = [of_class[member.class_name][method][place] for of_class in drawn]
            scored = averaged(scored_map(heat, truth, method, i, maps, rule) for heat in heats)
            rows.append({**who(maps.truth, i), "method": method, "against": RANDOM_WEIGHTS, **scored})
        return rows

    found = over_members(one, len(maps.truth), f"score {draws} random networks", reporter)
    return [row for rows in found for row in rows]


def _drawn_maps(
    opened: OpenRun,
    epoch: int,
    maps: FilmMaps,
    options: MapOptions,
    draws: int,
    reporter: Reporter,
) -> list[Mapping[str, Mapping[str, np.ndarray]]]:
    """Per draw: class -> method -> raw maps ``[n, h, w]`` by a network whose every layer was drawn anew."""
    opened.load(epoch)
    costly = [name for name in maps.methods if METHODS[name].kind in (FORWARD, PATH)]
    if costly:
        reporter.notice(
            f"{', '.join(costly)} explains {len(maps.truth.selection)} films anew for {draws} random networks "
            "(fewer with --draws, none with --no-chance)."
        )
    seed, found = opened.config.training.seed, []
    with reporter.task(f"random networks: {', '.join(maps.methods)}", draws * len(maps.of_class)) as advance:
        for draw in range(draws):
            with randomised(opened.classifier, (seed, draw)) as stages:
                list(stages)  # every stage
                by_class = {}
                for name in maps.of_class:
                    films = maps.truth.selection.films.take(maps.truth.of_class(name))
                    targets = np.full(len(films), opened.classes.index(name))
                    by_class[name] = passing_maps(opened, films, targets, list(maps.methods), options)
                    advance(1)
            found.append(by_class)
    return found
