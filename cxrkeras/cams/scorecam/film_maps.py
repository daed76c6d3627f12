"""ScoreCAM of each film: which channels get a forward, in which order, and what their answers add up to.

Exact unless `max_channels` or `tolerance` is given. Knows no layer, no gradient and no model: features and the masked
forward come from the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from cxrkeras.cams.scorecam.masked import MaskedForward
from cxrkeras.cams.scorecam.sampling import channel_energy, draw_order, next_look, relative_half_width, sampled_sum
from cxrkeras.errors import MethodError
from cxrkeras.maps import min_max

PREPROCESSED = "preprocessed"
UNINFORMATIVE = 0.01

Score = Callable[[np.ndarray], np.ndarray]
Rectify = Callable[[np.ndarray], np.ndarray]


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

    def arrays(self, sampled: bool) -> dict[str, np.ndarray]:
        """Return its figures as arrays of one row, the half-width only where channels may be left out."""
        rows = {
            "values": self.values,
            "n_live": self.n_live,
            "channels_used": self.channels_used,
            "weight_variation": self.weight_variation,
            "uninformative": self.uninformative,
            "approximate": self.channels_used < self.n_live,
        }
        if sampled:
            relative = relative_half_width(self.values, self.half_width)
            rows |= {"half_width": self.half_width, "half_width_relative": relative}
        return {name: np.array([value]) for name, value in rows.items()}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that exclude each other, before anything is computed.

    Args:
        options: all options of the method, see `registry.METHODS`.

    Raises:
        MethodError: such options.
    """
    for name in ("max_channels", "tolerance"):
        if options[name] is not None and options["weighting"] == "softmax":
            raise MethodError(
                f"{name} needs weighting='probability': a softmax over channels is not a sum that a sample can "
                f"estimate. Received weighting='softmax'; leave {name} out for the exact map."
            )
    if options["mask_layer"] is not None and options["mask_space"] != PREPROCESSED:
        raise MethodError(
            f"mask_layer='{options['mask_layer']}' needs mask_space='preprocessed'; "
            f"received mask_space='{options['mask_space']}'."
        )


def film_maps(
    forward: MaskedForward,
    films: Sequence[tf.Tensor],
    features: tf.Tensor,
    scores: Sequence[Score],
    probabilities: np.ndarray,
    film_ids: Sequence[str],
    *,
    seed: int,
    weighting: str = "probability",
    max_channels: int | None = None,
    tolerance: float | None = None,
    rectify: Rectify = lambda values: np.maximum(values, 0),
    plan: Callable[[int], None] | None = None,
    report: Callable[[int], None] | None = None,
) -> Iterator[FilmMap]:
    """Yield ScoreCAM of each film as soon as its last channel is through (Wang et al. 2020).

    H_k = min-max(upsample(A_k)), w_k = p_c(x ⊙ H_k), map = ReLU( Σ_k w_k A_k ), summed in float64. A pack takes the
    channels that the first unfinished film waits for and is filled up with those of the films after it.

    Args:
        forward: the compiled masked forward.
        films: model inputs, one ``[b, …]`` each; the last b − n films are padding, so that b never changes.
        features: A, float32 ``[b, h, w, K]``.
        scores: per film, n of them: answers ``[m, n_classes]`` of the masked forward -> p_c ``[m]``.
        probabilities: answers for the unmasked films, ``[n, n_classes]``.
        film_ids: seed the draw where channels are sampled.
        seed: seeds the draw, too.
        weighting: `probability`, or `softmax` over channels of p_c(x ⊙ H_k) − p_c(0).
        max_channels: draw at most this many channels; None, or as many as are live, is exact.
        tolerance: draw until the largest half-width of a cell is this part of the map's maximum.
        rectify: what is applied last, ReLU by definition.
        plan: told how many forwards this batch needs at most, then how many fewer (negative) when a film stops early.
        report: told after each pack how many of them are done.
    """
    arrays = features.numpy()[: len(scores)]
    masks = tf.transpose(features, (0, 3, 1, 2))
    if weighting == "softmax":
        # one more channel that is 0 everywhere: its forward is p_c(0)
        masks = tf.pad(masks, ((0, 0), (0, 1), (0, 0), (0, 0)))
    drawings = []
    for array, score, answers, film_id in zip(arrays, scores, probabilities, film_ids, strict=True):
        live = live_channels(array)
        sampled = max_channels is not None or tolerance is not None
        order = order_drawn(array, live, seed, film_id, max_channels, tolerance) if sampled else live
        baseline = float(score(answers[None])[0])
        drawings.append(Drawing(array, order, len(live), score, baseline, weighting, tolerance, rectify))
    if plan:
        plan(sum(len(drawing.asked) for drawing in drawings))
    for first, drawing in enumerate(drawings):
        while not drawing.finished:
            pairs = _next_pack(drawings[first:], first, forward.pack_size)
            answers = forward.outputs(films, masks, pairs)
            for film in np.unique(pairs[:, 0]):
                spared = drawings[film].answered(answers[pairs[:, 0] == film])
                if plan and spared:
                    plan(-spared)
            if report:
                report(len(pairs))
        yield drawing.film_map()


