"""From the user's splits to train, val and test that no patient crosses, and seeded subsets of them.

Everything is a pure function of the films' table and the seed, whatever the order of its rows. Knows no pixels.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from cxrkeras.data.manifest import SPLITS, Manifest
from cxrkeras.data.patients import SharedPatient, shared_patients
from cxrkeras.errors import DataError, UsageError

USABLE_VALIDATION = 20
_MOST_FOLDS = 20
# A patient in several splits stays where it matters most that nobody else knows it.
_PRIORITY = ("test", "val", "train")


def prepare_splits(
    manifest: Manifest,
    *,
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    drop_shared: bool = False,
) -> Manifest:
    """Give every film one of train, val and test without a patient in two of them.

    A test split of the user's is left untouched. A validation split of the user's stays if it has every class and at
    least 20 films, else it is merged into train. What is missing is carved out of train: stratified by label,
    grouped by patient. The validation fraction is a share of the films that are left for train and val.

    Args:
        manifest: films with or without splits.
        seed: decides which patients are carved out.
        validation_fraction: share for val, between 0 and 0.5.
        test_fraction: share for test, between 0 and 0.5; used only when there is no test split.
        drop_shared: take films out of train (and val) whose patient is in test (or val).

    Returns:
        The manifest with a complete `split` column; its notices say what was done.

    Raises:
        DataError: a patient is in two splits, a split has no film of a class, or a class has too few patients. A
            Kermany number shared only by bacterial and viral films is a notice, because it may be two children.
        UsageError: a fraction that is not between 0 and 0.5.
    """
    for name, fraction in (("validation_fraction", validation_fraction), ("test_fraction", test_fraction)):
        if not 0 < fraction < 0.5:
            raise UsageError(f"{name} is a share of the films. Expected more than 0 and less than 0.5; got {fraction}.")
    frame = manifest.frame.sort_values("path", ignore_index=True)
    notices: list[str] = []
    if "split" not in frame:
        frame["split"] = "train"
        notices.append("There are no splits; train, val and test are made here.")
    _require_train(frame, manifest.source)
    frame, merged = _without_unusable_validation(frame, manifest.classes)
    notices += merged
    if drop_shared:
        frame, dropped = _without_shared(frame)
        notices += dropped
    notices += _accepted_overlap(frame)
    for split, fraction in (("test", test_fraction), ("val", validation_fraction)):
        if not frame["split"].eq(split).any():
            frame = _carved(frame, split, fraction, seed)
            notices.append(_carved_notice(frame, split))
    _require_classes(frame, manifest.classes)
    columns = [name for name in ("path", "label", "patient", "split") if name in frame]
    frame = frame[columns + [name for name in frame if name not in columns]]
    return manifest.with_frame(frame, *notices)


def limit_films(manifest: Manifest, n: int, seed: int = 0) -> Manifest:
    """Keep at most `n` films of every class in every split.

    The films of a smaller `n` are among those of a larger one.

    Args:
        manifest: films, split or not.
        n: films per class and split.
        seed: decides which films stay.

    Raises:
        UsageError: `n` below 1.
    """
    if n < 1:
        raise UsageError(f"a limit counts films per class and split. Expected 1 or more, received {n}.")
    frame = manifest.frame
    ranks = pd.Series([_rank(seed, path) for path in frame["path"]], index=frame.index)
    groups = [frame[name] for name in ("split", "label") if name in frame]
    kept = ranks.groupby(groups).rank(method="first") <= n
    notice = f"Limited to {n} films per class and split: {kept.sum()} of {len(frame)} films."
    return manifest.with_frame(frame[kept], notice)


def overlap_message(shared: list[SharedPatient]) -> str:
    """One sentence about patients in two splits: how many, where, and the first three."""
    first = ", ".join(patient.patient for patient in shared[:3])
    pairs = sorted({" and ".join(sorted(patient.splits, key=SPLITS.index)) for patient in shared})
    films = sum(len(patient.films) for patient in shared)
    return (
        f"{len(shared)} patients ({films} films) are in more than one split ({'; '.join(pairs)}): "
        f"{first}{', …' if len(shared) > 3 else ''}"
    )


def _require_train(frame: pd.DataFrame, source: str) -> None:
    if not frame["split"].eq("train").any():
        found = ", ".join(sorted(set(frame["split"])))
        raise DataError(f"{source} has no training films. Expected a split train; found {found} only. Add train.")


def _without_unusable_validation(frame: pd.DataFrame, classes: tuple[str, ...]) -> tuple[pd.DataFrame, list[str]]:
    val = frame["split"].eq("val")
    lacking = [name for name in classes if not frame["label"][val].eq(name).any()]
    if not val.any() or (val.sum() >= USABLE_VALIDATION and not lacking):
        return frame, []
    reason = f"has no film of {', '.join(lacking)}" if lacking else f"has fewer than {USABLE_VALIDATION} films"
    notice = f"The given validation split ({val.sum()} films) {reason}; it is merged into train."
    return frame.assign(split=frame["split"].mask(val, "train")), [notice]


def _without_shared(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    surplus = pd.Series(False, index=frame.index)
    for patient in shared_patients(frame):
        home = next(split for split in _PRIORITY if split in patient.splits)
        surplus |= frame["path"].isin(patient.films) & frame["split"].ne(home)
    if not surplus.any():
        return frame, []
    counts = frame["split"][surplus].value_counts()
    dropped = ", ".join(f"{counts[split]} from {split}" for split in SPLITS if split in counts)
    notice = f"Dropped films whose patient is also in a later split: {dropped}."
    return frame[~surplus].reset_index(drop=True), [notice]


def _accepted_overlap(frame: pd.DataFrame) -> list[str]:
    shared = shared_patients(frame)
    certain = [patient for patient in shared if not patient.number_only]
    if certain:
        raise DataError(
            f"{overlap_message(certain)}. Expected every patient in one split, else the test knows films of trained "
            "patients. Drop them with --drop-shared, correct the splits, or name the right column with "
            "--patient-column."
        )
    if not shared:
        return []
    return [
        f"{overlap_message(shared)}. Only a bacterial and a viral film share each of these numbers, which may be two "
        "children; --drop-shared takes them out."
    ]


def _carved(frame: pd.DataFrame, split: str, fraction: float, seed: int) -> pd.DataFrame:
    """Move whole patients from train to `split`, the best of the stratified folds' unions."""
    pool = frame[frame["split"].eq("train")]
    patients = pool["patient"] if "patient" in pool else pool["path"]
    per_class = patients.groupby(pool["label"]).nunique()
    if per_class.min() < 2:
        raise DataError(
            f"class '{per_class.idxmin()}' has films of one patient only in train, so {split} would have none. "
            f"Expected at least two patients per class; add films, or give a {split} split of your own."
        )
    taken, folds = _folds(fraction, int(per_class.min()))
    codes = pd.factorize(pool["label"], sort=True)[0]
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    parts = [part for _, part in splitter.split(codes, codes, patients)]
    counts = np.array([np.bincount(codes[part], minlength=codes.max() + 1) for part in parts])
    unions = np.array([np.roll(counts, -start, axis=0)[:taken].sum(axis=0) for start in range(folds)])
    total = counts.sum(axis=0)
    cost = np.abs(unions / total - fraction).sum(axis=1)
    cost[((unions == 0) | (unions == total)).any(axis=1)] = np.inf
    best = int(np.argmin(cost))
    if np.isinf(cost[best]):
        raise DataError(
            f"no patient-grouped {split} split holds every class: the patients of a class hang together. "
            f"Expected more patients per class; add films, or give a {split} split of your own."
        )
    rows = np.concatenate([parts[(best + k) % folds] for k in range(taken)])
    result = frame.copy()
    result.loc[pool.index[rows], "split"] = split
    return result


def _folds(fraction: float, patients: int) -> tuple[int, int]:
    """How many of how many folds come nearest to `fraction`; no more folds than the rarest class has patients."""
    most = max(2, min(patients, max(_MOST_FOLDS, round(1 / fraction))))
    options = [(taken, folds) for folds in range(2, most + 1) for taken in range(1, folds)]
    return min(options, key=lambda option: (round(abs(option[0] / option[1] - fraction), 9), option[1]))


def _carved_notice(frame: pd.DataFrame, split: str) -> str:
    grouped = "grouped by patient" if "patient" in frame else "each film taken as its own patient"
    return f"Carved {split} out of train: {frame['split'].eq(split).sum()} films, stratified by class, {grouped}."


def _require_classes(frame: pd.DataFrame, classes: tuple[str, ...]) -> None:
    for split in SPLITS:
        present = set(frame["label"][frame["split"].eq(split)])
        lacking = [name for name in classes if name not in present]
        if lacking:
            raise DataError(
                f"split {split} has no film of {', '.join(lacking)}. Expected every class in every split: "
                f"{', '.join(classes)}; add films, or correct the labels or splits."
            )


def _rank(seed: int, path: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{path}".encode()).digest()[:7])
