"""What is learned: one class a film (softmax), or findings that may stand together (sigmoid).

Holds everything of the training that depends on it — targets, loss, class weights, validation loss and AUC — so that
the routine asks and never branches. Knows no files and no stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import DataError
from cxrkeras.models.classifier import Classifier
from cxrkeras.stats.auc import exact_auc
from cxrkeras.stats.multilabel import mean_finding_auc


class Objective(Protocol):
    """What the routine asks.

    Attributes:
        loss: of targets and logits, as `compile` takes it.
        class_weight: as `fit` takes it; None where the loss holds the weights itself.
    """

    loss: keras.losses.Loss
    class_weight: dict[int, float] | None

    def targets(self, films: FilmSet) -> np.ndarray:
        """What the loss is told of each film, first axis films."""

    def validation_loss(self, logits: np.ndarray, films: FilmSet) -> float:
        """Mean loss in nats without weights, of logits ``[n, n_classes]``."""

    def validation_auc(self, probabilities: np.ndarray, films: FilmSet) -> float:
        """Exact AUC of probabilities ``[n, n_classes]``; NaN where it is undefined."""


def objective_of(classifier: Classifier, training: FilmSet, class_weighting: str) -> Objective:
    """The objective that fits a classifier.

    Args:
        classifier: its activation decides.
        training: films that the weights are counted from.
        class_weighting: `balanced` or `none`.

    Raises:
        DataError: `balanced` and a finding without known positives or negatives.
    """
    if classifier.activation == "softmax":
        return OneClass(class_weights(training.labels, len(classifier.classes), class_weighting))
    return SeveralFindings(finding_weights(training.truth, classifier.classes, class_weighting))


@dataclass(frozen=True)
class OneClass:
    """One class a film: cross-entropy of softmax."""

    class_weight: dict[int, float]

    @property
    def loss(self) -> keras.losses.Loss:
        """Sparse cross-entropy from logits."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def targets(self, films: FilmSet) -> np.ndarray:
        """Class indices, int ``[n]``."""
        return films.labels

    def validation_loss(self, logits: np.ndarray, films: FilmSet) -> float:
        """Mean cross-entropy over the films."""
        return cross_entropy(logits, films.labels)

    def validation_auc(self, probabilities: np.ndarray, films: FilmSet) -> float:
        """As `stats.exact_auc`."""
        return exact_auc(films.labels, probabilities).value


@dataclass(frozen=True, eq=False)
class SeveralFindings:
    """Findings that may stand together: binary cross-entropy of a sigmoid each, over the known entries.

    Attributes:
        weights: factor of a negative and of a positive entry, ``[2, n_findings]``.
    """

    weights: np.ndarray

    # the weights differ by finding, which `fit` cannot be told
    class_weight = None

    @property
    def loss(self) -> keras.losses.Loss:
        """Masked binary cross-entropy from logits."""
        return MaskedBinaryCrossentropy(self.weights)

    def targets(self, films: FilmSet) -> np.ndarray:
        """1, 0 or NaN, float ``[n, n_findings]``."""
        return films.truth

    def validation_loss(self, logits: np.ndarray, films: FilmSet) -> float:
        """Mean binary cross-entropy over the known entries."""
        return masked_cross_entropy(logits, films.truth)

    def validation_auc(self, probabilities: np.ndarray, films: FilmSet) -> float:
        """Mean over the findings whose AUC is defined."""
        return mean_finding_auc(films.truth, probabilities)


@keras.saving.register_keras_serializable("cxrkeras")
class MaskedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy from logits, averaged over the entries whose truth is known.

    An unknown entry (NaN) gives exactly nothing: neither to the sum, nor to the count, nor to any gradient.

    Args:
        weights: factor of a negative and of a positive entry, ``[2, n_findings]``.
    """

    def __init__(self, weights: np.ndarray, name: str = "masked_binary_crossentropy", **options) -> None:
        super().__init__(name=name, **options)
        self.weights = np.asarray(weights, np.float32)

    def call(self, y_true, y_pred):
        """One number for the batch, from truth and logits ``[n, n_findings]``."""
        known = tf.math.is_finite(y_true)
        truth = tf.where(known, y_true, 0.0)
        entries = tf.nn.sigmoid_cross_entropy_with_logits(labels=truth, logits=y_pred)
        factor = tf.where(truth > 0, self.weights[1], self.weights[0]) * tf.cast(known, entries.dtype)
        return tf.math.divide_no_nan(tf.reduce_sum(entries * factor), tf.reduce_sum(tf.cast(known, entries.dtype)))

    def get_config(self) -> dict:
        """The weights too, so that a compiled model can be saved."""
        return {**super().get_config(), "weights": self.weights.tolist()}


def class_weights(labels: np.ndarray, n_classes: int, mode: str) -> dict[int, float]:
    """Weight per class: n / (n_classes · n_c) for `balanced`, 1 for `none`."""
    counts = np.bincount(labels, minlength=n_classes)
    if mode == "none":
        return dict.fromkeys(range(n_classes), 1.0)
    return {c: float(len(labels) / (n_classes * counts[c])) for c in range(n_classes)}


def finding_weights(truth: np.ndarray, findings: tuple[str, ...], mode: str) -> np.ndarray:
    """Weights ``[2, n_findings]`` of negatives and positives: n_known / (2 · n_each) for `balanced`, 1 for `none`.

    Args:
        truth: 1, 0 or NaN, float ``[n, n_findings]``.
        findings: their names.
        mode: `balanced` or `none`.

    Raises:
        DataError: `balanced` and a finding without known positives or negatives.
    """
    counts = np.stack([(truth == 0).sum(axis=0), (truth == 1).sum(axis=0)])
    if mode == "none":
        return np.ones(counts.shape)
    if (counts == 0).any():
        kind, c = np.argwhere(counts == 0)[0]
        raise DataError(
            f"finding '{findings[c]}' has no {('negative', 'positive')[kind]} film among the training films. Expected "
            "both for balanced weights; leave it out with --findings, add films, or set class_weights: none."
        )
    return counts.sum(axis=0) / (2 * counts)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy of logits ``[n, n_classes]`` in nats, without class weights."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def masked_cross_entropy(logits: np.ndarray, truth: np.ndarray) -> float:
    """Mean binary cross-entropy of logits in nats over the known entries, without weights; NaN where none is known.

    Args:
        logits: ``[n, n_findings]``.
        truth: 1, 0 or NaN, ``[n, n_findings]``.
    """
    known = np.isfinite(truth)
    if not known.any():
        return float("nan")
    answer, positive = np.asarray(logits, np.float64)[known], truth[known]
    return float((np.logaddexp(0, answer) - answer * positive).mean())
