"""Sources: every candidate's features once, all that is measured on them, and one directory that keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.errors import DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.models.classifier import sigmoid
from cxrkeras.sources.agreement import agreement_scores, agreement_table, measured_aucs
from cxrkeras.sources.cards import cards_table, read_cards
from cxrkeras.sources.cka import cka_table
from cxrkeras.sources.prior import prior_family, prior_ranks
from cxrkeras.sources.ranking import EXCLUDED, ranking_table
from cxrkeras.store import exclusive
from cxrkeras.study.results import Results
from cxrkeras.tables import prediction_table
from cxrkeras.workflow.candidates import OpenCandidate
from cxrkeras.workflow.robustness.data import RobustnessData
from cxrkeras.workflow.sources.cards import Cards, source_cards
from cxrkeras.workflow.sources.features import (
    RAW_PIXELS,
    Features,
    file_features,
    network_features,
    pixel_features,
)
from cxrkeras.workflow.sources.films import TargetFilms, target_films
from cxrkeras.workflow.sources.leaning import COLUMNS as ROBUSTNESS_COLUMNS
from cxrkeras.workflow.sources.leaning import held_out_data, reversed_aucs, robustness_rows
from cxrkeras.workflow.sources.preprocess import CHECKED_FILMS, preprocessing_distances
from cxrkeras.workflow.sources.printed import sentences
from cxrkeras.workflow.sources.scores import Scores, candidate_scores
from cxrkeras.workflow.sources.settings import SourcesSettings
from cxrkeras.workflow.sources.similarity import similarities
from cxrkeras.workflow.sources.truth import read_truth, training_commands

SOURCE_COLUMNS = [
    "candidate", "arch", "weights", "sha256", "preprocess", "image_size", "n_features", "n_films", "n_patients",
    "n_duplicates", "probe_auc", "ci_lo", "ci_hi", "rank", "rank_lo", "rank_hi", "tied_with", "difference_to_best",
    "difference_lo", "difference_hi", "logme", "logme_se", "h_score", "h_score_se", "prior", "visual_distance",
    "semantic_similarity", "kid", "kid_sd", "kid_extractor", "saw_target", "tag_reversed_auc", "lowpass_reversed_auc",
    "unknown_fields", "status",
]  # fmt: skip
TABLES = (
    "sources", "cka", "cards", "predictions", "robustness", "preprocess", "similarity", "agreement", "agreement_scores",
)  # fmt: skip
FLOOR = "floor"


@dataclass(frozen=True, eq=False)
class SourcesResult:
    """A comparison of candidates.

    Attributes:
        results: the directory that keeps it.
        tables: those of `TABLES` that were made, by name.
        sentences: what it says, the fixed ones included.
        commands: that fine-tune the top two.
    """

    results: Results
    tables: dict[str, pd.DataFrame]
    sentences: tuple[str, ...]
    commands: tuple[str, ...]


def sources(settings: SourcesSettings, *, reporter: Reporter = SILENT) -> SourcesResult:
    """Compare candidates for the first weights on frozen features and keep what was found.

    Args:
        settings: as `sources_settings` gives them.
        reporter: told of progress.

    Raises:
        CxrKerasError: the films, a candidate, a card or the truth cannot be used, or the directory holds results on
            other films.
    """
    truth = None if settings.truth is None else read_truth(settings.truth)
    names = pd.Series(settings.names)
    measured = None if truth is None else measured_aucs(truth, names)
    for file in settings.cards:
        read_cards(file)
    films = target_films(
        settings.data, part=settings.part, max_images=settings.max_images, seed=settings.seed, reporter=reporter
    )
    results = Results.create("sources", settings.folder, settings.fixed)
    with exclusive(results.path):
        features = _features(settings, films, reporter)
        tables = _tables(settings, films, features, measured, reporter)
        commands = training_commands(settings.typed, tables["sources"], {one.name: one.facts for one in features})
        said = sentences(tables, settings.reduce)
        for name in TABLES:
            if name in tables:
                results.write_table(name, tables[name])
            else:
                results.tables_path(name).unlink(missing_ok=True)
        results.update_info(
            classes=list(films.classes),
            films={"taken": len(films), "available": films.n_available, "identical": films.n_identical},
            seconds={one.name: round(one.seconds, 2) for one in features},
            sentences=list(said),
            commands=list(commands),
        )
    return SourcesResult(results, tables, said, tuple(commands))


def _features(settings: SourcesSettings, films: TargetFilms, reporter: Reporter) -> list[Features]:
    for candidate in settings.candidates:
        reporter.notice(candidate.warning)
    # what needs no network comes first: a wrong file is named before hours of work
    external = [file_features(name, file, films) for name, file in settings.features.items()]
    data = _robustness_data(settings, films, reporter)

    def measure(opened: OpenCandidate) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if data is not None:
            found["robustness"] = robustness_rows(opened, data, reporter)
        if settings.check_preprocess:
            rows = films.sample(CHECKED_FILMS)
            pixels, calibrated = films.pixels(opened.image_size, rows), bool(opened.calibrated_on)
            found["preprocess"] = preprocessing_distances(opened.name, opened.classifier, pixels, calibrated)
        return found

    networks = network_features(
        settings.candidates,
        films,
        image_size=settings.image_size,
        seed=settings.seed,
        measure=measure,
        reporter=reporter,
    )
    return [*networks, *external, pixel_features(films)]


def _robustness_data(settings: SourcesSettings, films: TargetFilms, reporter: Reporter) -> RobustnessData | None:
    if not settings.robustness or not settings.candidates:
        return None
    try:
        return held_out_data(films)
    except DataError as error:
        reporter.notice(f"the AUCs under planted artefacts are undefined: {error}")
        return None


def _tables(
    settings: SourcesSettings,
    films: TargetFilms,
    features: Sequence[Features],
    measured: pd.DataFrame | None,
    reporter: Reporter,
) -> dict[str, pd.DataFrame]:
    candidates = [one for one in features if one.name != RAW_PIXELS]
    scores: dict[str, Scores] = {}
    with reporter.task("scores", len(features)) as advance:
        for one in features:
            scores[one.name] = candidate_scores(one, films, settings.reduce)
            advance(1, one.name)
    cards = source_cards(candidates, settings.candidates, films, settings.cards, reporter)
    alike = similarities(films, cards, settings.source_images, settings.extractor, settings.max_images, reporter)
    tables = {
        "cka": cka_table({one.name: one.values for one in candidates}),
        "cards": cards_table([*cards.sources.items(), ("target", cards.target)]),
        "predictions": _predictions(films, scores),
        "similarity": alike.table,
    }
    for name in ("robustness", "preprocess"):
        if found := [one.extra[name] for one in candidates if name in one.extra]:
            tables[name] = pd.concat(found, ignore_index=True)
    tables["sources"] = _sources_table(settings, films, features, scores, cards, alike.columns)
    if measured is not None:
        tables["agreement_scores"] = agreement_scores(tables["sources"], measured)
        tables["agreement"] = agreement_table(tables["agreement_scores"])
    return tables


def _sources_table(
    settings: SourcesSettings,
    films: TargetFilms,
    features: Sequence[Features],
    scores: dict[str, Scores],
    cards: Cards,
    alike: dict[str, dict[str, Any]],
) -> pd.DataFrame:
    seen = [name for name, found in cards.saw.items() if found.value == "yes" and not settings.include_seen]
    ranking = ranking_table(
        {name: found.log_odds for name, found in scores.items()},
        films.labels,
        films.patients,
        excluded=[*seen, RAW_PIXELS],
        seed=settings.seed,
    ).set_index("candidate", drop=False)
    parsed = {candidate.name: candidate for candidate in settings.candidates}
    families = {one.name: prior_family(parsed[one.name]) if one.name in parsed else "other" for one in features}
    families.pop(RAW_PIXELS)
    prior = dict(zip(families, prior_ranks(list(families.values())), strict=True))
    rows = []
    for one in features:
        found = scores[one.name]
        row = {**ranking.loc[one.name].to_dict(), **one.facts, "candidate": one.name}
        row |= {
            "n_features": one.values.shape[1],
            "n_duplicates": films.n_identical + found.n_duplicates,
            "logme": found.logme.value,
            "logme_se": found.logme.stderr,
            "h_score": found.h_score.value,
            "h_score_se": found.h_score.stderr,
            "prior": prior.get(one.name),
            "status": _status(one.name, row["status"], found),
        }
        row |= alike.get(one.name, {})
        if one.name in cards.sources:
            row["saw_target"] = cards.saw[one.name].value
            row["unknown_fields"] = len(cards.sources[one.name].unknown_fields)
        row |= (
            reversed_aucs(one.extra["robustness"])
            if "robustness" in one.extra
            else dict.fromkeys(ROBUSTNESS_COLUMNS, np.nan)
        )
        rows.append(row)
    frame = pd.DataFrame(rows, columns=SOURCE_COLUMNS)
    counts = ("image_size", "rank", "rank_lo", "rank_hi", "prior", "unknown_fields")
    frame = frame.astype(dict.fromkeys(counts, "Int64"))
    frame["floor"] = frame["candidate"].eq(RAW_PIXELS)
    return frame.sort_values(["floor", "arch", "rank"], kind="stable", ignore_index=True)[SOURCE_COLUMNS]


def _status(name: str, ranked: str, scores: Scores) -> str:
    """Why the first of rank, LogME and H-score that is missing is missing."""
    if name == RAW_PIXELS:
        return FLOOR
    if ranked != "ok" and ranked != EXCLUDED:
        return ranked
    for score, found in (("logme", scores.logme), ("h_score", scores.h_score)):
        if found.status != "ok" and ranked == "ok":
            return f"{score}_{found.status}"
    return ranked


def _predictions(films: TargetFilms, scores: dict[str, Scores]) -> pd.DataFrame:
    """Out-of-fold probabilities of every candidate, and the floor's."""
    found = []
    for name, one in scores.items():
        table = prediction_table(
            films.images, films.frame["label"], sigmoid(one.log_odds), films.classes, films.patients
        )
        found.append(table.assign(fold=one.probe.fold))
        found[-1].insert(0, "candidate", name)
    return pd.concat(found, ignore_index=True)
