"""A study's directory: its configuration, its runs, what became of its cells, its tables and its report.

It computes nothing.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cxrkeras.config import Config, differences, overridden
from cxrkeras.errors import ConfigError, RunError, did_you_mean
from cxrkeras.recipes import RECIPES
from cxrkeras.run import ARTIFACTS, Run
from cxrkeras.store import check_writable, one_at_a_time, write_json, write_text
from cxrkeras.study.cells import Cell, Outcome
from cxrkeras.study.config import StudyConfig, parse_study
from cxrkeras.study.folder import Folder, folder_path

_STUDY, _CELLS = "study", "cells"


@dataclass(frozen=True)
class Member:
    """One run of a study: what tells it from the others, and the configuration it is trained with.

    Attributes:
        label: the backbone's name in the study.
        seed: training seed.
        config: the run's configuration, before defaults that depend on others are filled in.
        source: name of its first weights; empty where the study does not ask for several, as the next two.
        recipe: how it is trained.
        fraction: share of the training patients it is trained on.
    """

    label: str
    seed: int
    config: Config
    source: str = ""
    recipe: str = ""
    fraction: float | None = None

    @property
    def name(self) -> str:
        """Name of its directory under `runs/`."""
        share = "" if self.fraction is None else f"f{self.fraction:g}"
        return "-".join(part for part in (self.label, self.source, self.recipe, share, f"seed{self.seed}") if part)


def members(config: StudyConfig) -> list[Member]:
    """Every backbone with all weights, recipes, label fractions and seeds, in this order, the seeds fastest.

    Raises:
        ConfigError: two runs would have one name, a backbone has weights of its own beside the study's, or the shared
            section names a recipe beside the study's.
    """
    study = config.study
    if study.recipes is not None and config.training.recipe != "finetune":
        # it has made its own of the epochs that were given, and the other recipes would train with those
        raise ConfigError(
            f"training.recipe is {config.training.recipe}, and the study crosses recipes ({', '.join(study.recipes)}). "
            "Expected one of them; take training.recipe out."
        )
    shared = Config(data=config.data, model=config.model, training=config.training, score=config.score)
    found = []
    for entry, weights, recipe, fraction, seed in itertools.product(
        study.backbones, study.weights or (None,), study.recipes or (None,), study.fractions or (None,), study.seeds
    ):
        own = entry.model_dump(exclude={"name", "label"}, exclude_none=True)
        if weights is not None and {"weights", "preprocessing"} & set(own):
            raise ConfigError(
                f"backbone {entry.name} has weights of its own, and the study crosses weights. "
                "Expected one of them; take weights and preprocessing out of the backbone."
            )
        first = {} if weights is None else {"weights": weights.source, "preprocessing": weights.preprocessing}
        drawn = {} if fraction is None else {"fraction": fraction, "fraction_seed": seed}
        one = overridden(
            shared,
            {
                "data": drawn,
                "model": {"backbone": entry.name, **own, **first},
                "training": {"seed": seed, "recipe": recipe},
            },
        )
        source = "" if weights is None else weights.name
        found.append(Member(entry.label or entry.name, seed, one, source, recipe or "", fraction))
    names = [member.name for member in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"the study has {', '.join(twice)} more than once. Expected different seeds, weights, recipes and "
            "fractions, and a `label` for each entry of a backbone that stands there twice."
        )
    return found


def _study_yaml(config: StudyConfig) -> str:
    """The configuration, every default spelled out but those that a recipe of one of its runs may fill."""
    values = config.model_dump(mode="json", by_alias=True)
    for recipe in {config.training.recipe, *(config.study.recipes or ())}:
        for section, fields in RECIPES[recipe].items():
            for name in set(fields) - getattr(config, section).model_fields_set:
                values[section].pop(name, None)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


class Study(Folder):
    """A study's directory.

    Args:
        path: the directory; use `Study.open` or `Study.create` rather than this.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, _STUDY, "what is stored in the runs stays, and is found")

    def __repr__(self) -> str:
        return f"Study({str(self.path)!r})"

    @classmethod
    def open(cls, name_or_path: str | os.PathLike[str]) -> Study:
        """Open an existing study by path or by its name under `./artifacts`.

        Raises:
            RunError: there is no such study.
        """
        study = cls(study_path(name_or_path))
        if (study.path / "run.json").is_file():
            raise RunError(f"{study.path} is a run, not a study. Name it with --run.")
        if not study._yaml.is_file():
            known = sorted(file.parent.name for file in ARTIFACTS.glob("*/study.yaml"))
            listed = f" Studies under {ARTIFACTS}/: {', '.join(known)}." if known else ""
            raise RunError(
                f"no study at {study.path} (it has no {study._yaml.name}).{listed}"
                f"{did_you_mean(study.path.name, known)} `cxrkeras study` makes one."
            )
        return study

    @classmethod
    def create(cls, path: str | os.PathLike[str], config: StudyConfig) -> Study:
        """Make a study, or take up the one at `path` again; its `study` section may have changed meanwhile.

        Runs that are in the directory already are taken as they are.

        Raises:
            RunError: the directory is a run or holds foreign files, or its runs share other settings.
        """
        study = cls(path)
        if study._yaml.is_file():
            if told := differences(study.config, config):
                raise RunError(
                    f"{study.path} was started with other settings: {told}. Repeat the command that started it, or "
                    "choose another --run."
                )
        elif study.path.exists():
            strange = [file.name for file in study.path.iterdir() if file.name not in study._own]
            if strange := [name for name in strange if not name.startswith(".")]:
                raise RunError(
                    f"{study.path} exists and is not a cxrkeras study (it holds {', '.join(sorted(strange)[:3])}). "
                    "Expected a new name, or an empty directory."
                )
        check_writable(study.path)
        write_text(study._yaml, _study_yaml(config))
        return study

    @property
    def _own(self) -> set[str]:
        named = (self._yaml, self._json, self.run_path("-").parent, self.tables_path("-").parent)
        return {path.name for path in (*named, self.report_path, self.report_folder)}

    @property
    def config(self) -> StudyConfig:
        """The study's configuration."""
        try:
            return parse_study(yaml.safe_load(self._yaml.read_text(encoding="utf-8")), str(self._yaml))
        except OSError as error:
            raise RunError(f"{self._yaml} cannot be read ({error.strerror}). A study needs it; restore it.") from error

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what became of cells; times of earlier sessions stay."""
        self._merge(
            {o.cell.name: {"state": o.state, "seconds": round(o.seconds, 3), "error": o.error} for o in outcomes}
        )

    def note_inputs(self, cell: Cell, inputs: str) -> None:
        """Keep what a cell's stored result was made from, so that it can be told when that has changed."""
        self._merge({cell.name: {"inputs": inputs}})

    def record(self, cell: Cell) -> dict[str, Any]:
        """State, seconds, error and inputs of a cell as last noted; empty where it never was."""
        return self.info.get(_CELLS, {}).get(cell.name, {})

    def _merge(self, fresh: dict[str, dict[str, Any]]) -> None:
        if not fresh:
            return
        with one_at_a_time(self.path):
            info = self.info
            cells = info.get(_CELLS, {})
            merged = {name: {**cells.get(name, {}), **values} for name, values in fresh.items()}
            write_json(self._json, {**info, _CELLS: {**cells, **merged}})

    def members(self) -> list[Member]:
        """Every run the study is to have."""
        return members(self.config)

    def runs(self) -> list[Run]:
        """The runs that exist, in the order of the configuration."""
        paths = [self.run_path(member.name) for member in self.members()]
        return [Run(path) for path in paths if (path / "run.json").is_file()]


def study_path(name_or_path: str | os.PathLike[str]) -> Path:
    """Where a study of a name or path is, see `folder_path`."""
    return folder_path(name_or_path, (_STUDY,))
