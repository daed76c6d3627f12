"""The tables of a measurement, made anew of every arm that a directory keeps: they always agree with each other.

Knows no network and no film.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxrkeras.events import SILENT, Reporter
from cxrkeras.robustness.answers import ArmAnswers
from cxrkeras.robustness.comparison import comparison_table
from cxrkeras.robustness.control import control_answers, control_table
from cxrkeras.robustness.hidden import hidden_table
from cxrkeras.robustness.measures import results_table
from cxrkeras.robustness.summaries import reliance_table
from cxrkeras.workflow.robustness.kept import MAP_FILMS, MAPS, VISIBILITY, KeptArms

RESULTS, RELIANCE, COMPARISONS, CONTROL, HIDDEN = "results", "reliance", "comparisons", "control", "hidden"


def all_tables(kept: KeptArms, reporter: Reporter = SILENT) -> dict[str, pd.DataFrame]:
    """Every table but that of the predictions, over all that was ever measured in the directory.

    Args:
        kept: the arms; at least one.
        reporter: told of progress.

    Returns:
        `results`, `reliance`, `comparisons`, `control`, `visibility`, `maps`, `map_films`, `hidden`.
    """
    found: dict[str, list[pd.DataFrame]] = {RESULTS: [], RELIANCE: [], COMPARISONS: [], HIDDEN: []}
    with reporter.task("tables", len(kept.films)) as advance:
        for name, films in kept.films.items():
            answers = [arm.answers for arm in kept.of(name)]
            control = _control(answers)
            found[RESULTS].append(results_table([*answers, *control_answers(films, *control)], films))
            reliance = reliance_table(answers, films)
            found[RELIANCE].append(reliance)
            found[COMPARISONS].append(comparison_table(answers, films))
            own = (frame[frame["confounder"] == name] for frame in (kept.maps, kept.map_films))
            found[HIDDEN].append(hidden_table(answers, films, *own, reliance))
            advance(1)
    tables = {name: _joined(frames) for name, frames in found.items()}
    tables[CONTROL] = control_table(tables[RESULTS])
    return tables | {VISIBILITY: kept.visibility, MAPS: kept.maps, MAP_FILMS: kept.map_films}


@dataclass(frozen=True)
class _Named:
    """A confounder as the control needs it."""

    name: str
    level: str
    kind: str
    planted: bool


def _control(answers: list[ArmAnswers]) -> tuple[_Named, list[float], list[int]]:
    first = answers[0]
    about = _Named(first.confounder, first.level, first.kind, first.planted)
    own = [arm for arm in answers if np.isfinite(arm.p)]
    return about, sorted({arm.p for arm in own}), sorted({arm.seed for arm in own})


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]
