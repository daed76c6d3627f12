"""Cells of work on the runs of a study, and the one resume for all of them.

A cell names a run and a piece of work on it; what the work is, and whether it is done, the caller knows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cxrkeras.errors import CxrKerasError
from cxrkeras.events import SILENT, Reporter

State = Literal["missing", "done", "failed"]


@dataclass(frozen=True)
class Cell:
    """One piece of work on one run.

    Attributes:
        run: name of the run in the study.
        work: what is done, such as `train`, `score`, `drift`.
        method: method it is done with, where it is.
        epoch: checkpoint it is done on, where it is.
        split: films it is done on, where it is.
    """

    run: str
    work: str
    method: str = ""
    epoch: int | None = None
    split: str = ""

    @property
    def name(self) -> str:
        """The cell in one word, unique in its study."""
        epoch = "" if self.epoch is None else f"epoch_{self.epoch:03d}"
        return "/".join(part for part in (self.run, self.work, self.split, epoch, self.method) if part)


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        cell: the cell.
        state: `done` or `failed`.
        fresh: the work was done now rather than found done.
        seconds: what it took now; cells done together share their time evenly.
        error: why it failed.
    """

    cell: Cell
    state: State
    fresh: bool = False
    seconds: float = 0.0
    error: str = ""


class Notebook(Protocol):
    """Where states and times are kept; `study.Study` is one."""

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what became of cells."""


def work_through(
    notebook: Notebook,
    pieces: Iterable[Sequence[Cell]],
    done: Callable[[Cell], bool],
    perform: Callable[[Sequence[Cell]], None],
    reporter: Reporter = SILENT,
) -> list[Outcome]:
    """Do what is not done yet; a cell that fails is noted and the others go on.

    Args:
        notebook: told of every cell as soon as it has ended.
        pieces: cells that are done together, in order.
        done: whether a cell's result is stored.
        perform: does cells of one piece; each must leave its result stored, whatever becomes of later ones.
        reporter: told of failures.

    Returns:
        An outcome a cell, in order.
    """
    outcomes: list[Outcome] = []
    for piece in pieces:
        found, missing = [], []
        for cell in piece:
            ended = _checked(cell, done)
            (found if ended is not None else missing).append(ended or cell)
        fresh = _performed(missing, perform) if missing else []
        for outcome in [*found, *fresh]:
            if outcome.state == "failed":
                reporter.notice(f"{outcome.cell.name} failed: {outcome.error} The others go on.")
        notebook.note([*[o for o in found if o.state == "failed"], *fresh])
        outcomes += [*found, *fresh]
    return outcomes


def _checked(cell: Cell, done: Callable[[Cell], bool]) -> Outcome | None:
    """The outcome of a cell that needs no work: done before, or broken where it would be looked at."""
    try:
        return Outcome(cell, "done") if done(cell) else None
    except Exception as error:
        return Outcome(cell, "failed", True, 0.0, reason(error))


def _performed(cells: Sequence[Cell], perform: Callable[[Sequence[Cell]], None]) -> list[Outcome]:
    start = time.perf_counter()
    try:
        perform(cells)
    except Exception as error:
        if len(cells) > 1:
            # one of them spoils the others: each on its own
            return [outcome for cell in cells for outcome in _performed([cell], perform)]
        return [Outcome(cells[0], "failed", True, time.perf_counter() - start, reason(error))]
    share = (time.perf_counter() - start) / len(cells)
    return [Outcome(cell, "done", True, share) for cell in cells]


def reason(error: BaseException) -> str:
    """Why something failed, in one line; a failure that nobody foresaw says its kind."""
    text = " ".join(str(error).split())[:600]
    return text if isinstance(error, CxrKerasError) else f"unexpected {type(error).__name__}: {text}"
