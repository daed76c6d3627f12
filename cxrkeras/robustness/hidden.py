"""What AUC hides and maps show: how both change once an arm has learnt an artefact, and whether they say so.

Tables and answers in, a table and sentences out; knows no map and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.robustness.answers import IID, REVERSED, ArmAnswers, TestFilms, checked_arms, grouped_arms
from cxrkeras.robustness.map_measures import NO_REGION, mass_gain
from cxrkeras.robustness.split_aucs import SplitAucs, split_aucs
from cxrkeras.robustness.summaries import NO_BASELINE
from cxrkeras.stats import bootstrapped_mean, percentile_interval

YES, NO, UNDEFINED = "yes", "no", "undefined"
NAN = float("nan")
GROUP = ("source", "arch", "mode", "confounder", "p")
HIDDEN_COLUMNS = (
    *GROUP, "method", "n_seeds", "auc_iid", "auc_iid_change", "auc_iid_change_lo", "auc_iid_change_hi",
    "auc_reversed_change", "reliance", "reliance_lo", "mass_gain", "ci_lo", "ci_hi", "chance", "ceiling", "n_map_seeds",
    "n", "n_patients", "visible", "hidden_from_auc", "status",
)  # fmt: skip

NO_GAIN: dict[str, Any] = {
    **dict.fromkeys(("mass_gain", "ci_lo", "ci_hi", "chance", "ceiling"), NAN),
    **dict.fromkeys(("n_map_seeds", "n", "n_patients"), 0), "visible": UNDEFINED,
}  # fmt: skip


def hidden_table(
    answers: Sequence[ArmAnswers],
    films: TestFilms,
    maps: pd.DataFrame,
    map_films: pd.DataFrame,
    reliance: pd.DataFrame,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return, for every p above 0 and method, what changed against p = 0 in the AUC and in the maps.

    Args:
        answers: the arms, see `results_table`.
        films: the test films.
        maps: `MAP_COLUMNS` of these arms; the methods are taken from it.
        map_films: what each film's maps put on the artefact, `MAP_FILM_COLUMNS`; nothing of an artefact that has no
            place of its own.
        reliance: the table of `reliance_table` for these arms.
        n_resamples, seed: of the patient bootstrap.

    Returns:
        `HIDDEN_COLUMNS`. `auc_iid`: AUC of the split with the artefact as in training, seeds averaged;
        `auc_iid_change`, `auc_reversed_change`: against p = 0 of the same seeds. `mass_gain`: the mass that the
        artefact adds on its own place, over all explained films, minus the same at p = 0 film by film, seeds averaged,
        with its patient-bootstrap interval; `n_map_seeds`: the seeds whose arms the method explained. `chance`: share
        of the picture that is the artefact's place; `ceiling`: of its mass that a map of the method's grid can have
        there at all. `visible`: ``yes`` where the interval lies above 0 and the gain is
        at least `chance`, ``no`` elsewhere, ``undefined`` without a place, a value or an interval.
        `hidden_from_auc`: ``yes`` where the i.i.d. AUC did not fall (its change is 0 or more, or the interval reaches
        0) although the reliance has an interval above 0. `status`: ``ok``, ``no_region``, ``no_unconfounded_arm``,
        ``undefined``, ``too_few_patients``, or that of the AUC.

    Raises:
        ScoreInputError: answers that do not fit the films, or an arm that stands twice.
    """
    arms = [arm for arm in checked_arms(answers, films) if np.isfinite(arm.p)]
    aucs = split_aucs(arms, films, [(IID, REVERSED)] * len(arms), n_resamples, seed)
    groups = grouped_arms(arms)
    rows = []
    for (*names, p), repeats in groups.items():
        if p == 0:
            continue
        about = dict(zip(GROUP, (*names, p), strict=True))
        baseline = groups.get((*names, 0.0), {})
        shared = [repeat for repeat in repeats if repeat in baseline]
        answered = _answered(aucs, [repeats[r] for r in shared], [baseline[r] for r in shared], films.n_patients)
        leans = _reliance(reliance, about)
        hidden = {"n_seeds": len(shared), **answered, **leans, "hidden_from_auc": _hidden(answered, leans)}
        own = _of(map_films, {name: about[name] for name in GROUP if name != "p"})
        made = _of(maps, about)
        for method in made["method"].unique():
            if (made.loc[made["method"] == method, "status"] == NO_REGION).any():
                gain = NO_GAIN | {"status": NO_REGION}
            else:
                gain = _added_gain(own[own["method"] == method], p, {at for at, _ in shared}, n_resamples, seed)
            trouble = hidden["status"] if hidden["status"] != "ok" else gain["status"]
            rows.append(about | {"method": method} | hidden | gain | {"status": trouble})
    return pd.DataFrame(rows, columns=list(HIDDEN_COLUMNS))


def hidden_words(hidden: pd.DataFrame) -> list[str]:
    """Return one sentence per source and confounder at its largest p: what AUC says, and which methods show it.

    Args:
        hidden: the table of `hidden_table`.
    """
    told = []
    for (source, _, mode, confounder), own in hidden.groupby(list(GROUP[:-1]), sort=False):
        largest = own[own["p"] == own["p"].max()]
        first = largest.iloc[0]
        start = f"{source} ({mode}), {confounder}, p = {first['p']:g}: {_auc_words(first)}"
        told.append(f"{start}; {_map_words(largest)}.")
    return told


