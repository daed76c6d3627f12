"""Measure ScoreCAM's peak memory over films and channels, each case in a process of its own.

Not run by pytest: `python tests/benchmarks/scorecam_memory.py [--films 1 8 64] [--channels 512 2048] [--budget BYTES]`.
A synthetic 64-pixel net with random weights. Prints per case the largest resident set of the whole process, and what of
it ScoreCAM added to the built model and its first forward.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

SIDE = 64


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one_case(films: int, channels: int, budget: int) -> str:
    import keras
    import numpy as np

    from cxrkeras.cams import Explainer

    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 3))
    values = keras.layers.Rescaling(1 / 255)(inputs)
    for width, kernel in ((16, 3), (32, 3), (channels, 1)):
        values = keras.layers.Conv2D(width, kernel, strides=2, padding="same", activation="relu")(values)
    pooled = keras.layers.GlobalAveragePooling2D()(values)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(pooled))
    images = np.random.default_rng(0).uniform(0, 255, (films, SIDE, SIDE, 3)).astype(np.float32)
    Explainer(model, "gradcam").explain(images[:1])
    before, start = peak_megabytes(), time.perf_counter()
    explainer = Explainer(model, "scorecam", memory_budget=budget)
    forwards = int(explainer.explain(images)["scorecam"].extras["channels_used"].sum())
    seconds, peak = time.perf_counter() - start, peak_megabytes()
    return (
        f"{films:3d} films, {channels:4d} channels: peak {peak:6.0f} MB, of it ScoreCAM {peak - before:4.0f} MB, "
        f"pack {explainer.pack_size}, {forwards} forwards in {seconds:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--channels", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--budget", type=int, default=2**30, help="bytes; 1 GiB by default")
    parser.add_argument("--case", action="store_true", help="measure in this process")
    options = parser.parse_args()
    if options.case:
        print(one_case(options.films[0], options.channels[0], options.budget))
        return
    for channels in options.channels:
        for films in options.films:
            case = ["--case", "--films", str(films), "--channels", str(channels), "--budget", str(options.budget)]
            done = subprocess.run([sys.executable, __file__, *case], check=True, capture_output=True, text=True)
            print(done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
