"""Localization: whether a run's maps lie where experts marked a finding, beside what knows nothing would reach.

Opens a checkpoint for the pure metrics of `localization`: gives them maps and marks, stores their tables and pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from cxrkeras.errors import UsageError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.localization import chance_table, comparison_table, parse_threshold, summary_table, tercile_table
from cxrkeras.store import check_writable
from cxrkeras.workflow.localize.chance import chance_rows
from cxrkeras.workflow.localize.films import FULL, AnnotatedFilms
from cxrkeras.workflow.localize.maps import FilmMaps, Rule, film_maps, film_rows
from cxrkeras.workflow.localize.models import Model, check_trained, in_run
from cxrkeras.workflow.localize.pictures import NOT_TRAINED, draw_figure, draw_overlays
from cxrkeras.workflow.localize.statements import human_readers, readers_of, stated_tables
from cxrkeras.workflow.localize.tables import store_tables
from cxrkeras.workflow.localize.tuning import TUNED, tuned_thresholds
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun

METHODS = ("gradcam", "gradcam++", "layercam", "eigencam", "ms-gradcam++")
DRAWS = 3


@dataclass(frozen=True)
class LocalizeSettings:
    """How maps are judged against marks.

    Attributes:
        threshold: how a map becomes a mask: `otsu`, `fixed:T`, `top:Q` or `tuned`.
        tolerance: how far from the truth the peak may lie, pixels of the annotation.
        cutoff: probability of the class below which the mask is empty; None: no decision is made.
        bootstrap: what is resampled: `patient`, or `image` as CheXlocalize does.
        chance: whether chance is measured.
        draws: networks with random weights.
        human: table of human performance, or None.
        statements: table of sides and zones that reports name, or None.
        overlays: pictures of each finding and method.
        allow_untrained: a run whose head was never trained is taken, and marked.
    """

    threshold: str = "otsu"
    tolerance: float = 0.0
    cutoff: float | None = None
    bootstrap: str = "patient"
    chance: bool = True
    draws: int = DRAWS
    human: Path | None = None
    statements: Path | None = None
    overlays: int = 0
    allow_untrained: bool = False


@dataclass(frozen=True)
class Localization:
    """Where the maps of a checkpoint lie; a table each, empty where it was not asked for.

    Attributes:
        films: a row per film, finding, annotator and method: the metrics and how the map was made.
        chance_films: the same metrics of what knows nothing.
        summary: the mean of each metric with its interval and the chance of the area.
        chance: each metric against each kind of chance.
        comparisons: each metric between every two methods, and between models.
        terciles: IoU by size of the mark.
        readers: how far annotators agree.
        statements: share of the map's mass on the side and in the zone that a report names.
        statement_films: the same film by film.
        overlays: pictures drawn.
        figure: the figure of intervals beside chance.
    """

    films: pd.DataFrame
    chance_films: pd.DataFrame
    summary: pd.DataFrame
    chance: pd.DataFrame
    comparisons: pd.DataFrame
    terciles: pd.DataFrame
    readers: pd.DataFrame
    statements: pd.DataFrame
    statement_films: pd.DataFrame
    overlays: int
    figure: Path

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, pd.DataFrame)}


def localize(
    opened: OpenRun,
    epoch: int,
    truth: AnnotatedFilms,
    methods: Sequence[str],
    options: MapOptions,
    settings: LocalizeSettings | None = None,
    *,
    tuning: AnnotatedFilms | None = None,
    against: Sequence[Model] = (),
    reporter: Reporter = SILENT,
) -> Localization:
    """Score the maps of annotated films at one checkpoint, computing what maps are missing, and store the tables.

    Stored rows of the same methods, findings and settings are replaced, others kept. Probabilities are adjusted for
    the comparisons of this call.

    Args:
        opened: the run.
        epoch: epoch of a stored checkpoint.
        truth: the films, as `films.annotated_films`.
        methods: registry names.
        options: how the maps are made; the target is each finding's class.
        settings: how they are judged.
        tuning: films of other patients that `tuned` thresholds are found on.
        against: other models to compare with on the same films.
        reporter: told of progress.

    Raises:
        RunError: the head of a run was never trained, and that is not allowed.
        UsageError: settings that do not go together, or a class that another run does not know.
    """
    settings = settings or LocalizeSettings()
    _check(truth, settings, tuning)
    if truth.selection.patients is None:
        reporter.notice(
            "patients are not known, so every film counts as a patient of its own: with several films of a patient the "
            "intervals are too narrow and the mean mask may be the patient's own."
        )
    models = _named(Model(opened, epoch), against)
    trained = [
        check_trained(model.opened, allow_untrained=settings.allow_untrained, reporter=reporter)
        for model in models.values()
    ]
    sink, split = truth.selection.sink, truth.selection.split
    check_writable(sink.path)
    human = None if settings.human is None else human_readers(truth, settings.human)
    stated = (pd.DataFrame(), pd.DataFrame())
    if settings.statements is not None:
        stated = stated_tables(opened, epoch, truth, settings.statements, methods, options, reporter)
    scored = {
        name: _scored(opened, model, truth, tuning, methods, options, settings, reporter)
        for name, model in models.items()
    }
    own, chance = next(iter(scored.values())), pd.DataFrame()
    if settings.chance:
        chance = chance_rows(opened, epoch, own.maps, options, own.rule, settings.draws, reporter)
    tables = _tables({name: one.films for name, one in scored.items()}, chance, human, settings)
    tables["readers"] = readers_of(truth, settings.bootstrap).assign(bootstrap=settings.bootstrap)
    tables["statements"], tables["statement_films"] = stated
    way = _way(truth, settings, tuning, options)
    tables = {name: table.assign(**way) if len(table) else table for name, table in tables.items()}
    tables["summary"] = tables["summary"].assign(trained="yes" if trained[0] else "no")
    store_tables(sink, epoch, split, tables)
    watermark = "" if all(trained) else NOT_TRAINED
    pictures = draw_overlays(
        own.maps, own.films, epoch, options, settings.overlays, watermark=watermark, reporter=reporter
    )
    figure = sink.localization_figure_path(epoch, split)
    title = f"{opened.run.name}, epoch {epoch}, split {split}"
    draw_figure(figure, tables["summary"], tables["chance"], title, watermark=watermark)
    return Localization(**tables, overlays=pictures, figure=figure)


@dataclass(frozen=True)
class _Scored:
    """A model's maps of the annotated films, how they were judged, and a row each."""

    maps: FilmMaps
    rule: Rule
    films: pd.DataFrame


