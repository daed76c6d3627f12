"""The parts that a page is made of: sections of groups of panels, pictures, tables and sentences.

Knows no subject, no HTML and no run.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Cell:
    """One field of a table.

    Attributes:
        text: what stands there.
        look: `number`, `undefined`, `good`, `alert` or nothing.
        below: a second, smaller line.
        more: what is shown when the field is opened.
        sort: what a table that sorts orders it by; None: its text. An empty text comes last.
        svg: a drawing before the text, made by the report itself.
    """

    text: str
    look: str = ""
    below: str = ""
    more: tuple[str, ...] = ()
    sort: float | str | None = None
    svg: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page; `frame` is what the CSV beside it holds, `sorts` lets a reader sort and filter it."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    frame: pd.DataFrame
    open: bool = False
    sorts: bool = False


@dataclass(frozen=True)
class Panel:
    """A figure of the page: the drawing, and a sentence with its numbers."""

    name: str
    title: str
    svg: str
    svg_file: str
    png: bytes
    sentence: str


@dataclass(frozen=True)
class Picture:
    """A picture of the page that is no drawing.

    Attributes:
        name: of its file, unique in the report.
        title: what it shows.
        png: the file beside the page.
        jpeg: the same for the page, smaller.
        sentence: its text alternative.
    """

    name: str
    title: str
    png: bytes
    jpeg: bytes
    sentence: str


@dataclass(frozen=True)
class Group:
    """Panels, sentences and tables under one heading; `missing` says what command makes what is not there."""

    title: str = ""
    lead: str = ""
    panels: tuple[Panel, ...] = ()
    tables: tuple[Table, ...] = ()
    sentences: tuple[tuple[str, str], ...] = ()
    missing: str = ""
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading."""

    name: str
    title: str
    lead: str
    groups: tuple[Group, ...] = ()
