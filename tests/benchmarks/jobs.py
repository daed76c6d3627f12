"""One measurement a process: `python jobs.py NAME '{"setting": …}'` prints its figures as one line of JSON.

Every job builds its own model, so that no figure depends on what was measured before. Returns figures, not verdicts:
`cams.py` makes the table.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import peers
import tensorflow as tf
from measure import PeakMemory, Work, side_by_side

from cxrkeras.cams import Explainer, Explanation
from cxrkeras.data.images import decode_film
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import Classifier, build_classifier
from cxrkeras.run import Run
from cxrkeras.workflow.opened import OpenRun, load_checkpoint

FORWARD_BATCHES = (1, 8, 16, 32)
FOUR = "gradcam,gradcam++,layercam,eigencam"
MULTISCALE = "ms-gradcam++"
EXACT_ROUNDING = 1e-5


def timings(name: str, side: int, repeats: int, batches: list[int], peer: bool) -> dict[str, Any]:
    """Bare forwards, ours and tf-keras-vis, in milliseconds per film, round by round."""
    classifier = _classifier(name, side)
    works = bare_forwards(classifier.model, side)
    for batch in batches:
        films, targets = smooth_films(batch, side), np.arange(batch) % 2
        for methods in (FOUR, MULTISCALE):
            works[f"{methods} {batch}"] = Work(_explained(classifier, methods, films, targets), batch)
    times = side_by_side(works, repeats)
    if peer:
        films, layer = smooth_films(peers.BATCH, side), classifier.backbone.head_input
        calls = peers.tf_keras_vis_gradients(classifier.logits, films, layer)
        times |= side_by_side({name: Work(call, peers.BATCH) for name, call in calls.items()}, 1)
    return {"times": times}


def xplique(name: str, side: int, repeats: int, forward: str) -> dict[str, Any]:
    """xplique's methods and the best bare forward, side by side."""
    classifier = _classifier(name, side)
    calls = peers.xplique_gradients(classifier.logits, smooth_films(peers.BATCH, side), classifier.backbone.head_input)
    works = {forward: bare_forward(classifier.model, side, forward)}
    works |= {label: Work(call, peers.BATCH) for label, call in calls.items()}
    return {"times": side_by_side(works, repeats)}


def torch(side: int, repeats: int) -> dict[str, Any]:
    """pytorch-grad-cam's methods and torch's own forward of a ResNet50V2-like net, side by side."""
    calls = peers.torch_gradients(side)
    return {"times": side_by_side({label: Work(call, peers.BATCH) for label, call in calls.items()}, repeats)}


def scorecam_rate(
    name: str, side: int, weights: str | None, image: str | None, forward: str, every: int
) -> dict[str, Any]:
    """Masks per second of exact ScoreCAM on one film and, between its packs, images per second of the best forward."""
    classifier = _classifier(name, side, weights)
    bare = bare_forward(classifier.model, side, forward)
    bare.call()
    masks, images = [], []
    mark: list[float] = []

    def progress(done: int, total: int) -> None:
        now = time.perf_counter()
        # the first forward is the probe's, and the first pack is traced: the clock starts after it
        if done == 1 or not mark:
            mark[:] = [] if done == 1 else [done, now]
        elif done - mark[0] >= every or done == total:
            masks.append((done - mark[0]) / (now - mark[1]))
            start = time.perf_counter()
            bare.call()
            bare.call()
            images.append(2 * bare.films / (time.perf_counter() - start))
            mark[:] = [done, time.perf_counter()]

    explanation = Explainer(classifier.model, "scorecam", batch_size=1).explain(_film(side, image), progress=progress)
    return {"masks": masks, "images": images, "live": int(explanation["scorecam"].extras["n_live"][0])}


def scorecam_film(engine: str, name: str, side: int, weights: str | None, image: str | None) -> dict[str, Any]:
    """Seconds, first call and tracing included, and peak memory of exact ScoreCAM on one film by `ours` or the peer."""
    classifier = _classifier(name, side, weights)
    bare_forward(classifier.model, side, forward_label(1, False)).call()
    film = _film(side, image)
    if engine == "ours":
        call = _explained(classifier, "scorecam", film, None)
    else:
        call = peers.tf_keras_vis_scorecam(classifier.logits, film, classifier.backbone.head_input)
    memory, start = PeakMemory(), time.perf_counter()
    call()
    return {"seconds": time.perf_counter() - start, "peak_mb": memory.rise()}


