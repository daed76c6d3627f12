"""What goes into a report: plain tables and pictures of one run or several.

Knows no run directory, no model and no HTML.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cxrkeras.report.results import RobustnessTables, SourcesTables


def _none() -> pd.DataFrame:
    return pd.DataFrame()


@dataclass(frozen=True)
class Localized:
    """Where the maps of one checkpoint lie against one set of marks, scored in one way.

    Attributes:
        epoch: the checkpoint.
        way: marks, threshold and slice in words.
        trained: whether the head was trained at all.
        summary, chance, comparisons, terciles, readers: tables of the localization.
        sentences: what they say.
    """

    epoch: int
    way: str
    trained: bool
    summary: pd.DataFrame
    chance: pd.DataFrame = field(default_factory=_none)
    comparisons: pd.DataFrame = field(default_factory=_none)
    terciles: pd.DataFrame = field(default_factory=_none)
    readers: pd.DataFrame = field(default_factory=_none)
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunTables:
    """Everything measured on one run; a table that does not exist is empty.

    Attributes:
        name: the run's name.
        backbone: its backbone.
        seed: its seed.
        classes: class names.
        facts: how it was made, in the order shown.
        history: ``epoch, stage, …``.
        scores, auc, changes, findings, recommendation, sweep, similarity, agreement: tables of the analysis.
        drift: table of summaries with `from` and `to`.
        where: what `--run` takes to name it; empty: its name.
        drift_floor: drift beside the difference between two seeds, with `from` and `to`.
        randomisation, perturbation: tables of the validity checks with `epoch`.
        localized: where the maps lie, a part per checkpoint and way of scoring.
        variant: what tells it from other runs of its backbone and seed, such as weights and share of the labels.
    """

    name: str
    backbone: str
    seed: int
    classes: tuple[str, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    history: pd.DataFrame = field(default_factory=_none)
    scores: pd.DataFrame = field(default_factory=_none)
    auc: pd.DataFrame = field(default_factory=_none)
    changes: pd.DataFrame = field(default_factory=_none)
    findings: pd.DataFrame = field(default_factory=_none)
    recommendation: pd.DataFrame = field(default_factory=_none)
    sweep: pd.DataFrame = field(default_factory=_none)
    similarity: pd.DataFrame = field(default_factory=_none)
    agreement: pd.DataFrame = field(default_factory=_none)
    drift: pd.DataFrame = field(default_factory=_none)
    drift_floor: pd.DataFrame = field(default_factory=_none)
    randomisation: pd.DataFrame = field(default_factory=_none)
    perturbation: pd.DataFrame = field(default_factory=_none)
    where: str = ""
    localized: tuple[Localized, ...] = ()
    variant: str = ""

    def command(self, work: str, options: str = "") -> str:
        """The command that does a piece of work on this run."""
        return f"cxrkeras {work} --run {shlex.quote(self.where or self.name)} {options}".rstrip()

    @property
    def score_command(self) -> str:
        """The command that scores every checkpoint and makes the analysis."""
        return self.command("score", "--epoch all")

    @property
    def methods(self) -> list[str]:
        """Methods with scores, in the order of the table."""
        return list(dict.fromkeys(self.scores["method"])) if "method" in self.scores else []

    @property
    def macro(self) -> pd.DataFrame:
        """The macro C-Scores ``epoch, method, score, ci_low, ci_high, status``."""
        if self.scores.empty:
            return self.scores
        return self.scores[(self.scores["level"] == "global") & (self.scores["class"] == "macro")]

    @property
    def class_scores(self) -> pd.DataFrame:
        """The rows of the classes."""
        return self.scores[self.scores["level"] == "class"] if not self.scores.empty else self.scores

    @property
    def focus(self) -> int | None:
        """The checkpoint to look at: recommended for the most methods, else of the highest AUC, else the last.

        Ties go to the higher AUC, then to the earliest.
        """
        votes: dict[int, int] = {}
        if "checkpoint" in self.recommendation:
            named = pd.to_numeric(self.recommendation["checkpoint"], errors="coerce").dropna()
            votes = named.astype(int).value_counts().to_dict()
        if votes:
            known = self.auc.dropna(subset=["auc"]) if not self.auc.empty else self.auc
            auc = dict(zip(known["epoch"], known["auc"], strict=True)) if len(known) else {}
            return int(max(votes, key=lambda epoch: (votes[epoch], auc.get(epoch, -1.0), -epoch)))
        if self.best_auc is not None:
            return self.best_auc
        return int(self.scores["epoch"].max()) if not self.scores.empty else None

    def at_focus(self, table: pd.DataFrame) -> tuple[int, pd.DataFrame]:
        """The checkpoint to look at, or the last that the table has, and its rows."""
        epochs = set(table["epoch"])
        epoch = self.focus if self.focus in epochs else max(epochs)
        return epoch, table[table["epoch"] == epoch]

    @property
    def best_auc(self) -> int | None:
        """The checkpoint with the highest AUC, ties to the earliest; None where none is known."""
        known = self.auc.dropna(subset=["auc"]) if not self.auc.empty else self.auc
        return (
            None if known.empty else int(known.sort_values(["auc", "epoch"], ascending=[False, True])["epoch"].iloc[0])
        )

    def checked(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of a validity table at each method's recommended checkpoint, or at the last it was checked at."""
        if table.empty:
            return table
        chosen = {}
        if "checkpoint" in self.recommendation:
            chosen = dict(zip(self.recommendation["method"], self.recommendation["checkpoint"], strict=True))
        kept = []
        for method, rows in table.groupby("method", sort=False):
            wanted = rows[rows["epoch"] == chosen.get(method)]
            kept.append(wanted if len(wanted) else rows[rows["epoch"] == rows["epoch"].max()])
        return pd.concat(kept, ignore_index=True)


