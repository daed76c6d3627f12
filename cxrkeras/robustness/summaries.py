"""How much of an arm's AUC leans on the artefact, and how far the artefact alone moves its answers.

Knows no network and no file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cxrkeras.robustness.answers import REVERSED, ArmAnswers, TestFilms, checked_arms, grouped_arms
from cxrkeras.robustness.split_aucs import SplitAucs, split_aucs
from cxrkeras.stats import percentile_interval, resampled_means

NAN = float("nan")
NO_BASELINE, BASELINE = "no_unconfounded_arm", "baseline"
RELIANCE_COLUMNS = (
    "source", "arch", "mode", "confounder", "level", "kind", "p", "n_seeds", "reliance", "ci_lo", "ci_hi", "damage",
    "delta_logit", "delta_logit_lo", "delta_logit_hi", "status",
)  # fmt: skip


def reliance_table(
    answers: Sequence[ArmAnswers], films: TestFilms, *, n_resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return how far each source leans on a confounder at each p, with paired patient-bootstrap intervals.

    Planted: `reliance` = (AUC clean − AUC reversed) − the same at p = 0 (`damage`: what the artefact does to a network
    that never saw it). Sampled: AUC neutral − AUC reversed; nothing is subtracted, p = 0 has its own row.
    `delta_logit` = mean change of the log-odds of the positive class when the artefact is put on the same film.
    Seeds are averaged inside each resample.

    Args:
        answers: the arms; at most one sampled confounder, whose values are `films.has`.
        films: the test films.
        n_resamples, seed: of the patient bootstrap.

    Returns:
        `RELIANCE_COLUMNS`, a row per source, arch, mode, confounder and p. `n_seeds`: repeats averaged; where p = 0
        was trained, those it shares with p = 0. `status`: ``ok``; ``baseline`` (p = 0 itself: reliance 0 by
        definition); ``no_unconfounded_arm`` (no p = 0 with these seeds: reliance NaN); ``too_few_patients``;
        ``class_absent``; ``not_finite``.

    Raises:
        ScoreInputError: answers that do not fit the films, or an arm that stands twice.
    """
    arms = checked_arms(answers, films)
    aucs = split_aucs(arms, films, [(arm.reference_split, REVERSED) for arm in arms], n_resamples, seed)
    groups = grouped_arms(arms)
    rows, changes = [], []
    for (*names, p), repeats in groups.items():
        first = arms[next(iter(repeats.values()))]
        row = dict(zip(("source", "arch", "mode", "confounder"), names, strict=True))
        row |= {"level": first.level, "kind": first.kind, "p": NAN if p is None else p}
        baseline = groups.get((*names, 0.0), {}) if first.planted else {}
        shared = [repeat for repeat in repeats if repeat in baseline] if baseline else list(repeats)
        reliance = _reliance(aucs, arms, [repeats[r] for r in shared], [baseline[r] for r in shared if r in baseline])
        rows.append(row | {"n_seeds": len(shared)} | reliance)
        changes.append(_change([arms[repeats[repeat]] for repeat in (shared or repeats)], len(films.positive)))
    for row, change in zip(rows, _mean_changes(changes, films, n_resamples, seed), strict=True):
        row |= change
    return pd.DataFrame(rows, columns=list(RELIANCE_COLUMNS))


def _reliance(
    aucs: SplitAucs, arms: Sequence[ArmAnswers], numbers: Sequence[int], baseline: Sequence[int]
) -> dict[str, float | str]:
    """Reliance of the arms of one group, given the unconfounded arms of the same seeds."""
    planted = not numbers or arms[numbers[0]].planted
    damage, damage_draws = _shortfall(aucs, arms, baseline)
    row = {"reliance": NAN, "ci_lo": NAN, "ci_hi": NAN, "damage": damage, "status": NO_BASELINE}
    if planted and not baseline:
        return row
    columns = [aucs.columns[n, s] for n in (*numbers, *baseline) for s in (arms[n].reference_split, REVERSED)]
    trouble = aucs.trouble(columns)
    if trouble != "ok":
        return row | {"status": trouble}
    shortfall, draws = _shortfall(aucs, arms, numbers)
    if planted:
        shortfall, draws = shortfall - damage, draws - damage_draws
    interval = percentile_interval(shortfall, draws, int(aucs.n_patients[columns].min()))
    status = BASELINE if interval.status == "ok" and list(numbers) == list(baseline) else interval.status
    return row | {"reliance": shortfall, "ci_lo": interval.low, "ci_hi": interval.high, "status": status}


def _shortfall(aucs: SplitAucs, arms: Sequence[ArmAnswers], numbers: Sequence[int]) -> tuple[float, np.ndarray]:
    """AUC of the reference split − AUC reversed, mean over arms: of the films, and in each resample."""
    if not numbers:
        return NAN, np.full(len(aucs.draws), NAN)
    reference, reference_draws = aucs.mean([aucs.columns[n, arms[n].reference_split] for n in numbers])
    reverse, reverse_draws = aucs.mean([aucs.columns[n, REVERSED] for n in numbers])
    return reference - reverse, reference_draws - reverse_draws


def _change(arms: Sequence[ArmAnswers], n_films: int) -> np.ndarray:
    """Change of the log-odds by the artefact, mean over arms ``[n]``; NaN where nothing is planted or not finite."""
    if not all(arm.planted and arm.finite for arm in arms):
        return np.full(n_films, NAN)
    return np.mean([arm.touched - arm.untouched for arm in arms], axis=0)


def _mean_changes(changes: list[np.ndarray], films: TestFilms, n_resamples: int, seed: int) -> list[dict[str, float]]:
    """Mean over films of each change, with its interval."""
    if not changes:
        return []
    draws = resampled_means(np.array(changes).T, films.patients, n_resamples, seed)
    rows = []
    for change, drawn in zip(changes, draws.T, strict=True):
        mean = float(change.mean()) if len(change) else NAN
        interval = percentile_interval(mean, drawn, films.n_patients)
        rows.append({"delta_logit": mean, "delta_logit_lo": interval.low, "delta_logit_hi": interval.high})
    return rows