def _scored(
    opened: OpenRun,
    model: Model,
    truth: AnnotatedFilms,
    tuning: AnnotatedFilms | None,
    methods: Sequence[str],
    options: MapOptions,
    settings: LocalizeSettings,
    reporter: Reporter,
) -> _Scored:
    if model.opened is not opened:
        truth = in_run(truth, opened, model.opened, reporter)
        tuning = None if tuning is None else in_run(tuning, opened, model.opened, reporter)
    if tuning is None:
        shared = parse_threshold(settings.threshold)
        thresholds = {(finding, method): shared for finding in truth.findings for method in methods}
    else:
        thresholds = tuned_thresholds(model.opened, model.epoch, tuning, methods, options, reporter)
    rule = Rule(thresholds, settings.tolerance, settings.cutoff)
    maps = film_maps(model.opened, model.epoch, truth, methods, options, reporter)
    return _Scored(maps, rule, film_rows(maps, rule, reporter))


def _check(truth: AnnotatedFilms, settings: LocalizeSettings, tuning: AnnotatedFilms | None) -> None:
    if (truth.slice == FULL) != (settings.cutoff is not None):
        raise UsageError(
            "slice 'full' and a cut-off go together: below it the classifier says no, and the mask is empty. "
            f"Received slice '{truth.slice}' and cut-off {settings.cutoff}. Give both, or neither."
        )
    if (settings.threshold == TUNED) != (tuning is not None):
        raise UsageError(
            "threshold 'tuned' needs films to be tuned on, and no other threshold takes any. "
            f"Received '{settings.threshold}'. Give --threshold tuned and --tune-on FILE, or neither."
        )


def _named(own: Model, against: Sequence[Model]) -> dict[str, Model]:
    """Models by name, the run's own first; a name that comes again is numbered."""
    named = {own.name: own}
    for model in against:
        again = sum(name.partition(" #")[0] == model.name for name in named)
        named[model.name if not again else f"{model.name} #{again + 1}"] = model
    return named


def _tables(
    films: Mapping[str, pd.DataFrame],
    chance: pd.DataFrame,
    human: pd.DataFrame | None,
    settings: LocalizeSettings,
) -> dict[str, pd.DataFrame]:
    """Tables made of scored films alone."""
    own, bootstrap = next(iter(films.values())), settings.bootstrap
    comparisons = [comparison_table(own)]
    if len(films) > 1:
        joined = pd.concat([table.assign(run=name) for name, table in films.items()], ignore_index=True)
        comparisons.append(comparison_table(joined, by="run"))
    return {
        "films": own,
        "chance_films": chance,
        "summary": summary_table(
            own, bootstrap=bootstrap, chance_films=chance if settings.chance else None, human=human
        ),
        "chance": chance_table(own, chance) if settings.chance else chance,
        "comparisons": pd.concat([table for table in comparisons if len(table)] or comparisons, ignore_index=True),
        "terciles": tercile_table(own, bootstrap=bootstrap).assign(bootstrap=bootstrap),
    }


def _way(
    truth: AnnotatedFilms, settings: LocalizeSettings, tuning: AnnotatedFilms | None, options: MapOptions
) -> dict[str, object]:
    """How the rows were made, as the tables say it."""
    return {
        "annotations": truth.annotations,
        "rule": settings.threshold if tuning is None else f"{TUNED} on {tuning.annotations}",
        "tolerance": float(settings.tolerance),
        "slice": truth.slice,
        "cutoff": "" if settings.cutoff is None else str(settings.cutoff),
        "options": made_with(options),
    }


def made_with(options: MapOptions) -> str:
    """What the maps were made with that is not the default, as typed: `layer=stride16 ig_steps=100`."""
    default = MapOptions()
    own = {name: getattr(options, name) for name in ("layer", "engine", "on")}
    said = {name: value for name, value in own.items() if value != getattr(default, name)}
    return " ".join(f"{name}={value}" for name, value in [*said.items(), *sorted(options.given.items())])
