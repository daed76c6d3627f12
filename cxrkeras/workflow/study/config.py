"""A study's configuration with everything filled in that depends on the tables of backbones and methods."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cxrkeras.cams.registry import method_names, method_options
from cxrkeras.config import Config, flat_overrides, overlaid
from cxrkeras.errors import ConfigError, unknown
from cxrkeras.localization import parse_threshold
from cxrkeras.models.backbones import backbone
from cxrkeras.run import Run
from cxrkeras.settings import PHANTOM, DataSettings, TrainingSettings
from cxrkeras.study import Member, StudyConfig, load_study
from cxrkeras.study.config import StudyLocalize, StudyMethod, StudySection, StudyWeights, parse_study
from cxrkeras.study.directory import members
from cxrkeras.training.routine import checkpoint_epochs
from cxrkeras.workflow.train import resolved_config


def resolved_study(config: str | Path | StudyConfig, data: str | Path | None = None, **settings: Any) -> StudyConfig:
    """A study with its names as the tables spell them, `all` spelled out, and an absolute path of its films.

    Args:
        config: name of a shipped study, a YAML file, or a `StudyConfig`.
        data: folder or CSV of films.
        **settings: single settings of the shared sections by name (`split_column`, `limit`, `epochs`, …).

    Raises:
        ConfigError: a name, file or value that cannot be used, or a study without films.
    """
    overrides = flat_overrides(data=data, **settings)
    if isinstance(config, StudyConfig):
        # what was not given may still be filled by a recipe
        base = parse_study(overlaid(config.model_dump(by_alias=True, exclude_unset=True), overrides), "settings")
    else:
        base = load_study(config, overrides)
    if base.data.path is None:
        raise ConfigError(f"study {config} names no films. Give them with --data DIR|CSV.")
    if base.data.path != PHANTOM:
        path = str(Path(base.data.path).expanduser().resolve())
        base = base.model_copy(update={"data": base.data.model_copy(update={"path": path})})
    section = _spelled(base.study)
    resolved = base.model_copy(update={"study": section})
    found = members(resolved)
    planned = [planned_epochs(member.config.training) for member in found]
    _check_methods(section, sorted(set().union(*planned)), known=not any(map(ends_itself, found)))
    _check_trained(section, found)
    return resolved


def resolved_members(config: StudyConfig) -> list[Member]:
    """Every run of a study, with the configuration that `train` would resolve for it."""
    return [replace(member, config=resolved_config(member.config, None, {})) for member in members(config)]


def check_split(config: StudyConfig, splits: Iterable[str]) -> None:
    """Make sure that the films have the split a study is evaluated on, before hours are spent on training.

    Raises:
        ConfigError: no film is in it.
    """
    if config.study.split not in (known := sorted(set(splits))):
        raise unknown("split of the study", config.study.split, known, ConfigError)


def methods_for(config: StudyConfig, label: str) -> dict[str, StudyMethod]:
    """The methods of one backbone, in the study's order."""
    return {
        method.name: method for method in config.study.methods if method.backbones is None or label in method.backbones
    }


def drift_epochs(config: StudyConfig, member: Member) -> tuple[int, int]:
    """The checkpoints between which a run's drift is measured: as configured, else the ends of the two stages."""
    first, second = member.config.training.epochs
    return config.study.drift.from_epoch or first, config.study.drift.to_epoch or first + second


def planned_epochs(settings: TrainingSettings) -> list[int]:
    """Checkpoints that a training is to leave; those of one that `ends_itself` are known when it has ended."""
    return checkpoint_epochs(settings.epochs, settings.checkpoint_every)


def ends_itself(member: Member) -> bool:
    """Whether the validation films decide how long a run is trained, or which of its checkpoints are kept."""
    settings = member.config.training
    return settings.patience is not None or settings.keep == "best"


def stored_epochs(member: Member, run: Run) -> list[int]:
    """Checkpoints of a run that work is done on: the planned ones, or those there are where it `ends_itself`."""
    if ends_itself(member) and run.epochs() and run.state == "complete":
        return run.epochs()
    return planned_epochs(member.config.training)


