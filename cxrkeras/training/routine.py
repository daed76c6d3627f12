"""The two-stage routine: head on a frozen backbone, then everything.

Every random stream is a pure function of (seed, epoch), so a run that continues after a kill needs only weights,
optimizer and the validation AUC so far to go on exactly where it was. Knows no files: results go to the events.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.data.filmset import FilmSet
from cxrkeras.data.pipeline import film_batches
from cxrkeras.events import SILENT, Reporter
from cxrkeras.models.classifier import Classifier
from cxrkeras.models.inference import forward, pooled_features
from cxrkeras.settings import TrainingSettings
from cxrkeras.training.gains import best_epoch, is_exhausted, plateau_rate
from cxrkeras.training.layer_groups import LayerGroup, configured_groups, freeze_unmoved, variable_multipliers
from cxrkeras.training.layerwise import LayerwiseLR
from cxrkeras.training.objective import Objective, objective_of

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
    """Where a stopped training goes on.

    Attributes:
        epoch: the last finished one.
        optimizer: its arrays, if its stage goes on.
        val_aucs: validation AUC of epoch 1, 2, … up to it.
    """

    epoch: int
    optimizer: dict[str, np.ndarray]
    val_aucs: tuple[float, ...]


class TrainingEvents(Protocol):
    """What the routine hands over as it goes."""

    def epoch(self, record: EpochRecord, probabilities: np.ndarray) -> None:
        """After every epoch, with the validation probabilities ``[n, n_classes]``."""

    def checkpoint(
        self, epoch: int, optimizer: dict[str, np.ndarray], predict: Callable[[FilmSet], np.ndarray]
    ) -> None:
        """At every checkpoint; `predict` gives probabilities for any film set at these weights."""


def checkpoint_epochs(epochs: tuple[int, int], every: int) -> list[int]:
    """Epochs that leave a checkpoint: every `every`, and the end of each stage; 0 where nothing is trained."""
    total = sum(epochs)
    if not total:
        return [0]
    return sorted({*range(every, total + 1, every), epochs[0], total} - {0})


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
    """Train the head with the backbone frozen, then everything; no epochs at all leave checkpoint 0, as loaded.

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

    Raises:
        ConfigError: layer groups that do not fit the network.
    """
    done = resume.epoch if resume else 0
    first, second = settings.epochs
    objective = objective_of(classifier, training, settings.class_weights)
    aucs = dict(enumerate(resume.val_aucs, start=1)) if resume else {}
    job = _Job(classifier, training, validation, settings, objective, events, reporter, aucs)
    if not first + second:
        logits = _film_logits(job)
        events.checkpoint(0, {}, lambda films: classifier.probabilities_of(logits(films, "predict")))
    if done < first:
        job.run_stage(_head_stage(job, settings), STAGES[0], done, first, resume)
    if second and done < first + second:
        job.run_stage(_full_stage(job, batch_norm), STAGES[1], max(done, first), first + second, resume)


@dataclass(frozen=True)
class _Stage:
    """What differs between the ways to train one stage; `films` are those of an epoch, repeats counted."""

    model: keras.Model
    batches: Callable[[int], tf.data.Dataset]
    logits: Callable[[FilmSet, str], np.ndarray]
    rate: float
    films: int
    groups: tuple[LayerGroup, ...] | None = None


@dataclass(frozen=True)
class _Job:
    classifier: Classifier
    training: FilmSet
    validation: FilmSet
    settings: TrainingSettings
    objective: Objective
    events: TrainingEvents
    reporter: Reporter
    aucs: dict[int, float]

    def run_stage(self, stage: _Stage, name: str, done: int, last: int, resume: Progress | None) -> None:
        """Compile once, then fit epoch by epoch from `done` + 1 to `last`."""
        stage.model.compile(self._optimizer(stage), loss=self.objective.loss, jit_compile=False)
        # otherwise the first step makes the optimizer's variables, and is traced twice for it
        stage.model.optimizer.build(stage.model.trainable_variables)
        own_first = 1 if name == STAGES[0] else self.settings.epochs[0] + 1
        if resume and resume.epoch >= own_first:
            restore_optimizer(stage.model, resume.optimizer)
        steps = -(-stage.films // self.settings.batch_size)
        with self.reporter.task(name.replace("_", " "), (last - done) * steps) as advance:
            for epoch in range(done + 1, last + 1):
                if self._is_exhausted(epoch - 1):
                    self.reporter.notice(
                        f"stopped after epoch {epoch - 1}: {self.settings.patience} epochs without a gain in "
                        "validation AUC."
                    )
                    break
                if self.settings.plateau is not None and self._decides(epoch):
                    stage.model.optimizer.learning_rate = self._rate(stage.rate)
                self._one_epoch(stage, name, epoch, advance)
                if self._leaves_checkpoint(epoch):
                    arrays = optimizer_arrays(stage.model)
                    self.events.checkpoint(epoch, arrays, lambda films: self._probabilities(stage, films))

    def _optimizer(self, stage: _Stage) -> keras.optimizers.Optimizer:
        adam = keras.optimizers.Adam(stage.rate, weight_decay=self.settings.weight_decay)
        if stage.groups is None:
            return adam
        return LayerwiseLR(adam, variable_multipliers(stage.model, stage.groups))

    def _decides(self, epoch: int) -> bool:
        """Whether an epoch is of the last stage that is trained, whose AUC decides on rate and end."""
        first, second = self.settings.epochs
        return epoch > first or (epoch > 0 and not second)

    def _deciding_aucs(self) -> list[float]:
        return [auc for epoch, auc in self.aucs.items() if self._decides(epoch)]

    def _rate(self, base: float) -> float:
        plateau = self.settings.plateau
        return plateau_rate(base, self._deciding_aucs(), plateau.factor, plateau.patience)

    def _is_exhausted(self, epoch: int) -> bool:
        patience = self.settings.patience
        return patience is not None and self._decides(epoch) and is_exhausted(self._deciding_aucs(), patience)

    def _leaves_checkpoint(self, epoch: int) -> bool:
        settings = self.settings
        if settings.keep == "best":
            due = {best_epoch(self.aucs), sum(settings.epochs)}
        else:
            due = set(checkpoint_epochs(settings.epochs, settings.checkpoint_every))
        return epoch in due or self._is_exhausted(epoch)

    def _probabilities(self, stage: _Stage, films: FilmSet) -> np.ndarray:
        return self.classifier.probabilities_of(stage.logits(films, "predict"))

    def _one_epoch(self, stage: _Stage, name: str, epoch: int, advance: Callable[..., None]) -> None:
        start = time.perf_counter()
        seed_dropout(self.classifier, self.settings.seed, epoch)
        fitted = stage.model.fit(
            stage.batches(epoch),
            class_weight=self.objective.class_weight,
            initial_epoch=epoch - 1,
            epochs=epoch,
            shuffle=False,
            verbose=0,
            callbacks=[_Steps(advance, f"epoch {epoch}")],
        )
        logits = stage.logits(self.validation, "validate")
        probabilities = self.classifier.probabilities_of(logits)
        record = EpochRecord(
            epoch=epoch,
            stage=name,
            loss=float(fitted.history["loss"][-1]),
            val_loss=self.objective.validation_loss(logits, self.validation),
            val_auc=self._validation_auc(probabilities, epoch),
            # the optimizer holds a float32: six digits give the rate back as it was set
            learning_rate=float(f"{float(stage.model.optimizer.learning_rate):.6g}"),
            seconds=time.perf_counter() - start,
        )
        self.aucs[epoch] = record.val_auc
        advance(0, f"epoch {epoch}: validation AUC {record.val_auc:.3f}")
        self.events.epoch(record, probabilities)

    def _validation_auc(self, probabilities: np.ndarray, epoch: int) -> float:
        if not np.isfinite(probabilities).all():
            self.reporter.notice(f"epoch {epoch}: the network's answers are not finite. Lower --learning-rate.")
            return float("nan")
        return self.objective.validation_auc(probabilities, self.validation)


def _head_stage(job: _Job, settings: TrainingSettings) -> _Stage:
    """Stage 1. Without augmentation a frozen backbone's features are constant, so they are computed once.

    `feature_cache: false` computes them every epoch all the same and leaves nothing in the cache directory.
    """
    classifier = job.classifier
    for layer in classifier.backbone_layers:
        layer.trainable = False
    if settings.augment or not settings.feature_cache:
        return _film_stage(job, classifier.logits, settings.learning_rate[0], steps=settings.head_steps)
    # The sets themselves are kept beside their features, so that no other set can take over a dead one's id.
    known: dict[int, tuple[FilmSet, np.ndarray]] = {}

    def features(films: FilmSet, label: str) -> np.ndarray:
        if id(films) not in known:
            pooled = pooled_features(
                classifier, films, settings.batch_size, reporter=job.reporter, label=f"{label}: features"
            )
            known[id(films)] = films, pooled
        return known[id(films)][1]

    pooled, targets = features(job.training, "train"), job.objective.targets(job.training)
    films = _films_of(job, settings.head_steps)

    def batches(epoch: int) -> tf.data.Dataset:
        order = epoch_order(len(pooled), settings.seed, epoch, films)
        pairs = tf.data.Dataset.from_tensor_slices((pooled[order], targets[order]))
        return pairs.batch(settings.batch_size)

    def logits(films: FilmSet, label: str) -> np.ndarray:
        return classifier.head.predict(features(films, label), batch_size=256, verbose=0)

    return _Stage(classifier.head, batches, logits, settings.learning_rate[0], films)


def _full_stage(job: _Job, batch_norm: str) -> _Stage:
    """Stage 2. `training=False` inside the backbone keeps the statistics while every weight stays trainable."""
    classifier = job.classifier
    for layer in classifier.backbone_layers:
        layer.trainable = True
    groups = configured_groups(classifier, job.settings)
    if groups is not None:
        freeze_unmoved(groups)
    model = classifier.logits if batch_norm == "train" else classifier.with_frozen_statistics()
    return _film_stage(job, model, job.settings.learning_rate[1], groups)


def _film_stage(
    job: _Job,
    model: keras.Model,
    rate: float,
    groups: tuple[LayerGroup, ...] | None = None,
    steps: int | None = None,
) -> _Stage:
    settings, films = job.settings, _films_of(job, steps)
    targets = job.objective.targets(job.training)

    def batches(epoch: int) -> tf.data.Dataset:
        order = epoch_order(len(job.training), settings.seed, epoch, films)
        dataset = film_batches(
            job.training.store,
            job.training.indices[order],
            targets[order],
            batch_size=settings.batch_size,
            augment_seed=(settings.seed, epoch) if settings.augment else None,
        )
        return dataset.map(lambda films, labels, index: (films, labels))

    return _Stage(model, batches, _film_logits(job), rate, films, groups)


def _film_logits(job: _Job) -> Callable[[FilmSet, str], np.ndarray]:
    def logits(films: FilmSet, label: str) -> np.ndarray:
        return forward(job.classifier.logits, films, job.settings.batch_size, job.reporter, label)

    return logits


def _films_of(job: _Job, steps: int | None) -> int:
    """Films of an epoch: all of them once, or as many as full batches of so many steps take."""
    return len(job.training) if steps is None else steps * job.settings.batch_size


def epoch_order(n: int, seed: int, epoch: int, count: int | None = None) -> np.ndarray:
    """Order of the films in one epoch, int ``[count]``: every film once, or pass after pass until there are `count`."""
    stream = np.random.default_rng([seed, epoch])
    count = n if count is None else count
    return np.concatenate([stream.permutation(n) for _ in range(-(-count // n))])[:count]


def seed_dropout(classifier: Classifier, seed: int, epoch: int) -> None:
    """Set the dropout stream of one epoch, so that it does not depend on what ran before."""
    state = np.random.SeedSequence([seed, epoch]).generate_state(2)
    classifier.dropout.seed_generator.state.assign(state.astype("uint32"))


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
