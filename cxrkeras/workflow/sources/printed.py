"""How a comparison of candidates is told: narrow tables for a terminal, and sentences that name no winner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.sources import words
from cxrkeras.sources.prior import rank_agreement
from cxrkeras.sources.ranking import EXCLUDED
from cxrkeras.workflow.sources.features import RAW_PIXELS


def sentences(tables: Mapping[str, pd.DataFrame], reduce: int | None = None) -> tuple[str, ...]:
    """What the tables say, and what they cannot say.

    Args:
        tables: by name, as `workflow.sources.sources` makes them.
        reduce: principal components that LogME and H-score were fitted on; None for all features.
    """
    table = tables["sources"]
    candidates = table[table["candidate"] != RAW_PIXELS]
    said = [words.headline(candidates), words.exclusion(candidates), _floor(table), words.EXPECTATION]
    said += [words.POOLED, words.STANDARD_ERRORS]
    if reduce is not None:
        said.append(f"LogME and H-score are fitted on {reduce} principal components of each candidate.")
    elif candidates["n_features"].nunique() > 1:
        said.append(words.WIDTH)
    said += [_prior(candidates), words.SIMILARITY]
    if "agreement" in tables:
        said += _agreement(tables["agreement"])
    return tuple(filter(None, said))


def printed_tables(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, pd.DataFrame]]:
    """The tables for a terminal of 120 columns, with their titles."""
    table = tables["sources"]
    shown = [("candidates by network; 95 % intervals over patients", _ranks(table))]
    shown.append(("scores ± jackknife error, and what an artefact does; no part of the rank", _scores(table)))
    if len(tables["cka"]):
        shown.append(("redundancy: linear CKA between candidates", tables["cka"]))
    similarity = tables["similarity"]
    shown.append(("similarity; no part of the rank", similarity[["candidate", "measure", "value", "status"]]))
    if "preprocess" in tables:
        shown.append(("input of the first BatchNorm under every preprocessing", tables["preprocess"]))
    if "agreement" in tables:
        shown.append(("what each score would have picked", tables["agreement"]))
    return shown


def _ranks(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for row in table.to_dict("records"):
        rows.append(
            {
                "candidate": row["candidate"],
                "arch": row["arch"],
                "probe AUC": _interval(row["probe_auc"], row["ci_lo"], row["ci_hi"]),
                "rank": _rank(row),
                "tied with": row["tied_with"],
                "to the best": _interval(row["difference_to_best"], row["difference_lo"], row["difference_hi"]),
                "saw target": _text(row["saw_target"]),
            }
        )
    return pd.DataFrame(rows)


def _rank(row: Mapping[str, Any]) -> str:
    if pd.isna(row["rank"]):
        return "not ranked" if row["status"] == EXCLUDED else row["status"]
    between = row["status"] if pd.isna(row["rank_lo"]) else f"[{row['rank_lo']}–{row['rank_hi']}]"
    return f"{row['rank']} {between}"


def _scores(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for row in table.to_dict("records"):
        rows.append(
            {
                "candidate": row["candidate"],
                "features": row["n_features"],
                "LogME": _error(row["logme"], row["logme_se"]),
                "H-score": _error(row["h_score"], row["h_score_se"]),
                "prior": _text(row["prior"]),
                "tag reversed": row["tag_reversed_auc"],
                "low-pass reversed": row["lowpass_reversed_auc"],
                "unknown fields": _text(row["unknown_fields"]),
            }
        )
    return pd.DataFrame(rows)


def _interval(value: float, low: float, high: float) -> str:
    if np.isnan(value):
        return "NaN"
    return f"{value:.3f}" if np.isnan(low) else f"{value:.3f} [{low:.2f}, {high:.2f}]"


def _error(value: float, stderr: float) -> str:
    return "NaN" if np.isnan(value) else f"{value:.3f} ± {stderr:.3f}"


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _floor(table: pd.DataFrame) -> str:
    floor = table.loc[table["candidate"] == RAW_PIXELS, "probe_auc"].iloc[0]
    below = table.loc[(table["candidate"] != RAW_PIXELS) & (table["probe_auc"] <= floor), "candidate"]
    told = f"Raw pixels at 32 × 32 through the same probe: {floor:.3f}"
    return f"{told}; not above it: {', '.join(below)}." if len(below) else f"{told}; every candidate lies above."


def _prior(candidates: pd.DataFrame) -> str:
    found = rank_agreement(-candidates["prior"].to_numpy(float), candidates["probe_auc"].to_numpy(float))
    if found.status == "ok":
        return f"The prior order and the probe AUC agree with a weighted rank correlation of {found.weighted_tau:.2f}."
    return ""


def _agreement(agreement: pd.DataFrame) -> list[str]:
    told = []
    for row in agreement[agreement["status"] != "no_score"].to_dict("records"):
        tau = "" if np.isnan(row["weighted_tau"]) else f", weighted rank correlation {row['weighted_tau']:.2f}"
        told.append(
            f"{row['score']} picks {row['pick']} (fine-tuned {row['pick_auc']:.3f}; best {row['best']} "
            f"{row['best_auc']:.3f}): regret {row['regret']:.3f}{tau}."
        )
    if (agreement["status"] == "too_few_candidates").any():
        told.append("A rank correlation is not given below 6 fine-tuned candidates: it would be noise.")
    return told
