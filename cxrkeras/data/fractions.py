"""Label fractions: a share of the training patients, stratified by class and nested from one fraction to the next.

Everything is a pure function of the films' table, the fraction and the seed, whatever the order of its rows. Knows no
pixels, no layouts and no files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cxrkeras.data.manifest import Manifest
from cxrkeras.data.splits import FRACTION, USABLE_VALIDATION, seeded_rank
from cxrkeras.errors import DataError, UsageError

FRACTION_SEED = "fraction_seed"
# Labels of a film with several findings stand in one field.
_AND = "|"


def label_fraction(manifest: Manifest, fraction: float, seed: int = 0, *, scale_val: bool = False) -> Manifest:
    """Keep a share of the training patients, with all their films; the test films are untouched.

    The patients are drawn from one seeded order, in which each next patient is of the class that is furthest behind
    its share, so that a smaller fraction lies wholly in a larger one. With two classes these are the counts of largest
    remainder; with more a class may differ from them by one or two patients, because largest remainder may take a
    patient back when the fraction grows (the Alabama paradox). A patient with films of several classes stands for the
    one that fewest patients have, ties by name.

    Args:
        manifest: films with splits; without a `patient` column every film is its own patient.
        fraction: share of the patients of train, more than 0 and at most 1.
        seed: decides which patients are drawn.
        scale_val: draw the same share of the validation patients. Without it all of them stay, and with them more
            labels than a small fraction has.

    Returns:
        The films that are left, with the columns `label_fraction` and `fraction_seed`; its notices say how many.

    Raises:
        UsageError: a fraction out of range.
        DataError: no splits, films that are a fraction already, or a class without a film in what is drawn.
    """
    if not 0 < fraction <= 1:
        raise UsageError(
            f"a label fraction is a share of the training patients. Expected more than 0 and at most 1, got {fraction}."
        )
    frame = manifest.frame
    _check_whole(frame, manifest.source)
    kept, notices = frame["split"].ne("train"), []
    for split in ("train", "val") if scale_val else ("train",):
        mine = frame["split"].eq(split)
        films, told = _drawn(frame[mine], manifest.classes, split, fraction, seed)
        kept = kept & ~mine | frame.index.isin(films)
        notices.append(told)
    drawn = frame[kept].assign(**{FRACTION: float(fraction), FRACTION_SEED: int(seed)})
    return manifest.with_frame(drawn, *notices, *_validation_notices(drawn, fraction, scale_val))


def patient_order(films: pd.DataFrame, classes: Sequence[str], seed: int) -> list[str]:
    """Every patient once, so that any first part is stratified by class.

    Args:
        films: `path`, `label` and, where known, `patient`.
        classes: class names; a label that is none of them is several findings joined by `|`.
        seed: decides the order within a class.
    """
    strata = _strata(films, classes)
    waiting = {
        name: sorted(strata.index[strata == name], key=lambda patient: seeded_rank(seed, patient), reverse=True)
        for name in sorted(set(strata))
    }
    # where two classes lag alike, the smaller one goes first
    names = sorted(waiting, key=lambda name: (len(waiting[name]), name))
    sizes = np.array([len(waiting[name]) for name in names])
    taken, order = np.zeros(len(names), np.int64), []
    for number in range(1, len(strata) + 1):
        # in whole numbers, so that no rounding decides
        behind = int(np.argmax(number * sizes - taken * len(strata)))
        taken[behind] += 1
        order.append(waiting[names[behind]].pop())
    return order


def classes_of(label: str, classes: Sequence[str]) -> tuple[str, ...]:
    """The classes of a film: its label, or the findings that the label joins by `|`."""
    return (label,) if label in classes else tuple(label.split(_AND))


def class_counts(films: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Films and patients of every class.

    Args:
        films: `path`, `label` and, where known, `patient`.
        classes: class names.

    Returns:
        A row a class, in their order: `class, films, patients, positives, positive_patients`; the first two count
        all that were given, the last two those of the class.
    """
    own = [classes_of(label, classes) for label in films["label"]]
    patients = _patients(films)
    rows = []
    for name in classes:
        positive = np.array([name in found for found in own], bool)
        rows.append(
            {
                "class": name,
                "films": len(films),
                "patients": patients.nunique(),
                "positives": int(positive.sum()),
                "positive_patients": patients[positive].nunique(),
            }
        )
    return pd.DataFrame(rows)


