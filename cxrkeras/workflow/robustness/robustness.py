"""Robustness: how much every weight source leans on every confounder, measured and stored in one directory.

Repeating the command goes on where it was stopped; another source, confounder or p adds to what is there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import RunError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.render.robustness import save_robustness_figure
from cxrkeras.robustness import Sampled, assignment_notice
from cxrkeras.sources.candidates import Candidate
from cxrkeras.store import atomic_path, exclusive
from cxrkeras.study.results import Results
from cxrkeras.workflow.candidates import OpenCandidate, open_candidate
from cxrkeras.workflow.robustness.arms import Arm
from cxrkeras.workflow.robustness.data import RobustnessData, robustness_data
from cxrkeras.workflow.robustness.finetune import arm_training, is_trained, train_all, tuned_arms
from cxrkeras.workflow.robustness.kept import KeptArms, key_of
from cxrkeras.workflow.robustness.maps import ArmMaps, arm_maps
from cxrkeras.workflow.robustness.maps_explained import MapMemory, made_from_features
from cxrkeras.workflow.robustness.maps_gallery import save_shortcut_gallery
from cxrkeras.workflow.robustness.plan import announced, arm_plan
from cxrkeras.workflow.robustness.probe import fitted_arms, split_versions
from cxrkeras.workflow.robustness.settings import Confounder, RobustnessSettings
from cxrkeras.workflow.robustness.tables import CONTROL, RELIANCE, RESULTS, all_tables
from cxrkeras.workflow.robustness.trained import TRAINED_SEED, films_it_learnt_from, trained_arm
from cxrkeras.workflow.robustness.versions import visibility


@dataclass(frozen=True)
class RobustnessResult:
    """A measurement of shortcuts.

    Attributes:
        results: the directory.
        tables: `results`, `reliance`, `comparisons`, `control`, `visibility`, `maps`, `map_films`, `hidden`.
    """

    results: Results
    tables: dict[str, pd.DataFrame]


def robustness(
    settings: RobustnessSettings, name_or_path: str | Path, *, reporter: Reporter = SILENT
) -> RobustnessResult:
    """Measure every arm that is not there yet, and make all tables.

    Args:
        settings: see `robustness_settings`.
        name_or_path: name under `./artifacts`, or path, of the directory to make or go on with.
        reporter: told of progress, first of all of the number of arms and forwards.

    Raises:
        RunError: the directory holds something else, or results on other films or of other weights.
        CxrKerasError: anything wrong with films, weights or a confounder.
    """
    data = settings_data(settings, reporter)
    reporter.notice(announced(settings, arm_plan(settings, data)))
    results = Results.create("robustness", name_or_path, fixed_settings(settings, data))
    with exclusive(results.path):
        work = _Work(settings, data, results, KeptArms.open(results), reporter)
        work.measure()
        tables = all_tables(work.kept, reporter)
        for name, frame in tables.items():
            results.write_table(name, frame)
        title = f"{results.name}: by the share of positive films that carry it in training"
        with atomic_path(results.figure_path("robustness")) as partial:
            save_robustness_figure(partial, tables[RESULTS], tables[RELIANCE], title=title, control=tables[CONTROL])
    return RobustnessResult(results, tables)


def robustness_plan(settings: RobustnessSettings, reporter: Reporter = SILENT) -> pd.DataFrame:
    """What a measurement takes, see `arm_plan`; nothing is written."""
    return arm_plan(settings, settings_data(settings, reporter))


def settings_data(settings: RobustnessSettings, reporter: Reporter = SILENT) -> RobustnessData:
    """The films of a measurement.

    Raises:
        DataError: they cannot be used, or lack the column, the value or the films of a sampled confounder.
    """
    data = robustness_data(
        settings.config.data,
        settings.positive,
        as_study=settings.as_study,
        two_classes=settings.mode == "probe",
        reporter=reporter,
    )
    for confounder in settings.confounders.values():
        if isinstance(confounder, Sampled):
            data.check_sampled(confounder, range(settings.seeds), settings.mode == "probe")
    return data


def fixed_settings(settings: RobustnessSettings, data: RobustnessData) -> dict[str, Any]:
    """What all results of one directory share."""
    return {
        "data": settings.config.data.model_dump(mode="json", exclude={"confounder"}),
        "films": {"n": len(data), "key": data.key},
        "positive": data.positive_class,
        "image_size": settings.image_size,
        "val": settings.val,
        "as_study": settings.as_study,
    }


@dataclass
class _Work:
    """The measuring of one command."""

    settings: RobustnessSettings
    data: RobustnessData
    results: Results
    kept: KeptArms
    reporter: Reporter
    _opened: dict[str, OpenCandidate] = field(default_factory=dict)
    _as_trained: dict[str, OpenCandidate | None] = field(default_factory=dict)

    def measure(self) -> None:
        """Every arm, one confounder after the other, stored after each source."""
        for spec, confounder in self.settings.confounders.items():
            self._note_confounder(confounder)
            for candidate in self.settings.candidates:
                self._measure_source(candidate, spec, confounder)
                self.kept.save(self.results)

    def _measure_source(self, candidate: Candidate, spec: str, confounder: Confounder) -> None:
        wanted = [(seed, p) for seed in range(self.settings.seeds) for p in self.settings.ps]
        missing = [
            (seed, p)
            for seed, p in wanted
            if not self._is_measured(key_of(candidate.name, self.settings.mode, confounder.name, seed, p))
        ]
        opened = self._open(candidate)
        if self.settings.mode == "probe":
            fitted = fitted_arms(opened, self.data, confounder, missing, self.settings.val, self.reporter)
        else:
            fitted = self._tuned(opened, candidate.name, spec, confounder, wanted, missing)
        self._take(opened, fitted, confounder)
        theirs = self._trained(candidate)
        key = key_of(candidate.name, "trained", confounder.name, TRAINED_SEED, math.nan)
        if theirs is not None and not self._is_measured(key):
            self._take(
                theirs, (trained_arm(theirs, self.data, confounder, self.reporter) for _ in range(1)), confounder
            )

    def _is_measured(self, key: tuple) -> bool:
        arm = self.kept.arms.get(key)
        return arm is not None and set(self._methods_of(arm)) <= self.kept.methods_of(arm.answers)

    def _methods_of(self, arm: Arm) -> tuple[str, ...]:
        """Methods that explain an arm; of probes, those that pass the whole network again explain the first seed."""
        methods = self.settings.methods
        if arm.answers.mode != "probe" or arm.answers.seed == 0:
            return methods
        return tuple(name for name in methods if made_from_features(name))

    def _take(self, opened: OpenCandidate, arms: Iterator[Arm], confounder: Confounder) -> None:
        """Keep arms as they come, each with what its maps do while its weights are in the classifier."""
        films, memory = self.data.test_films(confounder), MapMemory()
        shown: dict[float, ArmMaps] = {}
        for arm in arms:
            self.kept.add(arm, films)
            if methods := self._methods_of(arm):
                tested = self._tested(opened, confounder)
                found = arm_maps(opened, tested, films, confounder, methods, arm.answers, memory=memory)
                self.kept.add_maps(found.table, found.films)
                if arm.answers.seed == 0:
                    shown[arm.answers.p] = found
        if confounder.planted and {self.settings.ps[0], self.settings.ps[-1]} <= set(shown):
            name = re.sub(r"[^\w.+-]+", "_", f"maps-{opened.name}-{confounder.name}-{self.settings.mode}")
            title = f"{opened.name}, {confounder.name}, {self.settings.mode}, seed 0"
            target = self.results.figure_path(name)
            save_shortcut_gallery(target, self._tested(opened, confounder), films, confounder, shown, title=title)

    def _tested(self, opened: OpenCandidate, confounder: Confounder) -> FilmSet:
        """The test films as they are and with the artefact, labelled by the classes of the head."""
        versions = self.data.labelled(self.data.versions(confounder, opened.image_size), opened.classes)
        return split_versions(versions, self.data.test) if confounder.planted else versions.take(self.data.test)

    def _tuned(
        self, opened: OpenCandidate, source: str, spec: str, confounder: Confounder, arms: list[tuple[int, float]],
        missing: list[tuple[int, float]],
    ) -> Iterator[Arm]:  # fmt: skip
        """The missing arms, trained where they are not yet; all of them have to be trained in one way."""
        trainings = {
            (seed, p): arm_training(self.settings, source, spec, confounder, p, seed, self.data.positive_class)
            for seed, p in arms
        }
        for training in trainings.values():
            is_trained(self.results, training)
        wanted = [(seed, p, trainings[seed, p]) for seed, p in missing]
        train_all(self.results, [training for _, _, training in wanted], self.reporter)
        return tuned_arms(opened, self.data, confounder, wanted, self.results, self.reporter)

    def _open(self, candidate: Candidate) -> OpenCandidate:
        """The source's network, opened once; the weights must be those it was measured with before."""
        if candidate.name not in self._opened:
            films = self.data.films(self.settings.image_size)
            train = np.flatnonzero(self.data.frame["split"].to_numpy(str) == "train")
            opened = open_candidate(
                candidate,
                self.data.classes,
                image_size=self.settings.image_size,
                calibrate_on=films.take(train),
            )
            self._note_source(opened)
            self._opened[candidate.name] = opened
        return self._opened[candidate.name]

    def _trained(self, candidate: Candidate) -> OpenCandidate | None:
        """The source with its own head and at its own size, where it is a run that knows these classes."""
        if candidate.name not in self._as_trained:
            self._as_trained[candidate.name] = self._open_trained(candidate)
        return self._as_trained[candidate.name]

    def _open_trained(self, candidate: Candidate) -> OpenCandidate | None:
        opened = self._open(candidate)
        if opened.origin is None:
            return None
        found = opened
        own_size = opened.origin.config.model.image_size or opened.image_size
        if own_size != opened.image_size or self.data.classes != self.data.all_classes:
            found = open_candidate(candidate, self.data.all_classes)
        if not found.trained_head:
            self.reporter.notice(
                f"{candidate.name}: run {opened.origin.name} was not trained on the classes "
                f"{', '.join(self.data.all_classes)}; only its backbone is measured."
            )
            return None
        if known := films_it_learnt_from(found, self.data):
            self.reporter.notice(
                f"{candidate.name}: run {opened.origin.name} learnt from {known} of the {len(self.data.test)} test "
                "films; its answers to them say little."
            )
        return found

    def _note_source(self, opened: OpenCandidate) -> None:
        stored = self.results.info.get("sources", {})
        facts = {**opened.facts, "trained_head": opened.origin is not None and opened.trained_head}
        before = stored.get(opened.name)
        for name in ("sha256", "arch", "preprocess"):
            if before is not None and before[name] != facts[name]:
                raise RunError(
                    f"source {opened.name} was measured in {self.results.path} with another {name} ({before[name]}) "
                    f"than now ({facts[name]}). Give it another name (NAME=…), or choose another --run."
                )
        self.results.update_info(sources={**stored, opened.name: facts})

    def _note_confounder(self, confounder: Confounder) -> None:
        stored = self.results.info.get("confounders", {})
        facts = {"level": confounder.level, "kind": confounder.kind, "parameters": confounder.parameters}
        before = stored.get(confounder.name)
        if before is not None and before != facts:
            raise RunError(
                f"confounder {confounder.name} was measured in {self.results.path} as {before}. Received {facts}. "
                "Choose another --run for it."
            )
        if not self.kept.answers_films(confounder.name, self.data.test_films(confounder)):
            raise RunError(
                f"{self.results.path} holds answers to {confounder.name} of test films with other classes, patients or "
                "values of its column. Expected those it was started with; choose another --run."
            )
        self.results.update_info(confounders={**stored, confounder.name: facts})
        size = self.settings.image_size
        seen = visibility(self.data.versions(confounder, size) if confounder.planted else None, confounder)
        about = {"confounder": confounder.name, "level": confounder.level, "kind": confounder.kind}
        self.kept.add_visibility(about | seen | {"image_size": size})
        if seen["status"] == "invisible":
            self.reporter.notice(
                f"{confounder.name} changes the model's input by {seen['rms']:.3f} grey levels: nearly INVISIBLE at "
                f"{size} px. A source that does not lean on it may only not see it."
            )
        if confounder.planted:
            fold = self.data.fold(0)
            for p in self.settings.ps:
                if told := assignment_notice(self.data.positive[fold.train], p):
                    self.reporter.notice(f"{confounder.name}: {told}")
