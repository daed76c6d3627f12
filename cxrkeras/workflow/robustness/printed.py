"""What `cxrkeras robustness` says: narrow tables, and sentences that claim no more than was measured.

Reads the stored tables; computes nothing but their order.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cxrkeras.robustness.comparison import TOO_FEW_SEEDS
from cxrkeras.robustness.hidden import hidden_words
from cxrkeras.robustness.map_measures import NO_REGION
from cxrkeras.workflow.robustness.tables import COMPARISONS, CONTROL, HIDDEN, RELIANCE, RESULTS, VISIBILITY

SIGNIFICANT = 0.05
TALKED_OF = "reversed"
# AUC that an artefact may cost an arm that never saw it without a word
DAMAGE = 0.1
MODES = {
    "probe": "a linear probe on frozen features",
    "finetune": "trained in both stages",
    "trained": "a run as it was trained elsewhere",
}
# columns that leave a table for its title where every row has the same, and how the title says them
_COMMON = {
    "arch": "{}",
    "mode": "mode {}",
    "p": "p = {}",
    "n_seeds": "seeds: {}",
    "p_attainable": "smallest p_sign_flip attainable {}",
}
_NOTHING_TO_SAY = {"ok", "baseline"}
_NO_SHARE = "NaN"


def printed_tables(tables: dict[str, pd.DataFrame]) -> list[tuple[str, pd.DataFrame]]:
    """The tables for a terminal of 120 columns, one a mode; what all rows have in common stands in the title."""
    told = [("how far each source leans on it: AUC by split; 95 % over patients", printed_reliance(tables))]
    told.append(("sources compared: AUC with the artefact on the wrong class", printed_comparisons(tables)))
    told.append(("what AUC hides and the maps show, at the largest p", printed_hidden(tables)))
    return [
        _without_common(title, own)
        for title, table in told
        if len(table)
        for _, own in table.groupby("mode", sort=False)
    ]


def printed_reliance(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A line a source, mode, confounder and p: how far it leans, and how far the artefact moves its answers."""
    table = tables[RELIANCE]
    shown = table[["source", "arch", "mode", "confounder", "p", "n_seeds"]].assign(p=_shares(table["p"]))
    return shown.assign(
        **{split: _mean_auc(tables[RESULTS], table, split) for split in ("iid", "clean", "reversed")},
        reliance=_with_interval(table, "reliance", "ci_lo", "ci_hi"),
        delta_logit=_with_interval(table, "delta_logit", "delta_logit_lo", "delta_logit_hi"),
        status=table["status"],
    )