@dataclass(frozen=True)
class ViewerFilm:
    """A film of the viewer.

    Attributes:
        image: film id.
        label: its class.
        picture: grey ``[H, W]``, 0..255, as the network sees it, at most 256 pixels a side.
    """

    image: str
    label: str
    picture: np.ndarray


@dataclass(frozen=True)
class ViewerMaps:
    """Maps of one method for one class at one checkpoint.

    Attributes:
        epoch: the checkpoint.
        method: the method.
        target: the class that is explained.
        films: positions among the viewer's films, int ``[n]``; the others have no such map.
        values: raw maps ``[n, h, w]`` at their native grid.
        status: a status a map, ``[n]``.
    """

    epoch: int
    method: str
    target: str
    films: np.ndarray
    values: np.ndarray
    status: np.ndarray


@dataclass(frozen=True)
class ViewerRun:
    """What the viewer shows of one run.

    Attributes:
        name, backbone, seed: the run.
        epochs: checkpoints, ascending.
        stages: stage of each checkpoint.
        probabilities: ``[epochs, films, classes]``.
        maps: all of its maps.
        threshold: confidence of a gold film.
    """

    name: str
    backbone: str
    seed: int
    epochs: tuple[int, ...]
    stages: tuple[str, ...]
    probabilities: np.ndarray
    maps: tuple[ViewerMaps, ...]
    threshold: float = 0.7


@dataclass(frozen=True)
class Viewer:
    """Films, and what every run says about them."""

    films: tuple[ViewerFilm, ...]
    classes: tuple[str, ...]
    methods: tuple[str, ...]
    runs: tuple[ViewerRun, ...]


@dataclass(frozen=True)
class Contents:
    """A whole report.

    Attributes:
        title: headline.
        kind: `run`, `study`, `robustness` or `sources`.
        name: of the run, study or directory of results.
        split: evaluation split.
        runs: what was measured on each; none for a directory of results.
        reversals: rankings that turn between backbones or methods; empty for one run.
        fractions: AUC and localization by share of labels; empty where that was not varied.
        fraction_seeds: the same of every seed.
        viewer: the films to step through, or None.
        viewer_absent: why there is none.
        facts: how the report was made.
        robustness: whether sources lean on a shortcut, a directory each.
        sources: which weights to start from, a directory each.
    """

    title: str
    kind: str
    name: str
    split: str
    runs: tuple[RunTables, ...]
    reversals: pd.DataFrame = field(default_factory=_none)
    fractions: pd.DataFrame = field(default_factory=_none)
    fraction_seeds: pd.DataFrame = field(default_factory=_none)
    viewer: Viewer | None = None
    viewer_absent: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    robustness: tuple[RobustnessTables, ...] = ()
    sources: tuple[SourcesTables, ...] = ()

    @property
    def made(self) -> list[tuple[str, Mapping[str, str]]]:
        """How each run and each directory of results was made, with what to call it."""
        return [(self.label(run), run.facts) for run in self.runs] + [
            (one.name, one.facts) for one in (*self.robustness, *self.sources)
        ]

    @property
    def methods(self) -> list[str]:
        """Every method of every run, in the order met; a method's look is its place here."""
        return list(dict.fromkeys(name for run in self.runs for name in run.methods))

    def heading(self, run: RunTables) -> str:
        """What stands above a run's part of a section; nothing where there is one run."""
        return self.label(run) if len(self.runs) > 1 else ""

    def place(self, method: str) -> int:
        """Place of a method among all, which picks its colour; 0 for one without scores."""
        return self.methods.index(method) if method in self.methods else 0

    def label(self, run: RunTables) -> str:
        """What tells a run apart from the others: its backbone and variant, with the seed where these repeat."""
        repeated = sum((other.backbone, other.variant) == (run.backbone, run.variant) for other in self.runs) > 1
        parts = [run.backbone, run.variant, f"seed {run.seed}" if repeated else ""]
        return ", ".join(part for part in parts if part)
