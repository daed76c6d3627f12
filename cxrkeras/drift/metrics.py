"""How far a film's map moved between two checkpoints: one number per film and metric, at the native grid.

After Elangovan & Ting, arXiv 2604.08513, which names such metrics; the formulas are ours. Arrays in, table out; knows
no film, method or run.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.stats import hypergeom, rankdata

from cxrkeras.errors import ScoreInputError, UsageError, unknown
from cxrkeras.maps import concentration, degenerate, min_max, pearson, resize, soft_overlap, strongest_cells

TOP = 0.2
HALF = 0.5
SSIM_GRID = 56
TOP_CELLS, HALF_MAXIMUM = "top", "half-max"
IOU_RULES = (TOP_CELLS, HALF_MAXIMUM)
PEARSON, SPEARMAN = "pearson", "spearman"
CORRELATIONS = (PEARSON, SPEARMAN)
OK = "ok"


def _itself(values: np.ndarray) -> np.ndarray:
    return values


def _shortfall(values: np.ndarray) -> np.ndarray:
    return 1 - values


_AMOUNT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "displacement": _itself,
    "peak_displacement": _itself,
    "iou": _shortfall,
    "correlation": _shortfall,
    "concentration_change": np.abs,
    "ssim": _shortfall,
}
METRICS = tuple(_AMOUNT)


def amount(metric: str, values: np.ndarray) -> np.ndarray:
    """How much a map drifted according to a metric: 0 for an unchanged map, more for a greater change.

    Args:
        metric: one of `METRICS`.
        values: the metric of each film ``[n]``.

    Returns:
        ``[n]``: displacements as they are, 1 − IoU, 1 − correlation, 1 − SSIM, |change of concentration|.
    """
    return _AMOUNT[metric](np.asarray(values, np.float64))


@dataclass(frozen=True)
class DriftOptions:
    """How drift is measured; stored with every result.

    Attributes:
        iou_rule: `top`: the strongest fifth of the cells; `half-max`: cells of at least half the maximum.
        correlation: `pearson` or `spearman`.
        ssim: also the structural similarity, which needs scikit-image.

    Raises:
        UsageError: an unknown rule, or `ssim` without scikit-image.
    """

    iou_rule: str = TOP_CELLS
    correlation: str = PEARSON
    ssim: bool = False

    def __post_init__(self) -> None:
        if self.iou_rule not in IOU_RULES:
            raise unknown("IoU rule", self.iou_rule, IOU_RULES)
        if self.correlation not in CORRELATIONS:
            raise unknown("correlation", self.correlation, CORRELATIONS)
        if self.ssim and importlib.util.find_spec("skimage") is None:
            raise UsageError(
                "the structural similarity needs scikit-image, which is not installed. "
                "Install it with: pip install 'scikit-image>=0.25'; or leave out --ssim."
            )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are measured."""
        return tuple(name for name in METRICS if self.ssim or name != "ssim")


def film_drift(first: np.ndarray, second: np.ndarray, options: DriftOptions | None = None) -> pd.DataFrame:
    """Compare each film's maps of two checkpoints, on the ReLU of the raw maps.

    Args:
        first, second: raw maps ``[n, h, w]`` of the same films and method, on one native grid.
        options: which overlap and correlation.

    Returns:
        A row a film. `status`: ``ok``, or what is wrong with which map (``zero_first``, ``constant_second``,
        ``nonfinite_first``, ``one_cell``, …). `displacement`, `peak_displacement`: distance of the centres of mass
        and of the peaks, in diagonals of the grid, 0 to 1; tied peaks count as their centre. `iou`: overlap of the
        strongest cells above 0, and `iou_chance`, what sets of these sizes overlap on average by chance.
        `correlation`: −1 to 1. `concentration_change`: −1 to 1, above 0 where the second map is more concentrated.
        `ssim` where asked for. Undefined is NaN: everything for a zero map, except that a map that vanished overlaps
        0 with one that did not; correlation and SSIM for a constant map.

    Raises:
        ScoreInputError: not two sets of as many maps on one grid.

    Example:
        >>> before, after = np.zeros((2, 1, 7, 7))
        >>> before[0, 0, 0] = after[0, 0, 3] = 1
        >>> film_drift(before, after)["displacement"].round(4).tolist()
        [0.3536]
    """
    options = options or DriftOptions()
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 3 or first.shape != second.shape or not first.shape[1] * first.shape[2]:
        raise ScoreInputError(
            f"drift compares maps of the same films on one grid: expected two arrays [n, h, w] of one shape; "
            f"received {first.shape} and {second.shape}. Use one method and layer at both checkpoints."
        )
    (a, wrong_a), (b, wrong_b) = _unit_peak(first), _unit_peak(second)
    overlap, chance = _overlap(a, b, options.iou_rule)
    finite = (wrong_a != "nonfinite") & (wrong_b != "nonfinite")
    contrast = (wrong_a == "") & (wrong_b == "")
    table = {
        "status": _status(wrong_a, wrong_b, a.shape[1:]),
        "displacement": _distance(_centres(a), _centres(b), a.shape[1:]),
        "peak_displacement": _distance(_centres(_peaks(a)), _centres(_peaks(b)), a.shape[1:]),
        "iou": np.where(finite, overlap, np.nan),
        "iou_chance": np.where(finite, chance, np.nan),
        "correlation": _where(contrast, _correlation, a, b, options.correlation),
        "concentration_change": concentration(b) - concentration(a),
    }
    if options.ssim:
        table["ssim"] = _where(contrast, _ssim, a, b)
    return pd.DataFrame(table)


