"""Integrated gradients: the gradient at the model's input, averaged on the straight way from a baseline to the film.

The baseline is the zero of the preprocessed input, or a black film. Points of several films are packed into full
batches. Knows no layer of the classifier beyond its preprocessing, and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from cxrkeras.cams.gradients import film_gradients
from cxrkeras.cams.tracing.layers import Tap
from cxrkeras.cams.tracing.preprocessing import leading_preprocessing
from cxrkeras.cams.tracing.probe import Trace
from cxrkeras.errors import MethodError

ZERO, BLACK = "zero", "black"
SMALLEST_DIFFERENCE = 1e-6
# a film that changes what is explained by less has too little to add up to for a gap of some per cent to count
COUNTED_DIFFERENCE = 0.1
# films reach this far; over a short way float32 would round the slope
FAR = 255.0

Explained = Callable[[Trace, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class PathMaps:
    """Integrated gradients of some films.

    Attributes:
        values: |Σ_channels (x − b) · mean gradient|, float32 ``[n, H, W]``.
        completeness_gap: |Σ − Δz| / |Δz| with Σ before the absolute value; NaN where |Δz| < 1e-6. ``[n]``.
        counted_gap: |Σ − Δz| / max(|Δz|, 0.1), which does not blow up where there is little to explain; NaN where a
            value is not finite. ``[n]``.
    """

    values: np.ndarray
    completeness_gap: np.ndarray
    counted_gap: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Its arrays by name, one row a film."""
        return dict(vars(self))


