"""What the maps of one arm do under the artefact: mass on it film by film, and the C-Score of each split.

Explains and measures; fits no arm and stores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.cams.results import Explanation
from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import ScoreInputError
from cxrkeras.robustness.answers import IID, REVERSED, ArmAnswers, TestFilms
from cxrkeras.robustness.assignment import planted_split, sampled_split
from cxrkeras.robustness.map_measures import (
    ARM,
    DEGENERATE,
    MAP_COLUMNS,
    MAP_FILM_COLUMNS,
    OK,
    mass_table,
    without_region,
)
from cxrkeras.workflow.gallery.films import chosen_rows
from cxrkeras.workflow.opened import ExplainerCache
from cxrkeras.workflow.robustness.maps_consistency import SplitFilms, consistency_rows
from cxrkeras.workflow.robustness.maps_explained import MapMemory, explained_rows, made_from_features
from cxrkeras.workflow.robustness.maps_region import Regions, artefact_regions

# films of methods that are made from kept feature maps, and of those that pass the whole network again for every arm
FILMS, FILMS_PASSED = 200, 40
EXAMPLES = 4
# modes in which the arms of a source differ by their head only
FROZEN = ("probe", "trained")


@dataclass(frozen=True)
class ArmMaps:
    """What the maps of one arm do.

    Attributes:
        table: rows `MAP_COLUMNS`: the mass on the artefact (see `mass_table`), then `c_score`, `c_score_positive`,
            `c_score_negative` and `n_gold` of each split.
        films: rows `MAP_FILM_COLUMNS`, one a method and film; empty where the artefact has no place.
        p: the arm's share of positive films with the artefact.
        examples: films to show, rows of the test films, int ``[e]``.
        heats: method -> raw maps of the examples for the positive class, without and with the artefact
            ``[2, e, h, w]``; only without it ``[1, e, h, w]`` where it is not planted.
        probabilities: of the positive class in the same order, ``[2, e]``.
    """

    table: pd.DataFrame
    films: pd.DataFrame
    p: float
    examples: np.ndarray
    heats: Mapping[str, np.ndarray]
    probabilities: np.ndarray


def arm_maps(
    opened: ExplainerCache,
    versions: FilmSet,
    films: TestFilms,
    confounder: Any,
    methods: Sequence[str],
    arm: ArmAnswers,
    *,
    memory: MapMemory,
    limit: int | None = FILMS,
    limit_passed: int | None = FILMS_PASSED,
) -> ArmMaps:
    """Explain the test films by the weights of an arm, without and with the artefact, and measure the maps.

    Mass is measured on maps of the positive class, for which the artefact speaks; the C-Score on maps of each film's
    own class, gold from a confidence of 0.7.

    Args:
        opened: the source, with the arm's weights in its classifier.
        versions: 2n test films, the second half with the artefact; n for a confounder that is not planted.
        films: the n test films.
        confounder: a confounder of `cxrkeras.robustness`.
        methods: registry names, one or more.
        arm: whose weights these are.
        memory: the same one for the arms of a source and confounder.
        limit: films that are explained, one a patient first, the classes in turn, the same in every arm; None for all.
        limit_passed: the same for methods that pass the whole network again, such as ms-gradcam++ and scorecam.

    Raises:
        ScoreInputError: versions that are not those of the films, or films without one class for the positive ones.
    """
    n = len(films.images)
    _check(versions, films, confounder, n)
    by_head = tuple(name for name in methods if made_from_features(name))
    passed = tuple(name for name in methods if name not in by_head)
    fewest = min(EXAMPLES, *(n if most is None else most for most in (limit, limit_passed)))
    examples, parts = limited_films(films.positive, films.patients, fewest), []
    for names, most in ((by_head, limit), (passed, limit_passed)):
        if names:
            rows = limited_films(films.positive, films.patients, most)
            kept = versions.take(np.concatenate([rows + n * half for half in range(len(versions) // n)]))
            found = _Arm.explained(opened, kept, films.positive[rows], names, memory, arm.mode in FROZEN)
            parts.append(_measured(found, kept, films, rows, examples, confounder, names, arm))
    heats = {name: part.heats[name] for name in methods for part in parts if name in part.heats}
    return replace(
        parts[0],
        table=pd.concat([part.table for part in parts], ignore_index=True),
        films=pd.concat([part.films for part in parts], ignore_index=True),
        heats=heats,
    )


def _measured(
    found: _Arm,
    kept: FilmSet,
    films: TestFilms,
    rows: np.ndarray,
    examples: np.ndarray,
    confounder: Any,
    methods: Sequence[str],
    arm: ArmAnswers,
) -> ArmMaps:
    """The measures of some methods on the films that they explained, rows of the test films."""
    about = {name: getattr(arm, name) for name in ARM}
    who = pd.DataFrame(
        {
            "image": np.asarray(films.images)[rows],
            "patient": np.asarray(films.patients)[rows],
            "positive": films.positive[rows].astype(int),
        }
    )
    regions = artefact_regions(kept.take(np.arange(len(rows))), confounder)
    masses = pd.DataFrame(columns=list(MAP_FILM_COLUMNS))
    placed = without_region(methods).assign(**about)
    if regions is not None:
        masses = film_masses({name: found.speaking(name) for name in methods}, regions, who).assign(**about)
        masses = masses[list(MAP_FILM_COLUMNS)]
        placed = mass_table(masses)
    splits = _splits(films, arm, rows)
    scores = consistency_rows(found, splits, who["patient"].to_numpy(), methods).assign(**about)
    shown = np.searchsorted(rows, examples)
    return ArmMaps(
        table=pd.concat([placed, scores], ignore_index=True)[list(MAP_COLUMNS)],
        films=masses,
        p=arm.p,
        examples=examples,
        heats={name: found.speaking(name)[:, shown] for name in methods},
        probabilities=found.answers[:, shown, found.positive_class],
    )


def limited_films(positive: np.ndarray, patients: np.ndarray, limit: int | None) -> np.ndarray:
    """Rows of at most so many films: one of every patient first, the classes in turn, drawn once for all arms.

    Those of a smaller limit are among those of a larger one.

    Args:
        positive: bool ``[n]``.
        patients: ``[n]``.
        limit: films; None for all.

    Returns:
        int ``[k]``, ascending.
    """
    if limit is None or limit >= len(positive):
        return np.arange(len(positive))
    first = np.zeros(len(positive), bool)
    first[np.unique(np.asarray(patients), return_index=True)[1]] = True
    return np.sort(chosen_rows(np.asarray(positive).astype(int), first, 0, None, limit))


def film_masses(maps: Mapping[str, np.ndarray], regions: Regions, who: pd.DataFrame) -> pd.DataFrame:
    """What each film's maps put on the artefact's region, without and with the artefact.

    Args:
        maps: method -> raw maps of the same films ``[2, k, h, w]``, first without, then with the artefact.
        regions: where it lies.
        who: `image`, `patient` and `positive` of the films.

    Returns:
        The columns `MAP_FILM_COLUMNS` that do not name the arm. `status`: ``ok`` or ``degenerate`` (a map without
        contrast).
    """
    parts = []
    for name, values in maps.items():
        before, after = (regions.masses(part) for part in values)
        blank = np.isnan(before.mass) | np.isnan(after.mass)
        parts.append(
            who.assign(
                method=name,
                mass_before=before.mass,
                mass=after.mass,
                hit=after.hit,
                area=regions.areas(),
                hit_area=regions.hit_areas(values.shape[2:]),
                ceiling=regions.ceilings(values.shape[2:]),
                status=np.where(blank, DEGENERATE, OK),
            )
        )
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class _Arm:
    """Maps and answers of one arm by version (0 without, 1 with the artefact) and film."""

    spoken: Explanation
    own: Explanation
    others: np.ndarray
    labels: np.ndarray
    positive_class: int

    @classmethod
    def explained(
        cls,
        opened: ExplainerCache,
        versions: FilmSet,
        positive: np.ndarray,
        methods: Sequence[str],
        memory: MapMemory,
        frozen: bool,
    ) -> _Arm:
        k, every = len(positive), np.arange(len(versions))
        labels = versions.labels[:k]
        positive_class = int(labels[positive][0])
        others = np.flatnonzero(labels != positive_class)
        rows = np.concatenate([every, *(others + start for start in range(0, len(every), k))])
        # the maps of the positive class, then those of their own class of the films of another
        targets = np.concatenate([np.full(len(every), positive_class), np.tile(labels[others], len(every) // k)])
        found = explained_rows(opened, versions, rows, targets, methods, memory=memory, frozen=frozen)
        return cls(
            found.rows(slice(0, len(every))), found.rows(slice(len(every), None)), others, labels, positive_class
        )

    @property
    def answers(self) -> np.ndarray:
        """Probabilities ``[versions, k, n_classes]``."""
        return self._by_version(self.spoken.probabilities)

    def speaking(self, method: str) -> np.ndarray:
        """Maps of the positive class ``[versions, k, h, w]``."""
        return self._by_version(self.spoken[method].values)

    def own_class(self, method: str) -> np.ndarray:
        """Maps of each film's own class ``[versions, k, h, w]``."""
        values = self.speaking(method).copy()
        values[:, self.others] = self.own[method].values.reshape(len(values), len(self.others), *values.shape[2:])
        return values

    def own_status(self, method: str) -> np.ndarray:
        """Their statuses ``[versions, k]``."""
        marks = self._by_version(self.spoken[method].status).copy()
        marks[:, self.others] = self.own[method].status.reshape(len(marks), len(self.others))
        return marks

    def _by_version(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, len(self.labels), *values.shape[1:])


