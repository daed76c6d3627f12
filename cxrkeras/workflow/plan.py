"""What a training would take, from a throughput measured here and now; writes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxrkeras.config import Config
from cxrkeras.events import SILENT, Reporter
from cxrkeras.models.classifier import Classifier
from cxrkeras.settings import TrainingSettings
from cxrkeras.training.routine import checkpoint_epochs
from cxrkeras.workflow.dataset import configured_manifest
from cxrkeras.workflow.opened import configured_classifier, precision_policy

# A training step costs about three forwards: one forward, and twice that for the gradients.
STEP_IN_FORWARDS = 3.0


@dataclass(frozen=True)
class TrainingCost:
    """What a training takes, whatever the machine.

    Attributes:
        forwards: films through a forward.
        steps: films through a training step of the whole net.
        checkpoints: epochs that leave a checkpoint.
    """

    forwards: int
    steps: int
    checkpoints: list[int]

    @property
    def in_forwards(self) -> float:
        """All of it, a training step counted as the forwards it costs."""
        return self.forwards + STEP_IN_FORWARDS * self.steps


def training_cost(settings: TrainingSettings, train: int, val: int, test: int) -> TrainingCost:
    """What a training takes with so many films in each split."""
    first, second = settings.epochs
    checkpoints = checkpoint_epochs(settings.epochs, settings.checkpoint_every)
    late = sum(epoch > first for epoch in checkpoints)
    if settings.augment or not settings.feature_cache:
        an_epoch = settings.head_steps * settings.batch_size if settings.head_steps else train
        stage1 = first * (an_epoch + val) + (len(checkpoints) - late) * test
    else:
        stage1 = (train + val + test) if first else 0
    if not first + second:
        stage1 = test
    return TrainingCost(stage1 + second * val + late * test, second * train, checkpoints)


def training_plan(config: Config, reporter: Reporter = SILENT) -> pd.DataFrame:
    """Films, forwards, disk and minutes of a training, as a table `item, value`.

    The minutes rest on forwards timed on this machine; compilation and reading films come on top.
    """
    manifest = configured_manifest(config.data, reporter)
    for text in manifest.notices:
        reporter.notice(text)
    counts = manifest.frame["split"].value_counts()
    train, val, test = (int(counts.get(name, 0)) for name in ("train", "val", "test"))
    policy = precision_policy(config.training.mixed_precision)
    activation = "sigmoid" if manifest.several else "softmax"
    classifier = configured_classifier(config, manifest.classes, config.model.preprocessing, policy, activation)
    with reporter.task("measure forward", 1) as advance:
        seconds = seconds_per_film(classifier, config.training.batch_size)
        advance(1)
    cost = training_cost(config.training, train, val, test)
    weights_mb = classifier.model.count_params() * 4 / 1e6
    rows = {
        "films (train / val / test)": f"{train} / {val} / {test}",
        "classes": ", ".join(manifest.classes),
        "backbone": f"{classifier.backbone.name} at {classifier.image_size} px, head grid "
        f"{classifier.grid[0]}×{classifier.grid[1]}, {classifier.model.count_params() / 1e6:.1f} M weights",
        "forwards": str(cost.forwards),
        "films through a training step": str(cost.steps),
        "milliseconds a forward (measured)": f"{1000 * seconds:.1f}",
        "minutes, about": f"{seconds * cost.in_forwards / 60:.1f}",
        "checkpoints (epochs)": planned_checkpoints(config.training),
        "disk in MB, about": f"{weights_mb * (len(cost.checkpoints) + 2):.0f}",
    }
    return pd.DataFrame({"item": list(rows), "value": list(rows.values())})


def planned_checkpoints(settings: TrainingSettings) -> str:
    """Which epochs leave a checkpoint, as far as it is known before the training, in words."""
    if settings.keep == "best":
        return "the best and the last"
    listed = ", ".join(map(str, checkpoint_epochs(settings.epochs, settings.checkpoint_every)))
    return listed if settings.patience is None else f"{listed}, as far as training goes on, and the last"


def seconds_per_film(classifier: Classifier, batch_size: int) -> float:
    """Seconds a film of the compiled forward: the better of two timed batches after one to compile."""
    size = classifier.image_size
    films = np.random.default_rng(0).uniform(0, 255, (batch_size, size, size, 3)).astype("float32")
    times = []
    for _ in range(3):
        start = time.perf_counter()
        classifier.logits.predict_on_batch(films)
        times.append(time.perf_counter() - start)
    return min(times[1:]) / batch_size
