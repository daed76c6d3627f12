"""An independent C-Score (plain double loops, nothing shared with the package) and films to try it on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

WEIGHTS: dict[str, Callable[[float, float], float]] = {
    "product": lambda p, q: p * q,
    "none": lambda p, q: 1.0,
    "geometric": lambda p, q: (p * q) ** 0.5,
    "min": min,
}


def bilinear(image, size):
    """Resize one map cell by cell: half-pixel centres, edges repeated."""
    h, w = image.shape
    out = np.zeros((size, size))
    for r in range(size):
        for c in range(size):
            y, x = (r + 0.5) * h / size - 0.5, (c + 0.5) * w / size - 0.5
            y0, x0 = int(np.floor(y)), int(np.floor(x))
            for yy, wy in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
                for xx, wx in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
                    out[r, c] += wy * wx * image[min(max(yy, 0), h - 1), min(max(xx, 0), w - 1)]
    return out


def emphasised(image, grid, gamma):
    """Return one emphasised map, or None when it is degenerate."""
    image = np.asarray(image, dtype=np.float64)
    if not np.isfinite(image).all() or image.max() - image.min() <= 1e-6 * np.abs(image).max():
        return None
    image = np.maximum(image if grid == "native" else bilinear(image, grid), 0)
    if image.max() == image.min():
        return None
    return ((image - image.min()) / (image.max() - image.min())) ** gamma


def ratio(pairs):
    weights = sum(w for w, _ in pairs)
    return sum(w * s for w, s in pairs) / weights if weights > 0 else np.nan


def naive(
    maps,
    labels,
    probabilities,
    patients,
    tau=0.7,
    gamma=2.0,
    grid="native",
    pair_weights="product",
    same_patient="drop",
):
    """Return ``(score, baseline)`` per class by looping over pairs."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    n_classes = probabilities.shape[1]
    hot = [emphasised(m, grid, gamma) for m in maps]
    gold = [
        [i for i in range(len(maps)) if labels[i] == c == probabilities[i].argmax() and probabilities[i, c] >= tau]
        for c in range(n_classes)
    ]

    def pair(i, j):
        weight = WEIGHTS[pair_weights](probabilities[i, labels[i]], probabilities[j, labels[j]])
        if same_patient == "drop" and patients[i] == patients[j]:
            weight = 0.0
        if hot[i] is None or hot[j] is None:
            return weight, 0.0
        return weight, np.minimum(hot[i], hot[j]).sum() / np.maximum(hot[i], hot[j]).sum()

    results = []
    for c in range(n_classes):
        within = [pair(i, j) for a, i in enumerate(gold[c]) for j in gold[c][a + 1 :]]
        between = [pair(i, j) for i in gold[c] for o in range(n_classes) if o != c for j in gold[o]]
        results.append((ratio(within), ratio(between)))
    return results


@pytest.fixture(scope="session")
def naive_scores():
    return naive


@pytest.fixture
def films():
    """Return a maker of random films whose patients reach over classes and gold lists."""

    def make(n=24, n_classes=3, n_patients=9, side=5, seed=0):
        rng = np.random.default_rng(seed)
        labels = np.arange(n) % n_classes
        confidence = rng.uniform(0.55, 0.99, n)
        probabilities = np.full((n, n_classes), 0.0) + ((1 - confidence) / (n_classes - 1))[:, None]
        probabilities[np.arange(n), labels] = confidence
        wrong = rng.random(n) < 0.1
        probabilities[wrong] = np.roll(probabilities[wrong], 1, axis=1)
        patients = rng.integers(0, n_patients, n)
        centre = rng.normal(size=(n_patients, 2))[patients] + 0.4 * rng.normal(size=(n, 2)) + side / 2
        cells = np.arange(side)
        maps = np.exp(
            -((cells[:, None] - centre[:, 0, None, None]) ** 2) - (cells[None] - centre[:, 1, None, None]) ** 2
        )
        return SimpleNamespace(maps=maps, labels=labels, probabilities=probabilities, patients=patients)

    return make


@pytest.fixture(scope="session")
def history():
    """Return a maker of histories from a few lists, checkpoints at epochs 10, 20, 30, …

    ``scores`` are lists per method, for both classes alike or as ``{class: list}``; the change between two
    checkpoints is their difference, with the ``stderr`` given.
    """
    from cxrkeras.consistency.history import Checkpoint, ClassState, GoldState, History, MethodState
    from cxrkeras.consistency.paired import Change, Changes

    def make(
        auc,
        scores=None,
        coverage=0.8,
        patients=20,
        stderr=0.01,
        degenerate=None,
        excess=0.2,
        excess_stderr=0.02,
        own_coverage=0.9,
        largest=0.65,
    ):
        n = len(auc)
        scores = {"cam": [0.5] * n} if scores is None else scores

        def per_class(value, t):
            return {c: spread(value[c] if isinstance(value, dict) else value, t) for c in ("a", "b")}

        def spread(value, t):
            return value[t] if isinstance(value, list) else value

        def of_method(value, method):
            return value[method] if isinstance(value, dict) and method in value else value

        def macro(method, t):
            return float(np.mean(list(per_class(scores[method], t).values())))

        points = []
        for t in range(n):
            methods = {}
            for method in scores:
                c, e, s, o, p = (
                    per_class(of_method(value, method), t)
                    for value in (scores[method], excess, excess_stderr, own_coverage, patients)
                )
                blank = spread(of_method(degenerate or 0, method), t)
                states = {
                    k: ClassState(c[k], o[k], 100, p[k], int(100 * blank), e[k], s[k], "ok" if e[k] == e[k] else "why")
                    for k in c
                }
                methods[method] = MethodState(macro(method, t), states)
            cover, who = per_class(coverage, t), per_class(of_method(patients, "gold"), t)
            gold = {k: GoldState(cover[k], who[k] if isinstance(who[k], int) else 20) for k in cover}
            points.append(Checkpoint(10 * (t + 1), auc[t], gold, methods, largest))

        def changes(method, first, second):
            s, t = first // 10 - 1, second // 10 - 1

            def change(before, after):
                return Change(before, after, after - before, stderr, 30, 20, "ok")

            before, after = per_class(scores[method], s), per_class(scores[method], t)
            classes = {k: change(before[k], after[k]) for k in before}
            return Changes(classes, change(macro(method, s), macro(method, t)))

        return History("a run", tuple(points), changes)

    return make
