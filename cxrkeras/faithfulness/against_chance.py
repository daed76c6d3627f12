"""Insertion and deletion AUC of methods beside those of random maps of the same grid, with intervals over patients.

Arrays in, a table out; knows no model and no run. A high insertion or low deletion says that the pixels matter to the
model, not that they matter to the patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.errors import ScoreInputError
from cxrkeras.faithfulness.perturbation import INSERTION, METRICS, Perturbation, curve_auc, pixel_ranks
from cxrkeras.maps import degenerate
from cxrkeras.stats import bootstrapped_mean

DRAWS = 3
DEGENERATE = "degenerate"
COLUMNS = (
    "method", "metric", "auc", "ci_low", "ci_high", "chance", "chance_low", "chance_high", "difference",
    "difference_low", "difference_high", "n_films", "n_patients", "steps", "status", "n_degenerate",
    "probability_film", "probability_baseline",
)  # fmt: skip


class PerturbationCheck:
    """Insertion and deletion AUC, method by method, and of random maps of the same native grid.

    Args:
        films: the films and their baselines; every method explains these.
        patients: patient of each film ``[n]``.
        metrics: `insertion`, `deletion` or both.
        draws: random maps a film; their curves are averaged.
        seed: of the random maps, of ties and of the bootstrap.
    """

    def __init__(
        self,
        films: Perturbation,
        patients: np.ndarray,
        *,
        metrics: Sequence[str] = METRICS,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        self._films, self._patients = films, np.asarray(patients)
        self._metrics, self._draws, self._seed = tuple(metrics), draws, seed
        self._chance: dict[tuple[int, int], np.ndarray] = {}
        self._rows: list[dict[str, Any]] = []

    def update(self, method: str, maps: np.ndarray) -> None:
        """Measure one method.

        Args:
            method: its name.
            maps: raw maps ``[n, h, w]`` of every film.

        Raises:
            ScoreInputError: not one map per film.
        """
        maps = np.asarray(maps)
        if maps.ndim != 3 or len(maps) != len(self._patients):
            raise ScoreInputError(
                f"{method} needs one map per film: expected {len(self._patients)}, received {maps.shape}. "
                "Explain the same films with every method."
            )
        rows = np.flatnonzero(~degenerate(maps))
        aucs = self._aucs(maps[rows], rows, self._metrics)
        chance = self._chance_auc(maps.shape[1:])[rows] if len(rows) else np.empty(0)
        for metric in self._metrics:
            self._rows.append(
                {
                    "method": method,
                    "metric": metric,
                    **self._intervals(rows, aucs[metric], chance),
                    "steps": len(self._films.fractions) - 1,
                    "n_degenerate": len(maps) - len(rows),
                    "probability_film": _mean(self._films.film[rows]),
                    "probability_baseline": _mean(self._films.baseline[rows]),
                }
            )

    def summary(self) -> pd.DataFrame:
        """A row per method and metric, in the order they were added.

        Returns:
            Columns `COLUMNS`: mean over the films whose map has contrast (`n_films`, the others `n_degenerate`) of
            the `auc` of the method, of random maps (`chance`) and of their `difference` film by film, each with its
            95 % interval over patients (NaN below ten); the mean probability of the target at the two
            ends of every curve. `status`: `ok`, `too_few_patients`, `degenerate`.
        """
        return pd.DataFrame(self._rows, columns=list(COLUMNS))

    def _aucs(self, maps: np.ndarray, rows: np.ndarray, metrics: Sequence[str]) -> dict[str, np.ndarray]:
        if not len(rows):
            return {metric: np.empty(0) for metric in metrics}
        ranks = pixel_ranks(maps, self._films.size, rows, self._seed)
        curves = self._films.curves(ranks, rows, metrics)
        return {metric: curve_auc(self._films.fractions, found) for metric, found in curves.items()}

    def _chance_auc(self, grid: tuple[int, int]) -> np.ndarray:
        """Mean AUC of random maps, float64 ``[n]``, the same for both metrics.

        Deleting by a random map shows the films that inserting by its negative shows, and that is as random a map.
        """
        if grid not in self._chance:
            every, rng = np.arange(len(self._patients)), np.random.default_rng((self._seed, *grid))
            drawn = [self._aucs(rng.random((len(every), *grid)), every, [INSERTION]) for _ in range(self._draws)]
            self._chance[grid] = np.mean([aucs[INSERTION] for aucs in drawn], axis=0)
        return self._chance[grid]

    def _intervals(self, rows: np.ndarray, auc: np.ndarray, chance: np.ndarray) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, low, high, values in (
            ("auc", "ci_low", "ci_high", auc),
            ("chance", "chance_low", "chance_high", chance),
            ("difference", "difference_low", "difference_high", auc - chance),
        ):
            around = bootstrapped_mean(values, self._patients[rows], seed=self._seed)
            found |= {name: around.estimate, low: around.low, high: around.high}
        status = around.status if len(rows) else DEGENERATE
        return {**found, "n_films": len(rows), "n_patients": around.n_patients, "status": status}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