def _answered(aucs: SplitAucs, arms: list[int], baseline: list[int], n_patients: int) -> dict[str, Any]:
    names = ("auc_iid", "auc_iid_change", "auc_iid_change_lo", "auc_iid_change_hi", "auc_reversed_change")
    row: dict[str, Any] = dict.fromkeys(names, NAN) | {"status": NO_BASELINE}
    if not arms:
        return row
    columns = {
        split: [[aucs.columns[n, split] for n in side] for side in (arms, baseline)] for split in (IID, REVERSED)
    }
    trouble = aucs.trouble([column for pair in columns.values() for side in pair for column in side])
    if trouble != "ok":
        return row | {"status": trouble}
    (iid, drawn), (before, drawn_before) = (aucs.mean(side) for side in columns[IID])
    interval = percentile_interval(iid - before, drawn - drawn_before, n_patients)
    (turned, _), (turned_before, _) = (aucs.mean(side) for side in columns[REVERSED])
    return {
        "auc_iid": iid,
        "auc_iid_change": iid - before,
        "auc_iid_change_lo": interval.low,
        "auc_iid_change_hi": interval.high,
        "auc_reversed_change": turned - turned_before,
        "status": interval.status,
    }


def _reliance(table: pd.DataFrame, about: dict[str, Any]) -> dict[str, float]:
    found = _of(table, about)
    if not len(found):
        return {"reliance": NAN, "reliance_lo": NAN}
    return {"reliance": float(found["reliance"].iloc[0]), "reliance_lo": float(found["ci_lo"].iloc[0])}


def _hidden(answered: dict[str, Any], leans: dict[str, float]) -> str:
    change, high, low = answered["auc_iid_change"], answered["auc_iid_change_hi"], leans["reliance_lo"]
    if np.isnan([change, high, low]).any():
        return UNDEFINED
    return YES if high >= 0 and low > 0 else NO


def _added_gain(films: pd.DataFrame, p: float, seeds: set[int], n_resamples: int, seed: int) -> dict[str, Any]:
    """The gain at p beyond that at p = 0, film by film, mean over the seeds that measured both."""
    films = films[films["seed"].isin(seeds)].assign(gain=mass_gain)
    sides = (films.loc[films["p"] == at, ["seed", "image", "patient", "area", "ceiling", "gain"]] for at in (p, 0.0))
    after, before = sides
    paired = after.merge(before[["seed", "image", "gain"]], on=["seed", "image"], suffixes=("", "_before"))
    paired = paired.assign(added=paired["gain"] - paired["gain_before"]).dropna(subset="added")
    if not len(paired):
        return NO_GAIN | {"status": UNDEFINED}
    of_film = paired.groupby("image", sort=False).agg(
        patient=("patient", "first"), area=("area", "first"), ceiling=("ceiling", "first"), added=("added", "mean")
    )
    added = bootstrapped_mean(of_film["added"].to_numpy(), of_film["patient"], n_resamples, seed)
    area = float(of_film["area"].mean())
    shown = UNDEFINED if added.status != "ok" else YES if added.low > 0 and added.estimate >= area else NO
    return {
        "mass_gain": added.estimate,
        "ci_lo": added.low,
        "ci_hi": added.high,
        "chance": area,
        "ceiling": float(of_film["ceiling"].mean()),
        "n_map_seeds": paired["seed"].nunique(),
        "n": len(of_film),
        "n_patients": added.n_patients,
        "visible": shown,
        "status": added.status,
    }


def _of(table: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    own = np.ones(len(table), bool)
    for name, value in about.items():
        own &= (table[name] == value).to_numpy()
    return table[own]


def _auc_words(row: pd.Series) -> str:
    change = f"the i.i.d. AUC changed by {row['auc_iid_change']:+.3f}"
    if row["hidden_from_auc"] == YES:
        return f"{change} and hides a reliance of {row['reliance']:.3f}"
    if row["hidden_from_auc"] == NO:
        leans = "with a reliance that cannot be told from 0" if not row["reliance_lo"] > 0 else "so AUC shows it"
        return f"{change}, {leans}"
    reason = "no interval" if row["status"] in ("ok", NO_REGION) else row["status"]
    return f"what AUC hides is undefined ({reason})"


def _map_words(rows: pd.DataFrame) -> str:
    if (rows["status"] == NO_REGION).all():
        return "it has no place of its own on a film, so the maps have no mass to measure; see their C-Score"
    parts = []
    for answer, words in ((YES, "shown by"), (NO, "not shown by"), (UNDEFINED, "undefined for")):
        own = rows[rows["visible"] == answer]
        if len(own):
            parts.append(f"{words} the maps of {_methods_words(own, answer)}")
    return "; ".join(parts)


def _methods_words(rows: pd.DataFrame, answer: str) -> str:
    """Each method with its gain where maps show it; where they do not, the names and the largest gain."""
    if answer == NO and len(rows) > 1:
        largest = rows.loc[rows["mass_gain"].idxmax()]
        return f"{', '.join(rows['method'])}, at most{_gain_words(largest).replace(' (', ' ', 1).removesuffix(')')}"
    return ", ".join(f"{row['method']}{_gain_words(row)}" for _, row in rows.iterrows())


def _gain_words(row: pd.Series) -> str:
    if np.isnan(row["mass_gain"]):
        return ""
    interval = "" if np.isnan(row["ci_lo"]) else f", {row['ci_lo']:z.3f} to {row['ci_hi']:z.3f}"
    return f" ({row['mass_gain']:+z.3f} of the mass{interval}; a map of this grid can have {row['ceiling']:.3f} there)"
