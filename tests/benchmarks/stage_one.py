"""Measure stage 1 with and without the feature cache, side by side in one run.

Not run by pytest: `python tests/benchmarks/stage_one.py [--backbone NAME] [--size N] [--films N] [--epochs N]`.
Phantom films, random weights; prints seconds, their ratio, and the largest difference of the two trained heads.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from cxrkeras.config import load_config
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import build_classifier
from cxrkeras.settings import TrainingSettings
from cxrkeras.training.routine import train_two_stages
from cxrkeras.workflow.dataset import configured_manifest, film_set, hashed_frame, read_films


class Ignored:
    """Events nobody looks at."""

    def epoch(self, record, probabilities):
        pass

    def checkpoint(self, epoch, optimizer, predict):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="ResNet50V2")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--films", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
    config = load_config("phantom", {"data": {"phantom": {"films": options.films}}})
    manifest = configured_manifest(config.data)
    frame = hashed_frame(manifest.frame, manifest.root)
    films = film_set(frame, manifest.root, manifest.classes, options.size, config.data)
    read_films(films)
    split = {name: films.take(np.flatnonzero(frame["split"] == name)) for name in ("train", "val")}
    seconds, heads = {}, {}
    for cached in (True, False):
        classifier = build_classifier(backbone(options.backbone), manifest.classes, options.size, seed=0)
        settings = TrainingSettings(epochs=(options.epochs, 0), checkpoint_every=999, feature_cache=cached)
        with tempfile.TemporaryDirectory() as cache:
            os.environ["CXRKERAS_CACHE"] = cache
            start = time.perf_counter()
            train_two_stages(classifier, split["train"], split["val"], settings, "inference", Ignored())
            seconds[cached] = time.perf_counter() - start
        heads[cached] = np.concatenate([array.ravel() for array in classifier.head.get_weights()])
    difference = np.abs(heads[True] - heads[False]).max() / np.abs(heads[False]).max()
    print(
        f"{options.backbone} {options.size} px, {len(split['train'])} + {len(split['val'])} films, "
        f"{options.epochs} epochs: with cache {seconds[True]:.1f} s, without {seconds[False]:.1f} s, "
        f"ratio {seconds[False] / seconds[True]:.1f}, largest relative difference of the heads {difference:.1e}"
    )


if __name__ == "__main__":
    main()
