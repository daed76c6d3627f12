"""The films of a report's viewer and their maps: few films, every checkpoint, every class.

Maps for the label are those that were scored; for the other classes they are made here, for these films and methods
that cost one forward. What would cost more is shown only where it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cxrkeras.cams.registry import METHODS
from cxrkeras.data.images import decode_film
from cxrkeras.errors import DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.maps import Maps
from cxrkeras.report.contents import ViewerFilm, ViewerMaps, ViewerRun
from cxrkeras.workflow.evidence import Evidence, ensure
from cxrkeras.workflow.map_options import MapOptions, map_parameters
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.predictions import ensure_predictions
from cxrkeras.workflow.selection import Selection, run_split

FILMS = 24
WRONG_SHARE = 1 / 3
SIDE = 256
SEED = 0


def viewer_selection(opened: OpenRun, split: str, epoch: int, evidence: Mapping[str, Evidence]) -> Selection:
    """The films to show: evenly over the classes, a third of them classified wrongly where there are so many.

    Films that every method has maps of come first, then seeded chance decides; the classes take turns.

    Args:
        opened: the run.
        split: evaluation split.
        epoch: checkpoint that decides what is classified wrongly.
        evidence: method -> its films.
    """
    whole = run_split(opened, split)
    correct = ensure_predictions(opened, epoch, whole).argmax(axis=1) == whole.films.labels
    shared = np.ones(len(whole), bool)
    for one in evidence.values():
        shared &= np.isin(whole.films.ids, one.selection.films.ids)
    return whole.take(spread_films(whole.films.labels, correct, shared, FILMS, SEED))


def spread_films(labels: np.ndarray, correct: np.ndarray, preferred: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Up to `n` positions, the same number a class, right and wrong ones, in turn over the classes, int ``[≤ n]``.

    Args:
        labels: class index a film.
        correct: whether it is classified correctly.
        preferred: films to take before others.
        n: how many in all.
        seed: draws among equals.
    """
    rng = np.random.default_rng(seed)
    chance = rng.permutation(len(labels))
    order = np.lexsort((chance, ~preferred))
    quota = max(1, n // max(1, len(set(labels.tolist()))))
    by_class = []
    for label in sorted(set(labels.tolist())):
        mine = order[labels[order] == label]
        wrong, right = mine[~correct[mine]], mine[correct[mine]]
        n_wrong = min(len(wrong), max(round(quota * WRONG_SHARE), quota - len(right)))
        chosen = np.r_[right[: quota - n_wrong], wrong[:n_wrong]]
        # right and wrong ones alternate as far as they go, so that the first few films show both
        by_class.append(sorted(chosen.tolist(), key=lambda row: list(chosen).index(row) % max(1, quota - n_wrong)))
    longest = max((len(films) for films in by_class), default=0)
    return np.array([films[turn] for turn in range(longest) for films in by_class if turn < len(films)], int)


def viewer_films(opened: OpenRun, selection: Selection) -> tuple[ViewerFilm, ...]:
    """The films as pictures of at most `SIDE` pixels, cut as the network sees them."""
    films, settings = [], opened.config.data
    for row, index in enumerate(selection.films.indices.tolist()):
        file = selection.films.store.files[index]
        grey = decode_film(file, None, bits=settings.bits)
        scale = min(1.0, SIDE / max(grey.shape))
        own = max(1, round(grey.shape[0] * scale)), max(1, round(grey.shape[1] * scale))
        size = own if settings.resize == "squash" else (max(own), max(own))
        picture = decode_film(file, size, settings.resize, settings.bits)
        name = opened.classes[int(selection.films.labels[row])]
        films.append(ViewerFilm(str(selection.films.ids[row]), name, picture))
    return tuple(films)


def viewer_run(
    opened: OpenRun,
    images: Sequence[str],
    split: str,
    evidence: Mapping[str, Evidence],
    epochs: Sequence[int],
    *,
    name: str,
    backbone: str,
    reporter: Reporter = SILENT,
) -> ViewerRun:
    """What one run says about the viewer's films.

    Args:
        opened: the run.
        images: film ids.
        split: the split they are in.
        evidence: method -> its films and options.
        epochs: checkpoints to step through.
        name, backbone: what the run is called.
        reporter: told of progress.

    Raises:
        DataError: the run does not have these films in that split.
    """
    whole = run_split(opened, split)
    place = {image: row for row, image in enumerate(whole.films.ids.tolist())}
    if missing := [image for image in images if image not in place]:
        raise DataError(
            f"run {opened.run.name} lacks {len(missing)} of the viewer's films in split '{split}', first {missing[0]}. "
            "Expected the films of the first run; runs of one viewer share them."
        )
    rows = np.array([place[image] for image in images], int)
    films = whole.take(rows)
    stages = opened.run.history().set_index("epoch")["stage"]
    maps: list[ViewerMaps] = []
    with reporter.task("viewer", len(epochs)) as advance:
        for epoch in epochs:
            for names, options in _together(evidence):
                maps += _all_classes(opened, epoch, films, names, options)
            for method, one in evidence.items():
                if not METHODS[method].in_the_forward:
                    maps += _stored(opened, epoch, films, method, one.options)
            advance(1)
    return ViewerRun(
        name=name,
        backbone=backbone,
        seed=opened.config.training.seed,
        epochs=tuple(epochs),
        stages=tuple(str(stages.get(epoch, "")) for epoch in epochs),
        probabilities=np.stack([ensure_predictions(opened, epoch, whole)[rows] for epoch in epochs]),
        maps=tuple(maps),
        threshold=opened.config.score.threshold,
    )


def _together(evidence: Mapping[str, Evidence]) -> list[tuple[list[str], MapOptions]]:
    """Methods that share one forward and one set of options."""
    groups: list[tuple[list[str], MapOptions]] = []
    for name, one in evidence.items():
        if not METHODS[name].in_the_forward:
            continue
        for names, options in groups:
            if options == one.options:
                names.append(name)
                break
        else:
            groups.append(([name], one.options))
    return groups


def _all_classes(
    opened: OpenRun, epoch: int, films: Selection, methods: Sequence[str], options: MapOptions
) -> list[ViewerMaps]:
    found = []
    own = ensure(opened, epoch, films, methods, options)
    for label, name in enumerate(opened.classes):
        mine = np.flatnonzero(films.films.labels == label)
        others = np.flatnonzero(films.films.labels != label)
        made = ensure(opened, epoch, films.take(others), methods, replace(options, target=name)) if len(others) else {}
        for method in methods:
            parts = [_rows(own[method], epoch, name, mine)]
            if len(others):
                parts.append(_placed(made[method], epoch, name, others))
            found.append(_joined(parts))
    return found


def _stored(opened: OpenRun, epoch: int, films: Selection, method: str, options: MapOptions) -> list[ViewerMaps]:
    """Maps for the label that are stored already; nothing is made."""
    stored = films.sink.find_maps(epoch, films.split, method, map_parameters(opened, epoch, method, options))
    if stored is None:
        return []
    place = {image: row for row, image in enumerate(stored.images.tolist())}
    found = []
    for label, name in enumerate(opened.classes):
        mine = [
            row
            for row, image in enumerate(films.films.ids.tolist())
            if image in place and films.films.labels[row] == label
        ]
        if mine:
            rows = np.array([place[films.films.ids[row]] for row in mine], int)
            found.append(_placed(stored.subset(rows), epoch, name, np.array(mine, int)))
    return found


def _rows(maps: Maps, epoch: int, target: str, rows: np.ndarray) -> ViewerMaps:
    return _placed(maps.subset(rows), epoch, target, rows)


def _placed(maps: Maps, epoch: int, target: str, films: np.ndarray) -> ViewerMaps:
    return ViewerMaps(epoch, maps.method, target, films, maps.values, maps.status)


def _joined(parts: Sequence[ViewerMaps]) -> ViewerMaps:
    return replace(
        parts[0],
        films=np.concatenate([part.films for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        status=np.concatenate([part.status for part in parts]),
    )