def _check_whole(frame: pd.DataFrame, source: str) -> None:
    if "split" not in frame:
        raise DataError(f"{source} has no splits. Expected train, val and test; make them with splits.prepare_splits.")
    if FRACTION in frame and (pd.to_numeric(frame[FRACTION], errors="coerce") < 1).any():
        raise DataError(
            f"the films of {source} are a label fraction already (column {FRACTION}). Expected all of them; name the "
            "table that the fraction was drawn from, or leave the fraction out."
        )


def _drawn(films: pd.DataFrame, classes: Sequence[str], split: str, fraction: float, seed: int) -> tuple[pd.Index, str]:
    """Rows of the films whose patients are drawn, and a sentence that counts them."""
    patients = _patients(films)
    total = patients.nunique()
    number = _patients_of_fraction(fraction, total)
    # the whole split needs no order, and a class it lacks is the splits' own affair
    order = patient_order(films, classes, seed) if number < total else []
    rows = films.index[patients.isin(order[:number])] if order else films.index
    if order:
        _check_classes(films, patients, order, number, classes, split, fraction)
    kind = "patients" if "patient" in films else "films, each taken as its own patient"
    return rows, (
        f"Label fraction {fraction:g} of {split} (seed {seed}): {number} of {total} {kind}, {len(rows)} of "
        f"{len(films)} films, stratified by class."
    )


def _patients_of_fraction(fraction: float, total: int) -> int:
    """Patients that a fraction of `total` comes to, halves upwards."""
    return min(total, math.floor(fraction * total + 0.5 + 1e-9))


def _check_classes(
    films: pd.DataFrame,
    patients: pd.Series,
    order: list[str],
    number: int,
    classes: Sequence[str],
    split: str,
    fraction: float,
) -> None:
    """Make sure that every class the split has is among the first `number` patients."""
    place = {patient: at for at, patient in enumerate(order, start=1)}
    first: dict[str, int] = {}
    for patient, label in zip(patients.tolist(), films["label"].tolist(), strict=True):
        for name in classes_of(label, classes):
            first[name] = min(first.get(name, len(order)), place[patient])
    lacking = [name for name in classes if first.get(name, 0) > number]
    if lacking:
        smallest = _smallest(max(first[name] for name in classes if name in first), len(order))
        raise DataError(
            f"label fraction {fraction:g} of {split} is {number} of {len(order)} patients and has no film of "
            f"{', '.join(lacking)}. Expected at least one of every class; the smallest fraction that has it is "
            f"{smallest:g}."
        )


def _smallest(number: int, total: int) -> float:
    """The smallest fraction, in steps of a ten-thousandth or finer, that comes to `number` of `total` patients."""
    digits = 4
    while _patients_of_fraction(found := math.ceil((number - 0.5) / total * 10**digits) / 10**digits, total) < number:
        digits += 1
    return found


def _strata(films: pd.DataFrame, classes: Sequence[str]) -> pd.Series:
    """The class that each patient stands for, by patient: of theirs the one that fewest patients have."""
    pairs = pd.DataFrame(
        {"patient": _patients(films), "name": [classes_of(label, classes) for label in films["label"].tolist()]}
    )
    pairs = pairs.explode("name").drop_duplicates()
    rarity = pairs["name"].map(pairs["name"].value_counts())
    ranked = pairs.assign(rarity=rarity).sort_values(["rarity", "name"], kind="stable")
    return ranked.drop_duplicates("patient").set_index("patient")["name"].sort_index()


def _patients(films: pd.DataFrame) -> pd.Series:
    return films["patient"] if "patient" in films else films["path"]


def _validation_notices(drawn: pd.DataFrame, fraction: float, scale_val: bool) -> list[str]:
    train, val = (int(drawn["split"].eq(split).sum()) for split in ("train", "val"))
    if fraction < 1 and not scale_val:
        return [
            f"Validation stays whole: its {val} labels, beside {train} of training, choose the checkpoint, so more "
            "labels are used than the fraction says. --scale-val shrinks it too."
        ]
    if scale_val and val < USABLE_VALIDATION:
        return [f"Validation has {val} films only: an AUC on them says little about which checkpoint is the best."]
    return []
