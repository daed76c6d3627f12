"""What a comparison of weight sources is to do, checked before any film is read.

Knows names and defaults, and reads no film.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from cxrkeras.errors import ConfigError, DataError, UsageError, WeightsError, unknown
from cxrkeras.models.weights import SUFFIXES, parse_weights
from cxrkeras.settings import DataSettings
from cxrkeras.sources.candidates import RUN, Candidate, checked_candidates, parse_candidate
from cxrkeras.workflow.candidates import check_candidate
from cxrkeras.workflow.dataset import data_name
from cxrkeras.workflow.sources.features import RAW_PIXELS
from cxrkeras.workflow.sources.films import Part
from cxrkeras.workflow.train import resolved_config

EXAMPLE = (
    "cxrkeras sources --data chest_xray/ --candidate imagenet=ResNet50:imagenet "
    "--candidate radimagenet=ResNet50:RadImageNet-ResNet50_notop.h5:caffe/255 --candidate scratch=ResNet50:random"
)
EXTRACTOR_BACKBONE = "InceptionV3"
MAX_IMAGES = 2000


@dataclass(frozen=True)
class SourcesSettings:
    """A comparison of candidates for the first weights.

    Attributes:
        data: the target films.
        typed: options of the data as they were given, for the commands that are printed.
        candidates: as parsed.
        features: candidates whose features another program computed, NPZ files by name.
        part: `train` (train and validation films) or `all`.
        max_images: films at most.
        image_size: side of the input; None is each candidate's own.
        seed: of the draw of films, the folds, the resamples and of random weights.
        cards: YAML files of source cards.
        source_images: folders of the images that a candidate was trained on, by candidate.
        extractor: the fixed network that KID is computed with; None leaves KID unavailable.
        check_preprocess: also the input statistics under every preprocessing.
        truth: table of measured fine-tuning.
        reduce: number of principal components that LogME and H-score are fitted on; None takes all features.
        robustness: also the AUCs under planted artefacts.
        include_seen: rank candidates that saw the target films too.
        folder: name or path of the directory of results.
    """

    data: DataSettings
    typed: dict[str, Any]
    candidates: tuple[Candidate, ...]
    features: dict[str, Path]
    part: Part = "train"
    max_images: int = MAX_IMAGES
    image_size: int | None = None
    seed: int = 0
    cards: tuple[Path, ...] = ()
    source_images: dict[str, Path] | None = None
    extractor: Candidate | None = None
    check_preprocess: bool = False
    truth: Path | None = None
    reduce: int | None = None
    robustness: bool = True
    include_seen: bool = False
    folder: str | Path = "sources"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all candidates, networks first."""
        return (*(candidate.name for candidate in self.candidates), *self.features)

    @property
    def fixed(self) -> dict[str, Any]:
        """What all results of one directory share."""
        return {
            "data": self.data.model_dump(mode="json"),
            "part": self.part,
            "max_images": self.max_images,
            "image_size": self.image_size,
            "seed": self.seed,
            "reduce": self.reduce,
        }


