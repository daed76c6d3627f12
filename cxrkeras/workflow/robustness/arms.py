"""What every kind of arm has in common: its answers with how it came about, and the answers of a whole network.

Knows no table and no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrkeras.events import SILENT, Reporter
from cxrkeras.models.classifier import Classifier, sigmoid
from cxrkeras.models.inference import forward
from cxrkeras.probe import class_log_odds
from cxrkeras.robustness.answers import ArmAnswers
from cxrkeras.robustness.measures import youden_threshold
from cxrkeras.workflow.robustness.data import RobustnessData

BATCH = 32


@dataclass(frozen=True, eq=False)
class Arm:
    """One arm, measured.

    Attributes:
        answers: what it says of the test films.
        n_train: films it was trained on; 0 where nothing was trained here.
        n_carriers: how many of them carry the confounder, or have the sampled value.
        c: C of a probe, else NaN.
        run: name of the run that was trained for it, else empty.
        epoch: its checkpoint, else None.
    """

    answers: ArmAnswers
    n_train: int
    n_carriers: int
    c: float = float("nan")
    run: str = ""
    epoch: int | None = None


def network_answers(
    classifier: Classifier,
    data: RobustnessData,
    confounder: Any,
    about: dict[str, Any],
    reporter: Reporter = SILENT,
) -> ArmAnswers:
    """What a network, as its weights are now, says of the test films without and with a confounder.

    Its threshold is the one on the manifest's own validation films as they are.

    Args:
        classifier: the network; the positive class is one of its classes.
        data: the films.
        confounder: the confounder.
        about: `source, mode, seed, fold, p` of the answers.
        reporter: told of progress.
    """
    test, held, n = data.test, data.validation, len(data)
    versions = data.versions(confounder, classifier.image_size)
    rows = np.concatenate([held, test, n + test if confounder.planted else test[:0]])
    logits = forward(classifier.logits, versions.take(rows), BATCH, reporter, f"answers of {about['source']}")
    odds = class_log_odds(logits.astype(np.float64))[:, classifier.classes.index(data.positive_class)]
    at_validation, untouched, touched = np.split(odds, [len(held), len(held) + len(test)])
    return ArmAnswers(
        arch=classifier.backbone.name,
        confounder=confounder.name,
        level=confounder.level,
        kind=confounder.kind,
        threshold=youden_threshold(data.positive[held], sigmoid(at_validation)),
        untouched=untouched,
        touched=touched if confounder.planted else None,
        **about,
    )
