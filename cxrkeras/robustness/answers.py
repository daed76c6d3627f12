"""What trained arms answer to the test films with and without an artefact, and which answer counts in which split.

An arm is one (source, confounder, p, seed). Knows no network and no table; the measures are made of these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cxrkeras.errors import ScoreInputError
from cxrkeras.robustness.assignment import SAMPLED_SPLITS, SPLITS, planted_split, sampled_split

IID, REVERSED, ALIGNED, CLEAN, NEUTRAL = "iid", "reversed", "aligned", "clean", "neutral"


@dataclass(frozen=True)
class TestFilms:
    """The films that every arm answers.

    Attributes:
        images: names ``[n]``.
        positive: bool ``[n]``, the class that the artefact goes with.
        patients: ids ``[n]``; patients are resampled, not films.
        has: bool ``[n]``, the films that have a sampled confounder's value; None for planted ones.
    """

    # pytest would take a class of this name for tests
    __test__: ClassVar[bool] = False

    images: Sequence[str]
    positive: np.ndarray
    patients: Sequence
    has: np.ndarray | None = None

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(set(self.patients))


@dataclass(frozen=True)
class ArmAnswers:
    """The answers of one arm to all test films.

    Attributes:
        source, arch: name of the first weights and backbone.
        mode: ``probe``, ``finetune`` or ``trained``; numbers of different modes are never compared.
        seed: of the training; also draws who carries the artefact in the test splits. −1: none.
        fold: of the cross-validation; −1: none.
        confounder, level, kind: name and place in the taxonomy.
        p: share of positive training films that carried the artefact; NaN: unknown, not trained for this.
        threshold: probability from which a film counts as positive, fixed on clean validation films.
        untouched: log-odds log p − log(1 − p) of the positive class for the films as they are, float64 ``[n]``.
        touched: the same for the films with the artefact; None where nothing can be planted.
    """

    source: str
    arch: str
    mode: str
    seed: int
    fold: int
    confounder: str
    level: str
    kind: str
    p: float
    threshold: float
    untouched: np.ndarray
    touched: np.ndarray | None

    @property
    def planted(self) -> bool:
        """Whether the artefact can be put on a film."""
        return self.touched is not None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are defined: no `clean` where nothing is planted, no `iid` where p is unknown."""
        known = SPLITS if self.planted else SAMPLED_SPLITS
        return tuple(split for split in known if split != IID or np.isfinite(self.p))

    @property
    def reference_split(self) -> str:
        """The split in which the artefact says nothing: `clean`, or `neutral` where there is no clean set."""
        return CLEAN if self.planted else NEUTRAL

    @property
    def finite(self) -> bool:
        """Whether every answer is a number; a network that diverged has none."""
        return bool(np.isfinite(self.untouched).all() and (self.touched is None or np.isfinite(self.touched).all()))

    @property
    def repeat(self) -> tuple[int, int]:
        """Seed and fold: arms that share them are paired."""
        return self.seed, self.fold


def split_logits(arm: ArmAnswers, films: TestFilms, split: str) -> np.ndarray:
    """Return the log-odds that count in one split ``[n]``; NaN for films that are not in it.

    Planted artefacts: every film is in every split, and the split says who carries the artefact. Sampled ones: the
    split chooses films.

    Args:
        arm: its answers.
        films: the test films.
        split: one of `arm.splits`.
    """
    p, seed = (arm.p if np.isfinite(arm.p) else 0.0), max(arm.seed, 0)
    if arm.touched is not None:
        return np.where(planted_split(split, films.positive, p, seed), arm.touched, arm.untouched)
    logits = np.full(len(films.positive), np.nan)
    rows = sampled_split(split, films.positive, films.has, p, seed, films.patients)
    logits[rows] = arm.untouched[rows]
    return logits


def checked_arms(answers: Sequence[ArmAnswers], films: TestFilms) -> list[ArmAnswers]:
    """Return the arms, having checked that they fit the films and each other.

    Raises:
        ScoreInputError: answers or patients of another number of films; a sampled confounder without its values, or
            two of them, whose values differ; an arm that stands twice.
    """
    n, arms, seen = len(films.positive), list(answers), set()
    given = {"images": films.images, "patients": films.patients, "has": films.has}
    for name, values in given.items():
        if values is not None and len(values) != n:
            raise ScoreInputError(f"{name} need one value per test film. Expected {n}, received {len(values)}.")
    for arm in arms:
        for values in (arm.untouched, arm.touched):
            if values is not None and np.shape(values) != (n,):
                raise ScoreInputError(
                    f"the answers of source '{arm.source}' to '{arm.confounder}' need one log-odds per test film. "
                    f"Expected ({n},), received {np.shape(values)}."
                )
        key = (*group_of(arm), arm.repeat)
        if key in seen:
            raise ScoreInputError(
                f"source '{arm.source}' ({arm.arch}, {arm.mode}) answers '{arm.confounder}' twice at p={arm.p:g}, "
                f"seed {arm.seed}, fold {arm.fold}. Give every arm once."
            )
        seen.add(key)
    sampled = sorted({arm.confounder for arm in arms if not arm.planted})
    if len(sampled) > 1 or (sampled and films.has is None):
        raise ScoreInputError(
            f"a sampled confounder needs TestFilms.has, and each its own. Received {', '.join(sampled)}. "
            "Make the tables of one sampled confounder at a time."
        )
    return arms


def group_of(arm: ArmAnswers) -> tuple[str, str, str, str, float | None]:
    """Source, arch, mode, confounder and p (None where unknown): what arms of several seeds have in common."""
    return arm.source, arm.arch, arm.mode, arm.confounder, float(arm.p) if np.isfinite(arm.p) else None


def grouped_arms(arms: Sequence[ArmAnswers]) -> dict[tuple, dict[tuple[int, int], int]]:
    """Return, by `group_of`, the number of each arm by seed and fold, in order of appearance."""
    groups: dict[tuple, dict[tuple[int, int], int]] = defaultdict(dict)
    for number, arm in enumerate(arms):
        groups[group_of(arm)][arm.repeat] = number
    return dict(groups)
