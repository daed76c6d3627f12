"""Several findings a film: what a table says of each (1, 0, −1, blank), and what the asked policy makes of it.

In a manifest the truth stands in a column `truth_<finding>` (1, 0, or NaN where unknown); `label` joins the positive
findings for reading. Policies as U-Ignore, U-Zeros and U-Ones of Irvin et al. 2019 (arXiv 1901.07031). Knows no films.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxrkeras.errors import DataError, UsageError, unknown
from cxrkeras.tables import TRUTH, truth_columns

ALL = "all"
NO_POSITIVE = "none"
UNCERTAIN = {"ignore": "are unknown", "zeros": "count as 0", "ones": "count as 1"}
BLANK = {"zeros": "count as 0", "ignore": "are unknown"}
VIEWS = ("frontal", "all")
_VALUES = {"uncertain": {"ignore": np.nan, "zeros": 0.0, "ones": 1.0}, "blank": {"zeros": 0.0, "ignore": np.nan}}


@dataclass(frozen=True)
class FindingPolicy:
    """How a table of findings is read.

    Attributes:
        names: columns of the findings, in the order of the outputs; `("all",)` for every CheXpert one; None for the
            table's own default.
        uncertain: what −1 becomes: `ignore` (unknown), `zeros` or `ones`.
        blank: what an empty field becomes: `zeros`, or `ignore` (unknown); None for the table's own default, which is
            `ignore` for TorchXRayVision tables, whose blanks were never looked for, else `zeros`.
        views: `frontal` leaves lateral films out, `all` takes them in; for CheXpert tables.
        positive: one finding, whose films are one of two classes instead of several findings a film.
        negative: the finding (such as `No Finding`) that makes the other class; None for every film without `positive`.

    Raises:
        UsageError: a policy that does not exist, or options that contradict each other.
    """

    names: tuple[str, ...] | None = None
    uncertain: str = "ignore"
    blank: str | None = None
    views: str = "frontal"
    positive: str | None = None
    negative: str | None = None

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("uncertain", self.uncertain, UNCERTAIN),
            ("blank", self.blank, BLANK),
            ("views", self.views, VIEWS),
        ):
            if value not in known and not (kind == "blank" and value is None):
                raise unknown(f"--{kind}", value, tuple(known), UsageError)
        if self.positive is not None and self.names is not None:
            raise UsageError(
                f"--positive {self.positive} makes two classes, --findings {','.join(self.names)} an output a finding. "
                "Leave one of them out."
            )
        if self.negative is not None and self.positive is None:
            raise UsageError(
                f"--negative {self.negative} says which films are without a finding, but none is named. "
                "Name it with --positive."
            )

    @property
    def filled_blank(self) -> str:
        """What an empty field becomes where the table has no default of its own."""
        return self.blank or "zeros"


def truth_of(frame: pd.DataFrame, findings: Sequence[str]) -> np.ndarray:
    """Truth of every film, 1, 0 or NaN, float ``[n, n_findings]``; all NaN where the table has no such columns."""
    return frame.reindex(columns=truth_columns(findings)).to_numpy(np.float64)


def stated_findings(columns: Iterable[str]) -> tuple[str, ...]:
    """Findings of which a table states the truth in columns of ours, as one that `fractions` wrote does."""
    return tuple(str(column).removeprefix(TRUTH) for column in columns if str(column).startswith(TRUTH))


def chosen_findings(asked: Sequence[str], columns: Sequence[str], source: str) -> tuple[str, ...]:
    """The table's columns for findings asked by name, whatever their case.

    Raises:
        DataError: a name that no column has, one asked twice, fewer than two, or a name that labels cannot hold.
    """
    folded = {str(column).lower(): str(column) for column in reversed(columns)}
    chosen = [name if name in columns else folded.get(name.lower()) for name in asked]
    for name, column in zip(asked, chosen, strict=True):
        if column is None:
            raise unknown(f"finding column of {source}", name, [str(column) for column in columns], DataError)
    if len(set(chosen)) < max(2, len(chosen)):
        raise DataError(
            f"findings need two or more different columns of {source}. Received {', '.join(asked)}. "
            "For one finding alone give a column of two classes with --label-column."
        )
    if joined := [name for name in chosen if "|" in name]:
        raise DataError(f"finding '{joined[0]}' of {source} holds a '|', which joins findings. Rename the column.")
    if NO_POSITIVE in chosen:
        raise DataError(f"finding '{NO_POSITIVE}' of {source} is the word for films without any. Rename the column.")
    return tuple(chosen)


def with_truth(
    frame: pd.DataFrame, findings: Sequence[str], policy: FindingPolicy, source: str
) -> tuple[pd.DataFrame, list[str]]:
    """The films with their truth by the policy, the label joined from it, and how many entries the policy touched.

    Args:
        frame: a column per finding with 1, 0, −1 or nothing; columns `truth_<finding>` are read instead where the
            table has all of them.
        findings: their names.
        policy: what −1 and nothing become.
        source: named in errors.

    Raises:
        DataError: another value in a finding's column.
    """
    stated = set(truth_columns(findings)) <= set(frame.columns)
    columns = truth_columns(findings) if stated else findings
    raw = finding_marks(frame, columns, source)
    blank, uncertain = raw.isna(), raw.eq(-1)
    notices = [f"Findings, several of which may stand on one film: {', '.join(findings)}."]
    if stated:
        truth = raw.mask(uncertain)
        notices.append(
            f"Their truth is read from {source}'s own {TRUTH} columns, blank where unknown: --uncertain and --blank "
            "were applied when the table was written."
        )
    else:
        truth = decided(raw, policy)
        notices += [
            f"--uncertain {policy.uncertain}: {_counted(uncertain, 'uncertain (−1)')} {UNCERTAIN[policy.uncertain]}.",
            f"--blank {policy.filled_blank}: {_counted(blank, 'blank')} {BLANK[policy.filled_blank]}.",
        ]
    if nothing := int(truth.isna().all(axis=1).sum()):
        notices.append(f"{nothing} of {len(frame)} films have no known finding; they teach and measure nothing.")
    truth.columns = truth_columns(findings)
    kept = frame[[name for name in frame if name != "label" and name not in truth.columns]]
    return pd.concat([kept.assign(label=joined_labels(truth.to_numpy(), findings)), truth], axis=1), notices


def finding_marks(frame: pd.DataFrame, columns: Iterable[str], source: str) -> pd.DataFrame:
    """What a table says of its findings: 1, 0, −1 (uncertain) or NaN (blank), float, a column each.

    Raises:
        DataError: another value.
    """
    return pd.DataFrame({name: _numbers(frame[name], name, source) for name in columns}, index=frame.index)


def decided(marks: pd.DataFrame, policy: FindingPolicy) -> pd.DataFrame:
    """Marks after the policy: 1, 0, or NaN where unknown."""
    filled = marks.mask(marks.isna(), _VALUES["blank"][policy.filled_blank])
    return filled.mask(marks.eq(-1), _VALUES["uncertain"][policy.uncertain])


def joined_labels(truth: np.ndarray, findings: Sequence[str]) -> list[str]:
    """The positive findings of every film joined by `|`, `none` where there are none.

    Args:
        truth: 1, 0 or NaN, ``[n, n_findings]``.
        findings: their names.
    """
    names = np.array(findings, object)
    return ["|".join(names[row]) or NO_POSITIVE for row in truth == 1]


def rarest_positives(frame: pd.DataFrame, findings: Sequence[str]) -> pd.Series:
    """The rarest positive finding of every film, `none` where there are none: what splits are stratified by."""
    positive = truth_of(frame, findings) == 1
    strata = np.full(len(frame), NO_POSITIVE, object)
    # the rarest is written last and stays
    for c in np.argsort(-positive.sum(axis=0), kind="stable"):
        strata[positive[:, c]] = findings[c]
    return pd.Series(strata, index=frame.index, dtype="str")


def _numbers(values: pd.Series, name: str, source: str) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce")
    strange = values[(numbers.isna() & values.notna()) | ~numbers.isin([1, 0, -1, np.nan])]
    if len(strange):
        raise DataError(
            f"column '{name}' of {source} holds {len(strange)} values that are no truth of a finding, first "
            f"'{strange.iloc[0]}'. Expected 1, 0, −1 (uncertain) or nothing; correct them or name other --findings."
        )
    return numbers.astype(np.float64)


def _counted(marks: pd.DataFrame, what: str) -> str:
    each = marks.sum()
    parts = ", ".join(f"{name} {count}" for name, count in each.items() if count)
    total = int(each.sum())
    noun = "entry" if total == 1 else "entries"
    return f"{total} {what} {noun}{f' ({parts})' if parts else ''}"
