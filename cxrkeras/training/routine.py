"""The two-stage routine: head on a frozen backbone, then everything.

Every random stream is a pure function of (seed, epoch), so a run that continues after a kill needs only weights
and optimizer to go on exactly where it was. Knows no files: results go to the events it is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.config import TrainingSettings
from cxrkeras.data.filmset import FilmSet
from cxrkeras.data.pipeline import film_batches
from cxrkeras.events import SILENT, Reporter
from cxrkeras.models.classifier import Classifier, softmax
from cxrkeras.models.inference import forward, pooled_features
from cxrkeras.stats.auc import exact_auc

STAGES = ("transfer_learning", "fine_tuning")


@dataclass(frozen=True)
class EpochRecord:
    """One row of the history. `loss` is weighted by class as trained; `val_loss` and `val_auc` are not."""

    epoch: int
    stage: str
    loss: float
    val_loss: float
    val_auc: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Progress:
    """Where a stopped training goes on: the last finished epoch and its optimizer, if its stage goes on."""

    epoch: int
    optimizer: dict[str, np.ndarray]


class TrainingEvents(Protocol):
    """What the routine hands over as it goes."""

    def epoch(self, record: EpochRecord, probabilities: np.ndarray) -> None:
        """After every epoch, with the validation probabilities ``[n, n_classes]``."""

    def checkpoint(
        self, epoch: int, optimizer: dict[str, np.ndarray], predict: Callable[[FilmSet], np.ndarray]
    ) -> None:
        """At every checkpoint; `predict` gives probabilities for any film set at these weights."""


def checkpoint_epochs(epochs: tuple[int, int], every: int) -> list[int]:
    """Epochs that leave a checkpoint: every `every`, and the end of each stage."""
    total = sum(epochs)
    return sorted({*range(every, total + 1, every), epochs[0], total} - {0})


def class_weights(labels: np.ndarray, n_classes: int, mode: str) -> dict[int, float]:
    """Weight per class: n / (n_classes · n_c) for `balanced`, 1 for `none`."""
    counts = np.bincount(labels, minlength=n_classes)
    if mode == "none":
        return dict.fromkeys(range(n_classes), 1.0)
    return {c: float(len(labels) / (n_classes * counts[c])) for c in range(n_classes)}


def train_two_stages(
    classifier: Classifier,
    training: FilmSet,
    validation: FilmSet,
    settings: TrainingSettings,
    batch_norm: str,
    events: TrainingEvents,
    *,
    resume: Progress | None = None,
    reporter: Reporter = SILENT,
) -> None:
    """Train the head with the backbone frozen, then everything.

    Args:
        classifier: trained in place; on resume it already holds the weights after `resume.epoch`.
        training: films to learn from.
        validation: films measured after every epoch.
        settings: epochs, rates, seeds and the rest.
        batch_norm: `inference` and `calibrate` keep BatchNorm in inference mode in both stages (its scale and shift
            are still trained in the second); `train` lets the second stage update the statistics.
        events: receives each epoch and each checkpoint.
        resume: where to go on.
        reporter: told of progress.
    """
    done = resume.epoch if resume else 0
    first, second = settings.epochs
    weights = class_weights(training.labels, len(classifier.classes), settings.class_weights)
    job = _Job(classifier, training, validation, settings, weights, events, reporter)
    if done < first:
        job.run_stage(_head_stage(job, settings), STAGES[0], done, first, resume)
    if second and done < first + second:
        job.run_stage(_full_stage(job, batch_norm), STAGES[1], max(done, first), first + second, resume)


@dataclass(frozen=True)
class _Stage:
    """What differs between the ways to train one stage."""

    model: keras.Model
    batches: Callable[[int], tf.data.Dataset]
    logits: Callable[[FilmSet, str], np.ndarray]
    rate: float


@dataclass(frozen=True)
class _Job:
    classifier: Classifier
    training: FilmSet
    validation: FilmSet
    settings: TrainingSettings
    weights: dict[int, float]
    events: TrainingEvents
    reporter: Reporter

    def run_stage(self, stage: _Stage, name: str, done: int, last: int, resume: Progress | None) -> None:
        """Compile once, then fit epoch by epoch from `done` + 1 to `last`."""
        optimizer = keras.optimizers.Adam(stage.rate)
        stage.model.compile(
            optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
        )
        # otherwise the first step makes the optimizer's variables, and is traced twice for it
        stage.model.optimizer.build(stage.model.trainable_variables)
        own_first = 1 if name == STAGES[0] else self.settings.epochs[0] + 1
        if resume and resume.epoch >= own_first:
            restore_optimizer(stage.model, resume.optimizer)
        due = set(checkpoint_epochs(self.settings.epochs, self.settings.checkpoint_every))
        steps = -(-len(self.training) // self.settings.batch_size)
        with self.reporter.task(name.replace("_", " "), (last - done) * steps) as advance:
            for epoch in range(done + 1, last + 1):
                self._one_epoch(stage, name, epoch, advance)
                if epoch in due:
                    arrays = optimizer_arrays(stage.model)
                    self.events.checkpoint(epoch, arrays, lambda films: softmax(stage.logits(films, "predict")))

    def _one_epoch(self, stage: _Stage, name: str, epoch: int, advance: Callable[..., None]) -> None:
        start = time.perf_counter()
        seed_dropout(self.classifier, self.settings.seed, epoch)
        fitted = stage.model.fit(
            stage.batches(epoch),
            class_weight=self.weights,
            initial_epoch=epoch - 1,
            epochs=epoch,
            shuffle=False,
            verbose=0,
            callbacks=[_Steps(advance, f"epoch {epoch}")],
        )
        logits = stage.logits(self.validation, "validate")
        probabilities = softmax(logits)
        record = EpochRecord(
            epoch=epoch,
            stage=name,
            loss=float(fitted.history["loss"][-1]),
            val_loss=cross_entropy(logits, self.validation.labels),
            val_auc=self._validation_auc(probabilities, epoch),
            # the optimizer holds a float32: six digits give the rate back as it was set
            learning_rate=float(f"{float(stage.model.optimizer.learning_rate):.6g}"),
            seconds=time.perf_counter() - start,
        )
        advance(0, f"epoch {epoch}: validation AUC {record.val_auc:.3f}")
        self.events.epoch(record, probabilities)

    def _validation_auc(self, probabilities: np.ndarray, epoch: int) -> float:
        if not np.isfinite(probabilities).all():
            self.reporter.notice(f"epoch {epoch}: the network's answers are not finite. Lower --learning-rate.")
            return float("nan")
        return exact_auc(self.validation.labels, probabilities).value


def _head_stage(job: _Job, settings: TrainingSettings) -> _Stage:
    """Stage 1. Without augmentation a frozen backbone's features are constant, so they are computed once.

    `feature_cache: false` computes them every epoch all the same and leaves nothing in the cache directory.
    """
    classifier = job.classifier
    for layer in classifier.backbone_layers:
        layer.trainable = False
    if settings.augment or not settings.feature_cache:
        return _film_stage(job, classifier.logits, settings.learning_rate[0])
    # The sets themselves are kept beside their features, so that no other set can take over a dead one's id.
    known: dict[int, tuple[FilmSet, np.ndarray]] = {}

    def features(films: FilmSet, label: str) -> np.ndarray:
        if id(films) not in known:
            pooled = pooled_features(
                classifier, films, settings.batch_size, reporter=job.reporter, label=f"{label}: features"
            )
            known[id(films)] = films, pooled
        return known[id(films)][1]

    pooled = features(job.training, "train")

    def batches(epoch: int) -> tf.data.Dataset:
        order = epoch_order(len(pooled), settings.seed, epoch)
        pairs = tf.data.Dataset.from_tensor_slices((pooled[order], job.training.labels[order]))
        return pairs.batch(settings.batch_size)

    def logits(films: FilmSet, label: str) -> np.ndarray:
        return classifier.head.predict(features(films, label), batch_size=256, verbose=0)

    return _Stage(classifier.head, batches, logits, settings.learning_rate[0])


def _full_stage(job: _Job, batch_norm: str) -> _Stage:
    """Stage 2. `training=False` inside the backbone keeps the statistics while every weight stays trainable."""
    classifier = job.classifier
    for layer in classifier.backbone_layers:
        layer.trainable = True
    model = classifier.logits if batch_norm == "train" else classifier.with_frozen_statistics()
    return _film_stage(job, model, job.settings.learning_rate[1])


def _film_stage(job: _Job, model: keras.Model, rate: float) -> _Stage:
    settings = job.settings

    def batches(epoch: int) -> tf.data.Dataset:
        dataset = film_batches(
            job.training.store,
            job.training.indices,
            job.training.labels,
            batch_size=settings.batch_size,
            shuffle_seed=(settings.seed, epoch),
            augment_seed=(settings.seed, epoch) if settings.augment else None,
        )
        return dataset.map(lambda films, labels, index: (films, labels))

    def logits(films: FilmSet, label: str) -> np.ndarray:
        return forward(job.classifier.logits, films, settings.batch_size, job.reporter, label)

    return _Stage(model, batches, logits, rate)


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Order of the films in one epoch, int ``[n]``."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def seed_dropout(classifier: Classifier, seed: int, epoch: int) -> None:
    """Set the dropout stream of one epoch, so that it does not depend on what ran before."""
    state = np.random.SeedSequence([seed, epoch]).generate_state(2)
    classifier.dropout.seed_generator.state.assign(state.astype("uint32"))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy of logits ``[n, n_classes]`` in nats, without class weights."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def optimizer_arrays(model: keras.Model) -> dict[str, np.ndarray]:
    """The optimizer's variables by position."""
    return {f"{i:05d}": keras.ops.convert_to_numpy(v) for i, v in enumerate(model.optimizer.variables)}


def restore_optimizer(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Fill the variables of a built optimizer from `optimizer_arrays`."""
    for variable, key in zip(model.optimizer.variables, sorted(arrays), strict=True):
        variable.assign(arrays[key])


class _Steps(keras.callbacks.Callback):
    def __init__(self, advance: Callable[..., None], detail: str) -> None:
        super().__init__()
        self._advance, self._detail = advance, detail

    def on_train_batch_end(self, batch, logs=None) -> None:
        self._advance(1, self._detail)
