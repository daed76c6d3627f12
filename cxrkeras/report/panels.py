"""Figures of `render` as panels of the page, each with the sentence that says its numbers.

Knows how a sentence is built from a table, not what the table means.
"""

from __future__ import annotations

import io
import re
from typing import Any

import pandas as pd

from cxrkeras.render import style, vector
from cxrkeras.report.parts import Panel
from cxrkeras.report.words import interval, listed, number, plain_reason


def panel_of(name: str, title: str, figure: Any, sentence: str) -> Panel:
    """A drawn figure with its sentence.

    Args:
        name: of its files, unique in the report.
        title: what it shows.
        figure: of `render.panels`.
        sentence: its text alternative, with numbers.
    """
    name = safe_name(name)
    buffer = io.BytesIO()
    with style.drawing():
        style.write_png(figure, buffer)
        inline, alone = vector.svg_texts(figure, name)
    return Panel(name, title, inline, alone, buffer.getvalue(), sentence)


def safe_name(text: str) -> str:
    """A name for files and ids: letters, digits, dots, dashes."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-.") or "x"


def curve_sentence(quantity: str, table: pd.DataFrame, epoch: Any, where: str = "epoch") -> str:
    """The values of every series at one checkpoint, then the range over all, then what is undefined.

    Args:
        quantity: what was measured.
        table: ``epoch, method, score, ci_low, ci_high, status``.
        epoch: the place to read out; the last one where the table lacks it.
        where: what the place is called.
    """
    if table.empty:
        return f"{quantity}: nothing measured."
    at = epoch if epoch in set(table["epoch"]) else table["epoch"].max()
    here = table[table["epoch"] == at]
    words = [f"{row.method} {interval(row.score, row.ci_low, row.ci_high, row.status, 2)}" for row in here.itertuples()]
    sentence = f"{quantity} at {where} {at:g}: {listed(words)}."
    known = table.dropna(subset=["score"])
    if len(known) and table["epoch"].nunique() > 1:
        low, high = known.loc[known["score"].idxmin()], known.loc[known["score"].idxmax()]
        sentence += (
            f" Lowest anywhere {number(low['score'], digits=2)} ({low['method']}, {where} {low['epoch']:g}), "
            f"highest {number(high['score'], digits=2)} ({high['method']}, {where} {high['epoch']:g})."
        )
    lost = table[table["score"].isna()]
    if len(lost):
        reasons = sorted({plain_reason(status) for status in lost["status"]})
        sentence += f" Undefined at {len(lost)} of {len(table)} points ({', '.join(reasons)})."
    return sentence


def interval_sentence(quantity: str, rows: pd.DataFrame) -> str:
    """Every row's value with its interval.

    Args:
        quantity: what was measured.
        rows: ``name, value, low, high, status``.
    """
    words = [f"{row.name} {interval(row.value, row.low, row.high, row.status)}" for row in rows.itertuples(False)]
    return f"{quantity}: {listed(words)}."
