"""Features of every candidate on the same films: from its network, from a file, or the pixels themselves.

One network at a time is in memory. Scores nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrkeras.errors import DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.run import Run
from cxrkeras.store import NPZ_ERRORS, read_npz, sha256_file
from cxrkeras.workflow.candidates import OpenCandidate, candidate_size, open_candidate
from cxrkeras.workflow.sources.films import TargetFilms

if TYPE_CHECKING:
    from cxrkeras.sources.candidates import Candidate

RAW_PIXELS, EXTERNAL = "raw-pixels", "external"


@dataclass(frozen=True, eq=False)
class Features:
    """What one candidate makes of the target films.

    Attributes:
        name: the candidate's.
        values: ``[n, d]``, a row a film.
        facts: `arch, weights, sha256, preprocess, image_size` and further plain values.
        seconds: how long it took, cached or not.
        origin: the run of a `run:` candidate.
        extra: what `measure` returned while the network was open.
    """

    name: str
    values: np.ndarray
    facts: dict[str, Any]
    seconds: float
    origin: Run | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def network_features(
    candidates: Sequence[Candidate],
    films: TargetFilms,
    *,
    image_size: int | None = None,
    seed: int = 0,
    measure: Callable[[OpenCandidate], dict[str, Any]] | None = None,
    reporter: Reporter = SILENT,
) -> list[Features]:
    """Pooled features of every candidate, cached by their causes.

    Args:
        candidates: as parsed.
        films: the target films.
        image_size: side of the input; None takes each candidate's own.
        seed: draws random weights.
        measure: asked for further results while a candidate's network is open.
        reporter: told of progress and of the time it took.

    Raises:
        CxrKerasError: a candidate cannot be opened, or its features cannot be used.
    """
    found = []
    for candidate in candidates:
        start = time.perf_counter()
        size = candidate_size(candidate, image_size)
        opened = open_candidate(
            candidate, films.sides, image_size=size, seed=seed, calibrate_on=films.at(size), allow_coarse=True
        )
        values = opened.features(films.at(size), reporter)
        seconds = time.perf_counter() - start
        reporter.notice(
            f"{candidate.name}: {opened.classifier.backbone.name} at {size} px, {opened.preprocessing}, "
            f"{values.shape[1]} features of {len(films)} films in {seconds:.1f} s."
        )
        extra = measure(opened) if measure else {}
        found.append(Features(candidate.name, values, opened.facts, seconds, opened.origin, extra))
    return found


def pixel_features(films: TargetFilms) -> Features:
    """The raw pixels, the floor that a network has to beat."""
    start = time.perf_counter()
    values = films.raw_pixels()
    return Features(RAW_PIXELS, values, _plain_facts("pixels", "none"), time.perf_counter() - start)


def file_features(name: str, file: Path, films: TargetFilms) -> Features:
    """Features that another program computed, put into the order of the target films.

    Args:
        name: the candidate's.
        file: NPZ with `features` ``[m, d]`` and `images` ``[m]``, the films' paths as the manifest has them.
        films: the target films, each of which must be there.

    Raises:
        DataError: the file cannot be read, lacks an array or a film, or holds values that are not finite.
    """
    start = time.perf_counter()
    try:
        arrays = read_npz(file)
    except NPZ_ERRORS as error:
        raise DataError(f"features of {name}: {file} cannot be read ({error}). Expected an NPZ file.") from error
    if missing := {"features", "images"} - set(arrays):
        raise DataError(
            f"features of {name}: {file} lacks {' and '.join(sorted(missing))}. Expected features [n, d] and images "
            f"[n]; received {', '.join(arrays) or 'nothing'}."
        )
    values, images = np.asarray(arrays["features"]), arrays["images"].astype(str)
    if values.ndim != 2 or len(values) != len(images) or values.dtype.kind not in "fiu":
        raise DataError(
            f"features of {name}: {file} holds features {values.shape} of {values.dtype} and images {images.shape}. "
            "Expected numbers [n, d] and one film path each."
        )
    place = {image: row for row, image in enumerate(images)}
    absent = [image for image in films.images if image not in place]
    if absent or len(place) < len(images):
        what = f"{len(absent)} of {len(films)} films are not" if absent else "some film is there more than once, not"
        example = absent[0] if absent else next(image for image in images if (images == image).sum() > 1)
        raise DataError(
            f"features of {name}: {what} in {file} once, such as {example}. Expected every film, by its path in the "
            "manifest."
        )
    taken = values[[place[image] for image in films.images]].astype(np.float32)
    if not np.isfinite(taken).all():
        raise DataError(
            f"features of {name}: {int((~np.isfinite(taken)).any(1).sum())} films of {file} have values that are not "
            "finite. Expected numbers."
        )
    facts = _plain_facts(EXTERNAL, str(file)) | {"sha256": sha256_file(file), "n_features": taken.shape[1]}
    return Features(name, taken, facts, time.perf_counter() - start)


def _plain_facts(arch: str, weights: str) -> dict[str, Any]:
    return {"arch": arch, "weights": weights, "sha256": "", "preprocess": "", "image_size": None}
