"""Everything that training checks and loads before a run directory is touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.config import Config
from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import Classifier
from cxrkeras.models.weights import parse_weights, source_preprocessing
from cxrkeras.workflow.confounded import confounder_facts
from cxrkeras.workflow.dataset import configured_manifest, film_set, hashed_frame
from cxrkeras.workflow.first_weights import load_first_weights, source_run
from cxrkeras.workflow.opened import configured_classifier, precision_policy


@dataclass(frozen=True)
class Prepared:
    """Everything that was checked before a run directory is touched."""

    classifier: Classifier
    frame: pd.DataFrame
    films: FilmSet
    facts: dict[str, Any] = field(default_factory=dict)

    def split(self, name: str) -> FilmSet:
        """The films of one split.

        Raises:
            DataError: there are none.
        """
        rows = np.flatnonzero(self.frame["split"].to_numpy(str) == name)
        if not len(rows):
            raise DataError(f"no films in split '{name}'. Expected train, val and test films.")
        return self.films.take(rows)


def prepare(config: Config, reporter: Reporter = SILENT) -> Prepared:
    """Read the films, build the classifier and load its first weights; write nothing."""
    source = parse_weights(config.model.weights)
    origin = source_run(source, config.model.backbone)
    manifest = configured_manifest(config.data, reporter)
    for text in manifest.notices:
        reporter.notice(text)
    if reserved := {"label", "predicted"} & set(manifest.classes):
        raise DataError(f"class '{min(reserved)}' has a name that --target means otherwise. Rename the class.")
    row = backbone(config.model.backbone)
    mode = config.model.preprocessing
    if mode is None and origin is not None:
        mode = origin.info["preprocessing"]
    mode = source_preprocessing(source, row, mode)
    policy = precision_policy(config.training.mixed_precision)
    activation = "sigmoid" if manifest.several else "softmax"
    classifier = configured_classifier(config, manifest.classes, mode, policy, activation)
    digest = load_first_weights(classifier, source, origin)
    frame = hashed_frame(manifest.frame, manifest.root, reporter)
    _notice_identical(frame, reporter)
    films = film_set(
        frame, manifest.root, manifest.classes, classifier.image_size, config.data, several=manifest.several
    )
    facts = {
        "classes": list(manifest.classes),
        "activation": activation,
        "data_root": str(manifest.root.resolve()),
        "preprocessing": mode,
        "precision": policy,
        "weights": {"source": config.model.weights, "sha256": digest},
        "batch_norm": config.batch_norm,
        "notices": list(manifest.notices),
    }
    if config.data.confounder is not None:
        facts["confounder"] = confounder_facts(config.data.confounder, manifest.classes, config.data.positive)
    return Prepared(classifier, frame, films, facts)


def _notice_identical(frame: pd.DataFrame, reporter: Reporter) -> None:
    crossing = frame.groupby("sha256")["split"].nunique()
    if (crossing > 1).any():
        reporter.notice(
            f"{int((crossing > 1).sum())} films stand byte for byte in more than one split: "
            "`cxrkeras data check` names them."
        )
