"""What the tables of robustness say, as sentences with their numbers.

Tables in, text out. Knows no page and no figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from cxrkeras.render.robustness import SPLITS
from cxrkeras.render.shares import Series, curves_of, rows_of, series_names
from cxrkeras.report.words import interval, is_undefined, listed, number, plain_reason


def seed_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, by method and p; undefined where a seed is."""
    grouped = rows.groupby(["method", "p"], sort=False, as_index=False)
    return grouped.agg(
        **{name: (name, lambda values: values.mean(skipna=False)) for name in ("value", "ci_lo", "ci_hi")},
        status=("status", lambda status: next((one for one in status if one != "ok"), "ok")),
    )


def curve_words(quantity: str, rows: pd.DataFrame, metric: str, series: Sequence[Series]) -> str:
    """The values of every curve at the largest share, split by split."""
    table = curves_of(rows, metric).table
    named = dict(zip(series, series_names(series), strict=True))
    largest = table["p"].max()
    words = []
    for key in series:
        own = rows_of(table, key)
        at = own[own["p"] == largest] if own["p"].notna().any() else own
        if at.empty:
            continue
        values = at.set_index("split")
        parts = [
            f"{split} {interval(row['value'], row['low'], row['high'], row['status'], 2)}"
            for split in SPLITS
            if split in values.index
            for row in [values.loc[split]]
        ]
        as_it_is = "" if own["p"].notna().any() else ", as it is"
        words.append(f"{named[key]}{as_it_is}: {', '.join(parts)}")
    where = "" if is_undefined(float(largest)) else f" at p = {largest:g}"
    return f"{quantity[0].upper()}{quantity[1:]}{where}. {'; '.join(words)}."


def largest_words(rows: pd.DataFrame, column: str, quantity: str, by: str = "source") -> str:
    """The values at the largest share, with intervals, the largest first."""
    shares = rows["p"].dropna()
    if shares.empty:
        return f"{quantity}: nothing measured."
    at = rows[rows["p"] == shares.max()]
    if by == "method":
        at = seed_means(at)
    at = at.sort_values(column, ascending=False, kind="stable")
    words = [
        f"{row[by]}{_mode(row)} {interval(row[column], row['ci_lo'], row['ci_hi'], row['status'])}"
        for row in at.to_dict("records")
    ]
    return f"{quantity} at p = {shares.max():g}: {listed(words)}."


def _mode(row: dict[str, Any]) -> str:
    return f" ({row['mode']})" if row.get("mode") else ""


def change_words(lean: pd.DataFrame) -> str:
    """What the artefact alone does to the log-odds of a film: at the largest share, and to a run as it is."""
    known = lean[lean["delta_logit"].notna()]
    at = known[(known["p"] == known["p"].max()) | known["p"].isna()]
    if at.empty:
        return ""
    words = [
        f"{row['source']}{' as it is' if is_undefined(row['p']) else ''} "
        f"{interval(row['delta_logit'], row['delta_logit_lo'], row['delta_logit_hi'], digits=2)}"
        for row in at.to_dict("records")
    ]
    return f"The artefact alone moves the log-odds of the positive class by {listed(words)}."


def gain_words(gain: pd.DataFrame, name: str, area: float) -> str:
    """What the artefact draws to itself in the maps of each method, beside its area."""
    place = "" if is_undefined(area) else f" The artefact covers {100 * area:.2g} % of the film."
    words = largest_words(gain, "value", f"{name}: share of the map that the artefact draws to itself", "method")
    return f"{words} A map that does not care has 0.{place}"


