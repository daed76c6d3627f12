"""Report: what was measured on a run, or on the runs of a study, as one page and the files beside it.

Gathers tables and pictures; what is missing is either made here (the analysis, the viewer's maps) or named on the page
with the command that makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxrkeras._version import __version__
from cxrkeras.errors import CxrKerasError, RunError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.render.efficiency import percent
from cxrkeras.report.contents import Contents, RunTables, Viewer, ViewerFilm, ViewerRun
from cxrkeras.report.page import assemble, write_report
from cxrkeras.run import Run
from cxrkeras.store import check_writable, key8
from cxrkeras.study import Member, Study
from cxrkeras.study.results import Results
from cxrkeras.tables import read_csv
from cxrkeras.workflow.evidence import Evidence
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.report.evidence import analysable, main_scores, scored_evidence
from cxrkeras.workflow.report.localization import stored_localizations
from cxrkeras.workflow.report.results import read_results, where
from cxrkeras.workflow.report.viewer import viewer_films, viewer_run, viewer_selection

_TEXT = (
    "class", "method", "status", "stage", "kind", "outcome", "sentence", "evidence", "reason", "note", "metric",
    "verdict", "layers", "backbone", "run", "split", "at", "above", "floor_run", "source", "recipe",
)  # fmt: skip


@dataclass(frozen=True)
class _Gathered:
    """A run with its tables and the evidence they stand on."""

    opened: OpenRun
    tables: RunTables
    evidence: dict[str, Evidence]


def report_run(run: Run, split: str = "test", *, beside: Sequence[Results] = (), reporter: Reporter = SILENT) -> Path:
    """Write the report of one run.

    The analysis is made where it is missing, and the viewer's maps for the other classes; nothing else is computed.

    Args:
        run: the run.
        split: evaluation split.
        beside: directories of results whose sections the page gets.
        reporter: told of progress and of what is left out.

    Returns:
        The HTML file.

    Raises:
        RunError: the run has no checkpoint, or the report cannot be written.
    """
    check_writable(run.path)
    further = read_results(beside)
    gathered = _gather(run, split, run.config.model.backbone, reporter)
    viewer, absent = _viewer([gathered], split, reporter)
    tables = gathered.tables
    contents = Contents(
        title=f"{tables.backbone} on {_data_name(run)}",
        kind="run",
        name=run.name,
        split=split,
        runs=(tables,),
        viewer=viewer,
        viewer_absent=absent,
        facts=_facts([run], split, [tables.backbone]),
        robustness=further.robustness,
        sources=further.sources,
    )
    return write_report(assemble(contents), run.report_path(split), run.report_folder(split), reporter)


def report_study(study: Study, *, beside: Sequence[Results] = (), reporter: Reporter = SILENT) -> Path:
    """Write the report of a study; its viewer shows the first seed of every backbone.

    Args:
        study: the study.
        beside: directories of results whose sections the page gets.
        reporter: told of progress and of what is left out.

    Returns:
        The HTML file.

    Raises:
        RunError: the study has no run with a checkpoint, or the report cannot be written.
    """
    check_writable(study.path)
    further = read_results(beside)
    split = study.config.study.split
    present = {run.path.name: run for run in study.runs()}
    members = [member for member in study.members() if member.name in present and present[member.name].epochs()]
    if not members:
        raise RunError(f"study {study.name} has no run with a checkpoint. Run it first: cxrkeras study.")
    runs = [present[member.name] for member in members]
    gathered = [
        _gather(run, split, str(member.label), reporter, _variant(member))
        for run, member in zip(runs, members, strict=True)
    ]
    first_seeds = {one.tables.backbone: one for one in reversed(gathered)}
    viewer, absent = _viewer([one for one in gathered if first_seeds[one.tables.backbone] is one], split, reporter)
    labels = [one.tables.backbone for one in gathered]
    contents = Contents(
        title=f"{study.name}: {len(set(labels))} backbones on {_data_name(runs[0])}"
        if len(set(labels)) > 1
        else f"{study.name}: {labels[0]} on {_data_name(runs[0])}",
        kind="study",
        name=study.name,
        split=split,
        runs=tuple(one.tables for one in gathered),
        reversals=_table(study.tables_path("reversals")),
        fractions=_table(study.tables_path("fractions")),
        fraction_seeds=_table(study.tables_path("fraction_seeds")),
        viewer=viewer,
        viewer_absent=absent,
        facts=_facts(runs, split, labels),
        robustness=further.robustness,
        sources=further.sources,
    )
    return write_report(assemble(contents), study.report_path, study.report_folder, reporter)


def _variant(member: Member) -> str:
    """What a study varies beside backbone and seed, as one run has it."""
    share = "" if member.fraction is None else f"{percent(member.fraction)} of the labels"
    return ", ".join(part for part in (member.source, member.recipe, share) if part)


def _gather(run: Run, split: str, label: str, reporter: Reporter, variant: str = "") -> _Gathered:
    from cxrkeras.workflow.analyse import analyse, read_analysis

    if not run.epochs():
        raise RunError(f"{run.path} has no checkpoint to report on. Train it further: cxrkeras train --resume.")
    opened = OpenRun(run)
    opened.require_one_class("the report")
    analysis, scores = read_analysis(run, split), main_scores(run.scores(), split)
    evidence: dict[str, Evidence] = {}
    try:
        evidence = scored_evidence(opened, scores, split, reporter)
        if analysis is None:
            reporter.notice(f"{run.name}: no analysis of split {split} yet; making it.")
            # nothing usable was scored: what is affordable is
            usable = analysable(opened, evidence, scores, reporter)
            usable = usable or scored_evidence(opened, scores[:0], split, reporter)
            analysis = analyse(opened, usable, reporter=reporter)
            evidence = usable | evidence
    except (CxrKerasError, OSError) as error:
        if analysis is None and scores.empty:
            raise
        # tables outlive films: what is stored is still worth reading
        reporter.notice(f"{run.name}: its films cannot be used, so only what is stored is reported. {error}")
    found = {} if analysis is None else {name: getattr(analysis, name) for name in _ANALYSIS}
    if analysis is not None:
        # a method that was scored at some checkpoints only is in no analysis
        more = scores[~scores["method"].isin(set(analysis.scores["method"]))] if len(scores) else scores
        scores = pd.concat([analysis.scores, more], ignore_index=True)
    tables = RunTables(
        name=run.name,
        where=where(run.path),
        backbone=label,
        seed=run.config.training.seed,
        classes=run.classes,
        facts=_made(run),
        history=run.history(),
        scores=scores,
        drift=_drift(run, split, "summary"),
        drift_floor=_drift(run, split, "floor"),
        randomisation=_validity(run, split, "randomisation"),
        perturbation=_validity(run, split, "perturbation"),
        localized=stored_localizations(run, split),
        variant=variant,
        **found,
    )
    return _Gathered(opened, tables, evidence)


_ANALYSIS = ("auc", "changes", "findings", "recommendation", "sweep", "similarity", "agreement")


def _viewer(gathered: list[_Gathered], split: str, reporter: Reporter) -> tuple[Viewer | None, str]:
    """The viewer, or why there is none."""
    films: tuple[ViewerFilm, ...] = ()
    runs: list[ViewerRun] = []
    reasons: list[str] = []
    for one in gathered:
        if not one.evidence:
            reasons.append(f"{one.tables.name}: the films or their maps cannot be used here.")
            continue
        try:
            if not films:
                focus = one.tables.focus or one.opened.run.epochs()[-1]
                selection = viewer_selection(one.opened, split, focus, one.evidence)
                films = viewer_films(one.opened, selection)
            runs.append(
                viewer_run(
                    one.opened,
                    [film.image for film in films],
                    split,
                    one.evidence,
                    one.opened.run.epochs(),
                    name=one.tables.name,
                    backbone=one.tables.backbone,
                    reporter=reporter,
                )
            )
        except (CxrKerasError, OSError) as error:
            reporter.notice(f"{one.tables.name} is left out of the viewer: {error}")
            reasons.append(f"{one.tables.name}: {error}")
    if not runs:
        return None, " ".join(reasons)
    methods = tuple(dict.fromkeys(name for one in gathered for name in one.evidence))
    return Viewer(films, gathered[0].tables.classes, methods, tuple(runs)), " ".join(reasons)


def _drift(run: Run, split: str, name: str) -> pd.DataFrame:
    """Every stored table of drift of a name, with the checkpoints it lies between."""
    tables = [
        _table(file).assign(**{"from": first, "to": last})
        for (first, last), file in run.drift_paths(split, name).items()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _validity(run: Run, split: str, name: str) -> pd.DataFrame:
    tables = [
        _table(file).assign(epoch=epoch)
        for epoch in run.epochs()
        if (file := run.validity_path(epoch, split, name)).exists()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _table(file: Path) -> pd.DataFrame:
    return read_csv(file, text=_TEXT) if file.exists() else pd.DataFrame()


def _data_name(run: Run) -> str:
    path = Path(run.config.data.path or "")
    return path.parent.name if path.suffix else path.name


def _facts(runs: list[Run], split: str, labels: list[str]) -> dict[str, str]:
    """What a reader has to know first."""
    run = runs[0]
    frame = run.manifest()
    films = frame[frame["split"] == split]
    patients = f", {films['patient'].nunique()} patients" if "patient" in films else ""
    weights = sorted({str(one.info.get("weights", {}).get("source", "unknown")) for one in runs})
    per_class = ", ".join(f"{count} {name}" for name, count in films["label"].value_counts().items())
    return {
        "Data": _data_name(run),
        "Split": f"{split}: {len(films)} films{patients}",
        "Films": per_class,
        "Backbones" if len(set(labels)) > 1 else "Backbone": ", ".join(dict.fromkeys(labels)),
        "First weights": ", ".join(weights),
        "Checkpoints": ", ".join(map(str, run.epochs())),
        "Threshold, emphasis": f"τ = {run.config.score.threshold:g}, γ = {run.config.score.gamma:g}",
        "Made with": f"cxrkeras {__version__}",
    }


def _made(run: Run) -> dict[str, str]:
    """Everything that is needed to repeat a run, machine and paths left out."""
    config, info = run.config, run.info
    model, training, score = config.model, config.training, config.score
    weights = info.get("weights", {})
    frame = run.manifest()
    splits = ", ".join(f"{name} {count}" for name, count in frame["split"].value_counts().items())
    facts = {
        "Run": run.name,
        "Started": str(info.get("created", "unknown")),
        "State": run.state,
        "Data": f"{_data_name(run)}: {len(frame)} films ({splits})",
        "Films": f"{key8(sorted(frame['sha256']))} stands for the SHA-256 of all of them",
        "Classes": ", ".join(run.classes),
        "Network": f"{model.backbone}, {model.image_size or 'native'} pixels, dropout {model.dropout:g}",
        "First weights": f"{weights.get('source', 'unknown')}, SHA-256 {str(weights.get('sha256', ''))[:16]}",
        "Preprocessing": str(info.get("preprocessing", "unknown")),
        "Training": (
            f"recipe {training.recipe}, {training.epochs[0]} + {training.epochs[1]} epochs, batch "
            f"{training.batch_size}, learning rates {training.learning_rate[0]:g} and {training.learning_rate[1]:g}, "
            f"weight decay {training.weight_decay or 0:g}, class weights {training.class_weights}, "
            f"augmentation {'on' if training.augment else 'off'}, batch normalisation {config.batch_norm}, "
            f"{info.get('precision', 'float32')}, seed {training.seed}"
        ),
        "Layer-wise rates": "; ".join(
            f"{row['group']} {row['rate']:g} ({row['parameters']:,} parameters)"
            for row in info.get("layer_rates") or []
        ),
        "Films read": f"{config.data.resize}, {config.data.bits or 16} bits where a film has more than 8",
        "C-Score": (
            f"τ {score.threshold:g}, γ {score.gamma:g}, grid {score.grid}, pair weights {score.pair_weights}, macro "
            f"{score.macro}, same patient {score.same_patient}"
        ),
        "Checkpoints": ", ".join(f"{epoch}: {digest[:12]}" for epoch, digest in _sorted_checkpoints(info)),
        "Versions": ", ".join(f"{name} {version}" for name, version in info.get("versions", {}).items()),
        "Notices": " ".join(info.get("notices", [])),
    }
    return {name: value for name, value in facts.items() if value}


def _sorted_checkpoints(info: dict) -> list[tuple[str, str]]:
    return sorted(info.get("checkpoints", {}).items(), key=lambda item: int(item[0]))
