"""Arms of mode `finetune`: ordinary runs whose films carry the confounder, each trained once and kept.

Knows no table.
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cxrkeras.config import Config, differences, overridden
from cxrkeras.errors import RunError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.robustness import alters_all_films
from cxrkeras.run import Run
from cxrkeras.study.results import Results
from cxrkeras.workflow.candidates import OpenCandidate
from cxrkeras.workflow.confounded import ARTEFACT
from cxrkeras.workflow.opened import checked_hash, load_checkpoint
from cxrkeras.workflow.processes import silence
from cxrkeras.workflow.robustness.arms import Arm, network_answers
from cxrkeras.workflow.robustness.data import RobustnessData
from cxrkeras.workflow.robustness.settings import Confounder, RobustnessSettings
from cxrkeras.workflow.train import resolved_config, train

# A process gives back little of the memory that Keras's compiled steps took.
MOST_TOGETHER = 4


@dataclass(frozen=True)
class Training:
    """A run that an arm needs.

    Attributes:
        name: its directory under `runs/`.
        config: what it is trained with.
    """

    name: str
    config: Config


def arm_training(
    settings: RobustnessSettings, source: str, spec: str, confounder: Confounder, p: float, seed: int, positive: str
) -> Training:
    """The run of an arm. Where no film would carry anything, all planted confounders share it.

    Args:
        settings: the measurement.
        source: name of the weight source.
        spec: the confounder as written.
        confounder: the same, parsed.
        p: share of the positive films that carry it.
        seed: of training and of the carriers.
        positive: the class that it goes with.
    """
    candidate = next(candidate for candidate in settings.candidates if candidate.name == source)
    alike = p == 0 and confounder.planted and not alters_all_films(confounder, as_study=settings.as_study)
    confounded = {"spec": spec, "p": p, "positive": positive, "seed": seed, "val": settings.val}
    confounded["as_study"] = settings.as_study
    training: dict[str, Any] = {"seed": seed}
    given = settings.config.training.model_fields_set
    if not {"keep", "checkpoint_every"} & given:
        training |= {"keep": "best", "checkpoint_every": 1}
    model = {
        "backbone": candidate.backbone,
        "weights": candidate.weights,
        "preprocessing": candidate.preprocessing,
        "image_size": settings.image_size,
    }
    values = {"model": model, "training": training, **({} if alike else {"data": {"confounder": confounded}})}
    words = [source, *([] if alike else [confounder.name]), f"p{p:g}", f"seed{seed}"]
    name = re.sub(r"[^\w.+-]+", "_", "-".join(words))
    return Training(name, resolved_config(overridden(settings.config, values), None, {}))


def is_trained(results: Results, wanted: Training) -> bool:
    """Whether a run is there and complete.

    Raises:
        RunError: what is there was trained with other settings, or is no run.
    """
    run = Run(results.run_path(wanted.name))
    if not (run.path / "run.json").is_file():
        Run.check_free(run.path)
        return False
    if told := differences(run.config, wanted.config):
        raise RunError(
            f"{run.path} was trained with other settings: {told}. Repeat the command that trained it, move that run "
            "away, or choose another --run. Nothing was changed."
        )
    return run.state == "complete"


def train_all(results: Results, trainings: Sequence[Training], reporter: Reporter = SILENT) -> None:
    """Train every run that is not complete yet, or go on with it.

    Raises:
        CxrKerasError: a training failed; those before it are kept.
    """
    missing = list({wanted.name: wanted for wanted in trainings if not is_trained(results, wanted)}.values())
    apart = len(missing) > MOST_TOGETHER
    if apart:
        reporter.notice("every run is trained in a process of its own; notices of single runs are not shown.")
    with reporter.task("trainings", len(missing)) as advance:
        for wanted in missing:
            path = results.run_path(wanted.name).absolute()
            if apart:
                context = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(1, mp_context=context, initializer=silence) as pool:
                    pool.submit(_train, path, wanted.config).result()
            else:
                reporter.notice(f"run {wanted.name}")
                _train(path, wanted.config, reporter)
            advance(1, wanted.name)


def tuned_arms(
    opened: OpenCandidate,
    data: RobustnessData,
    confounder: Confounder,
    arms: Sequence[tuple[int, float, Training]],
    results: Results,
    reporter: Reporter = SILENT,
) -> Iterator[Arm]:
    """The arms of these seeds, p and trained runs, each with its best checkpoint in the classifier meanwhile.

    Args:
        opened: the source with a head for the classes of the films.
        data: the films.
        confounder: the confounder.
        arms: seed, p and run of each.
        results: where the runs are.
        reporter: told of progress.

    Raises:
        CheckpointError: a checkpoint is missing or broken.
    """
    for seed, p, wanted in arms:
        run = Run(results.run_path(wanted.name))
        epoch = run.resolve_epoch("best")
        file = run.checkpoint_path(epoch)
        checked_hash(run, epoch, file)
        load_checkpoint(opened.classifier, file)
        about = {"source": opened.name, "mode": "finetune", "seed": seed, "fold": -1, "p": p}
        answers = network_answers(opened.classifier, data, confounder, about, reporter)
        frame = run.manifest()
        taught = frame[frame["split"] == "train"]
        yield Arm(answers, len(taught), _carriers(taught, data, confounder), run=wanted.name, epoch=epoch)


def _carriers(taught: pd.DataFrame, data: RobustnessData, confounder: Confounder) -> int:
    """How many of a run's training films carry the confounder, or have the sampled value."""
    if confounder.planted:
        return int(taught[ARTEFACT].sum()) if ARTEFACT in taught else 0
    having = data.frame["path"][data.has(confounder)]
    return int(taught["path"].isin(having).sum())


def _train(path: Path, config: Config, reporter: Reporter = SILENT) -> None:
    train(config, run=path, resume=(path / "run.json").is_file(), reporter=reporter)
