"""ScoreCAM of a batch that is scored by functions, which see the answers of all films to one channel at once.

So a score that relates films to each other means what it says, and is called once per channel, not once per film.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from cxrkeras.cams.scorecam.film_maps import Drawing, FilmMap, Rectify, live_channels, order_drawn
from cxrkeras.cams.scorecam.masked import MaskedForward

# answers of all films to one channel [n, columns] -> one value per film [n]
JointScore = Callable[[np.ndarray], np.ndarray]


def joint_film_maps(
    forward: MaskedForward,
    films: Sequence[tf.Tensor],
    features: tf.Tensor,
    score: JointScore,
    answers: np.ndarray,
    film_ids: Sequence[str],
    *,
    seed: int,
    weighting: str = "probability",
    max_channels: int | None = None,
    rectify: Rectify = lambda values: np.maximum(values, 0),
    plan: Callable[[int], None] | None = None,
    report: Callable[[int], None] | None = None,
) -> Iterator[FilmMap]:
    """Yield ScoreCAM of each film of a batch, after all its forwards.

    Exact maps take the channels that are live in any film of the batch; sampled ones pair the films' own draws.

    Args:
        forward: the compiled masked forward.
        films: model inputs, one ``[n, …]`` each.
        features: A, float32 ``[n, h, w, K]``.
        score: values of all films from their answers.
        answers: for the unmasked films, ``[n, columns]``.
        film_ids: seed the draw where channels are sampled.
        seed: seeds the draw, too.
        weighting: `probability`, or `softmax` over channels of the gain over a film that is hidden everywhere.
        max_channels: draw at most this many channels.
        rectify: what is applied last, ReLU by definition.
        plan: told how many forwards the batch needs.
        report: told after each pack how many of them are done.
    """
    arrays = features.numpy()
    count = arrays.shape[-1]
    masks = tf.transpose(features, (0, 3, 1, 2))
    if weighting == "softmax":
        # one more channel that is 0 everywhere: its forward is the score of a hidden film
        masks = tf.pad(masks, ((0, 0), (0, 1), (0, 0), (0, 0)))
    live = [live_channels(array) for array in arrays]
    union = np.unique(np.concatenate(live))
    orders = [
        order_drawn(array, own, seed, film_id, max_channels) if max_channels is not None else union
        for array, own, film_id in zip(arrays, live, film_ids, strict=True)
    ]
    asked = [np.append(order, count) if weighting == "softmax" else order for order in orders]
    pairs = np.concatenate([np.stack([np.full(len(a), i), a], -1) for i, a in enumerate(asked)]).astype(np.int32)
    if plan:
        plan(len(pairs))
    rows = []
    for start in range(0, len(pairs), forward.pack_size):
        pack = pairs[start : start + forward.pack_size]
        rows.append(forward.outputs(films, masks, pack))
        if report:
            report(len(pack))
    weights = _weights(score, answers, np.concatenate(rows) if rows else answers[:0], [len(a) for a in asked])
    baselines = score(answers)
    for array, own, order, film_weights, baseline in zip(arrays, live, orders, weights, baselines, strict=True):
        kept = np.isin(order, own)
        extra = film_weights[len(order) :]
        drawing = Drawing(array, order[kept], len(own), _as_they_are, float(baseline), weighting, None, rectify)
        if len(drawing.asked):
            drawing.answered(np.append(film_weights[: len(order)][kept], extra))
        yield drawing.film_map()


def _weights(score: JointScore, answers: np.ndarray, rows: np.ndarray, counts: Sequence[int]) -> list[np.ndarray]:
    """Weights of each film's channels, one call of the score for each place in the films' orders."""
    starts = np.cumsum([0, *counts[:-1]])
    weights = [np.zeros(count) for count in counts]
    for place in range(max(counts, default=0)):
        # a film with fewer channels answers as if nothing were hidden, and its value is not used
        batch = np.stack(
            [rows[s + place] if place < n else own for s, n, own in zip(starts, counts, answers, strict=True)]
        )
        values = score(batch)
        for film, count in enumerate(counts):
            if place < count:
                weights[film][place] = values[film]
    return weights


def _as_they_are(weights: np.ndarray) -> np.ndarray:
    return weights
