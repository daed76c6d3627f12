"""What a study would take: its cells, what of them is done, forwards, and time from a throughput measured here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cxrkeras.cams.registry import FORWARD, INPUT, METHODS, MULTISCALE, PATH, scorecam_forwards
from cxrkeras.config import Config
from cxrkeras.data.fractions import label_fraction
from cxrkeras.data.manifest import Manifest
from cxrkeras.errors import CxrKerasError, DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.models.classifier import Classifier
from cxrkeras.models.randomise import cascade
from cxrkeras.settings import DataSettings
from cxrkeras.study import Cell, Member, Outcome, Study, StudyConfig
from cxrkeras.study.directory import study_path
from cxrkeras.workflow.analyse import read_analysis
from cxrkeras.workflow.dataset import configured_manifest
from cxrkeras.workflow.evidence import missing_forwards
from cxrkeras.workflow.opened import configured_classifier, precision_policy
from cxrkeras.workflow.plan import seconds_per_film, training_cost
from cxrkeras.workflow.study.config import check_split, resolved_members, whole_data
from cxrkeras.workflow.study.later import LaterWork
from cxrkeras.workflow.study.localize import LocalizeWork, localize_methods, localize_split
from cxrkeras.workflow.study.run import is_trained
from cxrkeras.workflow.study.scores import ScoreWork, scored_of
from cxrkeras.workflow.study.study import check_runs
from cxrkeras.workflow.validity import DRAWS, perturbation_forwards

_NOTHING = {"films": pd.NA, "forwards": 0, "minutes": 0.0}
COLUMNS = ["run", "work", "method", "cells", "done", "films", "forwards", "minutes"]


def study_plan(config: StudyConfig, path: str | Path, reporter: Reporter = SILENT) -> pd.DataFrame:
    """Cells of a study, and what the missing ones would take; writes nothing.

    Args:
        config: see `workflow.study.config.resolved_study`.
        path: name or path of the study's directory, which need not exist.
        reporter: told of progress.

    Returns:
        A row a run and method, one a run for its training, its validity checks and its localization, and one for all:
        `cells` and how many of them are `done`, `films` of one checkpoint (for localization all of the split, marked or
        not), `forwards` of what is missing (a training step counted as three), and `minutes` from forwards timed here.
        Compilation, reading films, pair scores and the report come on top. A run whose label fraction cannot be drawn
        has one row without films.

    Raises:
        RunError: the directory holds a run with another configuration.
        DataError: the films cannot be used.
        ConfigError: no film is in the split that is evaluated.
    """
    study, wanted = Study(study_path(path)), resolved_members(config)
    check_runs(study, wanted)
    manifest = configured_manifest(whole_data(config), reporter)
    for text in manifest.notices:
        reporter.notice(text)
    check_split(config, manifest.frame["split"])
    speeds: dict[str, tuple[Classifier, float]] = {}
    rows: list[dict[str, Any]] = []
    for member in wanted:
        try:
            counts = _counts(manifest, member.config.data)
        except DataError as error:
            reporter.notice(f"{member.name} will fail: {error}")
            rows.append({"run": member.name, "work": "train", "method": "", "cells": 1, "done": 0, **_NOTHING})
            continue
        if member.label not in speeds:
            speeds[member.label] = _measured(member.config, manifest, reporter)
        classifier, seconds = speeds[member.label]
        work = ScoreWork(study, config, member)
        cells = [cell for piece in work.pieces() for cell in piece]
        done = _scored(work, cells) if is_trained(study, member) else set()
        own = [_training_row(study, member, counts), *_method_rows(work, cells, done, classifier, counts)]
        own += _validity_row(work, cells, done, classifier, counts)
        own += _localize_row(work, done == set(cells), counts)
        rows += [{**row, "minutes": seconds * row["forwards"] / 60} for row in own]
    reporter.notice(
        "Methods that share one forward pay for it together: it is counted with the first of them. Minutes rest on "
        "forwards timed here; compilation, reading films, pair scores and the report come on top."
    )
    total = {name: sum(row[name] for row in rows) for name in ("cells", "done", "forwards", "minutes")}
    return pd.DataFrame([*rows, {"run": "all", "work": "", "method": "", **total}], columns=COLUMNS).astype(
        {"films": "Int64"}
    )


def _counts(whole: Manifest, settings: DataSettings) -> pd.Series:
    """Films of every split and class, of the label fraction that a run is trained on."""
    drawn = whole
    if settings.fraction < 1:
        drawn = label_fraction(whole, settings.fraction, settings.fraction_seed, scale_val=settings.scale_val)
    return drawn.frame.groupby("split")["label"].value_counts()


def _measured(config: Config, manifest: Manifest, reporter: Reporter) -> tuple[Classifier, float]:
    policy = precision_policy(config.training.mixed_precision)
    activation = "sigmoid" if manifest.several else "softmax"
    classifier = configured_classifier(config, manifest.classes, config.model.preprocessing, policy, activation)
    with reporter.task(f"measure forward of {classifier.backbone.name}", 1) as advance:
        seconds = seconds_per_film(classifier, config.training.batch_size)
        advance(1)
    return classifier, seconds


def _films(counts: pd.Series, split: str, limit: int | None = None) -> int:
    """Films of a split, at most `limit` a class; a validation split that training makes is counted as made."""
    if split not in counts.index.get_level_values(0):
        return 0
    by_class = counts[split]
    return int((by_class if limit is None else by_class.clip(upper=limit)).sum())


def _training_row(study: Study, member: Member, counts: pd.Series) -> dict[str, Any]:
    done = is_trained(study, member)
    train, val, test = (_films(counts, name) for name in ("train", "val", "test"))
    cost = training_cost(member.config.training, train, val, test)
    forwards = 0 if done else round(cost.in_forwards)
    row = {"run": member.name, "work": "train", "method": "", "cells": 1, "done": int(done)}
    return row | {"films": train, "forwards": forwards}


def _method_rows(
    work: ScoreWork, cells: Sequence[Cell], done: set[Cell], classifier: Classifier, counts: pd.Series
) -> list[dict[str, Any]]:
    # methods that share a forward pay for it once: the first of them
    paid: set[tuple[str, int | None, int | None]] = set()
    rows = []
    for name, method in work.methods.items():
        own = [cell for cell in cells if cell.method == name]
        forwards = 0
        for cell in own:
            films = _films(counts, cell.split, method.limit)
            if cell in done:
                continue
            if METHODS[name].kind == FORWARD:
                forwards += _scorecam(work, cell, classifier, films)
            elif (place := (cell.split, cell.epoch, method.limit)) not in paid:
                paid.add(place)
                forwards += films
        row = {"run": work.member.name, "work": "score", "method": name, "cells": len(own)}
        row["done"] = sum(cell in done for cell in own)
        rows.append(row | {"films": _films(counts, work.split, method.limit), "forwards": forwards})
    return rows


def _validity_row(
    work: ScoreWork, cells: Sequence[Cell], done: set[Cell], classifier: Classifier, counts: pd.Series
) -> list[dict[str, Any]]:
    """The validity checks, as if all methods were reported at one checkpoint until it is known where they are."""
    wanted = work.config.study.validity
    names = [name for name in wanted.methods if name in work.methods and work.methods[name].epochs is None]
    if not (wanted.enabled and names):
        return []
    films = min(wanted.films, _films(counts, work.split))
    places = _validity_done(work) if done == set(cells) else [False]
    # methods at the head share a grid; the others have one of their own
    grids = {name if METHODS[name].kind in (MULTISCALE, INPUT, PATH) else "head" for name in names}
    forwards = perturbation_forwards(films, 2 * len(names), len(grids), wanted.steps)
    forwards += DRAWS * len(cascade(classifier)) * films
    row = {"run": work.member.name, "work": "validity", "method": ",".join(names), "cells": len(places)}
    return [{**row, "done": sum(places), "films": films, "forwards": 0 if all(places) else forwards}]


def _localize_row(work: ScoreWork, scored: bool, counts: pd.Series) -> list[dict[str, Any]]:
    """Localization: the maps of the true class are there; random networks for chance make the maps of each again."""
    wanted, split = work.config.study.localize, localize_split(work.config)
    if not wanted.enabled:
        return []
    marked = LocalizeWork(work)
    done = scored and all(marked.is_current(cell) for piece in marked.pieces() for cell in piece)
    films = _films(counts, split)
    names = ",".join(localize_methods(work.config, work.member.label))
    forwards = 0 if done else films * (1 + wanted.draws * wanted.chance)
    row = {"run": work.member.name, "work": "localize", "method": names, "cells": 1, "done": int(done)}
    return [row | {"films": films, "forwards": forwards}]


def _validity_done(work: ScoreWork) -> list[bool]:
    """For each checkpoint at which methods are reported, whether they were checked there; one unknown before that."""
    if read_analysis(work.opened.run, work.split) is None:
        return [False]
    outcomes = [Outcome(cell, "done") for piece in work.pieces() for cell in piece]
    later = LaterWork(work, scored_of(outcomes, work))
    return [later.is_current(cell) for piece in later.validity_pieces() for cell in piece]


def _scorecam(work: ScoreWork, cell: Cell, classifier: Classifier, films: int) -> int:
    """Forwards of a ScoreCAM cell: a film and each of its channels; films whose map is stored are done."""
    if is_trained(work.study, work.member):
        evidence = work.evidence(cell.method, cell.split)
        return missing_forwards(work.opened, cell.epoch, evidence.selection, evidence.options)
    channels = int(classifier.model.get_layer(classifier.backbone.head_input).output.shape[-1])
    return scorecam_forwards(films, channels, work.methods[cell.method].options.get("max_channels"))


def _scored(work: ScoreWork, cells: Sequence[Cell]) -> set[Cell]:
    found = set()
    for cell in cells:
        try:
            if work.is_scored(cell):
                found.add(cell)
        except CxrKerasError:
            # it will be named when it is tried; here it only counts as missing
            continue
    return found
