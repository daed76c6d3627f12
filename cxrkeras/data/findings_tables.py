"""Tables with several findings a film, whoever wrote them, to one class or several findings a film.

Recognises NIH's and TorchXRayVision's tables, labels joined by `|`, and any table whose columns are named; CheXpert's
have paths of their own, see `chexpert`. Knows no pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from cxrkeras.data.findings import (
    ALL,
    FindingPolicy,
    chosen_findings,
    decided,
    finding_marks,
    stated_findings,
    with_truth,
)
from cxrkeras.data.layouts import films_of_table, label_set_aside, plain_name
from cxrkeras.data.nih import NO_FINDING, films_of_nih, is_nih, joined_marks
from cxrkeras.data.xrv import is_xrv, pathology_columns, with_people
from cxrkeras.errors import DataError, unknown
from cxrkeras.tables import truth_columns

Columns = Mapping[str, str | None]


@dataclass(frozen=True, eq=False)
class Marked:
    """Films and what their table says of each finding.

    Attributes:
        frame: `path` and, where known, `patient`, `split` and further columns.
        marks: 1, 0, −1 (uncertain) or NaN (blank), a column a finding, rows as in `frame`.
        root: folder that the paths are relative to.
        notices: how they were read.
        blank: what an empty field is unless the policy says.
    """

    frame: pd.DataFrame
    marks: pd.DataFrame
    root: Path
    notices: list[str]
    blank: str = "zeros"


def needs_choice(columns: Sequence[str]) -> bool:
    """Whether a table with these columns has several findings a film and no class, so that one has to be chosen."""
    return is_nih(columns) or is_xrv(columns)


def films_of_findings(
    table: Path, columns: Columns, policy: FindingPolicy, have: Sequence[str]
) -> tuple[pd.DataFrame, tuple[str, ...] | None, Path, list[str]]:
    """Read a table of findings by the policy.

    Args:
        table: the CSV, absolute.
        columns: for `label`, `patient` and `split` the column asked for by name, or None. A label column holds
            findings joined by `|`.
        policy: one finding (`positive`), several (`names`), or neither where the table states its own truth.
        have: the table's columns.

    Returns:
        A table `path, label[, patient, split], …`; the findings, with `truth_<finding>` columns in the table, or None
        where it is one of two classes a film; the folder that the paths are relative to; notices.

    Raises:
        DataError: a table that cannot be read, a finding that is not in it, or none chosen where one has to be.
    """
    source = str(table)
    found = _marked(table, columns, policy, have)
    policy = replace(policy, blank=policy.blank or found.blank)
    if policy.positive is not None:
        frame, told = with_two_classes(found.frame, found.marks, policy, source)
        return frame, None, found.root, found.notices + told
    stated = stated_findings(have)
    if policy.names is None and not stated:
        raise undecided(found.marks, source)
    asked = stated if policy.names is None or (policy.names == (ALL,) and stated) else policy.names
    if asked == (ALL,):
        asked = tuple(name for name in found.marks if name != NO_FINDING)
        if not needs_choice(have) and columns.get("label") is None:
            raise DataError(
                f"{table} is no CheXpert table, nor NIH's or TorchXRayVision's, so --findings all does not say which "
                f"columns hold findings. Name them; columns: {', '.join(have)}."
            )
    findings = chosen_findings(asked, [*found.marks, *have, *stated], source)
    beside = found.marks[[name for name in found.marks if name not in found.frame]]
    frame, told = with_truth(pd.concat([found.frame, beside], axis=1), findings, policy, source)
    return frame, findings, found.root, found.notices + told


def with_two_classes(
    frame: pd.DataFrame, marks: pd.DataFrame, policy: FindingPolicy, source: str
) -> tuple[pd.DataFrame, list[str]]:
    """The films with the policy's positive finding, and those without it or with the negative one, as two classes.

    A film that is unknown by the policy, or has neither or both findings, is left out and counted. Where no mark is
    called `No Finding`, `negative` may still be: films whose every finding, of two or more, is known to be absent.

    Args:
        frame: the films.
        marks: 1, 0, −1 or NaN, a column a finding, rows as in `frame`.
        policy: its `positive`, `negative`, `uncertain` and `blank`.
        source: named in errors.

    Returns:
        The table with `label`: the finding's name, and `no <finding>` or the negative one's; notices.

    Raises:
        DataError: a finding that the table does not have.
    """
    truth = decided(marks, policy)
    positive = _resolved(policy.positive, list(marks), source)
    has, other = truth[positive].eq(1), f"no {positive}"
    if policy.negative is None:
        without, clean = truth[positive].eq(0), "unknown"
    else:
        spelled = any(plain_name(name) == plain_name(NO_FINDING) for name in marks)
        if plain_name(policy.negative) == plain_name(NO_FINDING) and not spelled and len(marks.columns) > 1:
            truth = truth.assign(**{NO_FINDING: truth.eq(0).all(axis=1).astype("float64")})
        other, clean = _resolved(policy.negative, list(truth), source), "unknown, or with neither or both"
        if other == positive:
            raise DataError(f"--positive and --negative are both '{positive}'. Name two findings of {source}.")
        without = truth[other].eq(1) & truth[positive].eq(0)
        has = has & truth[other].ne(1)
    label = pd.Series("", frame.index).mask(has, positive).mask(without, other)
    kept = label.ne("")
    if "label" in frame:
        frame = frame.drop(columns="label")
    notice = f"Two classes: {has.sum()} films {positive}, {without.sum()} {other}"
    left = f"; {(~kept).sum()} of {len(frame)} films are {clean} and left out." if not kept.all() else "."
    return frame.assign(label=label)[kept].reset_index(drop=True), [notice + left]


def undecided(marks: pd.DataFrame, source: str) -> DataError:
    """The error of a table whose films may have several findings when nobody said which is meant."""
    counts = marks.eq(1).sum().sort_values(ascending=False, kind="stable")
    blank = marks.isna().sum() + marks.eq(-1).sum()
    told = ", ".join(
        f"{name} {counts[name]}" + (f" ({blank[name]} unknown)" if blank[name] else "") for name in counts.index
    )
    return DataError(
        f"{source} lists several findings a film, so it says no class. Expected one of them as --positive NAME (with "
        f"--negative NAME to take only films with that), or several as --findings NAMES. Positive films: {told}."
    )


def _marked(table: Path, columns: Columns, policy: FindingPolicy, have: Sequence[str]) -> Marked:
    if columns.get("label") is not None:
        return _of_joined_labels(table, columns)
    if is_nih(have):
        frame, marks, root, notices = films_of_nih(table, columns)
        return Marked(frame, marks, root, notices)
    if stated := stated_findings(have):
        frame, root, notices = films_of_table(table, columns, labelled=False)
        marks = finding_marks(frame, truth_columns(stated), str(table))
        return Marked(frame, marks.set_axis(stated, axis=1), root, notices, "ignore")
    named = _named_columns(policy, have)
    if is_xrv(have) or (named and len(pathology_columns(have)) > 1):
        frame, root, notices = films_of_table(table, columns, labelled=False)
        # a column that nobody asked for may hold something else than a finding
        chosen = named if _wanted(policy) and len(named) == len(set(_wanted(policy))) else pathology_columns(have)
        marks = finding_marks(frame, chosen, str(table))
        notices = [f"A table of TorchXRayVision's kind, whose blanks are unknown: {table}.", *notices]
        return Marked(with_people(frame), marks, root, notices, "ignore")
    if policy.positive is not None and not named:
        return _of_joined_labels(table, columns)
    frame, root, notices = films_of_table(table, columns, labelled=False)
    return Marked(frame, finding_marks(frame, named, str(table)), root, notices)


def _named_columns(policy: FindingPolicy, have: Sequence[str]) -> list[str]:
    """The columns that the policy's findings name, in its order; a name that is no column is left to the caller."""
    folded = {str(column).lower(): str(column) for column in reversed(have)}
    found = [name if name in have else folded.get(name.lower()) for name in _wanted(policy)]
    return list(dict.fromkeys(name for name in found if name is not None))


def _wanted(policy: FindingPolicy) -> tuple[str, ...]:
    """The findings that the policy names, one or several."""
    return tuple(name for name in (policy.positive, policy.negative, *(policy.names or ())) if name is not None)


def _of_joined_labels(table: Path, columns: Columns) -> Marked:
    frame, root, notices = films_of_table(table, columns)
    marks = joined_marks(frame["label"])
    return Marked(label_set_aside(frame), marks, root, notices)


def _resolved(name: str, known: Sequence[str], source: str) -> str:
    folded = {plain_name(other): other for other in reversed(known)}
    if plain_name(name) not in folded:
        raise unknown(f"finding of {source}", name, known, DataError)
    return name if name in known else folded[plain_name(name)]
