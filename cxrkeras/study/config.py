"""The typed configuration of a study: what it crosses and what it measures. Names and ranges, not what they do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from cxrkeras.config import Config, overlaid, read_yaml, shipped, validated
from cxrkeras.errors import ConfigError
from cxrkeras.settings import Section

LABEL = r"[\w.+-]+"
Recipe = Literal["finetune", "linear", "convirt"]


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _sourced(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if re.fullmatch(LABEL, value) is None:
        raise ValueError(f"weights '{value}' name a directory of runs; expected {{name: …, source: '{value}'}}")
    return {"name": value, "source": value}


def _switched(value: Any) -> Any:
    return {"enabled": value} if isinstance(value, bool) else value


class StudyBackbone(Section):
    """A backbone of a study; what is None here comes from the shared `model` section.

    `label` names its runs; needed only where one backbone stands in a study twice.
    """

    name: str
    label: str | None = Field(None, pattern=f"^{LABEL}$")
    weights: str | None = None
    preprocessing: str | None = None
    image_size: int | None = Field(None, ge=32, le=1024)
    dropout: float | None = Field(None, ge=0, lt=1)
    allow_coarse: bool | None = None


class StudyWeights(Section):
    """Where first weights come from: `source` as for `--weights`; `name` is its part in the names of runs."""

    name: str = Field(pattern=f"^{LABEL}$")
    source: str
    preprocessing: str | None = None


class StudyMethod(Section):
    """A method of a study, on all backbones, films and checkpoints unless narrowed here.

    `backbones` holds labels, `limit` films a class, `options` what the method takes (`max_channels`, …).
    """

    name: str
    backbones: tuple[str, ...] | None = None
    epochs: tuple[int, ...] | None = None
    limit: int | None = Field(None, ge=1)
    recommend_on: Literal["val", "test"] | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class StudyDrift(Section):
    """Between which checkpoints drift is measured; None: the last of transfer learning and the last of all."""

    enabled: bool = True
    from_epoch: int | None = Field(None, alias="from", ge=1)
    to_epoch: int | None = Field(None, alias="to", ge=1)
    methods: tuple[str, ...] = ("layercam", "gradcam++")


class StudyValidity(Section):
    """The checks beside consistency; ScoreCAM only where it is named."""

    enabled: bool = True
    films: int = Field(50, ge=1)
    steps: int = Field(16, ge=2)
    methods: tuple[str, ...] = ("gradcam", "gradcam++", "layercam", "eigencam", "ms-gradcam++")


class StudyLocalize(Section):
    """Where experts marked findings, and how maps are judged against it; see `workflow.localize`.

    `boxes` or `masks` name the marks, `finding` theirs where they name none; with neither the films' own masks are
    taken. `map` leads from findings to classes. `methods` None: all of the study that need no forwards of their own.
    """

    enabled: bool = True
    boxes: str | None = None
    masks: str | None = None
    finding: str | None = None
    map: dict[str, str] = Field(default_factory=dict)
    box_size: int | tuple[int, int] | None = None
    threshold: str = "otsu"
    tolerance: float = Field(0.0, ge=0)
    methods: tuple[str, ...] | None = None
    epoch: Literal["best", "last"] | Annotated[int, Field(ge=0)] = "best"
    split: str | None = None
    chance: bool = True
    draws: int = Field(3, ge=1)

    @model_validator(mode="after")
    def _one_kind_of_marks(self) -> StudyLocalize:
        if self.boxes is not None and self.masks is not None:
            raise ValueError("boxes and masks both name the marks; expected one of them")
        return self


class StudySection(Section):
    """What a study crosses: backbones × weights × recipes × label fractions × seeds, × methods × checkpoints.

    Without `weights`, `recipes` or `fractions` the shared sections decide. The draw of a label fraction is of the
    training's seed. `allow_untrained` admits runs of no epoch; their rows say so.
    """

    backbones: Annotated[tuple[Annotated[StudyBackbone, BeforeValidator(_named)], ...], Field(min_length=1)]
    weights: tuple[Annotated[StudyWeights, BeforeValidator(_sourced)], ...] | None = None
    recipes: tuple[Recipe, ...] | None = None
    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    methods: Annotated[tuple[Annotated[StudyMethod, BeforeValidator(_named)], ...], Field(min_length=1)] = tuple(
        StudyMethod(name=name) for name in ("gradcam", "gradcam++", "layercam", "eigencam", "scorecam", "ms-gradcam++")
    )
    split: str = "test"
    recommend_on: Literal["val", "test"] = "val"
    drift: Annotated[StudyDrift, BeforeValidator(_switched)] = StudyDrift()
    validity: Annotated[StudyValidity, BeforeValidator(_switched)] = StudyValidity()
    localize: Annotated[StudyLocalize, BeforeValidator(_switched)] = StudyLocalize(enabled=False)
    report: bool = True
    allow_untrained: bool = False

    @field_validator("weights", "recipes", "fractions")
    @classmethod
    def _some(cls, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if values is not None and not values:
            raise ValueError("expected at least one, or leave it out")
        return values

    @property
    def axes(self) -> tuple[str, ...]:
        """What beside backbone and seed tells the runs apart: `source`, `recipe`, `fraction`, as far as asked for."""
        asked = {"source": self.weights, "recipe": self.recipes, "fraction": self.fractions}
        return tuple(name for name, values in asked.items() if values is not None)


class StudyConfig(Config):
    """Many runs that share the other sections, and what is measured on them."""

    study: StudySection


def load_study(name_or_file: str | Path, overrides: dict[str, dict[str, Any]] | None = None) -> StudyConfig:
    """Read a configuration with a `study` section, as `config.load_config` does.

    Raises:
        ConfigError: as there, and a configuration of a single run.
    """
    values = read_yaml(name_or_file)
    if "study" not in values:
        raise ConfigError(
            f"configuration {name_or_file} has no study section: it describes one run, which "
            f"`cxrkeras train --config {name_or_file}` makes. Expected `study: {{backbones: […], methods: […]}}`; "
            f"shipped studies: {', '.join(name for name in shipped() if is_study(name))}."
        )
    return parse_study(overlaid(values, overrides or {}), str(name_or_file))


def parse_study(values: Any, origin: str) -> StudyConfig:
    """Validate plain values into a `StudyConfig`; `origin` names where they came from in the error."""
    return validated(StudyConfig, values, origin)


def is_study(name_or_file: str | Path) -> bool:
    """Whether a configuration describes a study rather than a run.

    Raises:
        ConfigError: no such name or file, or broken YAML.
    """
    return "study" in read_yaml(name_or_file)
