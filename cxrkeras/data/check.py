"""Is a set of films fit for training: every unreadable file, leak and thin class, found before the time is spent.

Collects rather than stops: only a layout that cannot be read at all raises. Changes nothing.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd

from cxrkeras.data.findings import FindingPolicy, truth_of
from cxrkeras.data.images import decode_film
from cxrkeras.data.manifest import SPLITS, Manifest, read_manifest
from cxrkeras.data.patients import same_number_patients, shared_patients
from cxrkeras.data.splits import overlap_message
from cxrkeras.errors import FilmError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.store import sha256_file

SMALL_CLASS = 10
_SHOWN = 5
_THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the films.

    Attributes:
        level: `error` where results would be wrong or training would stop, else `warning`.
        kind: `unreadable`, `shared-patient`, `shared-bytes`, `one-class-split`, `one-sided-finding`,
            `duplicate-bytes`, `small-class`, `same-number`, `no-patient` or `name-clash`.
        message: what is wrong and what to do, in one line.
        films: ids of the films concerned, sorted.
    """

    level: Literal["error", "warning"]
    kind: str
    message: str
    films: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class DataReport:
    """What was found.

    Attributes:
        counts: `split, class, n_films, n_patients`; split is `all` where there are no splits, `n_patients` NaN where
            no patient is known. Where a film may have several findings, `n_films` are the positive ones, and
            `n_negative` and `n_unknown` stand beside them.
        findings: errors first.
        notices: how the films were read.
        source: where they came from.
    """

    counts: pd.DataFrame
    findings: tuple[Finding, ...]
    notices: tuple[str, ...]
    source: str

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings are allowed."""
        return all(finding.level != "error" for finding in self.findings)


def check_data(
    path: str | os.PathLike[str],
    *,
    split_column: str | None = None,
    label_column: str | None = None,
    patient_column: str | None = None,
    findings: FindingPolicy | None = None,
    reporter: Reporter = SILENT,
) -> DataReport:
    """Read every film once and report what would spoil a training.

    Args:
        path: folder or CSV file, and the columns, as for `read_manifest`.
        split_column: column that names the split.
        label_column: column that names the class.
        patient_column: column that names the patient.
        findings: which columns hold findings, as for `read_manifest`.
        reporter: told of progress.

    Raises:
        DataError: the layout itself cannot be read.
    """
    manifest = read_manifest(
        path,
        split_column=split_column,
        label_column=label_column,
        patient_column=patient_column,
        findings=findings,
    )
    failures, hashes = _read_all(manifest, reporter)
    frame = manifest.frame
    problems = [
        *_unreadable(failures),
        *_shared_patient(frame),
        *_same_bytes(frame.assign(sha256=hashes)),
        *(_one_sided_findings(manifest) if manifest.several else _one_class_splits(frame)),
        *_small_classes(manifest),
        *_same_numbers(frame),
        *_without_patients(frame),
        *_name_clashes(frame),
    ]
    return DataReport(
        counts=film_counts(manifest),
        findings=tuple(sorted(problems, key=lambda finding: finding.level)),
        notices=manifest.notices,
        source=manifest.source,
    )


def findings_table(report: DataReport) -> pd.DataFrame:
    """The findings for reading: `level, kind, n_films, message, films`; `films` names the first five."""
    rows = [
        {
            "level": finding.level,
            "kind": finding.kind,
            "n_films": len(finding.films),
            "message": finding.message,
            "films": ", ".join(finding.films[:_SHOWN]) + (", …" if len(finding.films) > _SHOWN else ""),
        }
        for finding in report.findings
    ]
    return pd.DataFrame(rows, columns=["level", "kind", "n_films", "message", "films"])


def film_counts(manifest: Manifest) -> pd.DataFrame:
    """Films and patients per split and class, as `DataReport.counts`."""
    rows = []
    for split, films in _by_split(manifest.frame):
        truth = truth_of(films, manifest.classes)
        for c, name in enumerate(manifest.classes):
            own = films[truth[:, c] == 1] if manifest.several else films[films["label"].eq(name)]
            row = {
                "split": split,
                "class": name,
                "n_films": len(own),
                "n_patients": own["patient"].nunique() if "patient" in films else np.nan,
            }
            if manifest.several:
                row |= {"n_negative": int((truth[:, c] == 0).sum()), "n_unknown": int(np.isnan(truth[:, c]).sum())}
            if manifest.several or len(own):
                rows.append(row)
    return pd.DataFrame(rows)


def _read_all(manifest: Manifest, reporter: Reporter) -> tuple[dict[str, str], list[str]]:
    """Why each unreadable film is unreadable, and the SHA-256 of every file, ``""`` where there is none."""
    failures: dict[str, str] = {}
    hashes: list[str] = []
    with reporter.task("check films", len(manifest)) as advance, ThreadPoolExecutor(_THREADS) as pool:
        for film, (digest, failure) in zip(
            manifest.frame["path"], pool.map(_digest_and_failure, manifest.files()), strict=True
        ):
            hashes.append(digest)
            if failure:
                failures[film] = failure
            advance(1)
    return failures, hashes


def _digest_and_failure(file: Path) -> tuple[str, str]:
    try:
        digest = sha256_file(file)
    except OSError as error:
        return "", f"film {file} cannot be read ({error.strerror})."
    try:
        decode_film(file)
    except FilmError as error:
        return digest, str(error)
    return digest, ""


def _unreadable(failures: dict[str, str]) -> list[Finding]:
    return [Finding("error", "unreadable", message, (film,)) for film, message in failures.items()]


def _shared_patient(frame: pd.DataFrame) -> list[Finding]:
    shared = [patient for patient in shared_patients(frame) if not patient.number_only]
    if not shared:
        return []
    message = f"{overlap_message(shared)}. Correct the splits, or train with --drop-shared."
    return [Finding("error", "shared-patient", message, _films(patient.films for patient in shared))]


def _same_bytes(frame: pd.DataFrame) -> list[Finding]:
    frame = frame[frame["sha256"].ne("")].assign(split=_splits(frame))
    groups = [group for _, group in frame.groupby("sha256") if len(group) > 1]
    crossing = [group for group in groups if group["split"].nunique() > 1]
    inside = [group for group in groups if group["split"].nunique() == 1]
    findings = []
    if crossing:
        message = (
            f"{len(crossing)} sets of byte-identical films lie in more than one split{_labels_differ(crossing)}. "
            "Keep one film of each."
        )
        findings.append(Finding("error", "shared-bytes", message, _films(group["path"] for group in crossing)))
    if inside:
        message = (
            f"{len(inside)} sets of byte-identical films lie inside a split{_labels_differ(inside)}. "
            "Keep one film of each, else it counts more than once."
        )
        findings.append(Finding("warning", "duplicate-bytes", message, _films(group["path"] for group in inside)))
    return findings


def _labels_differ(groups: list[pd.DataFrame]) -> str:
    contradicting = sum(group["label"].nunique() > 1 for group in groups)
    return f", {contradicting} of them under different labels" if contradicting else ""


def _one_class_splits(frame: pd.DataFrame) -> list[Finding]:
    findings = []
    for split, films in frame.groupby(_splits(frame)):
        if films["label"].nunique() == 1:
            message = (
                f"split {split} holds the class '{films['label'].iloc[0]}' only. Expected every class in every "
                "split; add films of the others."
            )
            findings.append(Finding("error", "one-class-split", message, _films([films["path"]])))
    return findings


def _one_sided_findings(manifest: Manifest) -> list[Finding]:
    problems = []
    for split, films in _by_split(manifest.frame):
        truth = truth_of(films, manifest.classes)
        for c, name in enumerate(manifest.classes):
            for value, word in ((1, "positive"), (0, "negative")):
                if not (truth[:, c] == value).any():
                    where = "" if split == "all" else f" in split {split}"
                    message = (
                        f"finding '{name}' has no {word} film{where}. Expected both, else nothing can be learned or "
                        "measured there; add films, or leave it out with --findings."
                    )
                    problems.append(Finding("error", "one-sided-finding", message, _films([films["path"]])))
    return problems


def _small_classes(manifest: Manifest) -> list[Finding]:
    findings = []
    several = manifest.several
    for split, films in _by_split(manifest.frame):
        positive = truth_of(films, manifest.classes) == 1
        for c, name in enumerate(manifest.classes):
            own = films["path"][positive[:, c] if several else films["label"].eq(name)]
            # a finding without any is an error already
            if len(own) < SMALL_CLASS and (len(own) or not several):
                where = "" if split == "all" else f" in split {split}"
                kind, what = ("finding", "positive films") if several else ("class", "films")
                message = (
                    f"{kind} '{name}' has {len(own)} {what}{where}. Expected {SMALL_CLASS} or more, below which its "
                    "figures mean little; add films."
                )
                findings.append(Finding("warning", "small-class", message, _films([own])))
    return findings


def _same_numbers(frame: pd.DataFrame) -> list[Finding]:
    same = same_number_patients(frame)
    if not same:
        return []
    crossing = sum(patient.number_only for patient in shared_patients(frame))
    message = (
        f"{len(same)} Kermany numbers have bacterial and viral films, {crossing} of them across splits. They count as "
        "one patient each; train with --drop-shared to be sure that none is in two splits."
    )
    return [Finding("warning", "same-number", message, _films(same.values()))]


def _without_patients(frame: pd.DataFrame) -> list[Finding]:
    lone = frame["path"] if "patient" not in frame else frame["path"][frame["patient"].eq(frame["path"])]
    if lone.empty:
        return []
    message = (
        f"{len(lone)} of {len(frame)} films have no patient and count as one each, so a leak between splits cannot be "
        "seen. Give a patient column, or name it with --patient-column."
    )
    return [Finding("warning", "no-patient", message, _films([lone]))]


def _name_clashes(frame: pd.DataFrame) -> list[Finding]:
    stems = frame["path"].map(lambda path: PurePosixPath(path).stem.lower())
    clashing = frame["path"][stems.duplicated(keep=False)]
    if clashing.empty:
        return []
    message = (
        f"{len(clashing)} films share their file name with another one, first '{sorted(clashing)[0]}'. Boxes and "
        "masks that name an image without its folder cannot be matched to them; rename them or give full paths."
    )
    return [Finding("warning", "name-clash", message, _films([clashing]))]


def _by_split(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The films of each split: train, val, test, or all of them where there are no splits."""
    groups = dict(list(frame.groupby(_splits(frame))))
    return [(split, groups[split]) for split in ("all", *SPLITS) if split in groups]


def _splits(frame: pd.DataFrame) -> pd.Series:
    return frame["split"] if "split" in frame else pd.Series("all", index=frame.index)


def _films(groups) -> tuple[str, ...]:
    return tuple(sorted({film for group in groups for film in group}))
