"""How alike the target films are to the images that a candidate was trained on: columns that no rank is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.data.filmset import FilmSet
from cxrkeras.events import SILENT, Reporter
from cxrkeras.sources.candidates import Candidate
from cxrkeras.sources.kid import kid
from cxrkeras.sources.similarity import film_statistics, semantic_similarity, visual_distance
from cxrkeras.workflow.candidates import OpenCandidate, candidate_size, open_candidate
from cxrkeras.workflow.dataset import film_set, hashed_frame
from cxrkeras.workflow.selection import film_files
from cxrkeras.workflow.sources.cards import Cards
from cxrkeras.workflow.sources.films import TargetFilms, drawn_rows

UNAVAILABLE = "unavailable"
VISUAL_SIDE, VISUAL_FILMS = 224, 500
TABLE_COLUMNS = ["candidate", "measure", "value", "sd", "n_target", "n_source", "computed_with", "status"]


@dataclass(frozen=True)
class Similarities:
    """Similarities of every candidate's source to the target.

    Attributes:
        columns: candidate -> `visual_distance, kid, kid_sd, kid_extractor, semantic_similarity`.
        table: a row a candidate and measure, `TABLE_COLUMNS`.
    """

    columns: dict[str, dict[str, Any]]
    table: pd.DataFrame


def similarities(
    films: TargetFilms,
    cards: Cards,
    folders: Mapping[str, Path],
    extractor: Candidate | None,
    max_images: int,
    reporter: Reporter = SILENT,
) -> Similarities:
    """Visual, embedding and semantic similarity, each where it can be had.

    Args:
        films: the target films.
        cards: of the target and of every candidate.
        folders: images that a candidate was trained on, by candidate; the others get NaN.
        extractor: the network of KID; None makes it unavailable, and no other one takes its place.
        max_images: images of a source at most, drawn by the films' seed.
        reporter: told of progress.

    Raises:
        DataError: a folder without images.
        CxrKerasError: the extractor cannot be opened.
    """
    columns, rows = {}, []
    for name, card in cards.sources.items():
        said = semantic_similarity(cards.target, card)
        columns[name] = {
            "visual_distance": np.nan, "semantic_similarity": said.value, "kid": np.nan, "kid_sd": np.nan,
            "kid_extractor": UNAVAILABLE,
        }  # fmt: skip
        rows.append(_row(name, "semantic", said.value, computed_with=", ".join(said.fields) or "nothing known in both"))
    opened = _opened_extractor(extractor, films, reporter) if folders else None
    ours = film_statistics(films.pixels(VISUAL_SIDE, films.sample(VISUAL_FILMS))) if folders else None
    for name, folder in folders.items():
        frame, root = _source_frame(folder, max_images, films.seed, reporter)
        sample = frame.iloc[drawn_rows(len(frame), VISUAL_FILMS, films.seed)]
        looks = film_statistics(_set(sample, root, films, VISUAL_SIDE).store.get(np.arange(len(sample))))
        apart = visual_distance(ours, looks)
        columns[name]["visual_distance"] = apart.histogram
        counts = {"n_target": ours.n_films, "n_source": looks.n_films}
        rows.append(_row(name, "grey_histogram", apart.histogram, **counts, computed_with=f"{VISUAL_SIDE} px"))
        rows.append(_row(name, "spectrum_slope", apart.slope, **counts, computed_with=f"{VISUAL_SIDE} px"))
        if opened is None:
            rows.append(_row(name, "kid", np.nan, computed_with=UNAVAILABLE, status="no_extractor"))
            continue
        theirs = opened.features(_set(frame, root, films, opened.image_size), reporter)
        mine = opened.features(films.at(opened.image_size), reporter)
        found = kid(mine, theirs, seed=films.seed)
        named = extractor_name(opened)
        columns[name] |= {"kid": found.value, "kid_sd": found.sd, "kid_extractor": named}
        counts = {"n_target": len(mine), "n_source": len(theirs)}
        rows.append(_row(name, "kid", found.value, found.sd, **counts, computed_with=named, status=found.status))
    return Similarities(columns, pd.DataFrame(rows, columns=TABLE_COLUMNS))


def extractor_name(opened: OpenCandidate) -> str:
    """Network, weights, preprocessing and size of an extractor, so that no two are taken for one another."""
    weights = opened.candidate.weights if opened.candidate.kind != "file" else Path(opened.candidate.weights).name
    network = opened.classifier.backbone.name
    return f"{network} {weights} {opened.sha256[:8]} {opened.preprocessing} {opened.image_size} px"


def _opened_extractor(extractor: Candidate | None, films: TargetFilms, reporter: Reporter) -> OpenCandidate | None:
    if extractor is None:
        reporter.notice(f"KID is {UNAVAILABLE}: it needs --extractor FILE, the weights of InceptionV3.")
        return None
    size = candidate_size(extractor)
    return open_candidate(extractor, films.classes, image_size=size, allow_coarse=True)


def _source_frame(folder: Path, most: int, seed: int, reporter: Reporter) -> tuple[pd.DataFrame, Path]:
    files, root = film_files([folder])
    taken = [files[row] for row in drawn_rows(len(files), most, seed)]
    frame = pd.DataFrame({"path": [file.relative_to(root).as_posix() for file in taken]})
    return hashed_frame(frame, root, reporter), root


def _set(frame: pd.DataFrame, root: Path, films: TargetFilms, side: int) -> FilmSet:
    return film_set(frame.reset_index(drop=True), root, (), side, films.settings)


def _row(name: str, measure: str, value: float, sd: float = np.nan, **facts: Any) -> dict[str, Any]:
    status = "ok" if np.isfinite(value) else "undefined"
    return {"candidate": name, "measure": measure, "value": value, "sd": sd, "status": status, **facts}
