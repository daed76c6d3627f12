"""The typed configuration of a run: its sections together, read from YAML, laid over each other, and written.

The settings themselves, with their defaults, are in `settings`.
"""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError, model_validator

from cxrkeras.errors import ConfigError, unknown
from cxrkeras.recipes import RECIPES, recipe_epochs
from cxrkeras.settings import DataSettings, ModelSettings, ScoreSettings, Section, TrainingSettings

Kind = TypeVar("Kind", bound="Config")


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
