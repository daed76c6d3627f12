"""Does one source lean less on a shortcut than another, on the same films and with the same seeds?

Tables in plain numbers; knows no network and no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from cxrkeras.errors import unknown
from cxrkeras.robustness.answers import IID, REVERSED, ArmAnswers, TestFilms, checked_arms, grouped_arms
from cxrkeras.robustness.split_aucs import SplitAucs, split_aucs
from cxrkeras.stats import holm, percentile_interval, sign_flip_test, two_sided_p
from cxrkeras.stats.permutation import TOO_FEW

NAN = float("nan")
TOO_FEW_SEEDS, NO_COMMON_SEED = "too_few_seeds_to_be_significant", "no_common_seed"
COMPARISON_COLUMNS = (
    "confounder", "mode", "p", "split", "first", "second", "difference", "ci_lo", "ci_hi",
    "p_bootstrap", "p_holm", "p_sign_flip", "p_attainable", "n_seeds", "status",
)  # fmt: skip
_FAMILY = ["confounder", "mode", "split", "first", "second"]


def comparison_table(
    answers: Sequence[ArmAnswers],
    films: TestFilms,
    *,
    first: str | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the difference in AUC between every two sources, for each confounder, mode, p and split.

    The primary answer is the paired patient bootstrap on the common test films, seeds averaged inside each resample.
    Beside it an exact sign-flip test over seeds. Seeds that share training films (cross-validation) are not
    independent, so its p is optimistic; with n seeds it cannot fall below 2/2ⁿ (`p_attainable`).

    Args:
        answers: the arms; at most one sampled confounder, whose values are `films.has`. Only arms of one mode, seed
            and fold are compared.
        films: the test films.
        first: compare only this source with each other; None: every two.
        n_resamples, seed: of the patient bootstrap.

    Returns:
        `COMPARISON_COLUMNS`, a row per confounder, mode, p, split (`iid`, `reversed`, and `clean` or, where there is
        none, `neutral`) and pair. `difference`: AUC of `first` − `second`, 95 % interval, `p_bootstrap` two-sided;
        `p_holm`: Holm over p without p = 0 within a confounder, mode, split and pair. `status`: ``ok``;
        ``too_few_seeds_to_be_significant`` (`p_attainable` above 0.05: the numbers stand, the sign-flip test cannot
        speak); ``too_few_patients``; ``no_common_seed``; ``class_absent``; ``not_finite``. A source name with several
        backbones is written ``source (arch)``.

    Raises:
        ScoreInputError: answers that do not fit the films, or an arm that stands twice.
        UsageError: no arm of the source `first`.
    """
    arms = checked_arms(answers, films)
    if first is not None and first not in {arm.source for arm in arms}:
        raise unknown("source", first, dict.fromkeys(arm.source for arm in arms))
    splits = [[s for s in (IID, REVERSED, arm.reference_split) if s in arm.splits] for arm in arms]
    aucs = split_aucs(arms, films, splits, n_resamples, seed)
    archs = Counter(source for source, _ in {(arm.source, arm.arch) for arm in arms})
    rivals: dict[tuple, dict[str, dict[tuple[int, int], int]]] = {}
    for (source, arch, mode, confounder, p), repeats in grouped_arms(arms).items():
        name = f"{source} ({arch})" if archs[source] > 1 else source
        rivals.setdefault((confounder, mode, p), {})[name] = repeats
    rows = []
    for (confounder, mode, p), own in rivals.items():
        names = {name: arms[next(iter(repeats.values()))].source for name, repeats in own.items()}
        for one, other in _pairs(names, first):
            for split in splits[next(iter(own[one].values()))]:
                row = {"confounder": confounder, "mode": mode, "p": NAN if p is None else p, "split": split}
                row |= {"first": one, "second": other}
                rows.append(row | _compared(aucs, own[one], own[other], split))
    table = pd.DataFrame(rows, columns=[c for c in COMPARISON_COLUMNS if c != "p_holm"])
    corrected = table["p_bootstrap"].where(table["p"] != 0).groupby([table[c] for c in _FAMILY]).transform(holm)
    return table.assign(p_holm=corrected.astype(np.float64))[list(COMPARISON_COLUMNS)]


def _pairs(names: dict[str, str], first: str | None) -> list[tuple[str, str]]:
    """Every two names, or those of the source `first` with each other one."""
    if first is None:
        return list(combinations(names, 2))
    ours = [name for name, source in names.items() if source == first]
    return [(one, other) for one in ours for other in names if other not in ours]


def _compared(
    aucs: SplitAucs, ours: dict[tuple[int, int], int], theirs: dict[tuple[int, int], int], split: str
) -> dict[str, float | int | str]:
    """AUC of one source − another's on one split, over the seeds that both have."""
    shared = [repeat for repeat in ours if repeat in theirs]
    row = dict.fromkeys(("difference", "ci_lo", "ci_hi", "p_bootstrap", "p_sign_flip", "p_attainable"), NAN)
    if not shared:
        return row | {"n_seeds": 0, "status": NO_COMMON_SEED}
    first, second = ([aucs.columns[own[repeat], split] for repeat in shared] for own in (ours, theirs))
    flipped = sign_flip_test(aucs.estimates[first] - aucs.estimates[second])
    row |= {"p_attainable": flipped.attainable, "n_seeds": len(shared)}
    trouble = aucs.trouble([*first, *second])
    if trouble != "ok":
        return row | {"status": trouble}
    (one, one_draws), (other, other_draws) = aucs.mean(first), aucs.mean(second)
    interval = percentile_interval(one - other, one_draws - other_draws, int(aucs.n_patients[[*first, *second]].min()))
    row |= {"difference": one - other, "ci_lo": interval.low, "ci_hi": interval.high, "p_sign_flip": flipped.p}
    if interval.status != "ok":
        return row | {"status": interval.status}
    status = TOO_FEW_SEEDS if flipped.status == TOO_FEW else "ok"
    return row | {"p_bootstrap": two_sided_p(one_draws - other_draws), "status": status}
