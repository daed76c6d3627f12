"""Films to batches: the one place where grey becomes three channels, and where order and augmentation are drawn.

Every random number is drawn beforehand from the seeds it is given, so a dataset gives the same bits each time it is
iterated, alone or in a resumed run. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.data.films import FilmStore
from cxrkeras.errors import UsageError

PADDING = -1
ROTATION_DEGREES = 7.0
SHIFT = 0.05
ZOOM = 0.10
# Order and augmentation often get the same seed; without this their streams would be one.
_AUGMENTATION_STREAM = 1


def film_batches(
    store: FilmStore,
    indices: Sequence[int] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    *,
    batch_size: int,
    shuffle_seed: int | Sequence[int] | None = None,
    augment_seed: int | Sequence[int] | None = None,
    pad_last: bool = False,
) -> tf.data.Dataset:
    """Batches of films for a model.

    Every film is decoded once before this returns, so a broken one fails here and by name, not as an error of
    TensorFlow's in the middle of an epoch.

    Args:
        store: the films.
        indices: film numbers in the store, int ``[n]``.
        labels: class index of each of them, int ``[n]``, or its findings, float ``[n, n_classes]``.
        batch_size: films a batch.
        shuffle_seed: the order is `np.random.default_rng(shuffle_seed).permutation(n)`, None keeps it. Pass
            `(seed, epoch)` for another order in every epoch.
        augment_seed: draws rotation ±7°, shift ±5 % and zoom ±10 % per film, black outside, never mirrored; None
            leaves the films as they are.
        pad_last: fill the last batch up with its last film, so that every batch has one shape.

    Returns:
        Dataset of `(films float32 [B, H, W, 3] in 0..255, labels, index int32 [B])`; labels are int32 ``[B]``, or
        float32 ``[B, n_classes]`` for findings; `index` is the film's number in the store, −1 for padding.

    Raises:
        FilmError: a film cannot be read.
        UsageError: `batch_size` below 1, or labels that do not match the indices.
    """
    indices = np.asarray(indices, np.int32)
    labels = np.asarray(labels, np.float32 if np.ndim(labels) == 2 else np.int32)
    if batch_size < 1 or indices.ndim != 1 or indices.shape != labels.shape[:1] or labels.ndim > 2:
        raise UsageError(
            f"batches need a batch size of 1 or more and one label per film. Received batch size {batch_size}, "
            f"{indices.size} films and {len(labels) if labels.ndim else 1} labels; give them in one order and length."
        )
    store.preload(indices)
    order = (
        np.arange(len(indices))
        if shuffle_seed is None
        else np.random.default_rng(shuffle_seed).permutation(len(indices))
    )
    motions = None if augment_seed is None else augmentation_transforms(len(order), store.size, augment_seed)
    n_batches = -(-len(order) // batch_size)

    def batches() -> Iterator[tuple[np.ndarray, ...]]:
        for start in range(0, len(order), batch_size):
            places = np.arange(start, min(start + batch_size, len(order)))
            fill = batch_size - len(places) if pad_last else 0
            places = np.pad(places, (0, fill), mode="edge")
            numbers = indices[order[places]]
            films = store.get(numbers)
            shown = numbers.copy()
            shown[len(shown) - fill :] = PADDING
            batch = films, labels[order[places]], shown
            yield batch if motions is None else (*batch, motions[places])

    n_films = batch_size if pad_last or len(order) % batch_size == 0 else None
    signature = [
        tf.TensorSpec((n_films, *store.size), tf.float32),
        tf.TensorSpec((n_films, *labels.shape[1:]), labels.dtype),
        tf.TensorSpec((n_films,), tf.int32),
    ]
    if motions is not None:
        signature.append(tf.TensorSpec((n_films, 8), tf.float32))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=tuple(signature))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(n_batches))
    return dataset.map(_model_input).prefetch(2)


def augmentation_transforms(n: int, size: tuple[int, int], seed: int | Sequence[int]) -> np.ndarray:
    """Draw one rotation, shift and zoom per film, composed to one affine map so that films are resampled once.

    Args:
        n: films.
        size: `(height, width)` in pixels.
        seed: seed or sequence of seeds.

    Returns:
        float32 ``[n, 8]``: output pixel (x, y) is read at (a0·x + a1·y + a2, a3·x + a4·y + a5), as
        `keras.ops.image.affine_transform` takes it.
    """
    stream = np.random.SeedSequence(seed, spawn_key=(_AUGMENTATION_STREAM,))
    turn, right, down, zoom = np.random.default_rng(stream).uniform(-1, 1, size=(n, 4)).T
    angle, scale = np.deg2rad(ROTATION_DEGREES) * turn, 1 + ZOOM * zoom
    height, width = size
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    a0, a1 = np.cos(angle) / scale, -np.sin(angle) / scale
    a3, a4 = np.sin(angle) / scale, np.cos(angle) / scale
    from_x, from_y = centre_x + SHIFT * right * width, centre_y + SHIFT * down * height
    a2 = centre_x - a0 * from_x - a1 * from_y
    a5 = centre_y - a3 * from_x - a4 * from_y
    none = np.zeros(n)
    return np.stack([a0, a1, a2, a3, a4, a5, none, none], axis=1).astype(np.float32)


def _model_input(films: tf.Tensor, labels: tf.Tensor, index: tf.Tensor, motions: tf.Tensor | None = None):
    films = films[..., tf.newaxis]
    if motions is not None:
        films = keras.ops.image.affine_transform(
            films, motions, interpolation="bilinear", fill_mode="constant", fill_value=0, data_format="channels_last"
        )
    return tf.repeat(films, 3, axis=-1), labels, index