def _splits(films: TestFilms, arm: ArmAnswers, rows: np.ndarray) -> dict[str, SplitFilms]:
    """The explained films of each split and who of them carries the artefact; a model as it is has no `iid`."""
    p, seed = (arm.p if np.isfinite(arm.p) else 0.0), max(arm.seed, 0)
    found = {}
    for split in (name for name in (IID, REVERSED, arm.reference_split) if name in arm.splits):
        if arm.planted:
            carries = planted_split(split, films.positive, p, seed)[rows]
            found[split] = SplitFilms(np.arange(len(rows)), carries)
        else:
            taken = sampled_split(split, films.positive, films.has, p, seed, films.patients)
            places = np.flatnonzero(np.isin(rows, taken))
            found[split] = SplitFilms(places, np.zeros(len(places), bool))
    return found


def _check(versions: FilmSet, films: TestFilms, confounder: Any, n: int) -> None:
    expected = 2 * n if confounder.planted else n
    if len(versions) != expected:
        raise ScoreInputError(
            f"maps under {confounder.name} need {expected} films, {'without and with it' if confounder.planted else ''}"
            f" for {n} test films. Received {len(versions)}; take those of `confounded_versions`."
        )
    labels = np.unique(versions.labels[:n][films.positive])
    if len(labels) != 1 or (versions.labels[:n][~films.positive] == labels[0]).any():
        raise ScoreInputError(
            f"the positive films have to be those of one class. Received labels {labels.tolist()}; take the class that "
            "the confounder goes with."
        )
