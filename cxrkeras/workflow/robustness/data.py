"""The films of a measurement of shortcuts: who is positive, who is tested, and how the others are split for a seed.

Knows no model and no weight source.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import DataError, UsageError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.robustness import Sampled, planted_split, sampled_split
from cxrkeras.robustness.answers import TestFilms
from cxrkeras.settings import DataSettings
from cxrkeras.store import key8
from cxrkeras.workflow.confounded import positive_class
from cxrkeras.workflow.dataset import configured_manifest, film_set, hashed_frame, patients_or_films
from cxrkeras.workflow.robustness.versions import confounded_versions

FOLDS = 5


class Fold(NamedTuple):
    """The films that are not tested, split for one seed: rows ``[k]`` of train and of validation, and which fold."""

    train: np.ndarray
    val: np.ndarray
    number: int


@dataclass(frozen=True, eq=False)
class RobustnessData:
    """Films with one class that a confounder goes with.

    Attributes:
        frame: the manifest, with `split` and `sha256`; its films are told by their row.
        root: folder that its paths are relative to.
        classes: classes of the head, in its order; two for a probe.
        positive_class: the class that the confounders go with.
        settings: how pixels are read.
        as_study: see `RobustnessSettings`.
    """

    frame: pd.DataFrame
    root: Path
    classes: tuple[str, ...]
    positive_class: str
    settings: DataSettings
    as_study: bool = False
    _kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def all_classes(self) -> tuple[str, ...]:
        """Every class of the films, sorted."""
        return tuple(sorted(set(self.frame["label"])))

    @property
    def positive(self) -> np.ndarray:
        """Whether a film is of the positive class, bool ``[n]``."""
        return self.frame["label"].to_numpy(str) == self.positive_class

    @property
    def patients(self) -> np.ndarray:
        """Whose film it is ``[n]``; without patients every film is its own."""
        return patients_or_films(self.frame)

    @property
    def test(self) -> np.ndarray:
        """Rows of the films that are tested, int ``[k]``."""
        return self._rows("test")

    @property
    def validation(self) -> np.ndarray:
        """Rows of the manifest's own validation films, which a trained model's threshold is set on."""
        return self._rows("val")

    @property
    def key(self) -> str:
        """Eight hex digits that stand for the films, their labels, patients and splits."""
        films = self.frame[["path", "sha256", "label", "split"]].assign(patient=self.patients)
        return key8([self.positive_class, films.to_numpy(str).tolist()])

    def has(self, confounder: Any) -> np.ndarray | None:
        """Whether a film has a sampled confounder's value, bool ``[n]``; None for planted ones."""
        return confounder.has(self.frame) if isinstance(confounder, Sampled) else None

    def fold(self, seed: int) -> Fold:
        """Train and validation of a seed: fold `seed` mod 5 of every five seeds' own partition, whole patients.

        Raises:
            DataError: a class has too few patients.
        """
        if ("fold", seed) in self._kept:
            return self._kept["fold", seed]
        pool = np.flatnonzero(self.frame["split"].isin(["train", "val"]).to_numpy())
        labels, patients = self.positive[pool], self.patients[pool]
        fewest = min(len(set(patients[labels == side])) for side in (True, False))
        if fewest < FOLDS:
            raise DataError(
                f"the films that are not tested have {fewest} patients of one side of {self.positive_class}. Expected "
                f"at least {FOLDS}, to split them into train and validation; add films."
            )
        partition, number = divmod(seed, FOLDS)
        splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=partition)
        train, val = list(splitter.split(labels, labels, patients))[number]
        return self._kept.setdefault(("fold", seed), Fold(pool[train], pool[val], number))

    def carriers(self, confounder: Any, rows: np.ndarray, split: str, p: float, seed: int) -> tuple[np.ndarray, Any]:
        """Films of a split made of `rows`, and who of them carries a planted confounder.

        Args:
            confounder: the confounder.
            rows: films to choose from, int ``[k]``.
            split: see `robustness.SPLITS`; a sampled confounder has no `clean`, its `neutral` stands in.
            p: share of the positive films that carry it, or have the value.
            seed: of the draw.

        Returns:
            Rows int ``[m]`` and carriers bool ``[m]``; for sampled confounders fewer rows, and nobody carries anything.

        Raises:
            DataError: a sampled confounder lacks films of one kind.
        """
        positive = self.positive[rows]
        if confounder.planted:
            return rows, planted_split(split, positive, p, seed)
        has = self.has(confounder)
        name = "neutral" if split == "clean" else split
        try:
            chosen = rows[sampled_split(name, positive, has[rows], p, seed, self.patients[rows])]
        except DataError as error:
            raise DataError(
                f"{confounder.name} with {self.positive_class}, {len(rows)} films, seed {seed}: {error}"
            ) from None
        return chosen, np.zeros(len(chosen), bool)

    def check_sampled(self, confounder: Sampled, seeds: Iterable[int], folds: bool) -> None:
        """Refuse a confounder that films cannot be chosen for, before any network runs.

        Args:
            confounder: the confounder.
            seeds: whose films are asked for.
            folds: train and validation are those of a fold a seed; else those of the manifest.

        Raises:
            DataError: no such column or value, or too few films of one kind.
        """
        for seed in seeds:
            own = self.fold(seed)[:2] if folds else (self._rows("train"), self.validation)
            for rows in (*own, self.test):
                self.carriers(confounder, rows, "iid", 0.0, seed)

    def test_films(self, confounder: Any) -> TestFilms:
        """The tested films as the measures take them."""
        has = self.has(confounder)
        rows = self.test
        return TestFilms(
            images=self.frame["path"].to_numpy(str)[rows],
            positive=self.positive[rows],
            patients=self.patients[rows],
            has=None if has is None else has[rows],
        )

    def films(self, image_size: int) -> FilmSet:
        """Every film as it is, labelled by `classes`."""
        if ("films", image_size) not in self._kept:
            made = film_set(self.frame, self.root, self.classes, image_size, self.settings)
            self._kept["films", image_size] = self.labelled(made, self.classes)
        return self._kept["films", image_size]

    def versions(self, confounder: Any, image_size: int) -> FilmSet:
        """Every film twice, without and then with a planted confounder; a sampled one changes none."""
        if not confounder.planted:
            return self.films(image_size)
        key = ("versions", confounder.name, image_size)
        if key not in self._kept:
            # one confounder at a time: its films fill the memory that the last one's had
            for other in [other for other in self._kept if other[0] == "versions" and other[1] != confounder.name]:
                del self._kept[other]
            films = self.films(image_size)
            self._kept[key] = confounded_versions(films, confounder, image_size=image_size, as_study=self.as_study)
        return self._kept[key]

    def labelled(self, films: FilmSet, classes: tuple[str, ...]) -> FilmSet:
        """The films, or two versions of them one after the other, labelled by the place in `classes`.

        A class that is not among them is the other one of two.
        """
        number = {name: index for index, name in enumerate(classes)}
        other = next((index for index, name in enumerate(classes) if name != self.positive_class), -1)
        labels = np.array([number.get(label, other) for label in self.frame["label"]], np.int64)
        return replace(films, labels=np.tile(labels, len(films) // len(labels)))

    def _rows(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.frame["split"].to_numpy(str) == split)


def robustness_data(
    settings: DataSettings,
    positive: str | None = None,
    *,
    as_study: bool = False,
    two_classes: bool = True,
    reporter: Reporter = SILENT,
) -> RobustnessData:
    """The films that a configuration names, with the class that confounders go with.

    Args:
        settings: the films.
        positive: that class; None is as `positive_class` chooses.
        as_study: see `RobustnessSettings`.
        two_classes: make of more classes the positive one and the rest, as a probe does.
        reporter: told of progress, and of what should be known of the films.

    Raises:
        UsageError: no such class, or films with several findings.
        DataError: the films cannot be used.
    """
    manifest = configured_manifest(settings, reporter)
    for text in manifest.notices:
        reporter.notice(text)
    if manifest.several:
        raise UsageError(
            "robustness works on one class a film, and these may have several findings "
            f"({', '.join(manifest.classes)}). Name one with --positive, without --findings."
        )
    chosen = positive is not None or settings.positive is not None
    positive = positive_class(manifest.classes, positive, settings.positive)
    if not chosen:
        reporter.notice(f"positive class: {positive} (of {', '.join(manifest.classes)}; --positive chooses).")
    classes = manifest.classes
    if two_classes and len(classes) > 2:
        classes = (f"not {positive}", positive)
    return RobustnessData(
        frame=hashed_frame(manifest.frame.reset_index(drop=True), manifest.root, reporter),
        root=manifest.root,
        classes=classes,
        positive_class=positive,
        settings=settings,
        as_study=as_study,
    )
