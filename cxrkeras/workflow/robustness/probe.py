"""Arms of mode `probe`: linear probes on frozen features of films with and without a confounder.

The features of both versions are computed once; every arm then only chooses rows. Knows no table and no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import ScoreInputError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.models.classifier import sigmoid
from cxrkeras.probe import chosen_probe
from cxrkeras.robustness.answers import ArmAnswers
from cxrkeras.robustness.measures import youden_threshold
from cxrkeras.workflow.candidates import OpenCandidate
from cxrkeras.workflow.robustness.arms import Arm
from cxrkeras.workflow.robustness.data import RobustnessData


def probe_arms(
    opened: OpenCandidate,
    data: RobustnessData,
    confounder: Any,
    ps: Sequence[float],
    seeds: Sequence[int],
    val: str = "iid",
    reporter: Reporter = SILENT,
) -> list[ArmAnswers]:
    """What a probe on a source's frozen features says of the test films, for every p and seed.

    Args:
        opened: the source, its size that of the films; its head is not read.
        data: the films.
        confounder: see `robustness.parse_confounder`.
        ps: shares of the positive films that carry it.
        seeds: each with its own validation films and draw of carriers.
        val: `iid`, validation confounded as train, or `clean`.
        reporter: told of progress.

    Raises:
        DataError: a class has too few patients, or a sampled confounder too few films.
    """
    pairs = [(seed, p) for seed in seeds for p in ps]
    return [arm.answers for arm in fitted_arms(opened, data, confounder, pairs, val, reporter)]


def fitted_arms(
    opened: OpenCandidate,
    data: RobustnessData,
    confounder: Any,
    arms: Sequence[tuple[int, float]],
    val: str = "iid",
    reporter: Reporter = SILENT,
) -> Iterator[Arm]:
    """As `probe_arms`, for these pairs of seed and p, one after the other, each in the head of the source meanwhile."""
    if not arms:
        return
    features = _Features(opened, data, confounder, reporter)
    positive, test = data.positive, data.test
    with reporter.task(f"probes of {opened.name}, {confounder.name}", len(arms)) as advance:
        for seed, p in arms:
            fold = data.fold(seed)
            train, carry = data.carriers(confounder, fold.train, "iid", p, seed)
            held, held_carry = data.carriers(confounder, fold.val, val, p, seed)
            _check_sides(positive[held], confounder, p, seed)
            probe = chosen_probe(
                features.of(train, carry), positive[train], features.of(held, held_carry), positive[held]
            )
            threshold = youden_threshold(positive[fold.val], sigmoid(probe.logits(features.of(fold.val))))
            everybody = np.ones(len(test), bool)
            answers = ArmAnswers(
                source=opened.name,
                arch=opened.classifier.backbone.name,
                mode="probe",
                seed=seed,
                fold=fold.number,
                confounder=confounder.name,
                level=confounder.level,
                kind=confounder.kind,
                p=p,
                threshold=threshold,
                untouched=probe.logits(features.of(test)),
                touched=probe.logits(features.of(test, everybody)) if confounder.planted else None,
            )
            has = data.has(confounder)
            opened.set_head(probe.weights, probe.bias, data.positive_class)
            yield Arm(answers, len(train), int((carry if has is None else has[train]).sum()), c=probe.c)
            advance(1, f"p {p:g}, seed {seed}")


def touched_rows(data: RobustnessData) -> np.ndarray:
    """Films whose version with a confounder any arm asks for: in training only positive ones carry it."""
    test = np.zeros(len(data), bool)
    test[data.test] = True
    return np.flatnonzero(test | data.positive)


class _Features:
    """Features of films without and, where an arm asks for it, with a confounder."""

    def __init__(self, opened: OpenCandidate, data: RobustnessData, confounder: Any, reporter: Reporter) -> None:
        versions, n = data.versions(confounder, opened.image_size), len(data)
        # two sets, because the cache goes by whole sets and confounders share the films as they are
        self._clean = opened.features(versions.take(np.arange(n)), reporter)
        self._touched = self._clean
        if confounder.planted:
            rows = touched_rows(data)
            self._touched = np.full_like(self._clean, np.nan)
            self._touched[rows] = opened.features(versions.take(n + rows), reporter)

    def of(self, rows: np.ndarray, carries: np.ndarray | None = None) -> np.ndarray:
        """Features ``[k, d]`` of films by row, with the confounder where they carry it."""
        if carries is None:
            return self._clean[rows]
        return np.where(carries[:, None], self._touched[rows], self._clean[rows])


def _check_sides(positive: np.ndarray, confounder: Any, p: float, seed: int) -> None:
    if positive.all() or not positive.any():
        raise ScoreInputError(
            f"the {len(positive)} validation films of {confounder.name}, p {p:g}, seed {seed} are all of one side. "
            "Expected both classes; add films, or leave the confounder out."
        )


def split_versions(versions: FilmSet, rows: np.ndarray) -> FilmSet:
    """The given films of a set of two versions: first all as they are, then all with the confounder."""
    n = len(versions) // 2
    return versions.take(np.concatenate([rows, n + rows]))