def scorecam_memory(films: int, channels: int, side: int = 64) -> dict[str, Any]:
    """Peak memory of exact ScoreCAM over a stream of films on a synthetic net with this many channels."""
    keras.utils.set_random_seed(0)
    tensor = entry = keras.Input((side, side, 3))
    # stem and strides of ResNet50V2, so that the channels weigh as little beside a masked film as they do there
    for width in (64, 32, 64, 64, 64):
        tensor = keras.layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(tensor)
    tensor = keras.layers.Conv2D(channels, 1, activation="relu")(tensor)
    scores = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(tensor))
    model = keras.Model(entry, scores)
    bare_forward(model, side, forward_label(1, False)).call()
    explainer = Explainer(model, "scorecam")
    stream = ((smooth_films(1, side, seed), np.zeros(1, int)) for seed in range(films))
    memory, start, forwards = PeakMemory(), time.perf_counter(), 0
    for explanation in explainer.explain_batches(stream, n_films=films):
        forwards += int(explanation["scorecam"].extras["channels_used"][0])
    return {"peak_mb": memory.rise(), "seconds": time.perf_counter() - start, "forwards": forwards}


def tolerance(run: str, films: int, tolerated: float, seed: int) -> dict[str, Any]:
    """Exact ScoreCAM and ScoreCAM within a tolerance, film by film, on a run's best checkpoint and test films."""
    opened = OpenRun(Run.open(run))
    epoch = opened.run.resolve_epoch("best")
    opened.load(epoch)
    chosen = opened.films.take(opened.split("test")[:films])
    model, pixels = opened.classifier.model, _three_channels(chosen.store.get(chosen.indices))
    exact = Explainer(model, "scorecam", batch_size=1)
    sampled = Explainer(model, "scorecam", batch_size=1, seed=seed, tolerance=tolerated)
    for explainer in (exact, sampled):
        explainer.explain(pixels[:1], ids=chosen.ids[:1])
    rows = []
    for i in range(len(chosen)):
        seconds, results = [], []
        for explainer in (exact, sampled):
            start = time.perf_counter()
            results.append(explainer.explain(pixels[i : i + 1], ids=chosen.ids[i : i + 1])["scorecam"])
            seconds.append(time.perf_counter() - start)
        truth, estimate = (result.values[0].astype(np.float64) for result in results)
        peak = estimate.max() or float("nan")
        rows.append(
            {
                "error": float(np.abs(truth - estimate).max() / peak),
                "stated": float(results[1].extras["half_width"][0].max() / peak) + EXACT_ROUNDING,
                "uninformative": str(results[0].status[0]) == "uninformative",
                "used": int(results[1].extras["channels_used"][0]),
                "live": int(results[1].extras["n_live"][0]),
                "seconds": seconds,
            }
        )
    return {"films": rows, "backbone": opened.classifier.backbone.name, "epoch": epoch}


def first_call(what: str, name: str, side: int, batch: int) -> dict[str, Any]:
    """Seconds of the very first call, tracing included: `forward`, or a set of methods."""
    classifier = _classifier(name, side)
    films = smooth_films(batch, side)
    if what == "forward":
        call = bare_forward(classifier.model, side, forward_label(batch, False)).call
    else:
        call = _explained(classifier, what, films, None)
    start = time.perf_counter()
    call()
    return {"seconds": time.perf_counter() - start}


def forward_label(batch: int, xla: bool) -> str:
    """Name of a bare forward."""
    return f"forward {batch} {'xla' if xla else 'tf'}"


def bare_forwards(model: keras.Model, side: int) -> dict[str, Work]:
    """All eight bare compiled forwards."""
    labels = [forward_label(batch, xla) for xla in (False, True) for batch in FORWARD_BATCHES]
    return {label: bare_forward(model, side, label, contender=True) for label in labels}


def bare_forward(model: keras.Model, side: int, label: str, contender: bool = False) -> Work:
    """One of them; its films are a tensor already, so it does nothing but the forward."""
    _, batch, compiler = label.split()
    films = tf.constant(smooth_films(int(batch), side))
    compiled = tf.function(lambda x: model(x, training=False), autograph=False, jit_compile=compiler == "xla")
    return Work(lambda: compiled(films).numpy(), int(batch), contender)


def smooth_films(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Random films without pixel noise, 0..255 ``[n, side, side, 3]``."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (count, 8, 8, 1)).astype(np.float32)
    return _three_channels(tf.image.resize(coarse, (side, side)).numpy()[..., 0])


def _film(side: int, image: str | None) -> np.ndarray:
    return smooth_films(1, side) if image is None else _three_channels(decode_film(image, (side, side))[None])


def _three_channels(films: np.ndarray) -> np.ndarray:
    return np.repeat(films[..., None], 3, axis=-1)


def _classifier(name: str, side: int, weights: str | None = None) -> Classifier:
    classifier = build_classifier(backbone(name), ("a", "b"), side, allow_coarse=True)
    if weights is not None:
        load_checkpoint(classifier, Path(weights))
    return classifier


def _explained(
    classifier: Classifier, methods: str, films: np.ndarray, targets: np.ndarray | None
) -> Callable[[], Explanation]:
    levels = classifier.backbone.multiscale
    explainer = Explainer(classifier.model, methods, multiscale_layers=levels, batch_size=len(films))
    return lambda: explainer.explain(films, targets)


JOBS = {
    job.__name__: job
    for job in (timings, xplique, torch, scorecam_rate, scorecam_film, scorecam_memory, tolerance, first_call)
}

if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](**json.loads(sys.argv[2]))))