def printed_comparisons(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A line two sources, confounder and p: the difference of their AUC where the artefact sits on the wrong class."""
    table = tables[COMPARISONS]
    table = table[(table["split"] == TALKED_OF) & ~table["p"].eq(0)]
    shown = table[["confounder", "mode", "p", "first", "second"]].assign(p=_shares(table["p"]))
    return shown.assign(
        difference=_with_interval(table, "difference", "ci_lo", "ci_hi"),
        **{name: table[name] for name in ("p_bootstrap", "p_holm", "p_sign_flip", "p_attainable", "n_seeds")},
        status=table["status"],
    )


def printed_hidden(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A line a source, confounder with a place and method at the largest p: what AUC hides, what the maps show."""
    table = tables[HIDDEN]
    table = table[table["status"] != NO_REGION]
    if not len(table):
        return table
    largest = table.groupby(["source", "arch", "mode", "confounder"])["p"].transform("max")
    table = table[table["p"] == largest]
    shown = table[["source", "mode", "confounder", "p", "method"]].assign(p=_shares(table["p"]))
    return shown.assign(
        iid_change=table["auc_iid_change"],
        mass_gain=_with_interval(table, "mass_gain", "ci_lo", "ci_hi", digits=3),
        **{name: table[name] for name in ("chance", "ceiling", "visible", "hidden_from_auc", "status")},
    )


def _without_common(title: str, table: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The columns that say the same in every row go into the title; a status that is no more than `ok` goes too."""
    words = []
    for name, form in _COMMON.items():
        if name in table and table[name].nunique(dropna=False) == 1:
            value = table[name].iloc[0]
            if value != _NO_SHARE:
                words.append(form.format(value if isinstance(value, str) else f"{value:.3g}"))
            table = table.drop(columns=name)
    if set(table["status"]) <= _NOTHING_TO_SAY:
        table = table.drop(columns="status")
    elif table["status"].nunique() == 1:
        words.append(table["status"].iloc[0].replace("_", " "))
        table = table.drop(columns="status")
    return f"{title} ({', '.join(words)})" if words else title, table


def spoken(tables: dict[str, pd.DataFrame]) -> list[str]:
    """The sentences under the tables: the control, what is invisible, who leans more, what it does not say."""
    told = [_control_words(tables[CONTROL]), *_invisible_words(tables[VISIBILITY])]
    told += _leaning_words(tables[RELIANCE])
    told += _comparison_words(tables[COMPARISONS])
    told += hidden_words(tables[HIDDEN]) if len(tables[HIDDEN]) else []
    return told + _limits(tables[RELIANCE], tables[COMPARISONS])


def _control_words(control: pd.DataFrame) -> str:
    known = control[control["difference"].notna()]
    if (control["status"] == "off").any():
        worst = known.loc[known["difference"].abs().idxmax()]
        return (
            f"CONTROL FAILED: the artefact alone scores {worst['measured']:.6f} where {worst['expected']:.6f} is "
            f"certain ({worst['confounder']}, p = {worst['p']:g}, {worst['split']}). Do not trust these results."
        )
    if not len(known):
        return "Control: undefined, because a class is absent from the test films."
    return (
        f"Control: a scorer that sees the artefact alone has the AUC of its closed form in all {len(known)} rows "
        f"(largest difference {known['difference'].abs().max():.1g})."
    )


def _invisible_words(visibility: pd.DataFrame) -> list[str]:
    return [
        f"{row.confounder} is nearly invisible at {row.image_size} px: it changes the input by {row.rms:.3f} grey "
        "levels, so little reliance on it may only mean that it is not seen."
        for row in visibility[visibility["status"] == "invisible"].itertuples()
    ]


def _leaning_words(reliance: pd.DataFrame) -> list[str]:
    """One sentence a confounder and mode at its largest p, the sources by how far they lean."""
    told = []
    for (confounder, mode), own in reliance[reliance["p"] > 0].groupby(["confounder", "mode"], sort=False):
        rows = own[own["p"] == own["p"].max()].sort_values("reliance", ascending=False, kind="stable")
        named = [
            f"{row.source} {_interval(row.reliance, row.ci_lo, row.ci_hi)}"
            + ("" if row.ci_lo > 0 else " (not above 0)" if np.isfinite(row.ci_lo) else f" ({row.status})")
            for row in rows.itertuples()
        ]
        told.append(
            f"{confounder}, p = {rows['p'].iloc[0]:g}, {mode} ({MODES[mode]}): reliance on it, in AUC: "
            f"{'; '.join(named)}."
        )
    for row in reliance[(reliance["status"] == "baseline") & (reliance["damage"].abs() >= DAMAGE)].itertuples():
        told.append(
            f"{row.source}, {row.mode}: {row.confounder} alone, never seen in training, changes its AUC by "
            f"{-row.damage:+.3f} where it is reversed (damage). Reliance leaves that out: read the AUC reversed too."
        )
    for row in reliance[reliance["mode"] == "trained"].itertuples():
        if np.isfinite(row.delta_logit):
            told.append(
                f"{row.source} as it was trained: {row.confounder} moves its log-odds by "
                f"{_interval(row.delta_logit, row.delta_logit_lo, row.delta_logit_hi)}, nothing trained anew."
            )
    return told


def _comparison_words(comparisons: pd.DataFrame) -> list[str]:
    told = []
    rows = comparisons[(comparisons["split"] == TALKED_OF) & (comparisons["p"] > 0)]
    for (confounder, mode, first, second), own in rows.groupby(["confounder", "mode", "first", "second"], sort=False):
        row = own.loc[own["p"].idxmax()]
        where = f"{confounder}, p = {row['p']:g}, {mode}"
        if not np.isfinite(row["p_holm"]):
            told.append(f"{where}: {first} and {second} cannot be compared ({row['status']}).")
            continue
        better, worse = (first, second) if row["difference"] > 0 else (second, first)
        size = _interval(abs(row["difference"]), *sorted(abs(row[name]) for name in ("ci_lo", "ci_hi")))
        beside = f"AUC with the artefact on the wrong class, Holm p = {row['p_holm']:.3g}"
        if row["p_holm"] < SIGNIFICANT:
            told.append(f"{where}: {worse} does worse than {better} by {size} ({beside}).")
        else:
            told.append(f"{where}: {first} and {second} cannot be told apart ({beside}).")
    return told


def _limits(reliance: pd.DataFrame, comparisons: pd.DataFrame) -> list[str]:
    told = []
    if (reliance["mode"] == "probe").any():
        told.append(
            "Mode probe is about frozen features: it says what a linear head can lean on, and is not the reliance of a "
            "fine-tuned model (--mode finetune measures that)."
        )
    seeds = comparisons.loc[comparisons["n_seeds"] > 0, ["n_seeds", "p_attainable", "status"]].drop_duplicates()
    for row in seeds.drop_duplicates("n_seeds").itertuples():
        few = seeds.loc[seeds["n_seeds"] == row.n_seeds, "status"].eq(TOO_FEW_SEEDS).any()
        impossible = ", so significance over seeds is impossible" if few else ""
        told.append(
            f"With {row.n_seeds} seed{'' if row.n_seeds == 1 else 's'} the exact sign-flip test cannot fall below p = "
            f"{row.p_attainable:.3g}{impossible}; seeds share training films, so its p is optimistic."
        )
    return told


def _mean_auc(results: pd.DataFrame, rows: pd.DataFrame, split: str) -> np.ndarray:
    """AUC of a split, mean over seeds, for every row of another table; a sampled confounder's `clean` is `neutral`."""
    group = ["source", "arch", "mode", "confounder", "p"]
    own = results[results["split"].isin(["clean", "neutral"] if split == "clean" else [split])]
    # of a planted confounder `clean` counts, which sorts before `neutral`
    means = own.groupby([*group, "split"], dropna=False)["auc"].mean().groupby(group, dropna=False).first()
    return rows[group].merge(means.reset_index(), how="left", on=group)["auc"].to_numpy()


def _with_interval(table: pd.DataFrame, value: str, low: str, high: str, digits: int = 2) -> list[str]:
    return [_interval(*row, digits) for row in table[[value, low, high]].itertuples(index=False, name=None)]


def _interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """A value with its interval, which may be told with fewer digits."""
    if not np.isfinite(value):
        return "NaN"
    return f"{value:.3f}" + (f" [{low:.{digits}f}, {high:.{digits}f}]" if np.isfinite(low) else "")


def _shares(values: pd.Series) -> list[str]:
    return [_NO_SHARE if np.isnan(value) else f"{value:g}" for value in values]
