"""A candidate opened for work: its network with its first weights, a head for the classes asked for, its features.

Used by `robustness` and `sources`. Trains nothing, and writes nothing but the cache of features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrkeras.config import load_config
from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import UsageError, WeightsError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import LOGITS, Classifier
from cxrkeras.models.inference import pooled_features
from cxrkeras.models.weights import check_imagenet, parse_weights, source_preprocessing
from cxrkeras.run import Run
from cxrkeras.training.batch_norm import calibrate_on_films
from cxrkeras.workflow.first_weights import load_first_weights, source_run
from cxrkeras.workflow.opened import ExplainerCache, checked_hash, configured_classifier, load_checkpoint

if TYPE_CHECKING:
    from cxrkeras.sources.candidates import Candidate

FEATURE_BATCH = 32


class OpenCandidate(ExplainerCache):
    """A candidate with its classifier at hand; its head is fresh until `set_head` or `load_trained_head`.

    Attributes:
        candidate: as parsed, with its backbone and preprocessing filled in.
        classifier: the network with its first weights.
        sha256: of the weight file; of the weights themselves where they were drawn.
        origin: the run of a `run:` source, else None.
        epoch: its epoch.
        calibrated_on: films that BatchNorm was set from; 0 where its statistics were kept.
    """

    def __init__(
        self,
        candidate: Candidate,
        classifier: Classifier,
        sha256: str,
        origin: Run | None = None,
        epoch: int | None = None,
        calibrated_on: int = 0,
    ) -> None:
        super().__init__()
        self.candidate, self.classifier, self.sha256 = candidate, classifier, sha256
        self.origin, self.epoch, self.calibrated_on = origin, epoch, calibrated_on

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.candidate.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the head."""
        return self.classifier.classes

    @property
    def preprocessing(self) -> str:
        """What its weights expect of their pixels."""
        return self.classifier.preprocessing

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.classifier.image_size

    @property
    def facts(self) -> dict[str, Any]:
        """What it is, as plain values, for tables and `info`."""
        return {
            "candidate": self.name,
            "arch": self.classifier.backbone.name,
            "weights": self.candidate.weights,
            "sha256": self.sha256,
            "preprocess": self.preprocessing,
            "image_size": self.image_size,
            "n_features": int(self.classifier.pooled.output_shape[-1]),
            "epoch": self.epoch,
            "batch_norm": f"set from {self.calibrated_on} films" if self.calibrated_on else "as loaded",
            "trained_head": self.trained_head,
        }

    def features(self, films: FilmSet, reporter: Reporter = SILENT) -> np.ndarray:
        """Pooled features float32 ``[n, d]`` in inference mode, computed once and cached by their causes.

        Args:
            films: films at the candidate's size.
            reporter: told of progress.

        Raises:
            WeightsError: they are not finite, or the same for every film.
        """
        self._check_size(films)
        features = pooled_features(
            self.classifier, films, FEATURE_BATCH, reporter=reporter, label=f"features of {self.name}"
        )
        if not np.isfinite(features).all():
            raise WeightsError(
                f"{self.name}: {int((~np.isfinite(features)).any(1).sum())} of {len(films)} films have features that "
                f"are not finite. Expected finite ones: its weights or its preprocessing ({self.preprocessing}) do not "
                "fit the network."
            )
        if len(np.unique(films.hashes)) > 1 and not np.ptp(features, axis=0).any():
            raise WeightsError(
                f"{self.name}: the features of all {len(films)} films are the same. Expected films to differ: its "
                f"weights are dead, or its preprocessing ({self.preprocessing}) is not theirs."
            )
        return features

    def set_head(self, weights: np.ndarray, bias: np.ndarray | float, positive: int | str | None = None) -> None:
        """Write a linear probe into the head, so that the classifier's logits are the probe's.

        Args:
            weights: ``[d]`` log-odds of `positive` against the other of two classes, or ``[d, n_classes]`` logits.
            bias: a number, or ``[n_classes]``.
            positive: class or its index that a probe ``[d]`` speaks for; None is the last.

        Raises:
            UsageError: the shapes do not fit the head.
        """
        weights, bias = np.asarray(weights, np.float64), np.asarray(bias, np.float64)
        if weights.ndim == 1 and len(self.classes) == 2 and bias.size == 1:
            index = self.classes.index(positive) if isinstance(positive, str) else positive
            half = np.where(np.arange(2) == (1 if index is None else index), 0.5, -0.5)
            weights, bias = weights[:, None] * half, bias.reshape(()) * half
        expected = self._head.kernel.shape, self._head.bias.shape
        if (weights.shape, bias.shape) != expected:
            raise UsageError(
                f"a probe with weights {weights.shape} and bias {bias.shape} does not fit the head of {self.name}. "
                f"Expected {expected[0]} and {expected[1]}, or ({expected[0][0]},) and one number for two classes."
            )
        self._head.set_weights([weights.astype(np.float32), bias.astype(np.float32)])

    @property
    def trained_head(self) -> bool:
        """Whether the weights are a run's that was trained to tell exactly these classes apart."""
        return (
            self.origin is not None
            and not self.origin.several
            and self.origin.head_trained
            and set(self.origin.classes) == set(self.classes)
            and len(self.origin.classes) == len(self.classes)
        )

    def load_trained_head(self) -> None:
        """Load the run's whole checkpoint, its head put into the order of `classes`.

        Raises:
            UsageError: the candidate has no trained head for these classes.
            CheckpointError: the checkpoint is broken.
        """
        if not self.trained_head:
            raise UsageError(
                f"{self.name} has no trained head for {', '.join(self.classes)}. Expected weights run:NAME of a run "
                "that was trained on these classes."
            )
        load_checkpoint(self.classifier, self.origin.checkpoint_path(self.epoch))
        order = [self.origin.classes.index(name) for name in self.classes]
        kernel, bias = self._head.get_weights()
        self._head.set_weights([kernel[:, order], bias[order]])

    @property
    def _head(self) -> Any:
        return self.classifier.model.get_layer(LOGITS)

    def _check_size(self, films: FilmSet) -> None:
        if films.store.size != (self.image_size, self.image_size):
            raise UsageError(
                f"{self.name} takes films of {self.image_size}×{self.image_size} px. Received a set of "
                f"{films.store.size[0]}×{films.store.size[1]}; read them at `candidate_size`."
            )


