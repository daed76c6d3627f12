"""The source card of every candidate, and whether it saw the target films: from the user's files, and from runs.

What a run was trained on is read from its manifest; nothing else is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxrkeras.errors import CxrKerasError, UsageError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.models.weights import parse_weights
from cxrkeras.run import Run
from cxrkeras.settings import PHANTOM
from cxrkeras.sources.candidates import Candidate
from cxrkeras.sources.cards import UNKNOWN, SourceCard, built_in_card, filled, read_cards
from cxrkeras.sources.leakage import SawTarget, known_data_set, saw_target
from cxrkeras.workflow.dataset import data_name
from cxrkeras.workflow.sources.features import Features
from cxrkeras.workflow.sources.films import TargetFilms

TARGET = "target"


@dataclass(frozen=True)
class Cards:
    """Source cards by candidate.

    Attributes:
        target: the target films' own.
        sources: the candidates'.
        saw: whether each saw the target.
    """

    target: SourceCard
    sources: dict[str, SourceCard]
    saw: dict[str, SawTarget]


def source_cards(
    features: Sequence[Features],
    candidates: Sequence[Candidate],
    films: TargetFilms,
    files: Sequence[Path],
    reporter: Reporter = SILENT,
) -> Cards:
    """Cards of all candidates and of the target films, the user's over what is known without them.

    Args:
        features: of every candidate, with their runs.
        candidates: those that are networks.
        films: the target films.
        files: YAML files of cards; the one called `target` describes the target films.
        reporter: told of every candidate that saw the target.

    Raises:
        UsageError: a card for a candidate that is not there.
        ConfigError: a file or card that cannot be read.
    """
    given: dict[str, SourceCard] = {}
    for file in files:
        for name, card in read_cards(file).items():
            given[name] = filled(given.get(name, SourceCard()), card)
    names = [one.name for one in features]
    if strange := [name for name in given if name not in (*names, TARGET)]:
        raise UsageError(
            f"there is a card for '{strange[0]}', which is no candidate. Expected one of: {', '.join(names)}, {TARGET}."
        )
    target = filled(target_card(films), given.get(TARGET, SourceCard()))
    parsed = {candidate.name: candidate for candidate in candidates}
    cards, saw = {}, {}
    for one in features:
        own = _own_card(one, parsed.get(one.name))
        cards[one.name] = filled(own, given.get(one.name, SourceCard()))
        saw[one.name] = saw_target(
            cards[one.name],
            target.name,
            target_hashes=set(films.frame["sha256"]),
            source_hashes=_seen_hashes(one.origin),
        )
        if saw[one.name].value == "yes":
            reporter.notice(f"{one.name} saw the target films: {saw[one.name].reason}.")
    return Cards(target, cards, saw)


def target_card(films: TargetFilms) -> SourceCard:
    """What the manifest says of the target films; the package reads chest X-rays, so that these are."""
    return SourceCard(
        name=data_name(films.settings.path),
        n_images=len(films),
        n_patients=films.n_patients if "patient" in films.frame else UNKNOWN,
        **_described(films.frame, films.classes),
    )


def run_card(run: Run) -> SourceCard:
    """What a run's manifest and settings say of the films it was trained on."""
    frame = _seen_films(run)
    seen = _seen_data(run)
    return SourceCard(
        name=data_name(run.config.data.path or run.name),
        n_images=len(frame),
        n_patients=frame["patient"].nunique() if "patient" in frame else UNKNOWN,
        preprocess=run.info.get("preprocessing", UNKNOWN),
        input_size=str(run.config.model.image_size or UNKNOWN),
        channels=3,
        saw=UNKNOWN if seen is None else seen,
        **_described(frame, run.classes),
    )


def _described(frame: pd.DataFrame, classes: Sequence[str]) -> dict[str, object]:
    views = sorted({str(view) for view in frame["view"].dropna()} - {""}) if "view" in frame else []
    population = []
    if "age" in frame and (ages := pd.to_numeric(frame["age"], errors="coerce")).notna().any():
        population.append(f"age {ages.min():g} to {ages.max():g}, median {ages.median():g}")
    if "sex" in frame and (sexes := frame["sex"].dropna().astype(str)).ne("").any():
        shares = sexes[sexes.ne("")].value_counts(normalize=True)
        population.append("sex " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
    return {
        "modality": "X-ray",
        "anatomy": "chest",
        "view": ", ".join(views) or UNKNOWN,
        "n_classes": len(classes),
        "classes": tuple(classes),
        "population": "; ".join(population) or UNKNOWN,
    }


def _own_card(features: Features, candidate: Candidate | None) -> SourceCard:
    if features.origin is not None:
        card = run_card(features.origin)
    else:
        card = built_in_card(candidate) if candidate is not None else SourceCard()
    facts = features.facts
    size = str(facts["image_size"]) if facts["image_size"] and card.input_size == UNKNOWN else card.input_size
    return card.model_copy(
        update={"sha256": facts["sha256"] or UNKNOWN, "input_size": size, "preprocess": facts["preprocess"] or UNKNOWN}
    )


def _seen_films(run: Run) -> pd.DataFrame:
    """The films that training and the choice of its checkpoint used."""
    frame = run.manifest()
    return frame[frame["split"] != "test"]


def _ancestors(run: Run) -> list[Run]:
    """The run, the run its weights came from, and so on; those that are gone end the list."""
    found = [run]
    while True:
        weights = found[-1].config.model.weights
        if not weights.startswith("run:"):
            return found
        try:
            parent = Run.open(parse_weights(weights).value)
        except CxrKerasError:
            return found
        if any(parent.path.resolve() == other.path.resolve() for other in found):
            return found
        found.append(parent)


def _seen_hashes(run: Run | None) -> set[str]:
    if run is None:
        return set()
    return {digest for one in _ancestors(run) for digest in _seen_films(one)["sha256"] if digest}


def _seen_data(run: Run) -> tuple[str, ...] | None:
    """Names of the data sets that a run and its ancestors saw; None where one of them cannot be told by its name."""
    runs = _ancestors(run)
    if runs[-1].config.model.weights not in ("random", "imagenet"):
        return None
    names = [data_name(one.config.data.path) for one in runs if one.config.data.path != PHANTOM]
    return tuple(names) if all(map(known_data_set, names)) else None
