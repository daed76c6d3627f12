"""The typed configuration of a run, and its YAML form: the one home of every default.

Knows names and ranges, not what they do.
"""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cxrkeras.errors import ConfigError, unknown
from cxrkeras.recipes import RECIPES, recipe_epochs

PHANTOM = "phantom"
Kind = TypeVar("Kind", bound="Config")


class Section(BaseModel):
    """A frozen block of settings that refuses names it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PhantomSettings(Section):
    """The embedded data set; see `data.phantom`."""

    films: int = Field(400, ge=20)
    classes: int = Field(2, ge=2, le=5)
    seed: int = Field(0, ge=0)
    shortcut: Literal["tag", "exposure", "sex"] | None = None
    shortcut_probability: float = Field(0.0, ge=0, le=1)


class ConfounderSettings(Section):
    """A shortcut that the films of a run carry, as `robustness.parse_confounder` reads `spec`.

    A share `p` of the films of the class `positive` (None: the finding, else the last in sorted order) has it, no other
    film; validation films like those (`iid`) or none (`clean`). `as_study` lets filter and noise act before the resize.
    """

    spec: str
    p: float = Field(1.0, ge=0, le=1)
    positive: str | None = None
    seed: int = Field(0, ge=0)
    val: Literal["iid", "clean"] = "iid"
    as_study: bool = False


class DataSettings(Section):
    """Which films, how they are labelled and split, and how their pixels are read.

    `path` is a folder or CSV, or `phantom` for the embedded films; a configuration may leave it to `--data`.
    `findings` makes it a task of several findings a film, from columns of a CSV (`all` for every CheXpert one);
    `positive` makes two classes of one finding, `negative` names the films of the other (such as `No Finding`).
    `blank: null` is the table's own default.
    `fraction` is the share of the training patients whose labels are used, see `data.fractions`.
    `confounder` plants a shortcut, or chooses films for one.
    """

    path: str | None = None
    split_column: str | None = None
    label_column: str | None = None
    patient_column: str | None = None
    findings: tuple[str, ...] | None = None
    uncertain: Literal["ignore", "zeros", "ones"] = "ignore"
    blank: Literal["zeros", "ignore"] | None = None
    views: Literal["frontal", "all"] = "frontal"
    positive: str | None = None
    negative: str | None = None
    resize: Literal["squash", "pad"] = "squash"
    bits: int | None = Field(None, ge=8, le=16)
    validation_fraction: float = Field(0.1, gt=0, lt=0.5)
    test_fraction: float = Field(0.2, gt=0, lt=0.5)
    drop_shared: bool = False
    fraction: float = Field(1.0, gt=0, le=1)
    fraction_seed: int = Field(0, ge=0)
    scale_val: bool = False
    limit: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    phantom: PhantomSettings = PhantomSettings()
    confounder: ConfounderSettings | None = None

    @field_validator("findings", mode="before")
    @classmethod
    def _comma_list(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class ModelSettings(Section):
    """Backbone, its size and where its first weights come from."""

    backbone: str = "DenseNet201"
    weights: str = "imagenet"
    preprocessing: str | None = None
    image_size: int | None = Field(None, ge=32, le=1024)
    dropout: float = Field(0.3, ge=0, lt=1)
    allow_coarse: bool = False


class LayerGroupSettings(Section):
    """Layers of stage 2, by name or glob, whose rate is the stage's times `multiplier`."""

    layers: Annotated[tuple[str, ...], Field(min_length=1)]
    multiplier: float = Field(ge=0, allow_inf_nan=False)


class PlateauSettings(Section):
    """The rate is multiplied by `factor` after every `patience` epochs without a gain in validation AUC."""

    factor: float = Field(0.5, gt=0, lt=1)
    patience: int = Field(3, ge=1)


