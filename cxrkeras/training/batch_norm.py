"""BatchNorm statistics set once from one batch of training films, for backbones whose own fit no film."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cxrkeras.data.filmset import FilmSet
from cxrkeras.data.pipeline import film_batches
from cxrkeras.models.classifier import Classifier

CALIBRATION_FILMS = 128


def calibrate_batch_norm(classifier: Classifier, films: np.ndarray | tf.Tensor) -> int:
    """Replace every BatchNormalization's moving statistics by those of one batch.

    With momentum 0 one training-mode pass leaves exactly the batch's own mean and variance in each layer, so the
    network then behaves in inference mode on this batch as it did in training mode.

    Args:
        classifier: its backbone is changed in place.
        films: ``[n, H, W, 3]`` in 0..255.

    Returns:
        How many layers were set.
    """
    norms = classifier.batch_norms
    before = [(norm.momentum, norm.trainable) for norm in norms]
    try:
        for norm in norms:
            norm.momentum, norm.trainable = 0.0, True
        # A graph frees each activation after its last use; an eager call would hold all of them at once.
        tf.function(lambda x: classifier.pooled(x, training=True))(tf.convert_to_tensor(films, tf.float32))
    finally:
        for norm, (momentum, trainable) in zip(norms, before, strict=True):
            norm.momentum, norm.trainable = momentum, trainable
    return len(norms)


def calibrate_on_films(classifier: Classifier, films: FilmSet, seed: int) -> int:
    """Calibrate on at most 128 films of a set, drawn by `seed`.

    Args:
        classifier: its backbone is changed in place.
        films: training films at the classifier's size.
        seed: of the draw.

    Returns:
        How many films were taken.
    """
    rng = np.random.default_rng([seed, CALIBRATION_FILMS])
    rows = np.sort(rng.permutation(len(films))[:CALIBRATION_FILMS])
    batch = film_batches(films.store, films.indices[rows], films.labels[rows], batch_size=len(rows))
    pixels, _, _ = next(iter(batch))
    calibrate_batch_norm(classifier, pixels)
    return len(rows)