def reliance_words(lean: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """How far each source leans on each confounder at the largest share, a sentence a mode."""
    if lean.empty:
        return
    for (confounder, mode), own in lean[lean["p"].notna()].groupby(["confounder", "mode"], sort=False):
        told = largest_words(own.drop(columns="mode"), "reliance", f"{confounder}, mode {mode}: reliance")
        yield "Reliance", f"{told} {_damage_words(own)}".rstrip()


def _damage_words(lean: pd.DataFrame) -> str:
    """What the artefact costs where it was never learnt; nothing where films are chosen."""
    known = lean[lean["damage"].notna()].drop_duplicates("source")
    each = [f"{source} {number(damage)}" for source, damage in zip(known["source"], known["damage"], strict=True)]
    if not each:
        return ""
    return f"Not in it is the damage, what the artefact takes from the AUC where it was never learnt: {listed(each)}."


def comparison_words(comparisons: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Pairs of sources on the reversed films at the largest share, and what their number of seeds can show.

    Args:
        comparisons: those of one confounder.
    """
    table = (
        comparisons[(comparisons["split"] == "reversed") & comparisons["p"].notna()]
        if len(comparisons)
        else comparisons
    )
    for mode, rows in table.groupby("mode", sort=False) if len(table) else ():
        at = rows[rows["p"] == rows["p"].max()]
        pairs = [_pair_words(row) for row in at.to_dict("records")]
        told = f"Mode {mode}, reversed AUC at p = {at['p'].iloc[0]:g}: {'; '.join(pairs)}."
        seeds = int(at["n_seeds"].max())
        least = at["p_attainable"].min()
        if not is_undefined(least):
            told += (
                f" The smallest p that a sign-flip test over {seeds} seed{'s' * (seeds > 1)} can give is {least:.3g}"
            )
            told += ": by seeds alone nothing can be significant." if least > 0.05 else "."
        yield "Compared", told


def _pair_words(row: dict[str, Any]) -> str:
    told = (
        f"{row['first']} less {row['second']} {interval(row['difference'], row['ci_lo'], row['ci_hi'], row['status'])}"
    )
    tested = {"over patients": "p_bootstrap", "Holm over the shares": "p_holm", "sign flip": "p_sign_flip"}
    known = [f"{words} {number(row[name])}" for words, name in tested.items() if not is_undefined(row[name])]
    return f"{told} (p-value {', '.join(known)})" if known else told


def control_words(control: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Whether a scorer that sees only the artefact has the AUC that it must have."""
    if control.empty:
        return
    known = control[control["difference"].notna()]
    off = known[known["status"].astype(str) != "ok"]
    largest = known["difference"].abs().max()
    if len(off):
        yield (
            "Control missed",
            f"{len(off)} of {len(known)} values of a scorer that sees only the artefact differ from their closed form, "
            f"by up to {largest:.2g}: do not trust the other numbers.",
        )
        return
    yield (
        "Control",
        f"A scorer that sees only the artefact has the AUC of its closed form in all {len(known)} places (largest "
        f"difference {largest:.1g}): iid (1 + p)/2, reversed 0, aligned 1, clean and neutral one half.",
    )


def invisible_words(visibility: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Artefacts that do not reach the network: what was measured with them says nothing."""
    if visibility.empty:
        return
    for row in visibility[visibility["status"].astype(str) == "invisible"].to_dict("records"):
        yield (
            "Invisible",
            f"{row['confounder']} changes what the network sees by {number(row['rms'])} grey levels of 255, less than "
            "0.1: what does not lean on it may only not see it.",
        )


def visibility_words(visibility: pd.DataFrame) -> str:
    """How much of an artefact reaches the network."""
    words = []
    for row in visibility.to_dict("records"):
        size = f" at {row['image_size']} pixels" if not is_undefined(row.get("image_size")) else ""
        if is_undefined(row["rms"]):
            words.append(f"{plain_reason(row['status']).capitalize()}{size}: films are chosen.")
        else:
            area = f", over {100 * row['area']:.2g} % of it" if not is_undefined(row["area"]) else ""
            words.append(
                f"The network's input{size} changes by {number(row['rms'], digits=2)} grey levels of 255 (root mean "
                f"square{area}){': invisible' if row['status'] == 'invisible' else ''}."
            )
    return " ".join(dict.fromkeys(words))
