"""The C-Score: from maps, labels and probabilities to one row per class."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cxrkeras.consistency.emphasis import emphasised_films
from cxrkeras.consistency.films import Films, aligned_films
from cxrkeras.consistency.gold import GoldList, gold_films
from cxrkeras.consistency.jackknife import PairMean, standard_error
from cxrkeras.consistency.means import Means, class_means
from cxrkeras.consistency.options import Options
from cxrkeras.consistency.result import FEWEST_PATIENTS, PER_CLASS_COLUMNS, ConsistencyScore, consistency_score
from cxrkeras.maps import Maps, concentration
from cxrkeras.stats import t_interval

FEWEST_CELLS = 3
SMALL_SAMPLE = 10
NAN = float("nan")


def c_score(
    maps: Maps | ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[Hashable] | None = None,
    patients: Iterable[Hashable] | None = None,
    threshold: float = 0.7,
    gamma: float = 2.0,
    grid: int | tuple[int, int] | str = 56,
    pair_weights: str = "product",
    macro: str = "strict",
    max_pairs: int = 2_000_000,
    seed: int = 0,
    same_patient: str = "drop",
    decision: str = "argmax",
    targets: ArrayLike | None = None,
    status: ArrayLike | None = None,
) -> ConsistencyScore:
    """Return the confidence-weighted mean soft IoU of the maps in each class's gold list.

    C_c = Σ_{i<j} w_ij s_ij / Σ_{i<j} w_ij over the correctly classified films of class c with p ≥ τ, where s is the
    Ruzicka similarity of the emphasised maps M^γ and pairs of one patient weigh 0. Ingredients as in the abstract of
    arXiv 2604.08502; the constants are ours.

    Args:
        maps: raw maps of any framework ``[n, h, w]``, map i explaining ``labels[i]``; or `Maps`.
        labels: true classes ``[n]``: column numbers, or class names.
        probabilities: ``[n, C]``, or ``[n]`` for one sigmoid unit.
        classes: class names in column order; default: the names of `Maps`, else sorted label names, else numbers.
        patients: patient id per film ``[n]``; without them every film is its own patient.
        threshold: smallest confidence τ of a gold film.
        gamma: emphasis exponent γ.
        grid: common grid in cells, a side or ``(H, W)``, or ``"native"``; scores of different native grids are not
            comparable.
        pair_weights: ``product``, ``none``, ``geometric`` or ``min`` of the two confidences.
        macro: ``strict`` or ``skip`` undefined classes.
        max_pairs: pairs drawn per class when it has more than twice as many.
        seed: seed of the draws.
        same_patient: ``drop`` or ``keep`` pairs of one patient.
        decision: ``argmax``, or ``threshold`` for findings that may stand together: a row is a film and one of its
            positive findings, correct where that finding's probability is at least one half; rows of `probabilities`
            need not sum to 1.
        targets: class that each map explains ``[n]``; checked against `labels`.
        status: status of each map ``[n]``; default: that of `Maps`.

    Returns:
        The table per class and the numbers over classes.

    Raises:
        ScoreInputError: inputs that do not fit together.
        UsageError: an option that does not exist or is out of range.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> result = c_score(rng.random((8, 7, 7)), [0] * 4 + [1] * 4, [0.1] * 4 + [0.9] * 4)
        >>> result.per_class["n_gold"].tolist()
        [4, 4]
    """
    options = Options(threshold, gamma, grid, pair_weights, macro, max_pairs, seed, same_patient, decision)
    films = aligned_films(maps, labels, probabilities, classes, patients, targets, status, options.decision)
    table, means, gold_patients = score_tables(films, [options.threshold], [gamma], options)[0][0]
    return consistency_score(table, means, gold_patients, options.macro, options.as_parameters(films.grid))


def score_tables(
    films: Films, thresholds: Sequence[float], gammas: Sequence[float], options: Options
) -> list[list[tuple[pd.DataFrame, list[PairMean | None], list[np.ndarray]]]]:
    """Return the table per class, each class's mean over pairs and its patients, for each γ and threshold.

    Args:
        films: the checked inputs.
        thresholds: values of τ.
        gammas: emphasis exponents.
        options: everything else; its own threshold and γ are not used.
    """
    pooled, gold = gold_films(films, thresholds)
    maps = emphasised_films(pooled, gammas, options.grid_for(films.grid))
    coarse = min(films.grid) < FEWEST_CELLS
    n_patients = int(films.patients.max(initial=-1)) + 1
    nothing: Means = [[None] * len(thresholds) for _ in gold]
    means = (
        [(nothing, nothing)] * len(gammas) if coarse else class_means(maps, gold, n_patients, len(thresholds), options)
    )
    n_images = np.bincount(films.labels, minlength=len(films.classes))
    focus = concentration(pooled.values)
    lists = [[each.at(t) for each in gold] for t in range(len(thresholds))]

    def table(t: int, scores: Means, baselines: Means) -> tuple[pd.DataFrame, list[PairMean | None], list[np.ndarray]]:
        patients = [np.unique(each.patients) for each in lists[t]]
        rows = []
        for c, name in enumerate(films.classes):
            others = np.unique(np.concatenate([p for o, p in enumerate(patients) if o != c]))
            numbers = _Class(scores[c][t], baselines[c][t], lists[t][c], patients[c], others, int(n_images[c]), coarse)
            rows.append({"class": name} | numbers.row(pooled.status, maps.degenerate, focus))
        return pd.DataFrame(rows, columns=list(PER_CLASS_COLUMNS)), [row[t] for row in scores], patients

    return [[table(t, *pair) for t in range(len(thresholds))] for pair in means]


@dataclass(frozen=True)
class _Class:
    score: PairMean | None
    baseline: PairMean | None
    gold: GoldList
    patients: np.ndarray
    others: np.ndarray
    n_images: int
    coarse: bool

    def row(self, status: np.ndarray, degenerate: np.ndarray, focus: np.ndarray) -> dict[str, Any]:
        stderr = NAN if self.score is None else standard_error(self.score, self.patients)
        value = NAN if self.score is None else self.score.value
        low, high = t_interval(value, stderr, len(self.patients), bounds=(0.0, 1.0))
        defined = self.score is not None and self.baseline is not None
        excess = self.score - self.baseline if defined else None
        films, marks = self.gold.films, status[self.gold.films]
        focus = focus[films][~np.isnan(focus[films])]
        reasons = self._reasons(stderr, bool((np.char.find(marks, "approximate") >= 0).any()))
        return {
            "score": value,
            "stderr": stderr,
            "ci_low": low,
            "ci_high": high,
            "n_images": self.n_images,
            "n_gold": len(films),
            "n_patients": len(self.patients),
            "coverage": len(films) / self.n_images if self.n_images else NAN,
            "baseline": NAN if self.baseline is None else self.baseline.value,
            "excess": NAN if excess is None else excess.value,
            "excess_stderr": self._excess_stderr(excess),
            "n_degenerate": int(degenerate[films].sum()),
            "status": reasons[0] if reasons else "ok",
            "n_uninformative": int((np.char.find(marks, "uninformative") >= 0).sum()),
            "n_ambiguous": int((np.char.find(marks, "ambiguous_sign") >= 0).sum()),
            "concentration": float(focus.mean()) if focus.size else NAN,
            "sampling_stderr": NAN if self.score is None else float(np.sqrt(self.score.sampling_variance)),
            "n_pairs": 0 if self.score is None else self.score.n_pairs,
            "flags": ",".join(reasons[1:] + self._notes(excess)),
        }

    def _reasons(self, stderr: float, approximate: bool) -> list[str]:
        empty = not len(self.gold)
        applies = {
            "grid_too_coarse": self.coarse,
            "empty_gold_list": empty,
            "undefined_gold_list": not empty and len(self.patients) < 2,
            "too_few_patients": self.score is not None and np.isnan(stderr),
            "no_baseline": not empty and not self.coarse and self.baseline is None,
            "approximate": approximate,
        }
        return [name for name, holds in applies.items() if holds]

    def _notes(self, excess: PairMean | None) -> list[str]:
        applies = {
            "small_sample": self.score is not None and FEWEST_PATIENTS <= len(self.patients) < SMALL_SAMPLE,
            "too_few_other_patients": excess is not None and np.isnan(self._excess_stderr(excess)),
            "sampled": self.score is not None and self.score.sampled,
            "sampled_baseline": self.baseline is not None and self.baseline.sampled,
        }
        return [name for name, holds in applies.items() if holds]

    def _excess_stderr(self, excess: PairMean | None) -> float:
        if excess is None or min(len(self.patients), len(self.others)) < FEWEST_PATIENTS:
            return NAN
        return standard_error(excess, np.union1d(self.patients, self.others))
