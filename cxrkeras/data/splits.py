"""From the user's splits to train, val and test that no patient crosses, and seeded subsets of them.

Everything is a pure function of the films' table and the seed, whatever the order of its rows. Knows no pixels.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from cxrkeras.data.findings import rarest_positives, truth_of
from cxrkeras.data.manifest import SPLITS, Manifest
from cxrkeras.data.patients import SharedPatient, shared_patients
from cxrkeras.errors import DataError, UsageError

USABLE_VALIDATION = 20
# A column that `fractions` adds; its validation films were chosen on purpose, however few they are.
FRACTION = "label_fraction"
_MOST_FOLDS = 20
# what a split without a side of a finding costs beside the differences of shares, and a train without it
_MISSING, _NOT_IN_TRAIN = 1e3, 1e6
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
    least 20 films (any number in a table of `fractions`), else it is merged into train. What is missing is carved out
    of train: stratified by label, grouped by patient. The validation fraction is a share of the films that are left for
    train and val.

    Args:
        manifest: films with or without splits.
        seed: decides which patients are carved out.
        validation_fraction: share for val, between 0 and 0.5.
        test_fraction: share for test, between 0 and 0.5; used only when there is no test split.
        drop_shared: take films out of train (and val) whose patient is in test (or val).

    Returns:
        The manifest with a complete `split` column; its notices say what was done.

    Several findings a film: stratified by each film's rarest positive finding; train needs positives and negatives of
    every finding, and another split without them is a notice, because its figures of that finding are undefined.

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
    frame, merged = _without_unusable_validation(frame, () if manifest.several else manifest.classes)
    notices += merged
    if drop_shared:
        frame, dropped = _without_shared(frame)
        notices += dropped
    notices += _accepted_overlap(frame)
    for split, fraction in (("test", test_fraction), ("val", validation_fraction)):
        if not frame["split"].eq(split).any():
            frame = _carved(frame, manifest, split, fraction, seed)
            notices.append(_carved_notice(frame, split))
    if manifest.several:
        notices += _missing_sides(frame, manifest.classes)
    else:
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
    ranks = pd.Series([seeded_rank(seed, path) for path in frame["path"]], index=frame.index)
    groups = [*([frame["split"]] if "split" in frame else []), manifest.strata]
    kept = ranks.groupby(groups).rank(method="first") <= n
    notice = f"Limited to {n} films per class and split: {kept.sum()} of {len(frame)} films."
    return manifest.with_frame(frame[kept], notice)


def seeded_rank(seed: int, name: str) -> int:
    """The place of a name in an order that the seed alone decides, whatever else is there."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:7])


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
    if not val.any() or ((val.sum() >= USABLE_VALIDATION or FRACTION in frame) and not lacking):
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


def _carved(frame: pd.DataFrame, manifest: Manifest, split: str, fraction: float, seed: int) -> pd.DataFrame:
    """Move whole patients from train to `split`, the best of the stratified folds' unions."""
    pool = frame[frame["split"].eq("train")]
    patients = pool["patient"] if "patient" in pool else pool["path"]
    taken, folds = _folds(fraction, _most_folds(pool, patients, manifest, split))
    codes = pd.factorize(_strata(pool, manifest, folds), sort=True)[0]
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    parts = [part for _, part in splitter.split(codes, codes, patients)]
    has = _presence(pool, manifest)
    counts = np.array([has[part].sum(axis=0) for part in parts])
    unions = np.array([np.roll(counts, -start, axis=0)[:taken].sum(axis=0) for start in range(folds)])
    total = counts.sum(axis=0)
    cost = np.abs(unions / total - fraction).sum(axis=1)
    # one class a film: every split needs every class; a rare finding may be missing, least of all in train
    nowhere, not_in_train = (_MISSING, _NOT_IN_TRAIN) if manifest.several else (np.inf, np.inf)
    for lacking, price in ((unions == 0, nowhere), (unions == total, not_in_train)):
        cost[lacking.any(axis=1)] += price * lacking.sum(axis=1)[lacking.any(axis=1)]
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


def _most_folds(pool: pd.DataFrame, patients: pd.Series, manifest: Manifest, split: str) -> int:
    """Into how many folds the patients may go: as many as the rarest class has; findings as the largest stratum has."""
    if manifest.several:
        return int(min(patients.nunique(), rarest_positives(pool, manifest.classes).value_counts().max()))
    per_class = patients.groupby(pool["label"]).nunique()
    if per_class.min() < 2:
        raise DataError(
            f"class '{per_class.idxmin()}' has films of one patient only in train, so {split} would have none. "
            f"Expected at least two patients per class; add films, or give a {split} split of your own."
        )
    return int(per_class.min())


def _presence(pool: pd.DataFrame, manifest: Manifest) -> np.ndarray:
    """What a split should have some of, bool ``[n, k]``: films of each class, or both known sides of each finding."""
    if not manifest.several:
        return np.stack([pool["label"].eq(name) for name in sorted(set(pool["label"]))], axis=1)
    truth = truth_of(pool, manifest.classes)
    sides = np.concatenate([truth == 1, truth == 0], axis=1)
    return sides[:, sides.any(axis=0)]


def _strata(pool: pd.DataFrame, manifest: Manifest, folds: int) -> pd.Series:
    """What the folds are stratified by; findings that are positive on fewer films than folds join the largest."""
    if not manifest.several:
        return pool["label"]
    strata = rarest_positives(pool, manifest.classes)
    sizes = strata.value_counts()
    return strata.where(strata.map(sizes) >= folds, sizes.index[0])


def _missing_sides(frame: pd.DataFrame, findings: tuple[str, ...]) -> list[str]:
    """A notice for each split without positives or negatives of a finding; an error where it is train."""
    notices = []
    for split in SPLITS:
        truth = truth_of(frame[frame["split"].eq(split)], findings)
        for value, word in ((1, "positive"), (0, "negative")):
            lacking = [name for name, has in zip(findings, (truth == value).any(axis=0), strict=True) if not has]
            if lacking and split == "train":
                raise DataError(
                    f"split train has no {word} film of {', '.join(lacking)}. Expected positives and negatives of "
                    "every finding to learn from; add films, or leave the finding out with --findings."
                )
            if lacking:
                notices.append(
                    f"Split {split} has no {word} film of {', '.join(lacking)}: their AUC is undefined there."
                )
    return notices


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
