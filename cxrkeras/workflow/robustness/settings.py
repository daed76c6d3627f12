"""What a measurement of shortcuts is to do, checked before any film is read: sources, confounders, p, seeds, mode.

Knows names and defaults, and reads no film.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from cxrkeras.cams.registry import ALL_CAMS, METHODS, method_names
from cxrkeras.config import Config, flat_overrides, load_config, overridden
from cxrkeras.data.layouts import TABLE_NAMES
from cxrkeras.data.manifest import holds_findings
from cxrkeras.errors import ConfigError, UsageError, unknown
from cxrkeras.models.backbones import backbone as find_backbone
from cxrkeras.models.weights import parse_weights
from cxrkeras.robustness import Confounder, parse_confounder
from cxrkeras.run import Run
from cxrkeras.settings import PHANTOM, DataSettings
from cxrkeras.sources.candidates import Candidate, checked_candidates, parse_candidate
from cxrkeras.stats.permutation import MOST_FLIPPED
from cxrkeras.tables import read_csv
from cxrkeras.workflow.candidates import candidate_size, check_candidate
from cxrkeras.workflow.dataset import data_name
from cxrkeras.workflow.first_weights import source_run
from cxrkeras.workflow.train import resolved_config

Mode = Literal["probe", "finetune"]
P_GRID = (0.0, 0.1, 0.2, 0.5, 0.8, 1.0)
CONFOUNDERS = ("tag", "lowpass")
SEEDS = 5
_SETTING = re.compile(r"\w+=")


@dataclass(frozen=True)
class RobustnessSettings:
    """A measurement of how much weight sources lean on confounders.

    Attributes:
        config: the films, and how an arm of mode `finetune` is trained.
        candidates: the weight sources, their backbones filled in.
        specs: the confounders as written.
        ps: shares of the positive films that carry a confounder, ascending; 0 is always among them.
        seeds: how many; seeds 0, 1, ….
        mode: `probe` (a linear probe on frozen features) or `finetune` (both stages of training).
        positive: class that the confounders go with; None is the last.
        val: whether validation is confounded as train is (`iid`) or not at all (`clean`).
        as_study: low-pass and noise act at the size of the study they come from, not at the model's input.
        methods: how maps are made; empty for none.
    """

    config: Config
    candidates: tuple[Candidate, ...]
    specs: tuple[str, ...]
    ps: tuple[float, ...]
    seeds: int
    mode: Mode
    positive: str | None
    val: Literal["iid", "clean"]
    as_study: bool
    methods: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its directory is called where nobody says."""
        return f"robustness-{data_name(self.config.data.path)}"

    @property
    def confounders(self) -> dict[str, Confounder]:
        """The confounders by their specification."""
        return {spec: parse_confounder(spec) for spec in self.specs}

    @property
    def image_size(self) -> int:
        """Side of the input in pixels, the same for every source."""
        return self.config.model.image_size

    @property
    def arms(self) -> int:
        """How many arms are trained or fitted."""
        return len(self.candidates) * len(self.specs) * len(self.ps) * self.seeds


def robustness_settings(
    config: str | Path | Config | None = None,
    *,
    data: str | Path | None = None,
    sources: str | Sequence[str] | None = None,
    confounders: str | Sequence[str] | None = None,
    ps: Sequence[float] | None = None,
    seeds: int = SEEDS,
    mode: Mode = "probe",
    positive: str | None = None,
    negative: str | None = None,
    val: Literal["iid", "clean"] = "iid",
    as_study: bool = False,
    methods: str | None = None,
    **settings: Any,
) -> RobustnessSettings:
    """The settings with every default filled in.

    Args:
        config: name of a shipped configuration, a YAML file, a `Config`, or None: the phantom configuration without
            `data`, the papers' defaults with it.
        data: folder or CSV of films.
        sources: comma list or list of `[NAME=][BACKBONE:]WEIGHTS[:PREPROCESS]`; None takes the configuration's weights.
        confounders: comma list or list, see `robustness.parse_confounder`; None is `tag,lowpass`.
        ps: shares of the positive films that carry a confounder; None is 0, .1, .2, .5, .8, 1.
        seeds: how many seeds.
        mode, positive, val, as_study: see `RobustnessSettings`.
        negative: with `positive`, of a table of findings: the finding of the other class.
        methods: comma list of methods, `none`, or None for those that share one forward.
        **settings: single settings of the configuration by name (`backbone`, `image_size`, `epochs`, …).

    Raises:
        UsageError: a name or value that does not exist or makes no sense.
        CxrKerasError: anything wrong with the configuration or a source.
    """
    if mode not in get_args(Mode):
        raise unknown("mode", mode, get_args(Mode))
    if val not in ("iid", "clean"):
        raise unknown("validation", val, ("iid", "clean"))
    if seeds < 1:
        raise UsageError(f"expected one seed or more. Received {seeds}.")
    if seeds > MOST_FLIPPED:
        raise UsageError(f"sources are compared by an exact test over at most {MOST_FLIPPED} seeds. Received {seeds}.")
    texts = _listed(sources)
    base = _with_findings(_configured(config, data, texts, settings), positive, negative)
    candidates = checked_candidates(_candidate(text, base.model.backbone) for text in texts or (base.model.weights,))
    for candidate in candidates:
        check_candidate(candidate)
    specs = split_specs(confounders) or CONFOUNDERS
    _check_confounders(specs)
    return RobustnessSettings(
        config=base,
        candidates=candidates,
        specs=specs,
        ps=_checked_ps(P_GRID if ps is None else ps),
        seeds=seeds,
        mode=mode,
        positive=positive,
        val=val,
        as_study=as_study,
        methods=_methods(methods),
    )