def candidate_size(candidate: Candidate, image_size: int | None = None) -> int:
    """Side of a candidate's input in pixels: the one given, else its run's, else its backbone's native one.

    Raises:
        RunError, BackboneError: its run or its backbone does not exist.
    """
    if image_size is not None:
        return image_size
    origin = source_run(parse_weights(candidate.weights), None)
    if origin is not None:
        return int(origin.config.model.image_size or backbone(origin.config.model.backbone).size)
    return backbone(candidate.backbone).size


def check_candidate(candidate: Candidate) -> None:
    """Refuse a candidate that cannot be opened, as far as names and files tell: before any film is read.

    Raises:
        WeightsError, RunError, CheckpointError, BackboneError: weights, run, epoch or backbone that do not exist.
    """
    row = None if candidate.backbone is None else backbone(candidate.backbone)
    try:
        source = parse_weights(candidate.weights)
        if source.kind == "imagenet":
            check_imagenet(row)
    except WeightsError as error:
        raise WeightsError(f"candidate {candidate.name}: {error}") from error
    origin = source_run(source, None if row is None else row.name)
    if origin is not None:
        origin.resolve_epoch(source.epoch)


def open_candidate(
    candidate: Candidate,
    classes: Sequence[str],
    *,
    image_size: int | None = None,
    seed: int = 0,
    calibrate_on: FilmSet | None = None,
    allow_coarse: bool = False,
) -> OpenCandidate:
    """Build a candidate's network with a fresh head for `classes` and load its weights.

    Args:
        candidate: a parsed candidate; without a backbone it takes that of its run.
        classes: class names, in the order of the head.
        image_size: side of the square input; None as `candidate_size`.
        seed: draws random weights, the head and the films of the calibration.
        calibrate_on: training films at that size; BatchNorm of random weights is set from at most 128 of them, as
            `train` does by default. None keeps its first statistics.
        allow_coarse: accept a head grid under 3×3, as for features only.

    Raises:
        WeightsError, RunError, CheckpointError, BackboneError: weights, run or backbone that cannot be used.
    """
    source = parse_weights(candidate.weights)
    origin = source_run(source, None if candidate.backbone is None else backbone(candidate.backbone).name)
    name = candidate.backbone if origin is None else origin.config.model.backbone
    row = backbone(name)
    explicit = candidate.preprocessing or (None if origin is None else origin.info["preprocessing"])
    mode = source_preprocessing(source, row, explicit)
    settings = {"backbone": row.name, "image_size": candidate_size(candidate, image_size), "allow_coarse": allow_coarse}
    config = load_config(None, {"model": settings, "training": {"seed": seed}})
    classifier = configured_classifier(config, classes, mode, "float32")
    epoch = None if origin is None else origin.resolve_epoch(source.epoch)
    if origin is not None:
        checked_hash(origin, epoch, origin.checkpoint_path(epoch))
    try:
        digest = load_first_weights(classifier, source, origin)
    except WeightsError as error:
        raise WeightsError(f"candidate {candidate.name}: {error}") from error
    opened = OpenCandidate(replace(candidate, backbone=row.name, preprocessing=mode), classifier, digest, origin, epoch)
    if source.kind == "random" and calibrate_on is not None:
        opened._check_size(calibrate_on)
        opened.calibrated_on = calibrate_on_films(classifier, calibrate_on, seed)
    return opened
