"""A run opened for work: its classifier built once, its checkpoints loaded into it by epoch, its films read once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from cxrkeras.config import Config
from cxrkeras.data.annotations.geometry import Fractions, film_region
from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import CheckpointError, DataError, UsageError
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import Activation, Classifier, build_classifier
from cxrkeras.run import Run
from cxrkeras.store import sha256_file
from cxrkeras.workflow.dataset import data_root, film_set


def precision_policy(mixed: bool) -> str:
    """Keras dtype policy: float16 where a GPU makes it fast, bfloat16 elsewhere, float32 unless asked."""
    if not mixed:
        return "float32"
    import tensorflow as tf

    return "mixed_float16" if tf.config.list_physical_devices("GPU") else "mixed_bfloat16"


def configured_classifier(
    config: Config,
    classes: Sequence[str],
    preprocessing: str | None,
    policy: str,
    activation: Activation = "softmax",
) -> Classifier:
    """Build the classifier that a configuration describes, with fresh random weights."""
    row = backbone(config.model.backbone)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return build_classifier(
            row,
            tuple(classes),
            config.model.image_size or row.size,
            preprocessing=preprocessing,
            activation=activation,
            dropout=config.model.dropout,
            seed=config.training.seed,
            allow_coarse=config.model.allow_coarse,
        )
    finally:
        keras.config.set_dtype_policy(before)


class ExplainerCache:
    """Compiled explainers by key, built once; weights change under them without a new trace."""

    def __init__(self) -> None:
        self._explainers: dict[Hashable, Any] = {}

    def explainer(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """The compiled explainer of a key."""
        if key not in self._explainers:
            self._explainers[key] = build()
        return self._explainers[key]


class OpenRun(ExplainerCache):
    """A run with its classifier and films at hand.

    Args:
        run: a run directory.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.config = run.config
        self.classes = run.classes
        self.loaded: tuple[int, str] | None = None
        self._hashes: dict[int, str] = {}

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier; its weights are whatever `load` put there last."""
        info = self.run.info
        policy = info.get("precision", "float32")
        return configured_classifier(self.config, self.classes, info.get("preprocessing"), policy, self._activation)

    @cached_property
    def _activation(self) -> Activation:
        return self.run.info.get("activation", "softmax")

    @property
    def several(self) -> bool:
        """Whether a film may have several of the classes, which are findings then."""
        return self._activation == "sigmoid"

    def require_one_class(self, work: str) -> None:
        """Refuse work that is defined for one class a film only.

        Raises:
            UsageError: the run's films may have several findings.
        """
        if self.several:
            raise UsageError(
                f"{work} works on one class a film, and a film of run {self.run.name} may have several findings "
                f"({', '.join(self.classes)}). For such runs use evaluate, explain, score of one epoch, localize, "
                "export; or train on one class a film with --label-column."
            )

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The manifest as split."""
        return self.run.manifest()

    @cached_property
    def films(self) -> FilmSet:
        """Every film of the manifest."""
        root = data_root(self.config, self.run.info.get("data_root"))
        size, settings = self.classifier.image_size, self.config.data
        return film_set(self.frame, root, self.classes, size, settings, several=self.several)

    def film_region(self, film_size: tuple[int, int]) -> Fractions | None:
        """Which part of the classifier's input a film ``(height, width)`` fills, as `maps.resize` takes it."""
        return film_region(film_size, self.config.data.resize, self.classifier.input_shape[:2])

    @property
    def reading(self) -> str:
        """How films are read, where that is not the run's own way: never."""
        return ""

    def split(self, name: str) -> np.ndarray:
        """Rows of the manifest in a split, int ``[n]``.

        Raises:
            DataError: the run has no such split.
        """
        rows = np.flatnonzero(self.frame["split"].to_numpy(str) == name)
        if not len(rows):
            known = ", ".join(sorted(set(self.frame["split"])))
            raise DataError(f"run {self.run.name} has no films in split '{name}'. Expected one of: {known}.")
        return rows

    def load(self, epoch: int) -> str:
        """Load a checkpoint into the classifier and return its SHA-256.

        Raises:
            CheckpointError: the file is broken, or not the one that training wrote.
        """
        file = self.run.checkpoint_path(epoch)
        digest = self.checkpoint_hash(epoch)
        if self.loaded != (epoch, digest):
            self.loaded = None
            load_checkpoint(self.classifier, file)
            self.loaded = epoch, digest
        return digest

    def checkpoint_hash(self, epoch: int) -> str:
        """SHA-256 of a stored checkpoint, checked once.

        Raises:
            CheckpointError: the file is broken, or not the one that training wrote.
        """
        if epoch not in self._hashes:
            self._hashes[epoch] = checked_hash(self.run, epoch, self.run.checkpoint_path(epoch))
        return self._hashes[epoch]


def checked_hash(run: Run, epoch: int, file: Path) -> str:
    """SHA-256 of a checkpoint, compared with what training noted.

    Raises:
        CheckpointError: the file was changed, cut short or cannot be read.
    """
    try:
        digest = sha256_file(file)
    except OSError as error:
        raise CheckpointError(f"checkpoint {file} cannot be read ({error.strerror}). {_other_epochs(run)}") from error
    noted = run.info.get("checkpoints", {}).get(str(epoch))
    if noted and digest != noted:
        raise CheckpointError(
            f"checkpoint {file} is not the file that training wrote: expected SHA-256 {noted[:12]}…, received "
            f"{digest[:12]}… ({file.stat().st_size} bytes). It was truncated or changed; restore it. "
            f"{_other_epochs(run)}"
        )
    return digest


def load_checkpoint(classifier: Classifier, file: Path) -> None:
    """Fill the whole classifier, head included, from one of our checkpoints.

    Raises:
        CheckpointError: the file is broken or belongs to another classifier.
    """
    try:
        classifier.model.load_weights(file)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"checkpoint {file} does not fit this run's classifier or is broken ({reason}). "
            "Restore the file, or use another epoch."
        ) from error


def _other_epochs(run: Run) -> str:
    return f"Stored epochs: {', '.join(map(str, run.epochs()))}."
