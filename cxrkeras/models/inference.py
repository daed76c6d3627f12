"""Forward passes over a film set in batches of one shape, and pooled features cached by the hash of their causes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import keras
import numpy as np

from cxrkeras.data.filmset import FilmSet
from cxrkeras.data.images import PIXELS_VERSION
from cxrkeras.data.pipeline import film_batches
from cxrkeras.events import SILENT, Advance, Reporter
from cxrkeras.models.classifier import Classifier
from cxrkeras.models.weights import weights_hash
from cxrkeras.store import NPZ_ERRORS, atomic_path, cache_directory, read_npz


def forward(
    model: keras.Model, films: FilmSet, batch_size: int, reporter: Reporter = SILENT, label: str = "predict"
) -> np.ndarray:
    """Outputs ``[n, k]`` of `model` in inference mode for every film, in the set's order."""
    if len(films) == 0:
        return np.zeros((0, int(model.output_shape[-1])), np.float32)
    batches = film_batches(films.store, films.indices, films.labels, batch_size=batch_size, pad_last=True)
    with reporter.task(label, len(films)) as advance:
        counted = _Advance(advance, batch_size, len(films))
        outputs = model.predict(batches.map(lambda pixels, *_: pixels), verbose=0, callbacks=[counted])
    return np.asarray(outputs[: len(films)], np.float32)


def pooled_features(
    classifier: Classifier,
    films: FilmSet,
    batch_size: int,
    *,
    cache: Path | None = None,
    reporter: Reporter = SILENT,
    label: str = "features",
) -> np.ndarray:
    """Pooled features ``[n, channels]`` of a frozen backbone, read from the cache when their causes are the same.

    Args:
        classifier: its backbone in inference mode.
        films: the films, with their hashes.
        batch_size: films a forward.
        cache: folder; None takes `features/` in the cache directory.
        reporter: told of progress.
        label: what the progress is called.
    """
    folder = cache or cache_directory() / "features"
    file = folder / f"{_features_key(classifier, films)}.npz"
    if file.exists():
        try:
            return read_npz(file)["features"]
        except NPZ_ERRORS:
            file.unlink()
    features = forward(classifier.pooled, films, batch_size, reporter, label)
    with atomic_path(file) as partial, open(partial, "wb") as stream:
        np.savez(stream, features=features)
    return features


def _features_key(classifier: Classifier, films: FilmSet) -> str:
    digest = hashlib.sha256()
    policy = classifier.pooled.get_layer(classifier.backbone.head_input).dtype_policy.name
    causes = (
        PIXELS_VERSION,
        classifier.backbone.name,
        classifier.image_size,
        classifier.preprocessing,
        policy,
        films.store.resize,
        films.store.bits,
        weights_hash(classifier),
        *films.hashes,
    )
    for cause in causes:
        digest.update(str(cause).encode() + b"\0")
    return digest.hexdigest()[:32]


class _Advance(keras.callbacks.Callback):
    """Counts films; the padding of the last batch is none."""

    def __init__(self, advance: Advance, batch_size: int, films: int) -> None:
        super().__init__()
        self._advance, self._batch_size, self._left = advance, batch_size, films

    def on_predict_batch_end(self, batch, logs=None) -> None:
        done = min(self._batch_size, self._left)
        self._left -= done
        self._advance(done)
