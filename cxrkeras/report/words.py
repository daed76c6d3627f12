"""The report's words: numbers as text, names of columns and findings, and the glossary.

Knows no page; nothing undefined becomes a number here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cxrkeras.sources.glossary import GLOSSARY as SOURCE_TERMS
from cxrkeras.sources.glossary import NOT_COMPUTED

MISSING_REASON = "not measured"

GLOSSARY = (
    ("AUC", "Area under the ROC curve on the named split, exact by ranks; for more than two classes the mean of the "
     "one-against-the-rest values. Whether the classifier is right; says nothing about why."),
    ("baseline", "The C-Score's formula over pairs of films of different classes: how alike the method's maps are "
     "whatever they explain."),
    ("checkpoint", "The weights after one epoch of training, counted from 1 across both stages."),
    ("C-Score", "Confidence-weighted mean similarity (soft IoU) of the maps of a class over pairs of different "
     "patients in its gold list: 1 when all maps are the same, 0 when none overlap. It measures consistency."),
    ("consistent", "The maps of a class look alike across patients. Maps can agree on the wrong place, on a tag or on "
     "the border of the film; that is why validity stands beside consistency."),
    ("coverage", "The share of a class's films that are in its gold list."),
    ("deletion, insertion", "The probability of the class while the film's strongest pixels by the map are taken away, "
     "or put back, step by step; compared with maps drawn at random (chance)."),
    ("drift", "How a method's maps of the same films changed between two checkpoints."),
    ("excess", "C-Score minus baseline: consistency that belongs to the class."),
    ("gold list", "The films of a class that the checkpoint classifies correctly with at least the threshold's "
     "confidence."),
    ("hit rate, IoU, mass", "Whether the peak of the map lies inside what an expert marked; how far the thresholded "
     "map and the mark overlap; which share of the map lies inside. Chance is what a map that knows nothing reaches."),
    ("label fraction", "The share of the training patients whose labels were used; validation and test films stay."),
    ("map", "A heat map at its native grid for one film and one class. The viewer enlarges it, which adds no detail."),
    ("method", "One way to make maps, such as Grad-CAM."),
    ("native grid", "The cells a map is made in, before any enlarging. Scores of different grids are not comparable."),
    ("randomisation", "The classifier's weights are redrawn from the head down; the maps of a method that reads what "
     "was learnt must change."),
    ("stage", "Transfer learning trains the head on a frozen backbone; fine tuning trains the backbone too."),
    ("status", "Why a number is undefined or needs care. An undefined value is never shown as 0."),
    ("95 % interval", "By leaving out, or redrawing, one patient at a time: films of one patient are not independent."),
)  # fmt: skip

ROBUSTNESS_GLOSSARY = (
    ("aligned, reversed", "Test films of which every positive, or every negative, one carries the artefact."),
    ("artefact, confounder", "Something on a film that goes with the class and is not the disease: a tag, a filter, "
     "noise, or a column of the table such as sex. Its level is the patient (demographic, anatomical) or the "
     "environment (external, imaging)."),
    ("clean, neutral", "Test films of which none carries the artefact, or half of each class does."),
    ("damage", "AUC clean less AUC reversed of a classifier that never saw the artefact in training: what it does to "
     "the image."),
    ("iid", "Test films that carry the artefact as the training films do."),
    ("mass gained", "The share of a map on the artefact less the share on the same place of the same film without it."),
    ("mode", "What an arm is: a probe on frozen features, a network that was fine-tuned, or a run as it is. Numbers of "
     "different modes are not compared."),
    ("p, the share", "How many of the positive training films carry the artefact; of the negative ones none does."),
    ("reliance", "AUC clean less AUC reversed, less the same at p = 0. Of a sampled confounder AUC neutral less AUC "
     "reversed."),
    ("smallest p attainable", "What an exact test over so many seeds can reach at best; above 0.05 no result of it can "
     "be significant."),
)  # fmt: skip

CAUTIONS = {
    "run": (
        "Consistent is not correct.",
        "The C-Score says that explanations agree across patients, not that they are right. Read it beside the AUC, "
        "the baseline and the validity checks.",
    ),
    "robustness": (
        "The same AUC is not the same reasons.",
        "These numbers say how far answers lean on artefacts that were planted or chosen here, on these films. They do "
        "not say that nothing else is leant on.",
    ),
    "sources": (
        "A column is not a decision.",
        "Scores of frozen features predict what fine-tuning gives only in part. Confirm by fine-tuning the candidates "
        "that cannot be told apart.",
    ),
}
CAUTIONS["study"] = CAUTIONS["run"]

KINDS = {
    "gold_list_collapse": "Gold-list collapse",
    "attribution_collapse": "Attribution collapse",
    "class_masking": "Class masking",
    "class_gap": "Class gap (information)",
    "early_warning": "Early warning",
    "missed_fall": "Fall without a warning",
}

LABELS = {
    "score": "C-Score", "auc": "AUC", "macro": "macro C-Score", "ci_low": "low", "ci_high": "high",
    "n_films": "films", "n_patients": "patients", "n_gold": "gold films", "n_pairs": "pairs",
    "excess_stderr": "s.e. of excess", "stderr": "s.e.", "native_grid": "grid", "from_epoch": "from", "to_epoch": "to",
    "top_iou": "top-cell IoU", "n_compared": "compared", "n_degenerate": "degenerate", "iou_chance": "chance",
    "p_holm": "p (Holm)", "n": "films", "n_seeds": "seeds",
    "n_nan": "undefined", "sd": "s.d.", "mean_zero": "mean, degenerate as 0", "ci_lo": "low", "ci_hi": "high",
    "arch": "net", "ece": "calibration error", "p_bootstrap": "p (patients)", "p_sign_flip": "p (sign flip)",
    "p_attainable": "smallest p attainable", "delta_logit": "change of log-odds", "delta_logit_lo": "low",
    "delta_logit_hi": "high", "rms": "change (grey levels)", "auc_iid": "AUC iid",
    "auc_iid_change": "change of AUC iid",
    "auc_reversed_change": "change of AUC reversed", "mass_gain": "mass gained", "ceiling": "most a grid can have",
    "visible": "maps show it",
    "hidden_from_auc": "AUC hides it", "population": "with many films", "n_pos": "positive", "n_neg": "negative",
}  # fmt: skip


def glossary(*, runs: Sequence, robustness: Sequence, sources: Sequence) -> list[tuple[str, str]]:
    """Words and meanings of what a page shows, by the alphabet.

    Args:
        runs, robustness, sources: what stands on the page; words of what is empty are left out.
    """
    words = [*(GLOSSARY if runs or robustness else ()), *(ROBUSTNESS_GLOSSARY if robustness else ())]
    words += [_entry(*term) for term in (*SOURCE_TERMS, *NOT_COMPUTED)] if sources else []
    return sorted(words, key=lambda entry: entry[0].casefold())


def _entry(term: str, definition: str, computed_as: str) -> tuple[str, str]:
    return term, f"{definition[0].upper()}{definition[1:]}. {computed_as[0].upper()}{computed_as[1:]}."


def column_label(name: str) -> str:
    """A column's name as a reader sees it."""
    return LABELS.get(name, name.replace("_", " "))


