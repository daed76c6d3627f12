"""The model-randomisation check: do a method's maps depend on what the model learned?

Adebayo et al. 2018. Arrays in, a table out: it is handed maps before and after weights were drawn anew and knows no
model. A method that passes is only not refuted: its maps may depend on the weights and still be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.errors import ScoreInputError
from cxrkeras.maps import degenerate, pearson, soft_overlap, strongest_cells

CHANGES, UNCHANGED, UNDEFINED = "changes", "unchanged", "undefined"
# At a correlation of 0.9 four fifths (0.81) of a map's variance is there without the learned weights: at most a fifth
# of what is shown can come from them. Lower values are no proof of failure, because a random network also answers to
# the film's edges and borders.
UNCHANGED_FROM = 0.9
# Below this many comparisons a median says little; the bootstrap asks for as many patients.
FEWEST_COMPARED = 10
TOP = 0.2
QUANTILES = (0.05, 0.95)
COLUMNS = (
    "method", "stage", "layers", "correlation", "correlation_low", "correlation_high", "top_iou", "n_films",
    "n_compared", "n_degenerate", "verdict",
)  # fmt: skip


class RandomisationCheck:
    """Maps of the same films before and after the weights were drawn anew, compared film by film at the native grid.

    Several draws of one stage are pooled: one random network may happen to be dead, or alike.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> maps = rng.random((12, 7, 7))
        >>> check = RandomisationCheck({"constant": maps, "random": maps})
        >>> check.update("head", 1, {"constant": maps * 3, "random": rng.random((12, 7, 7))})
        >>> check.summary()["verdict"].tolist()
        ['unchanged', 'changes']

    Args:
        before: method -> raw maps ``[n, h, w]`` of the trained model.
    """

    def __init__(self, before: Mapping[str, np.ndarray]) -> None:
        self._before = {name: np.asarray(maps) for name, maps in before.items()}
        self._layers: dict[str, int] = {}
        self._compared: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] = {}

    def update(self, stage: str, layers: int, after: Mapping[str, np.ndarray]) -> None:
        """Add the maps of one draw.

        Args:
            stage: down to where the weights were drawn anew.
            layers: how many layers that are.
            after: method -> raw maps of the same films in the same order.

        Raises:
            ScoreInputError: maps of another shape than before.
        """
        self._layers[stage] = layers
        for name, before in self._before.items():
            now = np.asarray(after[name])
            if now.shape != before.shape:
                raise ScoreInputError(
                    f"{name} needs maps of the same films before and after. Expected {before.shape}, received "
                    f"{now.shape}. Explain the same films with the same method."
                )
            self._compared.setdefault((name, stage), []).append(_compared(before, now))

    def summary(self) -> pd.DataFrame:
        """A row per method and stage, in the order they were added; the last stage decides over the method.

        Returns:
            Columns `COLUMNS`. `layers` drawn anew so far; median and 5 % and 95 % quantile of the `correlation` and
            median `top_iou` (strongest fifth of the cells) over the comparisons, film by draw, whose two maps have
            contrast (`n_compared`, the others `n_degenerate`); `verdict` `unchanged` from a median correlation of
            `UNCHANGED_FROM`, `undefined` below `FEWEST_COMPARED` comparisons, else `changes`.
        """
        rows = [
            {"method": name, "stage": stage, "layers": layers, **_row(self._compared[name, stage])}
            for name in self._before
            for stage, layers in self._layers.items()
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))


def verdict(correlation: float, n_compared: int) -> str:
    """Whether maps of median `correlation` over `n_compared` comparisons changed."""
    if n_compared < FEWEST_COMPARED:
        return UNDEFINED
    return UNCHANGED if correlation >= UNCHANGED_FROM else CHANGES


def _compared(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation and overlap of the strongest cells, float64 ``[n]``; NaN where a map has no contrast."""
    comparable = ~(degenerate(before) | degenerate(after))
    correlation, overlap = np.full(len(before), np.nan), np.full(len(before), np.nan)
    a, b = (maps[comparable].reshape(comparable.sum(), maps[0].size).astype(np.float64) for maps in (before, after))
    k = max(1, round(TOP * before[0].size))
    correlation[comparable] = pearson(a, b)
    overlap[comparable] = soft_overlap(strongest_cells(a, k), strongest_cells(b, k))
    return correlation, overlap


def _row(compared: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    correlation, overlap = (np.concatenate(parts) for parts in zip(*compared, strict=True))
    known = ~np.isnan(correlation)
    n_compared = int(known.sum())
    low, middle, high = np.full(3, np.nan)
    if n_compared:
        low, middle, high = np.quantile(correlation[known], [QUANTILES[0], 0.5, QUANTILES[1]])
    return {
        "correlation": float(middle),
        "correlation_low": float(low),
        "correlation_high": float(high),
        "top_iou": float(np.median(overlap[known])) if n_compared else float("nan"),
        "n_films": len(compared[0][0]),
        "n_compared": n_compared,
        "n_degenerate": len(correlation) - n_compared,
        "verdict": verdict(middle, n_compared),
    }