def split_specs(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """Specifications of confounders out of a comma list, in which their own settings stand behind commas too."""
    if text is None:
        return ()
    if not isinstance(text, str):
        return tuple(text)
    found: list[str] = []
    for part in (part.strip() for part in text.split(",") if part.strip()):
        if found and _SETTING.match(part):
            found[-1] += f",{part}"
        else:
            found.append(part)
    return tuple(found)


def _listed(text: str | Sequence[str] | None) -> tuple[str, ...]:
    if text is None or not isinstance(text, str):
        return tuple(text or ())
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _configured(
    config: str | Path | Config | None, data: str | Path | None, sources: Sequence[str], settings: dict[str, Any]
) -> Config:
    """The configuration, its films and its size resolved; of its training nothing that depends on the weights.

    Backbone and size that nobody gave are those of the first run among the sources, the backbone only where all are
    runs.
    """
    raw = _raw(config, data, settings)
    candidates = [parse_candidate(text, backbone=raw.model.backbone) for text in sources]
    origins = [_origin(candidate) for candidate in candidates]
    runs = [origin for origin in origins if origin is not None]
    if runs and len(runs) == len(origins) and settings.get("backbone") is None:
        settings = {**settings, "backbone": runs[0].config.model.backbone}
    sized = config is not None and raw.model.image_size is not None
    if runs and not sized and settings.get("image_size") is None:
        settings = {**settings, "image_size": candidate_size(candidates[origins.index(runs[0])])}
    raw = _raw(config, data, settings)
    found = resolved_config(raw, None, {})
    if found.data.confounder is not None:
        raise ConfigError(
            "the configuration confounds its own films (data.confounder), and robustness plants confounders itself. "
            "Take data.confounder out."
        )
    model = raw.model.model_copy(update={"backbone": found.model.backbone, "image_size": found.model.image_size})
    return raw.model_copy(update={"data": found.data, "model": model})


def _raw(config: str | Path | Config | None, data: str | Path | None, settings: dict[str, Any]) -> Config:
    overrides = flat_overrides(data=data, **settings)
    if isinstance(config, Config):
        return overridden(config, overrides)
    return load_config("phantom" if config is None and data is None else config, overrides)


def _candidate(text: str, backbone: str) -> Candidate:
    """A source with its backbone: the one it names, its run's, or the one of the others."""
    candidate = parse_candidate(text, backbone=backbone)
    if candidate.kind != "run":
        path = Path(candidate.weights).expanduser()
        weights = str(path.resolve()) if candidate.kind == "file" and path.is_file() else candidate.weights
        return replace(candidate, backbone=find_backbone(candidate.backbone).name, weights=weights)
    named = parse_candidate(text).backbone
    origin = source_run(parse_weights(candidate.weights), None if named is None else find_backbone(named).name)
    return replace(candidate, backbone=origin.config.model.backbone)


def _origin(candidate: Candidate) -> Run | None:
    return source_run(parse_weights(candidate.weights), None) if candidate.kind == "run" else None


def _with_findings(config: Config, positive: str | None, negative: str | None) -> Config:
    """The configuration with a finding as its positive class, where the films may have several findings."""
    settings = config.data
    if negative is None and (positive is None or not _lists_findings(settings)):
        return config
    return overridden(config, {"data": {"positive": positive, "negative": negative}})


def _lists_findings(settings: DataSettings) -> bool:
    if settings.path == PHANTOM or settings.findings is not None:
        return False
    if settings.label_column is None:
        return holds_findings(settings.path)
    table = Path(settings.path)
    if table.is_dir():
        table = next((table / name for name in TABLE_NAMES if (table / name).is_file()), table)
    if not table.is_file():
        return False
    frame = read_csv(table, (settings.label_column,))
    return settings.label_column in frame and frame[settings.label_column].str.contains("|", regex=False).any()


def _check_confounders(specs: Sequence[str]) -> None:
    names = [parse_confounder(spec).name for spec in specs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"confounder {', '.join(twice)} stands there more than once. Expected different ones; another variant of "
            "the same one needs a --run of its own."
        )


def _checked_ps(ps: Sequence[float]) -> tuple[float, ...]:
    values = [float(value) for value in ps]
    if not values:
        raise UsageError("no share p is given. Expected one or more of 0 to 1, for example 0,.2,.5,1.")
    if wrong := [value for value in values if not 0 <= value <= 1]:
        raise UsageError(
            f"p is the share of positive films that carry the confounder. Expected 0 to 1, received {wrong[0]:g}."
        )
    return tuple(sorted({0.0, *values}))


def _methods(text: str | None) -> tuple[str, ...]:
    if text is None:
        return tuple(name for name in ALL_CAMS if METHODS[name].in_the_forward)
    return () if text == "none" else method_names(text)
