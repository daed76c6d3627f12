"""What goes into a report of results over several weight sources: the tables of one directory each.

Knows no directory, no model and no HTML.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from cxrkeras.report.parts import Picture


def _none() -> pd.DataFrame:
    return pd.DataFrame()


@dataclass(frozen=True)
class RobustnessTables:
    """Everything that `cxrkeras robustness` measured; a table that does not exist is empty.

    Attributes:
        name: the directory's name, unique in the report.
        where: what `--run` takes to name it.
        facts: how it was made, in the order shown.
        results, reliance, comparisons, control, visibility, maps, hidden: its tables.
        pictures: films with the artefact and their maps.
    """

    name: str
    where: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    results: pd.DataFrame = field(default_factory=_none)
    reliance: pd.DataFrame = field(default_factory=_none)
    comparisons: pd.DataFrame = field(default_factory=_none)
    control: pd.DataFrame = field(default_factory=_none)
    visibility: pd.DataFrame = field(default_factory=_none)
    maps: pd.DataFrame = field(default_factory=_none)
    hidden: pd.DataFrame = field(default_factory=_none)
    pictures: tuple[Picture, ...] = ()

    @property
    def command(self) -> str:
        """The command that makes what is missing."""
        return f"cxrkeras robustness --run {shlex.quote(self.where or self.name)}"


@dataclass(frozen=True)
class SourcesTables:
    """Everything that `cxrkeras sources` measured; a table that does not exist is empty.

    Attributes:
        name: the directory's name, unique in the report.
        where: what `--run` takes to name it.
        facts: how it was made, in the order shown.
        sources, cka, cards, similarity, robustness, preprocess, agreement, agreement_scores: its tables.
    """

    name: str
    where: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    sources: pd.DataFrame = field(default_factory=_none)
    cka: pd.DataFrame = field(default_factory=_none)
    cards: pd.DataFrame = field(default_factory=_none)
    similarity: pd.DataFrame = field(default_factory=_none)
    robustness: pd.DataFrame = field(default_factory=_none)
    preprocess: pd.DataFrame = field(default_factory=_none)
    agreement: pd.DataFrame = field(default_factory=_none)
    agreement_scores: pd.DataFrame = field(default_factory=_none)

    @property
    def command(self) -> str:
        """The command that makes what is missing."""
        return f"cxrkeras sources --run {shlex.quote(self.where or self.name)}"
