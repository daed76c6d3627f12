"""Analyse: what the checkpoints of a run say together - where AUC and consistency part, and which one to read.

Scores every checkpoint, compares them, looks at how the scores depend on the constants, and stores the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.consistency.agreement import agreement_table
from cxrkeras.consistency.dissociation import OK, THRESHOLDS, TOO_FEW, Dissociation, dissociation
from cxrkeras.consistency.history import History
from cxrkeras.consistency.recommendation import RECOMMENDED, Recommendation, recommendations
from cxrkeras.consistency.similarity import pair_similarity
from cxrkeras.consistency.sweep import sweep
from cxrkeras.events import SILENT, Reporter
from cxrkeras.maps import Maps
from cxrkeras.run import Run
from cxrkeras.tables import read_csv, read_scores, write_csv
from cxrkeras.workflow.analysis_tables import (
    SIMILARITY_COLUMNS,
    SWEEP_COLUMNS,
    TEXTS,
    changes_table,
    findings_table,
    recommendation_table,
    with_counts,
)
from cxrkeras.workflow.evidence import Evidence, alike, chosen_methods
from cxrkeras.workflow.history import Scored, auc_table, judged_maps, run_history, whole_split
from cxrkeras.workflow.map_options import MapOptions, map_parameters
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.score.score import resolved_settings, score_selection
from cxrkeras.workflow.score.table import every_status
from cxrkeras.workflow.selection import Selection, select

GAMMAS = (1.0, 2.0, 4.0)
# Pairs of maps that the sweep may look at, about a minute on one core; beyond, one checkpoint is swept instead of all.
AFFORDABLE_PAIRS = 50_000_000


@dataclass(frozen=True)
class Analysis:
    """What the checkpoints of a run say together, a table each.

    Attributes:
        auc: a row per checkpoint.
        changes: a row per pair of checkpoints compared, method and class (`macro` for the mean).
        findings: a row per finding.
        recommendation: a row per method.
        sweep: scores over thresholds and exponents.
        similarity: histograms of the similarity of pairs.
        agreement: a row per pair of methods.
        scores: the long table that all this rests on.
    """

    auc: pd.DataFrame
    changes: pd.DataFrame
    findings: pd.DataFrame
    recommendation: pd.DataFrame
    sweep: pd.DataFrame
    similarity: pd.DataFrame
    agreement: pd.DataFrame
    scores: pd.DataFrame

    @property
    def status(self) -> str:
        """`ok`, or `too_few_checkpoints` where nothing could be judged."""
        return OK if len(self.auc) >= THRESHOLDS.fewest_checkpoints else TOO_FEW

    @property
    def n_comparisons(self) -> int:
        """Differences of consistency that were tested."""
        return int(self.changes["stderr"].notna().sum())


def analyse(
    opened: OpenRun,
    evidence: Mapping[str, Evidence],
    settings: dict[str, Any] | None = None,
    *,
    epochs: Sequence[int] | None = None,
    recommend: Mapping[str, Evidence] | None = None,
    reporter: Reporter = SILENT,
) -> Analysis:
    """Score and compare the checkpoints of a run, and store the tables.

    Missing maps and predictions are computed. AUC and gold lists are those of the whole split, even where a method
    has fewer films.

    Args:
        opened: the run.
        evidence: method name -> its films, all of one split, and options.
        settings: threshold, gamma, grid, pair_weights, macro, same_patient; what is absent is the run's.
        epochs: epochs of stored checkpoints; default all.
        recommend: films of another split to choose the recommended checkpoint on, by method; a method without any is
            chosen on the films it is measured on.
        reporter: told of progress.

    Raises:
        UsageError: no method, or films of several splits.
        DataError: a film's label is unknown.
    """
    opened.require_one_class("the analysis of all checkpoints")
    epochs = sorted(opened.run.epochs() if epochs is None else epochs)
    resolved = resolved_settings(opened, settings or {})
    scored = _scored(opened, evidence, epochs, resolved, reporter)
    auc = auc_table(scored, reporter)
    history = run_history(scored, auc, reporter)
    found = dissociation(history)
    chosen = _chosen(opened, history, found, scored, recommend or {}, reporter)
    reported = headline_epoch([one for one, _ in chosen], history)
    costly = len(epochs) * len(evidence) * len(GAMMAS) * len(scored.whole) ** 2 / 2 > AFFORDABLE_PAIRS
    pictured = [reported] if costly else epochs
    with reporter.task("sweep thresholds and exponents", len(pictured) * len(evidence)) as advance:
        swept, similar = [], []
        for epoch in pictured:
            for method in evidence:
                arrays, options = _judged(scored, method, epoch)
                swept.append(_sweep(arrays, options).assign(epoch=epoch, method=method)[SWEEP_COLUMNS])
                similar.append(
                    pair_similarity(*arrays, **options).assign(epoch=epoch, method=method)[SIMILARITY_COLUMNS]
                )
                advance()
    result = Analysis(
        auc=auc,
        changes=with_counts(changes_table(found)),
        findings=findings_table(found.findings),
        recommendation=recommendation_table(chosen, history, scored.whole.split),
        sweep=with_counts(pd.concat(swept, ignore_index=True)),
        similarity=with_counts(pd.concat(similar, ignore_index=True)),
        agreement=with_counts(_agreement(scored, reported)),
        scores=scored.scores,
    )
    _store(scored.whole.sink, scored.whole.split, result)
    return result


def read_analysis(run: Run, split: str) -> Analysis | None:
    """The stored analysis of a split, or None where there is none."""
    if not run.analysis_path(split, _STORED[-1]).exists():
        return None
    tables = {
        name: with_counts(read_csv(run.analysis_path(split, name), text=TEXTS[name]))
        for name in _STORED
        if name != "scores"
    }
    return Analysis(**tables, scores=read_scores(run.analysis_path(split, "scores")))


def headline_epoch(chosen: Sequence[Recommendation], history: History) -> int:
    """The one checkpoint to show: recommended for the most methods (then higher AUC, earlier), else the best AUC.

    Where no AUC is defined it is the last checkpoint.
    """
    votes = [one.checkpoint for one in chosen if one.status == RECOMMENDED]
    if votes:
        return max(set(votes), key=lambda epoch: (votes.count(epoch), history.at(epoch).auc, -epoch))
    return (history.best or history.checkpoints[-1]).epoch


def methods_of_all(
    spec: str | None,
    opened: OpenRun,
    epochs: Sequence[int],
    selection: Selection,
    options: MapOptions,
    reporter: Reporter = SILENT,
) -> list[str]:
    """The methods that are affordable at every checkpoint, or those named.

    Raises:
        MethodError: an unknown name.
    """
    once = _Once(reporter)
    here = [chosen_methods(spec, opened, epoch, selection, options, once) for epoch in epochs]
    return [name for name in here[0] if all(name in names for names in here)]


class _Once(Reporter):
    """Says each notice once: what holds for one checkpoint mostly holds for all."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter, self._said = reporter, set()

    def notice(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._reporter.notice(text)


def stored_validation(
    opened: OpenRun,
    evidence: Mapping[str, Evidence],
    epochs: Sequence[int],
    *,
    split: str = "val",
    reporter: Reporter = SILENT,
) -> dict[str, Evidence] | None:
    """The validation films as evidence, where every map of every method and checkpoint is stored; else None."""
    first = next(iter(evidence.values())).selection
    if not first.inside or first.split == split or split not in set(opened.frame["split"]):
        return None
    found = recommending(opened, evidence, split, reporter=reporter)
    complete = all(_has_maps(opened, epoch, method, own) for method, own in found.items() for epoch in epochs)
    return found if complete else None


def recommending(
    opened: OpenRun,
    evidence: Mapping[str, Evidence],
    split: str,
    *,
    limit: int | None = None,
    reporter: Reporter = SILENT,
) -> dict[str, Evidence]:
    """The films of a split to choose checkpoints on, under the options of each method.

    Args:
        opened: the run.
        evidence: what the methods are measured on.
        split: the split to choose on.
        limit: at most this many films a class.
        reporter: told of progress.

    Raises:
        DataError: the run has no such split.
    """
    sink = next(iter(evidence.values())).selection.sink
    out = None if sink.path == opened.run.path else sink.path
    selection = select(opened, split=split, limit=limit, out=out, reporter=reporter)
    return {method: Evidence(selection, own.options) for method, own in evidence.items()}


# The last one is written when all others are.
_STORED = ("scores", "auc", "changes", "findings", "sweep", "similarity", "agreement", "recommendation")


def _store(sink: Run, split: str, result: Analysis) -> None:
    assert set(_STORED) == {field.name for field in fields(Analysis)}
    # Until it is written again, tables of two analyses may lie beside each other.
    sink.analysis_path(split, _STORED[-1]).unlink(missing_ok=True)
    for name in _STORED:
        write_csv(sink.analysis_path(split, name), getattr(result, name))


def _scored(
    opened: OpenRun,
    evidence: Mapping[str, Evidence],
    epochs: Sequence[int],
    settings: Mapping[str, Any],
    reporter: Reporter,
) -> Scored:
    whole = whole_split(opened, evidence, reporter)
    tables = [
        score_selection(
            opened, epochs, own.selection, ",".join(names), own.options, dict(settings), reuse=True, reporter=reporter
        )
        for names, own in alike(evidence)
    ]
    scores = pd.concat(tables, ignore_index=True)
    order = {name: place for place, name in enumerate(evidence)}
    scores = scores.sort_values(
        ["epoch", "method"], key=lambda c: c.map(order) if c.name == "method" else c, kind="stable", ignore_index=True
    )
    return Scored(opened, evidence, whole, epochs, scores, settings)


def _chosen(
    opened: OpenRun,
    history: History,
    found: Dissociation,
    scored: Scored,
    recommend: Mapping[str, Evidence],
    reporter: Reporter,
) -> list[tuple[Recommendation, str]]:
    """Each method's recommendation, and the split it was chosen on."""
    split = scored.whole.split
    chosen = {one.method: (one, split) for one in recommendations(history, found)}
    elsewhere = {name: recommend[name] for name in scored.evidence if name in recommend}
    if elsewhere and next(iter(elsewhere.values())).selection.split != split:
        other = _scored(opened, elsewhere, scored.epochs, scored.settings, reporter)
        its_history = run_history(other, auc_table(other, reporter), reporter)
        for one in recommendations(its_history, dissociation(its_history)):
            chosen[one.method] = one, other.whole.split
    return [chosen[name] for name in scored.evidence]


def _judged(scored: Scored, method: str, epoch: int) -> tuple[tuple[Maps, np.ndarray, np.ndarray], dict[str, Any]]:
    """Maps, labels and probabilities of a method, and the constants of its score but how classes are averaged."""
    maps, probabilities = judged_maps(scored, method, epoch)
    selection = scored.evidence[method].selection
    constants = {name: value for name, value in scored.settings.items() if name != "macro"}
    options = {"patients": selection.patients, "status": every_status(maps), **constants}
    return (maps, selection.films.labels, probabilities), options


def _sweep(arrays: tuple[Maps, np.ndarray, np.ndarray], options: dict[str, Any]) -> pd.DataFrame:
    """Scores over thresholds, and over the usual exponents and the run's own."""
    others = {name: value for name, value in options.items() if name not in ("threshold", "gamma")}
    return sweep(*arrays, gammas=sorted({*GAMMAS, float(options["gamma"])}), **others)


def _agreement(scored: Scored, epoch: int) -> pd.DataFrame:
    """Agreement of every two methods on the films both have, at one checkpoint."""
    maps = {name: judged_maps(scored, name, epoch)[0] for name in scored.evidence}
    tables = [agreement_table({})]
    for one, other in combinations(maps, 2):
        shared = maps[one].images[np.isin(maps[one].images, maps[other].images)]
        if len(shared):
            tables.append(agreement_table({name: maps[name].subset(shared).values for name in (one, other)}))
    table = pd.concat([part for part in tables if len(part)] or tables, ignore_index=True)
    table.insert(0, "epoch", epoch)
    return table


def _has_maps(opened: OpenRun, epoch: int, method: str, own: Evidence) -> bool:
    parameters = map_parameters(opened, epoch, method, own.options)
    maps = own.selection.sink.find_maps(epoch, own.selection.split, method, parameters)
    return maps is not None and bool(np.isin(own.selection.films.ids, maps.images).all())
