"""What a measurement of shortcuts takes, said before it starts: arms, trainings and films through the network.

Builds no network and writes nothing.
"""

from __future__ import annotations

import pandas as pd

from cxrkeras.robustness import alters_all_films
from cxrkeras.workflow.plan import training_cost
from cxrkeras.workflow.robustness.data import RobustnessData
from cxrkeras.workflow.robustness.finetune import arm_training
from cxrkeras.workflow.robustness.maps import FILMS, FILMS_PASSED, limited_films
from cxrkeras.workflow.robustness.maps_explained import made_from_features
from cxrkeras.workflow.robustness.probe import touched_rows
from cxrkeras.workflow.robustness.settings import Confounder, RobustnessSettings

PLAN_COLUMNS = ["source", "arch", "mode", "confounder", "p", "seeds", "arms", "trainings", "forwards"]


def arm_plan(settings: RobustnessSettings, data: RobustnessData) -> pd.DataFrame:
    """What the whole measurement takes, as if nothing were stored yet.

    Args:
        settings: the measurement.
        data: its films.

    Returns:
        `PLAN_COLUMNS`, a row a source and confounder, and last one for all. `arms`: p × seeds; `trainings`: whole
        networks that are trained; `forwards`: films through the network, a training step counted as three. ScoreCAM's
        own forwards, one a channel, and a run's own answers come on top.
    """
    rows, done, trained = [], set(), set()
    for candidate in settings.candidates:
        for spec, confounder in settings.confounders.items():
            arms = len(settings.ps) * settings.seeds
            forwards, trainings = _maps(settings, data, confounder, arms), 0
            if settings.mode == "probe":
                clean = (candidate.name, confounder.name if _alters_all(settings, confounder) else "")
                forwards += 0 if clean in done else len(data)
                forwards += len(touched_rows(data)) if confounder.planted else 0
                done.add(clean)
            else:
                wanted = {
                    training.name: training.config.training
                    for seed in range(settings.seeds)
                    for p in settings.ps
                    for training in [
                        arm_training(settings, candidate.name, spec, confounder, p, seed, data.positive_class)
                    ]
                }
                counts = [int((data.frame["split"] == split).sum()) for split in ("train", "val", "test")]
                new = [own for name, own in wanted.items() if name not in trained]
                trained |= set(wanted)
                trainings = len(new)
                forwards += sum(round(training_cost(own, *counts).in_forwards) for own in new)
                forwards += arms * (len(data.validation) + _versions(confounder) * len(data.test))
            about = {"source": candidate.name, "arch": candidate.backbone, "mode": settings.mode}
            about |= {"confounder": confounder.name, "p": ", ".join(f"{p:g}" for p in settings.ps)}
            rows.append(about | {"seeds": settings.seeds, "arms": arms, "trainings": trainings, "forwards": forwards})
    total = {name: sum(row[name] for row in rows) for name in ("arms", "trainings", "forwards")}
    words = {"source": "all", "arch": "", "mode": settings.mode, "confounder": "", "p": "", "seeds": settings.seeds}
    return pd.DataFrame([*rows, words | total], columns=PLAN_COLUMNS)


def announced(settings: RobustnessSettings, plan: pd.DataFrame) -> str:
    """One sentence on what is about to start."""
    total = plan.iloc[-1]
    factors = [
        _counted(len(settings.candidates), "source"),
        _counted(len(settings.specs), "confounder"),
        f"{len(settings.ps)} p",
        _counted(settings.seeds, "seed"),
    ]
    trainings = f", {_counted(int(total['trainings']), 'training')}" if settings.mode == "finetune" else ""
    return (
        f"{' × '.join(factors)} = {total['arms']} arms (mode {settings.mode}{trainings}), about {total['forwards']} "
        "films through the networks; what is stored or cached already is not done again."
    )


def _maps(settings: RobustnessSettings, data: RobustnessData, confounder: Confounder, arms: int) -> int:
    """Films through the network for maps: once where only the head differs between arms, else for every arm."""
    by_head = [made_from_features(name) for name in settings.methods]
    films = 0
    if any(by_head):
        films += min(FILMS, len(data.test)) * (1 if settings.mode == "probe" else arms)
    if not all(by_head):
        positive = data.positive[data.test]
        rows = limited_films(positive, data.patients[data.test], FILMS_PASSED)
        # those of another class are also explained for their own
        films += arms * (len(rows) + int((~positive[rows]).sum()))
    return films * _versions(confounder)


def _versions(confounder: Confounder) -> int:
    return 2 if confounder.planted else 1


def _alters_all(settings: RobustnessSettings, confounder: Confounder) -> bool:
    return confounder.planted and alters_all_films(confounder, as_study=settings.as_study)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
