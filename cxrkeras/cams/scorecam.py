"""ScoreCAM: one forward per live channel, masks made inside the graph, several films packed into full batches.

Exact unless capped. Knows nothing of layers and gradients: features come from the engine's probe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.cams.probe import class_probabilities
from cxrkeras.cams.sampling import channel_energy, draw_order, sampled_sum
from cxrkeras.errors import MethodError, unknown
from cxrkeras.maps import min_max

WEIGHTINGS = ("probability", "softmax")
UNINFORMATIVE = 0.01
# a channel that varies less than float32 resolves is constant: its mask is 0, not amplified noise
CONSTANT = 1e-6

Score = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FilmMap:
    """ScoreCAM of one film.

    Attributes:
        values: raw map, float32 ``[h, w]``.
        n_live: channels that are not zero everywhere.
        channels_used: channels that got a forward.
        weight_variation: energy-weighted standard deviation of the weights over their mean.
        half_width: pointwise 95 % half-width of the sum before ReLU, ``[h, w]``; 0 where the map is exact.
        uninformative: the map is the plain channel sum: the weights say nothing about the class.
    """

    values: np.ndarray
    n_live: int
    channels_used: int
    weight_variation: float
    half_width: np.ndarray
    uninformative: bool

    def arrays(self, capped: bool) -> dict[str, np.ndarray]:
        """Return its figures as arrays of one row, the half-width only where channels were capped."""
        rows = {
            "values": self.values,
            "n_live": self.n_live,
            "channels_used": self.channels_used,
            "weight_variation": self.weight_variation,
            "uninformative": self.uninformative,
            "approximate": self.channels_used < self.n_live,
        }
        return {
            name: np.array([value])
            for name, value in ({**rows, "half_width": self.half_width} if capped else rows).items()
        }


class MaskedForward:
    """The model seen through channel masks, compiled once for packs of a fixed size."""

    def __init__(self, model: keras.Model, head: str, pack_size: int) -> None:
        self._model, self._head, self.pack_size = model, head, pack_size
        self.traces = 0
        self._compiled = tf.function(self._forward, autograph=False)

    def outputs(self, films: tf.Tensor, masks: tf.Tensor, pairs: np.ndarray) -> np.ndarray:
        """Run one pack.

        Args:
            films: model inputs ``[n, H, W, C]``.
            masks: channel maps ``[n, K, h, w]``.
            pairs: (film, channel) indices, int ``[m, 2]`` with m ≤ pack size.

        Returns:
            Probabilities ``[m, n_classes]``, float32.
        """
        padded = np.zeros((self.pack_size, 2), np.int32)
        padded[: len(pairs)] = pairs
        return self._compiled(films, masks, tf.constant(padded)).numpy()[: len(pairs)]

    def _forward(self, films: tf.Tensor, masks: tf.Tensor, pairs: tf.Tensor) -> tf.Tensor:
        self.traces += 1
        channel = tf.gather_nd(masks, pairs)[..., None]
        upsampled = tf.image.resize(channel, films.shape[1:3])
        low = tf.reduce_min(upsampled, (1, 2, 3), keepdims=True)
        high = tf.reduce_max(upsampled, (1, 2, 3), keepdims=True)
        varies = high - low > CONSTANT * tf.maximum(tf.abs(low), tf.abs(high))
        span = tf.where(varies, high - low, tf.ones_like(high))
        seen = tf.gather(films, pairs[:, 0]) * tf.where(varies, (upsampled - low) / span, tf.zeros_like(upsampled))
        return class_probabilities(self._model(seen, training=False), self._head)


def check_options(weighting: str, max_channels: int | None) -> None:
    """Refuse options that ScoreCAM does not have, before anything is computed.

    Raises:
        MethodError: an unknown weighting, a cap under 1, or a cap with `softmax` weights.
    """
    if weighting not in WEIGHTINGS:
        raise unknown("weighting", str(weighting), WEIGHTINGS, MethodError)
    if max_channels is None:
        return
    if int(max_channels) != max_channels or max_channels < 1:
        raise MethodError(
            f"max_channels has to be a whole number of 1 or more, or None for exact; received {max_channels}."
        )
    if weighting == "softmax":
        raise MethodError(
            "max_channels needs weighting='probability': a softmax over channels is not a sum that a sample can "
            "estimate. Received weighting='softmax'; leave max_channels out for the exact map."
        )


def film_maps(
    forward: MaskedForward,
    films: tf.Tensor,
    features: tf.Tensor,
    scores: Sequence[Score],
    probabilities: np.ndarray,
    film_ids: Sequence[str],
    *,
    seed: int,
    weighting: str = "probability",
    max_channels: int | None = None,
    rectify: Callable[[np.ndarray], np.ndarray] = lambda values: np.maximum(values, 0),
    plan: Callable[[int], None] | None = None,
    report: Callable[[int], None] | None = None,
) -> Iterator[FilmMap]:
    """Yield ScoreCAM of each film as soon as its last channel is through (Wang et al. 2020).

    H_k = min-max(upsample(A_k)), w_k = p_c(x ⊙ H_k), map = ReLU( Σ_k w_k A_k ), summed in float64.

    Args:
        forward: the compiled masked forward.
        films: x, the model's input ``[b, H, W, C]``; its last b − n films are padding, so that b never changes.
        features: A, float32 ``[b, h, w, K]``.
        scores: per film, n of them: probabilities ``[m, n_classes]`` -> p_c ``[m]``.
        probabilities: of the unmasked films, ``[n, n_classes]``.
        film_ids: seed the draw when channels are capped.
        seed: seeds the draw, too.
        weighting: `probability`, or `softmax` over channels of p_c(x ⊙ H_k) − p_c(0).
        max_channels: draw this many channels; None, or as many as are live, is exact.
        rectify: what is applied last, ReLU by definition.
        plan: told once how many forwards this batch needs.
        report: told after each pack how many of them are done.
    """
    arrays = features.numpy()[: len(scores)]
    count = arrays.shape[-1]
    masks = tf.transpose(features, (0, 3, 1, 2))
    if weighting == "softmax":
        # one more channel that is 0 everywhere: its forward is p_c(0)
        masks = tf.pad(masks, ((0, 0), (0, 1), (0, 0), (0, 0)))
    live = [_live_channels(film) for film in arrays]
    chosen = [
        _drawn(film, channels, seed, film_id, max_channels)
        for film, channels, film_id in zip(arrays, live, film_ids, strict=True)
    ]
    wanted = [np.append(c, count) if weighting == "softmax" and len(c) else c for c in chosen]
    pairs = np.concatenate([np.stack([np.full(len(w), i), w], -1) for i, w in enumerate(wanted)]).astype(np.int32)
    if plan:
        plan(len(pairs))
    ends = np.cumsum([len(w) for w in wanted])
    answers, done, finished = np.zeros((len(pairs), probabilities.shape[1]), np.float32), 0, 0
    while finished < len(arrays):
        while done < ends[finished]:
            pack = pairs[done : done + forward.pack_size]
            answers[done : done + len(pack)] = forward.outputs(films, masks, pack)
            done += len(pack)
            if report:
                report(len(pack))
        weights = scores[finished](answers[ends[finished] - len(wanted[finished]) : ends[finished]])
        baseline = float(scores[finished](probabilities[finished : finished + 1])[0])
        yield _film_map(
            arrays[finished], chosen[finished], np.asarray(weights, np.float64), len(live[finished]), baseline,
            weighting, rectify,
        )  # fmt: skip
        finished += 1


def _live_channels(features: np.ndarray) -> np.ndarray:
    """Channels that are not exactly 0 in every cell; none for a film whose features are not finite."""
    live = (features != 0).any(axis=(0, 1)) & np.isfinite(features).all()
    return np.flatnonzero(live)


def _drawn(features: np.ndarray, live: np.ndarray, seed: int, film_id: str, max_channels: int | None) -> np.ndarray:
    if max_channels is None or max_channels >= len(live):
        return live
    return draw_order(channel_energy(features), seed, film_id)[: int(max_channels)]


def _film_map(
    features: np.ndarray,
    channels: np.ndarray,
    weights: np.ndarray,
    n_live: int,
    baseline: float,
    weighting: str,
    rectify: Callable[[np.ndarray], np.ndarray],
) -> FilmMap:
    features = features.astype(np.float64)
    half_width = np.zeros(features.shape[:2], np.float32)
    if not np.isfinite(features).all():
        return FilmMap(np.full(features.shape[:2], np.nan, np.float32), 0, 0, float("nan"), half_width, False)
    if weighting == "softmax" and len(channels):
        weights = _softmax_weights(weights[:-1] - weights[-1], features.shape[-1])
    if len(channels) == n_live:
        total = features[..., channels] @ weights
        energy = channel_energy(features)[channels]
    else:
        total, half_width = sampled_sum(features, channels, weights, channel_energy(features), baseline)
        # the draw already favours energy
        energy = np.ones(len(channels))
    values = np.asarray(rectify(total), np.float32)
    plain = np.asarray(rectify(features.sum(axis=-1)), np.float32)
    # an all-zero map is a failure of its own, not a plain sum
    difference = np.abs(min_max(values[None]) - min_max(plain[None])).max() if values.any() else np.inf
    return FilmMap(
        values=values,
        n_live=n_live,
        channels_used=len(channels),
        weight_variation=_variation(weights, energy),
        half_width=half_width.astype(np.float32),
        uninformative=bool(difference < UNINFORMATIVE),
    )


def _softmax_weights(gains: np.ndarray, count: int) -> np.ndarray:
    """Softmax over all `count` channels; a skipped one is all zero, so its gain is p_c(0) − p_c(0) = 0."""
    peak = max(float(gains.max()), 0.0)
    raised = np.exp(gains - peak)
    return raised / (raised.sum() + (count - len(gains)) * np.exp(-peak))


def _variation(weights: np.ndarray, energy: np.ndarray) -> float:
    if not len(weights):
        return float("nan")
    mean = np.average(weights, weights=energy)
    deviation = np.sqrt(np.average((weights - mean) ** 2, weights=energy))
    return float(deviation / mean) if mean > 0 else float("nan")
