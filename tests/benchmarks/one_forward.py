"""Measure what four CAM methods cost over the bare compiled forward, interleaved in one run.

Not run by pytest: `python tests/benchmarks/one_forward.py [--size N] [--repeats N] [--batch N] [--backbone NAME]`.
Random weights, random films; prints median, interquartile range and ratio per backbone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.cams import Explainer
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import build_classifier

BACKBONES = ("ResNet50V2", "DenseNet201", "InceptionV3")
METHODS = "gradcam,gradcam++,layercam,eigencam"


def milliseconds(call, per_film: int) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000 / per_film


def measured(name: str, size: int | None, batch: int, repeats: int) -> str:
    row = backbone(name)
    side = size or row.size
    model = build_classifier(row, ("a", "b"), side, allow_coarse=True).model
    films = np.random.default_rng(0).uniform(0, 255, (batch, side, side, 3)).astype(np.float32)
    targets = np.arange(batch) % 2
    explainer = Explainer(model, METHODS, layer=row.head_input, batch_size=batch)
    forward = tf.function(lambda x: model(x, training=False), autograph=False)
    calls = {
        "forward": lambda: forward(tf.constant(films)).numpy(),
        "four methods": lambda: explainer.explain(films, targets),
    }
    for call in calls.values():
        call()
    times = {label: [] for label in calls}
    for _ in range(repeats):
        for label, call in calls.items():
            times[label].append(milliseconds(call, batch))
    medians = {label: statistics.median(values) for label, values in times.items()}
    spread = {label: np.subtract(*np.percentile(values, [75, 25])) for label, values in times.items()}
    figures = ", ".join(f"{label} {medians[label]:.1f} ms/film (IQR {spread[label]:.1f})" for label in calls)
    ratio = medians["four methods"] / medians["forward"]
    keras.backend.clear_session()
    return (
        f"{name} {side} px, batch {batch}, {repeats} repeats: {figures}, ratio {ratio:.3f}, traces {explainer.traces}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", nargs="+", default=BACKBONES)
    parser.add_argument("--size", type=int, help="image side in pixels; the backbone's own by default")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    for name in options.backbone:
        print(measured(name, options.size, options.batch, options.repeats), flush=True)


if __name__ == "__main__":
    main()