def sources_settings(
    config: str | Path | None = None,
    *,
    data: str | Path | None = None,
    candidates: Sequence[str] = (),
    backbone: str | None = None,
    features: Mapping[str, str | Path] | None = None,
    part: Part = "train",
    max_images: int = MAX_IMAGES,
    image_size: int | None = None,
    seed: int = 0,
    cards: Sequence[str | Path] = (),
    source_images: Mapping[str, str | Path] | None = None,
    extractor: str | None = None,
    check_preprocess: bool = False,
    truth: str | Path | None = None,
    reduce: str | None = None,
    robustness: bool = True,
    include_seen: bool = False,
    folder: str | Path | None = None,
    **settings: Any,
) -> SourcesSettings:
    """The settings with every default filled in.

    Args:
        config: name of a shipped configuration, or YAML file, whose films are taken; None the phantom films.
        data: folder or CSV of films.
        candidates: `NAME=BACKBONE:WEIGHTS[:PREPROCESS]` each.
        backbone: of candidates that name none; then `NAME=WEIGHTS` and `WEIGHTS` do.
        features: NPZ files by candidate.
        extractor: weight file of InceptionV3, or `BACKBONE:WEIGHTS` of another network, for KID.
        reduce: `pca:N`.
        part, max_images, image_size, seed, cards, source_images, check_preprocess, truth, robustness, include_seen:
            see `SourcesSettings`.
        folder: name or path of the directory of results; None is `sources-` and the name of the data.
        **settings: single settings of the data by name.

    Raises:
        UsageError: no candidate, one twice, or a name or value that does not exist.
        CxrKerasError: anything wrong with the configuration.
    """
    if part not in get_args(Part):
        raise unknown("part of the films", part, get_args(Part))
    files = {name: Path(file) for name, file in (features or {}).items()}
    if not candidates and not files:
        raise UsageError(f"nothing to compare: expected --candidate, at least once. Example: {EXAMPLE}")
    parsed = checked_candidates([_candidate(text, backbone) for text in candidates]) if candidates else ()
    for candidate in parsed:
        check_candidate(candidate)
    names = [*(candidate.name for candidate in parsed), *files]
    if taken := sorted({name for name in names if names.count(name) > 1 or name == RAW_PIXELS}):
        raise UsageError(f"the name {taken[0]} is taken. Expected another one for each candidate.")
    typed = {"config": config, "data": data, **settings}
    configured = resolved_config(config, data, settings).data
    if configured.confounder is not None:
        raise ConfigError(
            "the configuration confounds its own films (data.confounder), and sources compares on films as they are. "
            "Take data.confounder out."
        )
    folders = {name: Path(path) for name, path in (source_images or {}).items()}
    for name in folders:
        if name not in names:
            raise unknown("candidate", name, names)
    paths = [*files.values(), *map(Path, cards), *([Path(truth)] if truth else [])]
    if absent := next((path for path in paths if not path.is_file()), None):
        raise DataError(f"file {absent} does not exist.")
    return SourcesSettings(
        data=configured,
        typed={name: value for name, value in typed.items() if value is not None},
        candidates=parsed,
        features=files,
        part=part,
        max_images=max_images,
        image_size=image_size,
        seed=seed,
        cards=tuple(map(Path, cards)),
        source_images=folders,
        extractor=None if extractor is None else _extractor(extractor),
        check_preprocess=check_preprocess,
        truth=None if truth is None else Path(truth),
        reduce=None if reduce is None else _components(reduce),
        robustness=robustness,
        include_seen=include_seen,
        folder=folder if folder is not None else f"sources-{data_name(configured.path)}",
    )


def _candidate(text: str, backbone: str | None) -> Candidate:
    parsed = parse_candidate(text, backbone)
    # the default is for candidates that need one; a run has a network of its own
    return parse_candidate(text) if parsed.kind == RUN else parsed


def _extractor(text: str) -> Candidate:
    """A weight file of InceptionV3, or `BACKBONE:WEIGHTS`; ImageNet's preprocessing of that network unless named."""
    if Path(text).expanduser().exists() or (text.endswith(SUFFIXES) and ":" not in text):
        source = parse_weights(text)
        return Candidate(f"{EXTRACTOR_BACKBONE}:{Path(source.value).name}", EXTRACTOR_BACKBONE, source.value, "tf")
    try:
        return parse_candidate(f"extractor={text}")
    except (UsageError, WeightsError) as error:
        raise UsageError(
            f"--extractor {text} is neither a weight file of {EXTRACTOR_BACKBONE} nor another network. {error}"
        ) from error


def _components(text: str) -> int:
    found = re.fullmatch(r"pca:(\d+)", text)
    if found is None or not int(found[1]):
        raise UsageError(f"--reduce {text} is not known. Expected pca:N, e.g. pca:256.")
    return int(found[1])