def is_untrained(config: Config) -> bool:
    """Whether a run has no epoch at all, so that its head knows nothing."""
    return sum(config.training.epochs) == 0


def whole_data(config: StudyConfig) -> DataSettings:
    """How the films of a study are read, before any label fraction is drawn of them."""
    return config.data.model_copy(update={"fraction": 1.0})


def without_report(config: StudyConfig) -> StudyConfig:
    """The same study, its report left out."""
    return config.model_copy(update={"study": config.study.model_copy(update={"report": False})})


def recommended_on(config: StudyConfig, method: StudyMethod) -> str:
    """The split that a method's checkpoint is chosen on."""
    on = method.recommend_on or config.study.recommend_on
    return config.study.split if on == "test" else on


def _spelled(section: StudySection) -> StudySection:
    backbones = tuple(
        entry.model_copy(update={"name": backbone(entry.name).name, "label": entry.label or backbone(entry.name).name})
        for entry in section.backbones
    )
    methods = tuple(
        entry.model_copy(update={"name": name}) for entry in section.methods for name in method_names(entry.name)
    )
    drift = section.drift.model_copy(update={"methods": method_names(section.drift.methods)})
    validity = section.validity.model_copy(update={"methods": method_names(section.validity.methods)})
    return section.model_copy(
        update={
            "backbones": backbones,
            "methods": methods,
            "drift": drift,
            "validity": validity,
            "localize": _spelled_localize(section.localize),
            "weights": None if section.weights is None else tuple(map(_spelled_weights, section.weights)),
        }
    )


def _spelled_localize(wanted: StudyLocalize) -> StudyLocalize:
    paths = {}
    for name in ("boxes", "masks"):
        given = getattr(wanted, name)
        if wanted.enabled and given is not None:
            path = Path(given).expanduser().resolve()
            if not path.exists():
                raise ConfigError(f"study.localize.{name}: {path} does not exist. Expected the experts' marks.")
            paths[name] = str(path)
    parse_threshold(wanted.threshold)
    names = None if wanted.methods is None else method_names(wanted.methods)
    return wanted.model_copy(update={**paths, "methods": names})


def _spelled_weights(weights: StudyWeights) -> StudyWeights:
    path = Path(weights.source).expanduser()
    return weights.model_copy(update={"source": str(path.resolve())}) if path.is_file() else weights


def _check_trained(section: StudySection, found: list[Member]) -> None:
    untrained = [member.name for member in found if is_untrained(member.config)]
    if untrained and not section.allow_untrained:
        raise ConfigError(
            f"{', '.join(untrained)} would have no epoch, so that its head is never trained and its maps explain "
            "nothing. Expected training.epochs such as 6,6; or study.allow_untrained: true, which marks its rows."
        )


def _check_methods(section: StudySection, epochs: list[int], known: bool) -> None:
    labels = [str(entry.label) for entry in section.backbones]
    for method in section.methods:
        method_options([method.name], method.options)
        for label in method.backbones or ():
            if label not in labels:
                raise unknown(f"backbone of method {method.name}", label, labels, ConfigError)
        if known and (strange := sorted(set(method.epochs or ()) - set(epochs))):
            raise ConfigError(
                f"method {method.name} is to work on epochs {_listed(strange)}, which leave no checkpoint. "
                f"Expected some of {_listed(epochs)}."
            )
    for label in labels:
        names = [method.name for method in section.methods if method.backbones is None or label in method.backbones]
        if not names:
            raise ConfigError(f"no method works on {label}. Expected at least one; add one, or leave {label} out.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(
                f"{', '.join(twice)} stands more than once for {label}. Expected one entry a method and backbone."
            )
    for which in (section.drift.from_epoch, section.drift.to_epoch):
        if known and section.drift.enabled and which is not None and which not in epochs:
            raise ConfigError(f"drift: epoch {which} leaves no checkpoint. Expected one of {_listed(epochs)}.")
    ends = section.drift.from_epoch, section.drift.to_epoch
    if section.drift.enabled and None not in ends and ends[0] >= ends[1]:
        raise ConfigError(
            f"drift leads from an earlier checkpoint to a later one. Received from {ends[0]} to {ends[1]}. "
            f"Expected two of {_listed(epochs)}."
        )


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))
