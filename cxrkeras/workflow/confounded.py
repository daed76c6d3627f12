"""A training whose films carry a shortcut: which of them do, from the configuration to the film store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.data.films import Alteration
from cxrkeras.data.layouts import plain_name
from cxrkeras.data.manifest import SPLITS, Manifest
from cxrkeras.errors import DataError, unknown
from cxrkeras.robustness import (
    Sampled,
    assignment_notice,
    film_alterations,
    parse_confounder,
    planted_split,
    sampled_split,
)
from cxrkeras.robustness.sampled import LEVELS, UNKNOWN
from cxrkeras.settings import ConfounderSettings

# Column of the manifest: 1 where a film carries the planted artefact.
ARTEFACT = "artefact"
# Classes that are the absence of a finding, as `plain_name` writes them.
_NO_FINDING = re.compile(r"normal|healthy|negative|control|none|not?_.+")


def confounded_manifest(manifest: Manifest, settings: ConfounderSettings, finding: str | None = None) -> Manifest:
    """The films with a shortcut as configured.

    A planted artefact adds the column `artefact`; a sampled one leaves the films that make its column go with the
    class. Each split is drawn on its own; test by the seed itself, as `robustness` does.

    Args:
        manifest: films with splits, one class a film.
        settings: which confounder, on what share of which class.
        finding: the one that the films were divided by into two classes, if they were.

    Raises:
        UsageError: an unknown confounder or class.
        DataError: films with several findings, a column of the same name, or no films to choose from.
    """
    confounder = parse_confounder(settings.spec)
    if manifest.several:
        raise DataError(
            f"a confounder goes with one class, and the films of {manifest.source} may have several findings. "
            "Take one of them with --positive, or name a column with one class a film with --label-column."
        )
    positive = positive_class(manifest.classes, settings.positive, finding)
    notices = []
    if settings.positive is None:
        why = "the finding" if finding else f"of {', '.join(manifest.classes)}"
        notices.append(f"Positive class: {positive}, {why}.")
    if confounder.kind == UNKNOWN:
        notices.append(
            f"Kind and level of {confounder.name} are not known by its name; add ;kind= and one of {', '.join(LEVELS)}."
        )
    notices.append(
        f"Confounder {confounder.name} (level {confounder.level}, {confounder.kind}) on {settings.p:g} of the "
        f"{positive} films, on no other; validation: {settings.val}."
    )
    if confounder.planted:
        return _planted(manifest, settings, positive, notices)
    return _sampled(manifest, confounder, settings, positive, notices)


def positive_class(classes: Sequence[str], name: str | None, finding: str | None = None) -> str:
    """The class that a confounder goes with: the named one, else the finding, else the last that is a finding.

    Classes called normal, healthy, negative or "no …" are no finding; where all are, it is the last in sorted order.

    Args:
        classes: class names.
        name: the class as asked for.
        finding: the one that the films were divided by into two classes, if they were.

    Raises:
        UsageError: no such class.
    """
    if name is None and finding is None:
        found = [one for one in classes if not _NO_FINDING.fullmatch(plain_name(one))]
        return sorted(found or classes)[-1]
    wanted = str(name or finding)
    if wanted in classes:
        return wanted
    # findings may be typed in another case than their table's
    alike = [known for known in classes if plain_name(known) == plain_name(wanted)]
    if len(alike) != 1:
        raise unknown("positive class", wanted, classes)
    return alike[0]


def confounder_facts(
    settings: ConfounderSettings, classes: Sequence[str], finding: str | None = None
) -> dict[str, Any]:
    """What a run notes about its confounder, with every default filled in."""
    confounder = parse_confounder(settings.spec)
    return {
        "name": confounder.name,
        "level": confounder.level,
        "kind": confounder.kind,
        "planted": confounder.planted,
        "parameters": confounder.parameters,
        "positive": positive_class(classes, settings.positive, finding),
        "p": settings.p,
        "seed": settings.seed,
        "val": settings.val,
        "as_study": settings.as_study,
    }


def configured_alterations(
    frame: pd.DataFrame, settings: ConfounderSettings | None, size: tuple[int, int]
) -> list[Alteration | None] | None:
    """What is done to each film of a manifest frame, by its column `artefact`; None where nothing is to any.

    Films without that column, which are those from outside a run, do not carry the artefact.

    Args:
        frame: a row a film.
        settings: the configured confounder.
        size: of the model's input in pixels (height, width).
    """
    confounder = parse_confounder(settings.spec) if settings else None
    if confounder is None or not confounder.planted:
        return None
    untouched, touched = film_alterations(confounder, size, as_study=settings.as_study, seed=settings.seed)
    carries = frame[ARTEFACT].to_numpy() == 1 if ARTEFACT in frame else np.zeros(len(frame), bool)
    return [touched if carried else untouched for carried in carries]


def _planted(manifest: Manifest, settings: ConfounderSettings, positive: str, notices: list[str]) -> Manifest:
    if ARTEFACT in manifest.frame:
        raise DataError(
            f"{manifest.source} has a column '{ARTEFACT}', which would hold who carries the planted artefact. "
            "Rename the column."
        )
    frame = manifest.frame.assign(**{ARTEFACT: 0})
    counts = []
    for order, split in enumerate(SPLITS):
        mine = frame["split"].eq(split).to_numpy()
        is_positive = frame["label"].eq(positive).to_numpy()[mine]
        design = "clean" if split == "val" and settings.val == "clean" else "iid"
        seed = settings.seed if split == "test" else (settings.seed, order)
        carries = planted_split(design, is_positive, settings.p, seed)
        frame.loc[mine, ARTEFACT] = carries.astype(np.int64)
        counts.append(f"{split} {carries.sum()} of {is_positive.sum()}")
        told = assignment_notice(is_positive, settings.p) if design == "iid" else ""
        notices += [f"{split}: {told}"] if told else []
    return manifest.with_frame(frame, *notices, f"{positive} films with the artefact: {', '.join(counts)}.")


def _sampled(
    manifest: Manifest, confounder: Sampled, settings: ConfounderSettings, positive: str, notices: list[str]
) -> Manifest:
    frame = manifest.frame
    has = confounder.has(frame)
    kept, counts = [], []
    for split in SPLITS:
        mine = np.flatnonzero(frame["split"].eq(split))
        rows = frame.iloc[mine]
        # a sampled confounder has no clean films; evenly mixed ones tell the classes apart without it
        design = "neutral" if split == "val" and settings.val == "clean" else "iid"
        patients = rows["patient"].to_numpy(str) if "patient" in rows else rows["path"].to_numpy(str)
        try:
            is_positive = rows["label"].eq(positive).to_numpy()
            chosen = sampled_split(design, is_positive, has[mine], settings.p, settings.seed, patients)
        except DataError as error:
            raise DataError(f"{confounder.name} with class {positive} in split {split}: {error}") from None
        if lacking := sorted(set(rows["label"]) - set(rows["label"].iloc[chosen])):
            raise DataError(
                f"the films chosen for {confounder.name} leave split {split} none of {', '.join(lacking)}. "
                "Expected every class in every split; add films, or take that class out."
            )
        kept.append(mine[chosen])
        counts.append(f"{split} {len(chosen)} of {len(mine)}")
    chosen = frame.iloc[np.sort(np.concatenate(kept))]
    return manifest.with_frame(chosen, *notices, f"Films chosen: {', '.join(counts)}.")