def strongest_count(n_cells: int) -> int:
    """Cells that count as the strongest fifth of a map: ⌈0.2·n⌉, 10 of 49."""
    return math.ceil(round(TOP * n_cells, 9))


@lru_cache(maxsize=4096)
def chance_overlap(n_cells: int, first: int, second: int) -> float:
    """Mean IoU of two sets of cells drawn at random: E[X / (a + b − X)] with X hypergeometric; NaN if both are empty.

    Args:
        n_cells: cells of the grid.
        first, second: sizes a and b of the sets.

    Example:
        >>> round(chance_overlap(49, 10, 10), 3)
        0.118
    """
    if first + second == 0:
        return float("nan")
    shared = np.arange(max(0, first + second - n_cells), min(first, second) + 1)
    return float(np.sum(hypergeom.pmf(shared, n_cells, first, second) * shared / (first + second - shared)))


def _unit_peak(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ReLU maps scaled to a peak of 1, float64, and what is wrong with each: "" or a word."""
    finite = np.isfinite(values).all(axis=(1, 2))
    relu = np.maximum(np.where(finite[:, None, None], values, 0).astype(np.float64), 0)
    peak = relu.max(axis=(1, 2))
    scaled = relu / np.where(peak > 0, peak, 1)[:, None, None]
    return scaled, np.select([~finite, peak == 0, degenerate(scaled)], ["nonfinite", "zero", "constant"], default="")


def _status(wrong_a: np.ndarray, wrong_b: np.ndarray, grid: tuple[int, ...]) -> list[str]:
    shared = ["one_cell"] if grid == (1, 1) else []
    rows = []
    for a, b in zip(wrong_a, wrong_b, strict=True):
        words = [f"{word}_{side}" for word, side in ((a, "first"), (b, "second")) if word]
        rows.append(",".join(shared + words) or OK)
    return rows


def _centres(maps: np.ndarray) -> np.ndarray:
    """Centre of mass of each map, row and column ``[n, 2]`` in cells; NaN for a zero map."""
    mass = maps.sum(axis=(1, 2))
    rows = maps.sum(axis=2) @ np.arange(maps.shape[1])
    columns = maps.sum(axis=1) @ np.arange(maps.shape[2])
    defined = np.where(mass > 0, mass, np.nan)
    return np.stack([rows / defined, columns / defined], axis=1)


def _peaks(maps: np.ndarray) -> np.ndarray:
    """1 where a map has its maximum, if that is above 0."""
    return ((maps == maps.max(axis=(1, 2), keepdims=True)) & (maps > 0)).astype(np.float64)


def _distance(first: np.ndarray, second: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    diagonal = math.hypot(grid[0] - 1, grid[1] - 1)
    return np.linalg.norm(first - second, axis=1) / (diagonal or np.nan)


def _overlap(a: np.ndarray, b: np.ndarray, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """IoU of the strongest cells and what chance gives, both ``[n]``, NaN where both maps are empty."""
    members = [_strongest(_cells(maps), rule) for maps in (a, b)]
    sizes = [np.rint(member.sum(axis=1)).astype(int) for member in members]
    overlap = _where(sizes[0] + sizes[1] > 0, soft_overlap, *members)
    n_cells = a.shape[1] * a.shape[2]
    chance = [chance_overlap(n_cells, int(one), int(other)) for one, other in zip(*sizes, strict=True)]
    return overlap, np.array(chance)


def _cells(maps: np.ndarray) -> np.ndarray:
    return maps.reshape(len(maps), maps.shape[1] * maps.shape[2])


def _strongest(cells: np.ndarray, rule: str) -> np.ndarray:
    above = cells > 0
    if rule == HALF_MAXIMUM:
        return (above & (cells >= HALF)).astype(np.float64)
    return strongest_cells(cells, strongest_count(cells.shape[1])) * above


def _correlation(a: np.ndarray, b: np.ndarray, kind: str) -> np.ndarray:
    cells = [_cells(a), _cells(b)]
    if kind == SPEARMAN:
        cells = [rankdata(each, axis=1) for each in cells]
    return pearson(*cells)


def _ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    from skimage.metrics import structural_similarity

    enlarged = (min_max(resize(min_max(maps), SSIM_GRID)) for maps in (a, b))
    return np.array([structural_similarity(one, other, data_range=1.0) for one, other in zip(*enlarged, strict=True)])


def _where(chosen: np.ndarray, measure: Callable[..., np.ndarray], a: np.ndarray, b: np.ndarray, *rest: str):
    """The measure of the chosen rows, NaN elsewhere."""
    values = np.full(len(a), np.nan)
    if chosen.any():
        values[chosen] = measure(a[chosen], b[chosen], *rest)
    return values
