"""The target films that candidates are compared on: the training part of a data set, thinned by whole patients.

The test films stay out, so that a later fine-tuning can be judged on films that chose nothing. Knows no candidate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cxrkeras.data.filmset import FilmSet
from cxrkeras.data.fractions import patient_order
from cxrkeras.errors import DataError, UsageError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.settings import DataSettings
from cxrkeras.workflow.confounded import positive_class
from cxrkeras.workflow.dataset import configured_manifest, film_set, hashed_frame, patients_or_films

Part = Literal["train", "all"]
FLOOR_SIZE = 32


@dataclass(frozen=True, eq=False)
class TargetFilms:
    """Films of one class each, none of them twice.

    Attributes:
        frame: `path, label, split, sha256` and further columns of the manifest, a row a film.
        root: folder that its paths are relative to.
        classes: class names; `labels` are places in them.
        settings: how pixels are read.
        part: `train` (train and validation films) or `all`.
        n_available: films of that part before it was thinned.
        n_identical: films that were left out because another has the same bytes.
        seed: of the draw of patients.
    """

    frame: pd.DataFrame
    root: Path
    classes: tuple[str, ...]
    settings: DataSettings
    part: Part
    n_available: int
    n_identical: int
    seed: int
    _sets: dict[int, FilmSet] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def images(self) -> np.ndarray:
        """Film ids ``[n]``."""
        return self.frame["path"].to_numpy(str)

    @property
    def labels(self) -> np.ndarray:
        """Class of each film, int ``[n]``."""
        number = {name: index for index, name in enumerate(self.classes)}
        return self.frame["label"].map(number).to_numpy(np.int64)

    @property
    def patients(self) -> np.ndarray:
        """Whose film it is ``[n]``; without patients every film is its own."""
        return patients_or_films(self.frame)

    @property
    def sides(self) -> tuple[str, str]:
        """The two classes that a planted artefact is between: the other or all others, then the positive one."""
        positive = positive_class(self.classes, None, self.settings.positive)
        others = [name for name in self.classes if name != positive]
        return (others[0] if len(others) == 1 else f"not {positive}", positive)

    @property
    def n_patients(self) -> int:
        """How many patients there are."""
        return len(set(self.patients))

    def at(self, image_size: int) -> FilmSet:
        """The films at a side in pixels."""
        if image_size not in self._sets:
            # one size at a time: the films of the last one fill the memory that these need
            self._sets.clear()
            self._sets[image_size] = film_set(self.frame, self.root, self.classes, image_size, self.settings)
        return self._sets[image_size]

    def pixels(self, image_size: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Grey levels 0..255 of the films, or of some rows, float32 ``[n, side, side]``."""
        films = film_set(self.frame, self.root, self.classes, image_size, self.settings)
        return films.store.get(films.indices if rows is None else films.indices[rows])

    def raw_pixels(self) -> np.ndarray:
        """The films at 32 × 32 as features in 0..1, float32 ``[n, 1024]``: what a probe knows without any network."""
        return self.pixels(FLOOR_SIZE).reshape(len(self), -1) / 255

    def sample(self, n: int) -> np.ndarray:
        """Rows of at most `n` films, drawn by the seed, ascending."""
        return drawn_rows(len(self), n, self.seed)


def drawn_rows(n: int, most: int, seed: int) -> np.ndarray:
    """Rows of at most `most` of `n` films, drawn by a seed, ascending."""
    return np.sort(np.random.default_rng([seed, most]).permutation(n)[:most])


def target_films(
    settings: DataSettings, *, part: Part = "train", max_images: int = 2000, seed: int = 0, reporter: Reporter = SILENT
) -> TargetFilms:
    """The films that a configuration names, without its test films, thinned by whole patients.

    Args:
        settings: the films.
        part: `train` for train and validation films, `all` for every film.
        max_images: films to keep at most; patients are drawn stratified by class until no further one fits.
        seed: of that draw.
        reporter: told of progress and of what was left out.

    Raises:
        UsageError: films with several findings, or room for none.
        DataError: the films cannot be used, or a class is left without films.
    """
    manifest = configured_manifest(settings, reporter)
    for text in manifest.notices:
        reporter.notice(text)
    if manifest.several:
        raise UsageError(
            "sources compares weights on one class a film, and these films may have several findings "
            f"({', '.join(manifest.classes)}). Name one with --positive FINDING."
        )
    frame = manifest.frame if part == "all" else manifest.frame[manifest.frame["split"] != "test"]
    frame = frame.reset_index(drop=True)
    kept = _thinned(frame, manifest.classes, max_images, seed)
    hashed = hashed_frame(kept, manifest.root, reporter)
    first = ~hashed["sha256"].duplicated()
    films = TargetFilms(
        hashed[first].reset_index(drop=True),
        manifest.root.resolve(),
        manifest.classes,
        settings,
        part,
        len(frame),
        int((~first).sum()),
        seed,
    )
    _check_classes(films)
    _tell(films, len(manifest.frame) - len(frame), hashed, reporter)
    return films


def _thinned(frame: pd.DataFrame, classes: tuple[str, ...], most: int, seed: int) -> pd.DataFrame:
    if len(frame) <= most:
        return frame
    patients = pd.Series(patients_or_films(frame))
    counts = patients.value_counts()
    order = patient_order(frame, classes, seed)
    fitting = np.cumsum([counts[patient] for patient in order]) <= most
    return frame[patients.isin(np.array(order)[fitting]).to_numpy()].reset_index(drop=True)


def _check_classes(films: TargetFilms) -> None:
    per_class = {name: len(set(films.patients[films.labels == index])) for index, name in enumerate(films.classes)}
    if few := [name for name, count in per_class.items() if count < 2]:
        raise DataError(
            f"class {', '.join(few)} has fewer than 2 patients among the {len(films)} films that are compared on. "
            f"Expected at least 2 in each ({', '.join(f'{name} {n}' for name, n in per_class.items())}); raise "
            "--max-images or add films."
        )


def _tell(films: TargetFilms, n_test: int, hashed: pd.DataFrame, reporter: Reporter) -> None:
    if films.part == "train":
        reporter.notice(
            f"films: train and validation, {films.n_available}; the {n_test} test films are left for the truth."
        )
    else:
        reporter.notice(
            f"films: all {films.n_available}, test films included: an AUC measured on them later is not independent."
        )
    if len(hashed) < films.n_available:
        reporter.notice(
            f"{len(hashed)} of {films.n_available} films are taken (--max-images), whole patients, seed {films.seed}."
        )
    if films.n_identical:
        reporter.notice(f"{films.n_identical} films are left out: another one has the same bytes.")
        labels = hashed.groupby("sha256")["label"].nunique()
        if (labels > 1).any():
            reporter.notice(f"{int((labels > 1).sum())} films have copies with another label; the first one is taken.")