class TrainingSettings(Section):
    """The two stages; epochs 0,0 leave the network as it was loaded, its head untrained.

    `recipe` fills what is not given, see `recipes.RECIPES`; `linear` trains the first stage only. `head_steps` makes
    the first stage one epoch of so many steps. `plateau` and `patience` (epochs without a gain after which training
    stops) work in the last stage that is trained. `keep: best` keeps the checkpoint of the highest validation AUC, and
    the last. `layerwise_decay` and `layer_groups` are the second stage's; `weight_decay` is Adam's, decoupled.
    """

    recipe: Literal["finetune", "linear", "convirt"] = "finetune"
    epochs: tuple[int, int] = (15, 15)
    head_steps: int | None = Field(None, ge=1)
    checkpoint_every: int = Field(5, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: tuple[float, float] = (1e-3, 1e-5)
    layerwise_decay: float | None = Field(None, gt=0, le=1)
    layer_groups: tuple[LayerGroupSettings, ...] | None = None
    weight_decay: float | None = Field(None, ge=0)
    plateau: PlateauSettings | None = None
    patience: int | None = Field(None, ge=1)
    keep: Literal["schedule", "best"] = "schedule"
    augment: bool = False
    batch_norm: Literal["auto", "inference", "calibrate", "train"] = "auto"
    class_weights: Literal["balanced", "none"] = "balanced"
    feature_cache: bool = True
    mixed_precision: bool = False
    deterministic: bool = False
    seed: int = Field(0, ge=0)

    @field_validator("epochs")
    @classmethod
    def _counts(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) < 0:
            raise ValueError("expected two counts, e.g. 15,15; 0,0 leaves the head untrained")
        return value

    @field_validator("learning_rate")
    @classmethod
    def _positive(cls, value: tuple[float, float]) -> tuple[float, float]:
        if min(value) <= 0:
            raise ValueError("expected two positive rates, e.g. 1e-3,1e-5")
        return value

    @model_validator(mode="after")
    def _one_kind_of_layer_rates(self) -> TrainingSettings:
        if self.layerwise_decay is not None and self.layer_groups is not None:
            raise ValueError("layerwise_decay and layer_groups both set the rates of stage 2; expected one of them")
        return self


class ScoreSettings(Section):
    """Defaults of the C-Score; every one is stored with each result."""

    threshold: float = Field(0.7, ge=0, le=1)
    gamma: float = Field(2.0, gt=0)
    grid: int | Literal["native"] = 56
    pair_weights: Literal["product", "none", "geometric", "min"] = "product"
    macro: Literal["strict", "skip"] = "strict"
    same_patient: Literal["drop", "keep"] = "drop"


class Config(Section):
    """Everything that a run needs to be repeated."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    score: ScoreSettings = ScoreSettings()

    @model_validator(mode="before")
    @classmethod
    def _empty_file(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode="after")
    def _recipe_filled(self) -> Config:
        recipe = self.training.recipe
        for name, fields in RECIPES[recipe].items():
            section = getattr(self, name)
            self._fill(name, {k: v for k, v in fields.items() if k not in section.model_fields_set})
        self._fill("training", {"epochs": recipe_epochs(recipe, self.training.epochs)})
        return self

    def _fill(self, name: str, values: dict[str, Any]) -> None:
        """Set fields of a section without counting them as given, so that another recipe may fill them again."""
        section = getattr(self, name)
        whole = type(section).model_validate({**section.model_dump(), **values})
        self.__dict__[name] = type(section).model_construct(section.model_fields_set, **dict(whole))

    @property
    def recipe_departures(self) -> list[str]:
        """`name value (recipe: value)` of every setting in which the configuration differs from its recipe."""
        told = []
        for name, fields in RECIPES[self.training.recipe].items():
            ours = getattr(self, name).model_dump()
            told += [f"{k} {ours[k]} (recipe: {v})" for k, v in fields.items() if k != "epochs" and ours[k] != v]
        return told

    @property
    def batch_norm(self) -> str:
        """`auto` resolved: `calibrate` for random weights (their statistics fit no film), else `inference`."""
        if self.training.batch_norm != "auto":
            return self.training.batch_norm
        return "calibrate" if self.model.weights == "random" else "inference"


def shipped() -> list[str]:
    """Names of the configurations that come with the package."""
    folder = resources.files("cxrkeras_configs")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_config(name_or_file: str | Path | None = None, overrides: dict[str, dict[str, Any]] | None = None) -> Config:
    """Read a shipped configuration by name, or a YAML file, and lay `overrides` over it.

    Args:
        name_or_file: a name of `shipped()`, a path, or None for the defaults.
        overrides: section -> field -> value; None values are skipped.

    Raises:
        ConfigError: no such name or file, broken YAML, or a field that does not exist or does not fit.
    """
    values = {} if name_or_file is None else read_yaml(name_or_file)
    if "study" in values:
        raise ConfigError(
            f"configuration {name_or_file} describes a study of several runs; expected one run. "
            f"Use `cxrkeras study --config {name_or_file}`."
        )
    return parse_config(overlaid(values, overrides or {}), str(name_or_file or "flags"))


def overridden(config: Config, overrides: dict[str, dict[str, Any]]) -> Config:
    """A configuration with `overrides` laid over it, as in `load_config`."""
    return parse_config(overlaid(config.model_dump(exclude_unset=True), overrides), "settings")


def parse_config(values: Any, origin: str) -> Config:
    """Validate plain values into a `Config`; `origin` names where they came from in the error."""
    return validated(Config, values, origin)


def differences(stored: Config, wanted: Config) -> str:
    """Fields of the sections of a run in which two configurations differ, in words; empty where they agree."""
    told = []
    for section in Config.model_fields:
        ours = getattr(wanted, section).model_dump()
        for name, value in getattr(stored, section).model_dump().items():
            if ours[name] != value:
                told.append(f"{section}.{name} stored {value!r}, received {ours[name]!r}")
    return "; ".join(told)


def flat_overrides(**flat: Any) -> dict[str, dict[str, Any]]:
    """Sort flat names (`backbone`, `epochs`, `seed`, `data`, …) into sections; `seed` is the training's.

    Raises:
        ConfigError: a name that no section has.
    """
    home = dict.fromkeys(ScoreSettings.model_fields, "score")
    home |= {name: "data" for name in DataSettings.model_fields if name != "path"}
    home |= dict.fromkeys(ModelSettings.model_fields, "model")
    home |= dict.fromkeys(TrainingSettings.model_fields, "training")
    sections: dict[str, dict[str, Any]] = {}
    for name, value in flat.items():
        if value is None:
            continue
        if name == "data":
            sections.setdefault("data", {})["path"] = str(value)
        elif name in home:
            sections.setdefault(home[name], {})[name] = value
        else:
            raise unknown("setting", name, ["data", *home], ConfigError)
    return sections


def dump_yaml(config: Config) -> str:
    """The configuration as YAML, every default spelled out."""
    return yaml.safe_dump(config.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True)


def validated(kind: type[Kind], values: Any, origin: str) -> Kind:
    """Validate plain values into a kind of configuration, as `parse_config` does."""
    try:
        made = kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {'; '.join(_problem(kind, e) for e in error.errors())}") from None
    _check_epochs(made.training, origin)
    return made


def _check_epochs(training: TrainingSettings, origin: str) -> None:
    first, second = training.epochs
    if training.recipe == "linear" and second:
        raise ConfigError(
            f"{origin}: recipe linear trains the first stage only. Expected epochs N,0, received 0,{second}."
        )
    if training.head_steps and first + second and first != 1:
        raise ConfigError(
            f"{origin}: head_steps {training.head_steps} makes the first stage one epoch of so many steps. "
            f"Expected epochs 1,N, received {first},{second}."
        )


def overlaid(values: dict[str, Any], overrides: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Plain sections with `overrides` laid over them; None values are skipped."""
    laid = dict(values)
    for section, fields in overrides.items():
        given = {key: value for key, value in fields.items() if value is not None}
        if given:
            laid[section] = _merged(laid.get(section) or {}, given)
    return laid


def _merged(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in given.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged


def read_yaml(name_or_file: str | Path) -> dict[str, Any]:
    """The plain sections of a shipped configuration or a YAML file.

    Raises:
        ConfigError: no such name or file, or broken YAML.
    """
    text = str(name_or_file)
    path = Path(text).expanduser()
    if text.endswith((".yaml", ".yml")) or path.is_file():
        if not path.is_file():
            raise ConfigError(f"configuration file {path} does not exist. Expected a YAML file or one of {shipped()}.")
        content = path.read_text(encoding="utf-8")
    elif text in shipped():
        content = (resources.files("cxrkeras_configs") / f"{text}.yaml").read_text(encoding="utf-8")
    else:
        raise unknown("configuration", text, shipped(), ConfigError)
    try:
        values = yaml.safe_load(content) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{text} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{text}: expected sections data, model, training, score; received {type(values).__name__}.")
    return values


def _problem(kind: type[BaseModel], error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        *path, last = error["loc"]
        known = _fields_at(kind, path)
        close = difflib.get_close_matches(str(last), known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return f"unknown field '{where}'. Expected one of: {', '.join(known)}.{hint}"
    return f"{where}: {error['msg']}; received {error['input']!r}"


def _fields_at(kind: type[BaseModel], path: list[str | int]) -> list[str]:
    model: Any = kind
    for part in path:
        if isinstance(part, str):
            fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
            model = _given(fields[part])
        else:
            model = _item_of(model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _given(annotation: Any) -> Any:
    """The kind inside `Kind | None`."""
    kinds = get_args(annotation)
    return kinds[0] if type(None) in kinds else annotation


def _item_of(annotation: Any) -> Any:
    """The model inside `tuple[Annotated[Model, …], ...]`."""
    item = get_args(annotation)[0]
    return get_args(item)[0] if get_origin(item) is Annotated else item
