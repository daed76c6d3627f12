"""A run among the sources, measured as it is: how its trained head answers to a confounder it was not given here."""

from __future__ import annotations

from typing import Any

import numpy as np

from cxrkeras.events import SILENT, Reporter
from cxrkeras.workflow.candidates import OpenCandidate
from cxrkeras.workflow.robustness.arms import Arm, network_answers
from cxrkeras.workflow.robustness.data import RobustnessData

TRAINED_SEED = -1


def trained_arm(opened: OpenCandidate, data: RobustnessData, confounder: Any, reporter: Reporter = SILENT) -> Arm:
    """The run's own answers, mode `trained`: nothing is trained, so that it has no p and no seed (NaN and −1).

    Its checkpoint is in the classifier afterwards.

    Args:
        opened: a source with a trained head for the classes of the films.
        data: the films.
        confounder: the confounder.
        reporter: told of progress.

    Raises:
        UsageError: it has no such head.
        CheckpointError: its checkpoint is broken.
    """
    opened.load_trained_head()
    about = {"source": opened.name, "mode": "trained", "seed": TRAINED_SEED, "fold": -1, "p": float("nan")}
    answers = network_answers(opened.classifier, data, confounder, about, reporter)
    return Arm(answers, 0, 0, run=opened.origin.name, epoch=opened.epoch)


def films_it_learnt_from(opened: OpenCandidate, data: RobustnessData) -> int:
    """How many of the test films the run was trained or chosen on, by their bytes."""
    theirs = opened.origin.manifest()
    known = set(theirs.loc[theirs["split"].isin(["train", "val"]), "sha256"])
    return int(np.isin(data.frame["sha256"].to_numpy(str)[data.test], sorted(known)).sum())