def order_drawn(
    features: np.ndarray,
    live: np.ndarray,
    seed: int,
    film_id: str,
    max_channels: int | None,
    tolerance: float | None = None,
) -> np.ndarray:
    """Channels in the order of their draw, at most `max_channels`; as they lie where all of them will be taken anyway.

    Args:
        features: A of one film, ``[h, w, K]``.
        live: its live channels, int ``[n_live]``.
        seed: seeds the draw.
        film_id: seeds it, too.
        max_channels: how many at most; None for all.
        tolerance: whether fewer may do.
    """
    most = len(live) if max_channels is None else min(int(max_channels), len(live))
    if not len(live) or (most == len(live) and tolerance is None):
        return live
    return draw_order(channel_energy(features), seed, film_id)[:most]


class Drawing:
    """One film on its way: the channels it asks for, in order, and their weights as they come in."""

    def __init__(
        self,
        features: np.ndarray,
        order: np.ndarray,
        n_live: int,
        score: Score,
        baseline: float,
        weighting: str,
        tolerance: float | None,
        rectify: Rectify,
    ) -> None:
        self._features, self._order, self._n_live = features, order, n_live
        self._score, self._baseline = score, baseline
        self._tolerance, self._rectify = tolerance, rectify
        self._softmax = weighting == "softmax"
        self.asked = np.append(order, features.shape[-1]) if self._softmax and len(order) else order
        self._weights = np.zeros(len(self.asked))
        self._done, self._goal = 0, next_look(0, len(self.asked), tolerance)

    @property
    def finished(self) -> bool:
        return self._done == self._goal

    @property
    def waiting(self) -> np.ndarray:
        """Channels whose forward is to be run before the next decision."""
        return self.asked[self._done : self._goal]

    def answered(self, answers: np.ndarray) -> int:
        """Take in the answers to the first of the waiting channels; returns the forwards that are no longer needed."""
        part = slice(self._done, self._done + len(answers))
        self._weights[part] = self._score(answers)
        self._done = part.stop
        if self._done < self._goal or self._done == len(self.asked):
            return 0
        found = self.film_map()
        if relative_half_width(found.values, found.half_width) <= self._tolerance:
            return len(self.asked) - self._done
        self._goal = next_look(self._done, len(self.asked), self._tolerance)
        return 0

    def film_map(self) -> FilmMap:
        """The map from the weights that are in."""
        features = self._features.astype(np.float64)
        half_width = np.zeros(features.shape[:2])
        if not np.isfinite(features).all():
            return FilmMap(np.full(half_width.shape, np.nan, np.float32), 0, 0, float("nan"), half_width, False)
        drawn = self._order[: self._done]
        weights = self._weights[: self._done]
        if self._softmax and len(drawn):
            weights = _softmax_weights(weights[:-1] - weights[-1], features.shape[-1])
        if len(drawn) == self._n_live:
            # in the order of the channels, so that a draw of all of them is the exact map to the last bit
            drawn, weights = np.sort(drawn), weights[np.argsort(drawn)]
            total = told = features[..., drawn] @ weights
            energy = channel_energy(features)[drawn]
        else:
            of_all = channel_energy(features)
            total, half_width = sampled_sum(features, drawn, weights, of_all, self._baseline)
            # p_c(x) far from weights that are all the same is noise in the estimate, not something the weights tell
            told = sampled_sum(features, drawn, weights, of_all, weights[0])[0] if len(drawn) > 1 else total
            # the draw already favours energy
            energy = np.ones(len(drawn))
        values = np.asarray(self._rectify(total), np.float32)
        return FilmMap(
            values=values,
            n_live=self._n_live,
            channels_used=len(drawn),
            weight_variation=_variation(weights, energy),
            half_width=half_width.astype(np.float32),
            uninformative=bool(values.any())
            and _is_plain_sum(self._rectify(told), self._rectify(features.sum(axis=-1))),
        )


def _next_pack(drawings: Sequence[Drawing], first: int, size: int) -> np.ndarray:
    """(film, channel) pairs of the next forward, int32 ``[m, 2]``, from drawings whose films count from `first`."""
    parts, room = [], size
    for film, drawing in enumerate(drawings, first):
        channels = drawing.waiting[:room]
        parts.append(np.stack([np.full(len(channels), film), channels], -1))
        room -= len(channels)
        if not room:
            break
    return np.concatenate(parts).astype(np.int32)


def live_channels(features: np.ndarray) -> np.ndarray:
    """Channels that are not exactly 0 in every cell; none for a film whose features are not finite."""
    live = (features != 0).any(axis=(0, 1)) & np.isfinite(features).all()
    return np.flatnonzero(live)


def _is_plain_sum(told: np.ndarray, plain: np.ndarray) -> bool:
    """Whether what the weights tell is nothing but Σ A_k."""
    return bool(np.abs(min_max(told[None]) - min_max(plain[None])).max() < UNINFORMATIVE)


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
