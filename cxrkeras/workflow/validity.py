"""Validity: whether maps depend on the learned weights, and whether the pixels they rank first matter to the model.

Opens a checkpoint for the pure checks of `faithfulness`: gives them maps, films and predictions, stores their tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from cxrkeras.cams.registry import FORWARD, METHODS
from cxrkeras.data.filmset import FilmSet
from cxrkeras.data.pipeline import film_batches
from cxrkeras.errors import DataError, UsageError, unknown
from cxrkeras.events import SILENT, Advance, Reporter
from cxrkeras.faithfulness import against_chance, randomisation
from cxrkeras.faithfulness.against_chance import PerturbationCheck
from cxrkeras.faithfulness.baselines import BASELINES, BLUR, baseline_films
from cxrkeras.faithfulness.perturbation import BATCH, METRICS, Perturbation, Predict
from cxrkeras.faithfulness.randomisation import RandomisationCheck
from cxrkeras.maps import Maps
from cxrkeras.models.randomise import cascade, randomised
from cxrkeras.run import Run
from cxrkeras.store import key8
from cxrkeras.tables import read_csv, replace_rows
from cxrkeras.workflow.evidence import Evidence, alike, ensure
from cxrkeras.workflow.explainers import passing_maps
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.score.score import films_key
from cxrkeras.workflow.selection import Selection

RANDOMISATION, PERTURBATION = "randomisation", "perturbation"
CHECKS = (RANDOMISATION, *METRICS)
FILMS = 50
# One random network may be dead for a class, or alike by luck.
DRAWS = 3


@dataclass(frozen=True)
class Validity:
    """What the checks found at one checkpoint.

    Attributes:
        randomisation: a row per method and stage; the last stage of a method decides. Columns of
            `faithfulness.randomisation.COLUMNS`, then `draws` and how the row was made.
        perturbation: a row per method and metric. Columns of `faithfulness.against_chance.COLUMNS`, then `baseline`
            and how the row was made.
    """

    randomisation: pd.DataFrame
    perturbation: pd.DataFrame


def validity(
    opened: OpenRun,
    epoch: int,
    evidence: Mapping[str, Evidence],
    *,
    films: int = FILMS,
    steps: int = 16,
    checks: Sequence[str] = CHECKS,
    baseline: str = BLUR,
    draws: int = DRAWS,
    reporter: Reporter = SILENT,
) -> Validity:
    """Check methods at one checkpoint, computing what maps are missing, and store the rows.

    A method's stored rows are replaced, those of other methods kept.

    Args:
        opened: the run.
        epoch: epoch of a stored checkpoint.
        evidence: method -> films and options. Of the films, right or wrong, at most `films` are taken, evenly over
            the classes; a map explains the target of the options, by default the label.
        films: at most this many films of a method.
        steps: steps of insertion and deletion.
        checks: `randomisation`, `insertion`, `deletion`.
        baseline: what pixels are replaced by: `blur`, `mean` or `zero`.
        draws: random networks and random maps.
        reporter: told of progress.

    Raises:
        UsageError: an unknown check or baseline, or a number below one.
        DataError: no films.
    """
    opened.require_one_class("validity")
    for check in checks:
        if check not in CHECKS:
            raise unknown("check", check, CHECKS)
    if baseline not in BASELINES:
        raise unknown("baseline", baseline, BASELINES)
    if films < 1 or draws < 1:
        raise UsageError(f"validity needs a film and a draw or more. Received {films} films and {draws} draws.")
    found: dict[str, list[pd.DataFrame]] = {RANDOMISATION: [], PERTURBATION: []}
    for methods, own in alike(evidence):
        selection = own.selection
        sample = _Sample.of(opened, epoch, own, methods, films, reporter)
        if RANDOMISATION in checks:
            found[RANDOMISATION].append(_randomisation(sample, draws, reporter))
        if metrics := [metric for metric in METRICS if metric in checks]:
            found[PERTURBATION].append(_perturbation(sample, metrics, steps, baseline, draws, reporter))
        for name, key in ((RANDOMISATION, ["method"]), (PERTURBATION, ["method", "metric"])):
            if found[name]:
                replace_rows(selection.sink.validity_path(epoch, selection.split, name), found[name][-1], key)
    empty = {RANDOMISATION: randomisation.COLUMNS, PERTURBATION: against_chance.COLUMNS}
    joined = {
        name: pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(empty[name]))
        for name, frames in found.items()
    }
    return Validity(joined[RANDOMISATION], joined[PERTURBATION])


def recommended_epochs(
    run: Run, split: str, methods: Sequence[str], reporter: Reporter = SILENT
) -> dict[int, list[str]]:
    """The methods by the checkpoint that the analysis recommends for each; one without is left out, and said so.

    Raises:
        DataError: no analysis of this split, or no checkpoint recommended for any of the methods.
    """
    file = run.analysis_path(split, "recommendation")
    if not file.exists():
        raise DataError(
            f"run {run.name} has no recommendation for split '{split}'. Expected an analysis of all checkpoints; make "
            f"it with cxrkeras score --run {run.name} --epoch all --split {split}, or name an epoch."
        )
    table = read_csv(file, text=("method", "status", "reason")).set_index("method")
    chosen: dict[int, list[str]] = {}
    for name in methods:
        if name not in table.index:
            reporter.notice(f"{name} is left out: it is not in the analysis of split '{split}'.")
        elif table.loc[name, "status"] != "recommended":
            reporter.notice(f"{name} is left out: no checkpoint is recommended ({table.loc[name, 'reason']}).")
        else:
            chosen.setdefault(int(table.loc[name, "checkpoint"]), []).append(name)
    if not chosen:
        raise DataError(
            f"run {run.name} has no recommended checkpoint for {', '.join(methods)}. Name one with --epoch N."
        )
    return chosen


def drawn_evenly(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Positions of at most `n` films, drawn evenly over the classes; what one class lacks the others fill.

    Args:
        labels: class per film, int ``[k]``.
        n: films wanted.
        seed: of the draw; more films contain fewer.

    Returns:
        Positions in ascending order.
    """
    labels = np.asarray(labels)
    turn = np.empty(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    for label in np.unique(labels):
        own = order[labels[order] == label]
        turn[own] = np.arange(len(own))
    return np.sort(order[np.argsort(turn[order], kind="stable")][:n])


@dataclass(frozen=True)
class _Sample:
    """Films of one checkpoint with the maps of the methods that share them; the checkpoint is loaded."""

    opened: OpenRun
    selection: Selection
    options: MapOptions
    maps: Mapping[str, Maps]

    @classmethod
    def of(
        cls,
        opened: OpenRun,
        epoch: int,
        evidence: Evidence,
        methods: Sequence[str],
        films: int,
        reporter: Reporter,
    ) -> _Sample:
        whole = evidence.selection
        if not len(whole):
            raise DataError(f"there are no films in split '{whole.split}' to check. Select at least one.")
        chosen = whole.take(drawn_evenly(whole.films.labels, films, opened.config.training.seed))
        maps = ensure(opened, epoch, chosen, methods, evidence.options, reporter)
        opened.load(epoch)
        return cls(opened, chosen, evidence.options, maps)

    @property
    def films(self) -> FilmSet:
        return self.selection.films

    @property
    def seed(self) -> int:
        return self.opened.config.training.seed

    @property
    def values(self) -> dict[str, np.ndarray]:
        return {name: maps.values for name, maps in self.maps.items()}

    @property
    def targets(self) -> np.ndarray:
        """The class explained, the same for every method."""
        return next(iter(self.maps.values())).targets

    def stamped(self, table: pd.DataFrame, **more: Any) -> pd.DataFrame:
        """A table with what its rows were made from."""
        keys = {name: key8(maps.parameters) for name, maps in self.maps.items()}
        return table.assign(
            **more,
            seed=self.seed,
            target=self.options.target,
            films=films_key(self.selection),
            maps_key=table["method"].map(keys),
        )


def _randomisation(sample: _Sample, draws: int, reporter: Reporter) -> pd.DataFrame:
    opened, check = sample.opened, RandomisationCheck(sample.values)
    stages = cascade(opened.classifier)
    costly = ", ".join(name for name in sample.maps if METHODS[name].kind == FORWARD)
    if costly:
        reporter.notice(
            f"{costly} explains {len(sample.films)} films anew for {len(stages)} stages of {draws} random networks."
        )
    with reporter.task(f"weights drawn anew: {', '.join(sample.maps)}", draws * len(stages)) as advance:
        for draw in range(draws):
            layers = 0
            with randomised(opened.classifier, (sample.seed, draw)) as redrawn:
                for stage in redrawn:
                    layers += len(stage.layers)
                    after = passing_maps(opened, sample.films, sample.targets, list(sample.maps), sample.options)
                    check.update(stage.name, layers, after)
                    advance(1)
    return sample.stamped(check.summary(), draws=draws)


def _perturbation(
    sample: _Sample, metrics: Sequence[str], steps: int, baseline: str, draws: int, reporter: Reporter
) -> pd.DataFrame:
    pixels = _pixels(sample.films, sample.opened.classifier.input_shape[-1])
    patients = sample.selection.patients_or_films
    grids = {maps.grid for maps in sample.maps.values()}
    forwards = perturbation_forwards(len(pixels), len(metrics) * len(sample.maps), len(grids), steps, draws)
    reporter.notice(f"{' and '.join(metrics)}: {len(pixels)} films, about {forwards:,} forwards.")
    with reporter.task(f"{' and '.join(metrics)}: {', '.join(sample.maps)}", forwards) as advance:
        predict = _predictor(sample.opened, advance)
        films = Perturbation(pixels, baseline_films(pixels, baseline), sample.targets, predict, steps=steps)
        check = PerturbationCheck(films, patients, metrics=metrics, draws=draws, seed=sample.seed)
        for name, maps in sample.maps.items():
            check.update(name, maps.values)
    return sample.stamped(check.summary(), baseline=baseline, draws=draws)


def perturbation_forwards(n_films: int, n_curves: int, n_grids: int, steps: int, draws: int = DRAWS) -> int:
    """Forwards of insertion and deletion: the film and its baseline once, then every step of every curve.

    Args:
        n_films: films.
        n_curves: methods times metrics.
        n_grids: native grids among the methods; each has random maps of its own.
        steps: steps of a curve.
        draws: random maps of a film.
    """
    return n_films * (2 + (steps - 1) * (n_curves + draws * n_grids))


def _pixels(films: FilmSet, channels: int) -> np.ndarray:
    """Films as the model takes them, float32 ``[n, H, W, channels]``."""
    batches = film_batches(films.store, films.indices, films.labels, batch_size=BATCH)
    return np.concatenate([pixels.numpy()[..., :channels] for pixels, *_ in batches])


def _predictor(opened: OpenRun, advance: Advance) -> Predict:
    """Probabilities of one full batch, compiled once for a run; tells how many films it was given."""
    model, shape = opened.classifier.model, (BATCH, *opened.classifier.input_shape)

    def build() -> tf.types.experimental.PolymorphicFunction:
        signature = [tf.TensorSpec(shape, tf.float32)]
        return tf.function(lambda films: model(films, training=False), input_signature=signature, autograph=False)

    compiled = opened.explainer(("probabilities", shape), build)

    def predict(films: np.ndarray) -> np.ndarray:
        probabilities = compiled(films).numpy()
        advance(len(films))
        return probabilities

    return predict