def is_undefined(value: Any) -> bool:
    """Whether a table's value stands for no number."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def number(value: Any, reason: str = "", digits: int = 3) -> str:
    """A number with fixed digits, or `undefined (reason)`."""
    if is_undefined(value):
        return f"undefined ({plain_reason(reason)})"
    value = float(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    # a value that rounds to nothing has no sign
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def plain_reason(status: Any) -> str:
    """A status in words; what has none was not measured."""
    text = "" if is_undefined(status) else str(status).strip()
    return text.replace("_", " ") if text not in ("", "ok", "nan") else MISSING_REASON


def interval(value: Any, low: Any, high: Any, reason: str = "", digits: int = 3) -> str:
    """`0.612 [0.550, 0.671]`; without an interval the value alone."""
    beside = "" if is_undefined(value) else bounds(low, high, digits)
    return f"{number(value, reason, digits)} {beside}".rstrip()


def bounds(low: Any, high: Any, digits: int = 3) -> str:
    """`[0.550, 0.671]`, or nothing where either is not known."""
    return (
        ""
        if is_undefined(low) or is_undefined(high)
        else f"[{number(low, digits=digits)}, {number(high, digits=digits)}]"
    )


def listed(parts: list[str]) -> str:
    """Parts joined as a sentence does."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else ""
