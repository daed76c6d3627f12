"""Agreement of heat maps of the same films: Pearson correlation and the overlap of the strongest cells, film by film.

NumPy and pandas only; arrays in, tables out. Knows no method, engine or run; says how alike maps are, never which
are right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.maps import degenerate, min_max, pearson, resize, soft_overlap, strongest_cells

GRID = 56
TOP = 0.2
QUANTILES = (0.05, 0.95)
OK, FIRST, SECOND, BOTH = "ok", "degenerate_first", "degenerate_second", "degenerate_both"


@dataclass(frozen=True)
class Agreement:
    """How alike two sets of maps of the same films are.

    Attributes:
        correlation: Pearson correlation over the cells of the common grid, float64 ``[n]``, −1 to 1; NaN where a map
            is degenerate.
        top_iou: overlap of the strongest cells, float64 ``[n]``, 0 to 1; NaN likewise.
        status: ``ok``, ``degenerate_first``, ``degenerate_second`` or ``degenerate_both`` per film, text ``[n]``.
    """

    correlation: np.ndarray
    top_iou: np.ndarray
    status: np.ndarray

    def summary(self, rows: np.ndarray | slice = slice(None)) -> dict[str, float | int]:
        """Return median and 5 % and 95 % quantile over the films whose two maps both have contrast.

        Args:
            rows: films to take: positions, a mask ``[n]`` or a slice.

        Returns:
            `n_films`, `n_compared`, `n_degenerate_first`, `n_degenerate_second`, and for `correlation` and `top_iou`
            the median and `…_low`, `…_high`; NaN where no film can be compared.
        """
        status = self.status[rows]
        counts = {
            "n_films": len(status),
            "n_compared": int((status == OK).sum()),
            "n_degenerate_first": int(np.isin(status, (FIRST, BOTH)).sum()),
            "n_degenerate_second": int(np.isin(status, (SECOND, BOTH)).sum()),
        }
        return {**counts, **_spread("correlation", self.correlation[rows]), **_spread("top_iou", self.top_iou[rows])}


def agreement(
    first: np.ndarray, second: np.ndarray, *, grid: int | tuple[int, int] = GRID, top: float = TOP
) -> Agreement:
    """Compare two sets of maps film by film on a common grid.

    Args:
        first, second: raw maps ``[n, h, w]`` of the same films in the same order; their native grids may differ.
        grid: common grid in cells, a side or ``(H, W)``.
        top: share of the cells that count as the strongest, in (0, 1).

    Raises:
        ScoreInputError: not the same number of maps, or not ``[n, h, w]``.
        UsageError: `top` is not between 0 and 1.

    Example:
        >>> maps = np.arange(50.0).reshape(2, 5, 5)
        >>> agreement(maps, -maps, grid=5).correlation.tolist()
        [-1.0, -1.0]
    """
    if not 0 < top < 1:
        raise UsageError(f"the share of strongest cells must lie between 0 and 1. Received {top}. Use for example 0.2.")
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 3 or second.ndim != 3 or len(first) != len(second):
        raise ScoreInputError(
            f"maps of the same films are needed: expected two arrays [n, h, w] of one length; "
            f"received {first.shape} and {second.shape}. Select the same films from both."
        )
    (a, blank_a), (b, blank_b) = _common_cells(first, grid), _common_cells(second, grid)
    status = np.select([blank_a & blank_b, blank_a, blank_b], [BOTH, FIRST, SECOND], default=OK)
    comparable = status == OK
    correlation, overlap = np.full(len(a), np.nan), np.full(len(a), np.nan)
    correlation[comparable] = pearson(a[comparable], b[comparable])
    overlap[comparable] = soft_overlap(top_cells(a[comparable], top), top_cells(b[comparable], top))
    return Agreement(correlation, overlap, status)


def agreement_table(
    maps: Mapping[str, np.ndarray], *, grid: int | tuple[int, int] = GRID, top: float = TOP
) -> pd.DataFrame:
    """Compare every pair of several sets of maps of the same films.

    Args:
        maps: name -> raw maps ``[n, h, w]``, the same films in the same order.
        grid, top: as in `agreement`.

    Returns:
        A row per pair: `first`, `second`, then the columns of `Agreement.summary`.

    Raises:
        ScoreInputError, UsageError: as `agreement`.
    """
    rows = [
        {"first": one, "second": other, **agreement(maps[one], maps[other], grid=grid, top=top).summary()}
        for one, other in combinations(maps, 2)
    ]
    columns = ["first", "second", *Agreement(*(np.empty(0) for _ in range(3))).summary()]
    return pd.DataFrame(rows, columns=columns)


def top_cells(cells: np.ndarray, top: float = TOP) -> np.ndarray:
    """Membership of each cell in the strongest `top` of its map, float64 ``[n, cells]``, each row summing to k.

    k is `top` of the cells, rounded, at least 1; ties share places as in `maps.strongest_cells`.

    Args:
        cells: ``[n, cells]``, finite.
        top: share of the cells.
    """
    cells = np.asarray(cells)
    return strongest_cells(cells, max(1, round(top * cells.shape[1])))


def _common_cells(values: np.ndarray, grid: int | tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Maps on the common grid ``[n, cells]`` in [0, 1], and which have no contrast, bool ``[n]``."""
    blank = degenerate(values)
    # unit peak first, so that maps of any magnitude survive single precision
    resized = resize(min_max(values), grid)
    blank = blank | degenerate(resized)
    return min_max(resized).reshape(len(values), -1), blank


def _spread(name: str, values: np.ndarray) -> dict[str, float]:
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, QUANTILES) if len(known) else (np.nan, np.nan)
    middle = np.median(known) if len(known) else np.nan
    return {name: float(middle), f"{name}_low": float(low), f"{name}_high": float(high)}
