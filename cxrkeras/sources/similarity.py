"""How alike target films and a source's films look, and how alike what is said about them is.

Visual similarity needs no label and no network, semantic similarity needs cards only. Both stand in columns of their
own: similarity does not predict performance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cxrkeras.errors import ScoreInputError
from cxrkeras.sources.cards import UNKNOWN, SourceCard

LEVELS = 256
# cycles a film side: below lies the film's layout, above the smoothing that resizing does
LOWEST_FREQUENCY, HIGHEST_SHARE = 3, 0.5
FEWEST_FREQUENCIES = 5
SEMANTIC_FIELDS = ("modality", "anatomy", "view", "classes")


@dataclass(frozen=True)
class FilmStatistics:
    """Low-level statistics of a set of films.

    Attributes:
        histogram: share of the pixels at each grey level, mean over films, ``[256]``, sum 1.
        spectrum_slope: slope of log power against log frequency, mean over films; natural pictures lie near −2. NaN
            where the films are blank or too small.
        n_films: films.
    """

    histogram: np.ndarray
    spectrum_slope: float
    n_films: int


@dataclass(frozen=True)
class VisualDistance:
    """How differently two sets of films look.

    Attributes:
        histogram: Wasserstein distance of the grey histograms over 255, 0 to 1.
        slope: difference of the spectrum slopes, source minus target.
    """

    histogram: float
    slope: float


@dataclass(frozen=True)
class SemanticSimilarity:
    """Agreement of what two cards say.

    Attributes:
        value: mean over the fields that both know, 0 to 1; NaN where there is none.
        fields: those fields.
        unknown: the fields that at least one of them does not know.
    """

    value: float
    fields: tuple[str, ...]
    unknown: tuple[str, ...]


def film_statistics(films: Iterable[np.ndarray]) -> FilmStatistics:
    """Return the mean grey histogram and spectrum slope of films.

    Args:
        films: grey films ``[h, w]`` on 0..255, one after the other; their sizes may differ.

    Raises:
        ScoreInputError: no film, or one that is not a finite picture.
    """
    histograms, slopes = [], []
    for film in films:
        pixels = np.asarray(film, np.float64)
        if pixels.ndim != 2 or not pixels.size or not np.isfinite(pixels).all():
            raise ScoreInputError(f"films must be finite grey pictures [h, w]. Received shape {pixels.shape}.")
        levels = np.clip(np.rint(pixels), 0, LEVELS - 1).astype(np.intp)
        histograms.append(np.bincount(levels.ravel(), minlength=LEVELS) / levels.size)
        slopes.append(spectrum_slope(pixels))
    if not histograms:
        raise ScoreInputError("there is no film to describe. Expected one or more.")
    known = [slope for slope in slopes if not np.isnan(slope)]
    slope = float(np.mean(known)) if known else float("nan")
    return FilmStatistics(np.mean(histograms, axis=0), slope, len(histograms))


def spectrum_slope(film: np.ndarray) -> float:
    """Return the slope of log mean power against log radial frequency, from 3 cycles a side to half of Nyquist.

    The film's edges are faded by a Hann window, so that opposite ones need not match.

    Args:
        film: ``[h, w]``.
    """
    side = min(film.shape)
    window = np.outer(np.hanning(film.shape[0] + 2)[1:-1], np.hanning(film.shape[1] + 2)[1:-1])
    power = np.abs(np.fft.fft2((film - film.mean()) * window)) ** 2
    down, across = (np.fft.fftfreq(length) * side for length in film.shape)
    radius = np.rint(np.hypot(down[:, None], across[None, :])).astype(np.intp).ravel()
    frequencies = np.arange(LOWEST_FREQUENCY, int(side / 2 * HIGHEST_SHARE) + 1)
    if len(frequencies) < FEWEST_FREQUENCIES:
        return float("nan")
    mean = np.bincount(radius, power.ravel()) / np.maximum(np.bincount(radius), 1)
    if not (mean[frequencies] > 0).all():
        return float("nan")
    return float(np.polyfit(np.log(frequencies), np.log(mean[frequencies]), 1)[0])


def visual_distance(target: FilmStatistics, source: FilmStatistics) -> VisualDistance:
    """Return the distance of two sets of films in grey levels and in spectrum slope."""
    apart = np.abs(np.cumsum(target.histogram - source.histogram))[:-1].sum() / (LEVELS - 1)
    return VisualDistance(float(apart), source.spectrum_slope - target.spectrum_slope)


def semantic_similarity(target: SourceCard, source: SourceCard) -> SemanticSimilarity:
    """Return the mean agreement of modality, anatomy, view and label set, each a Jaccard index of the words given.

    Args:
        target: card of the target films.
        source: card of a candidate's source.
    """
    shares, unknown = {}, []
    for name in SEMANTIC_FIELDS:
        ours, theirs = _words(getattr(target, name)), _words(getattr(source, name))
        if ours is None or theirs is None:
            unknown.append(name)
        else:
            shares[name] = len(ours & theirs) / len(ours | theirs) if ours | theirs else 1.0
    value = float(np.mean(list(shares.values()))) if shares else float("nan")
    return SemanticSimilarity(value, tuple(shares), tuple(unknown))


def _words(value: str | tuple[str, ...]) -> set[str] | None:
    if value == UNKNOWN:
        return None
    listed = value.split(",") if isinstance(value, str) else value
    return {" ".join(word.lower().replace("-", " ").replace("_", " ").split()) for word in listed} - {""}