class PathGradients:
    """The gradient of what is explained at points between baseline and film, compiled once for packs of a fixed size.

    Args:
        trace: a model of one input, traced at the points.
        explained: what is explained, from a traced model and targets to ``[n]``.
        pack_size: points per forward and backward.
        unconnected: what it means that the explained does not depend on the input: an error, or gradients of 0.
    """

    def __init__(
        self,
        trace: Callable[[tf.Tensor], Trace],
        explained: Explained,
        pack_size: int,
        unconnected: tf.UnconnectedGradients = tf.UnconnectedGradients.NONE,
    ) -> None:
        self._trace, self._explained, self.pack_size = trace, explained, pack_size
        self._unconnected = unconnected
        self.traces = 0
        self._compiled = tf.function(self._gradients, autograph=False)

    def at(
        self, films: tf.Tensor, baseline: tf.Tensor, targets: tf.Tensor, which: np.ndarray, places: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Run one pack.

        Args:
            films: x ``[n, H, W, C]``.
            baseline: b, broadcast against a film.
            targets: class per film, int ``[n]``.
            which: film of each point, int ``[m]``, m ≤ pack size.
            places: where on the way it lies, 0 at the baseline and 1 at the film, ``[m]``.

        Returns:
            The points' gradients summed per film ``[n, H, W, C]``, and what is explained at each point ``[m]``.

        Raises:
            UnconnectedLayerError: what is explained cannot be differentiated by the input.
        """
        padding = (0, self.pack_size - len(which))
        summed, values = self._compiled(
            films,
            baseline,
            targets,
            tf.constant(np.pad(which, padding), tf.int32),
            tf.constant(np.pad(places, padding), tf.float32),
            tf.constant(np.pad(np.ones(len(which)), padding), tf.float32),
        )
        return summed.numpy(), values.numpy()[: len(which)]

    def _gradients(
        self,
        films: tf.Tensor,
        baseline: tf.Tensor,
        targets: tf.Tensor,
        which: tf.Tensor,
        places: tf.Tensor,
        counted: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        self.traces += 1
        points = baseline + places[:, None, None, None] * (tf.gather(films, which) - baseline)
        trace = self._trace(points)
        values = self._explained(trace, tf.gather(targets, which))
        (gradients,) = film_gradients(trace, values * counted, (Tap("input", points),), self._unconnected)
        return tf.math.unsorted_segment_sum(gradients, which, films.shape[0]), values


def film_maps(
    path: PathGradients,
    films: tf.Tensor,
    baseline: np.ndarray,
    targets: np.ndarray,
    *,
    ig_steps: int,
    ig_baseline: str = ZERO,
    report: Callable[[int], None] | None = None,
) -> PathMaps:
    """Integrated gradients of films (Sundararajan et al. 2017, eq. 3), at the midpoints of `ig_steps` equal parts.

    Args:
        path: the compiled gradient.
        films: x ``[n, H, W, C]``; rows past the targets are padding.
        baseline: the zero of the preprocessed input, broadcast against a film.
        targets: class per film, int ``[m]``, m ≤ n.
        ig_steps: points on the way.
        ig_baseline: `zero` starts from `baseline`, `black` from pixels that are 0 before the preprocessing.
        report: told after each pack how many points are done.
    """
    n, steps = len(targets), int(ig_steps)
    baseline = np.zeros_like(baseline) if ig_baseline == BLACK else baseline
    which, places = np.divmod(np.arange(n * steps), steps)
    # the two ends of each way follow, for the completeness of the sum
    which = np.concatenate([which, np.arange(n), np.arange(n)])
    places = np.concatenate([(places + 0.5) / steps, np.zeros(n), np.ones(n)])
    start, padded = tf.constant(baseline, tf.float32), np.pad(targets, (0, films.shape[0] - n), mode="edge")
    classes = tf.constant(padded, tf.int32)
    total, values = np.zeros(films.shape, np.float64), []
    # ends are explained, not differentiated into the sum, so no pack may mix the two
    for rows in (slice(0, n * steps), slice(n * steps, None)):
        for first in range(0, len(which[rows]), path.pack_size):
            part = slice(first, first + path.pack_size)
            summed, explained = path.at(films, start, classes, which[rows][part], places[rows][part])
            values.append(explained)
            if rows.start == 0:
                total += summed
            if report:
                report(len(explained))
    ends = np.concatenate(values)[n * steps :].astype(np.float64)
    attributions = ((films.numpy().astype(np.float64) - baseline) * total / steps)[:n].sum(-1)
    sums, differences = attributions.sum((1, 2)), ends[n:] - ends[:n]
    return PathMaps(
        values=np.abs(attributions).astype(np.float32),
        completeness_gap=completeness_gap(sums, differences),
        counted_gap=counted_gap(sums, differences),
    )


def points(options: Mapping[str, int]) -> int:
    """Points that one film is run at: those on its way, and its two ends."""
    return int(options["ig_steps"]) + 2


def completeness_gap(sums: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """|Σ − Δz| / |Δz|: how far the attributions miss the difference they should add up to.

    Args:
        sums: Σ of the signed attributions, ``[n]``.
        differences: Δz between film and baseline, ``[n]``.

    Returns:
        float64 ``[n]``; NaN where |Δz| < 1e-6 or a value is not finite.
    """
    size = np.abs(differences)
    defined = np.isfinite(sums) & np.isfinite(size) & (size >= SMALLEST_DIFFERENCE)
    missed = np.abs(np.where(defined, sums, 0) - np.where(defined, differences, 0))
    return np.where(defined, missed / np.where(defined, size, 1), np.nan)


def counted_gap(sums: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """|Σ − Δz| / max(|Δz|, 0.1): the gap that is warned of; NaN where a value is not finite.

    Args:
        sums, differences: as in `completeness_gap`.
    """
    finite = np.isfinite(sums) & np.isfinite(differences)
    sums, differences = np.where(finite, sums, np.nan), np.where(finite, differences, np.nan)
    return np.abs(sums - differences) / np.maximum(np.abs(differences), COUNTED_DIFFERENCE)


def preprocessed_zero(trace: Trace) -> Callable[[], np.ndarray]:
    """Where the model's preprocessing is 0: a function, because the layers' weights may change after tracing.

    The preprocessing is the chain of Rescaling and Normalization layers that the films pass first; a model without one
    takes its films as they are, so its zero is 0.

    Returns:
        A function that gives the baseline, float64 ``[C]`` or anything else that is broadcast against a film.
    """
    chain = [call.layer for call in leading_preprocessing(trace, trace.films)]
    shape = (1, *(int(side) for side in trace.films.shape[1:]))

    def zero() -> np.ndarray:
        ends = []
        for value in (0.0, FAR):
            films = np.full(shape, value, np.float32)
            for layer in chain:
                films = layer(films)
            ends.append(np.asarray(films, np.float64))
        slope = (ends[1] - ends[0]) / FAR
        if not (slope != 0).all():
            raise MethodError("ig needs a preprocessing with a zero; received one that does not depend on the film.")
        return -ends[0] / slope

    return zero
