"""Insertion and deletion: how the probability of a class follows the pixels that a map ranks first.

Petsiuk et al. 2018 (RISE), section 4.1. Arrays and a callable in, curves out: it knows no model, method or run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.maps import degenerate, min_max, resize

INSERTION, DELETION = "insertion", "deletion"
METRICS = (INSERTION, DELETION)
STEPS = 16
BATCH = 32

Predict = Callable[[np.ndarray], np.ndarray]


def pixel_ranks(maps: np.ndarray, size: tuple[int, int], rows: Sequence[int] | np.ndarray, seed: int = 0) -> np.ndarray:
    """Place of each pixel when the enlarged map is sorted, 0 for the strongest.

    Pixels of one value are put in random order, the same for every map of a film: their order in memory decides
    nothing.

    Args:
        maps: raw maps ``[m, h, w]`` with contrast.
        size: `(H, W)` of the films in pixels; maps are enlarged bilinearly with half-pixel centres.
        rows: number of the film that each map belongs to, int ``[m]``.
        seed: of the random order.

    Returns:
        int32 ``[m, H, W]``.

    Raises:
        ScoreInputError: a map without contrast, which ranks nothing.
    """
    if blank := int(degenerate(maps).sum()):
        raise ScoreInputError(f"{blank} of {len(maps)} maps have no contrast and rank no pixel. Leave them out.")
    # unit peak first, so that maps of any magnitude survive single precision
    values = resize(min_max(maps), size).reshape(len(maps), -1)
    ranks = np.empty(values.shape, np.int32)
    for place, (film, row) in enumerate(zip(rows, values, strict=True)):
        shuffled = np.random.default_rng((seed, int(film))).permutation(len(row))
        strongest_first = shuffled[np.argsort(-row[shuffled], kind="stable")]
        ranks[place, strongest_first] = np.arange(len(row), dtype=np.int32)
    return ranks.reshape(len(maps), *size)


class Perturbation:
    """Films on their way between themselves and their baselines, pixel by pixel in the order of a ranking.

    The two ends are predicted once, whatever is ranked afterwards.

    Attributes:
        size: `(H, W)` of the films in pixels.
        fractions: shares of the pixels at which a curve is taken, 0 to 1, ``[steps + 1]``.
        film, baseline: probability of the target for each film and each baseline, float64 ``[n]``.

    Args:
        films: ``[n, H, W, C]`` as the model takes them.
        baselines: the same films without what they show.
        targets: class whose probability is followed, int ``[n]``.
        predict: films ``[batch_size, H, W, C]`` -> probabilities ``[batch_size, n_classes]``; every call has a full
            batch, the last one of a curve filled up with its last film.
        steps: steps from nothing to all pixels.
        batch_size: films a call.

    Raises:
        UsageError: fewer than two steps.
        ScoreInputError: films, baselines and targets that do not fit together.
    """

    def __init__(
        self,
        films: np.ndarray,
        baselines: np.ndarray,
        targets: np.ndarray,
        predict: Predict,
        *,
        steps: int = STEPS,
        batch_size: int = BATCH,
    ) -> None:
        if steps < 2:
            raise UsageError(f"a curve needs two steps or more. Received {steps}. Use for example 16.")
        if films.ndim != 4 or films.shape != baselines.shape or len(films) != len(targets):
            raise ScoreInputError(
                "insertion needs films [n, H, W, C], a baseline and a target for each. "
                f"Received films {films.shape}, baselines {baselines.shape} and {len(targets)} targets."
            )
        self._films, self._baselines, self._targets = films, baselines, np.asarray(targets, int)
        self._predict, self._batch_size = predict, batch_size
        self.size = films.shape[1:3]
        pixels = films.shape[1] * films.shape[2]
        self._counts = np.round(np.linspace(0, pixels, steps + 1)).astype(int)
        self.fractions = self._counts / pixels
        every = range(len(films))
        self.film = self._followed(every, (films[i] for i in every))
        self.baseline = self._followed(every, (baselines[i] for i in every))

    def curves(self, ranks: np.ndarray, rows: np.ndarray, metrics: Sequence[str] = METRICS) -> dict[str, np.ndarray]:
        """Probability of each film's target while its pixels are inserted or deleted, strongest first.

        Args:
            ranks: place of each pixel, int ``[m, H, W]``.
            rows: which film each ranking belongs to, int ``[m]``.
            metrics: `insertion` (from the baseline to the film), `deletion` (from the film to the baseline).

        Returns:
            metric -> float64 ``[m, steps + 1]``, at `fractions` of the pixels.
        """
        inner = range(1, len(self._counts) - 1)
        items = [(which, i, k) for which in range(len(metrics)) for i in range(len(rows)) for k in inner]
        images = (self._image(metrics[which], ranks[i], rows[i], k) for which, i, k in items)
        followed = self._followed([rows[i] for _, i, _ in items], images)
        between = followed.reshape(len(metrics), len(rows), len(inner))
        ends = {INSERTION: (self.baseline, self.film), DELETION: (self.film, self.baseline)}
        return {
            metric: np.column_stack([ends[metric][0][rows], between[which], ends[metric][1][rows]])
            for which, metric in enumerate(metrics)
        }

    def _image(self, metric: str, ranks: np.ndarray, row: int, step: int) -> np.ndarray:
        first = (ranks < self._counts[step])[..., None]
        film, baseline = self._films[row], self._baselines[row]
        return np.where(first, film, baseline) if metric == INSERTION else np.where(first, baseline, film)

    def _followed(self, rows: Sequence[int], images: Iterator[np.ndarray]) -> np.ndarray:
        """Probability of the target of film `rows[i]` for the i-th image, float64."""
        targets = self._targets[np.asarray(rows, int)]
        found = np.empty(len(targets))
        for start in range(0, len(targets), self._batch_size):
            batch = list(islice(images, self._batch_size))
            n = len(batch)
            batch += [batch[-1]] * (self._batch_size - n)
            probabilities = np.asarray(self._predict(np.stack(batch)))
            found[start : start + n] = probabilities[np.arange(n), targets[start : start + n]]
        return found


def curve_auc(fractions: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Area under each curve by the trapezoid rule, float64 ``[n]``.

    Args:
        fractions: of the pixels, 0 to 1, ``[k]``.
        curves: probabilities ``[n, k]``.
    """
    return np.trapezoid(curves, fractions, axis=1)
