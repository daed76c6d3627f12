"""What a measurement is: calls timed side by side, the peak memory of a process, and the rows of one table.

Knows no model and imports no TensorFlow, so that the parent process stays small and a test can feed it known numbers.
"""

from __future__ import annotations

import csv
import io
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

MIB = 2**20
COLUMNS = ("what", "backbone", "batch", "ms/film", "IQR", "n", "ratio", "over", "peak MB", "target", "met", "note")
# a contender this much slower than the leader is not measured further: it cannot become the best
BEATEN = 1.5


@dataclass(frozen=True)
class Target:
    """A limit that a ratio has to keep: at most, or with `at_least` at least, `limit`."""

    limit: float
    at_least: bool = False

    def met(self, ratio: float) -> bool:
        """Whether a ratio keeps the limit; NaN never does."""
        return bool(ratio >= self.limit if self.at_least else ratio <= self.limit)

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:.2f}"


@dataclass(frozen=True)
class Row:
    """One line of the table; what does not apply is None.

    Attributes:
        what: what was measured.
        backbone: on which net.
        batch: films per call.
        ms: median milliseconds per film.
        iqr: interquartile range of them, None for a single one.
        repeats: how often it was measured.
        ratio: the figure that a target is about.
        over: what the ratio is over.
        peak_mb: peak memory in MiB.
        target: what the ratio has to keep.
        note: anything else a reader has to know.
    """

    what: str
    backbone: str = ""
    batch: int | None = None
    ms: float | None = None
    iqr: float | None = None
    repeats: int | None = None
    ratio: float | None = None
    over: str = ""
    peak_mb: float | None = None
    target: Target | None = None
    note: str = ""

    @property
    def met(self) -> str:
        """`yes`, `no`, or nothing where there is no target; a target without a figure is not met."""
        if self.target is None:
            return ""
        return "yes" if self.ratio is not None and self.target.met(self.ratio) else "no"

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of `COLUMNS`."""
        return (
            self.what,
            self.backbone,
            "" if self.batch is None else str(self.batch),
            _number(self.ms, 1),
            _number(self.iqr, 1),
            "" if self.repeats is None else str(self.repeats),
            _number(self.ratio, 3),
            self.over,
            _number(self.peak_mb, 0),
            "" if self.target is None else str(self.target),
            self.met,
            self.note,
        )


@dataclass(frozen=True)
class Work:
    """A call to time and the films it handles; a `contender` is dropped once it is clearly not the fastest of them."""

    call: Callable[[], object]
    films: int
    contender: bool = False


def side_by_side(works: Mapping[str, Work], repeats: int) -> dict[str, list[float]]:
    """Time calls in turn, round after round, so that whatever slows the machine slows all of them.

    Args:
        works: label -> call; each is called once beforehand, untimed.
        repeats: rounds.

    Returns:
        Milliseconds per film for each label, one per round; NaN for rounds without a beaten contender.
    """
    for work in works.values():
        work.call()
    times: dict[str, list[float]] = {label: [] for label in works}
    for _ in range(repeats):
        lead = min((np.nanmedian(times[k]) for k, w in works.items() if w.contender and times[k]), default=np.inf)
        for label, work in works.items():
            if work.contender and len(times[label]) > 1 and np.nanmedian(times[label]) > BEATEN * lead:
                times[label].append(float("nan"))
                continue
            start = time.perf_counter()
            work.call()
            times[label].append((time.perf_counter() - start) * 1000 / work.films)
    return times


def timed_row(row: Row, times: Sequence[float], baseline: Sequence[float] | None = None) -> Row:
    """Fill in median, interquartile range and repeats; with a `baseline`, the median of the ratios round by round."""
    kept = np.asarray(times, float)
    filled = replace(
        row,
        ms=float(np.nanmedian(kept)),
        iqr=float(np.subtract(*np.nanpercentile(kept, [75, 25]))) if len(kept) > 1 else None,
        repeats=int(np.isfinite(kept).sum()),
    )
    if baseline is None:
        return filled
    return replace(filled, ratio=float(np.nanmedian(kept / np.asarray(baseline, float)[: len(kept)])))


def best(times: Mapping[str, Sequence[float]]) -> str:
    """Label of the smallest median."""
    return min(times, key=lambda label: np.nanmedian(times[label]))


def flatness(peaks: Sequence[float]) -> float:
    """Largest relative distance of peaks from the middle of their range: ±10 % is 0.1."""
    middle = (max(peaks) + min(peaks)) / 2
    return (max(peaks) - middle) / middle


class PeakMemory:
    """How far this process rises above what is resident now: peak resident size − resident size at the start, in MiB.

    On Linux the kernel's high-water mark is set back at the start, so an earlier peak (building the model) does not
    count; elsewhere the mark is that of the whole process.
    """

    def __init__(self) -> None:
        self._status = Path("/proc/self/status")
        if self._status.exists():
            Path("/proc/self/clear_refs").write_text("5")
        self._start = self._resident("VmRSS")

    def rise(self) -> float:
        """MiB above the start, at the highest."""
        return self._resident("VmHWM") - self._start

    def _resident(self, field: str) -> float:
        if not self._status.exists():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
        line = next(line for line in self._status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) / 1024


def as_text(rows: Sequence[Row], form: str, columns: Sequence[str] = COLUMNS) -> str:
    """The one table, as `text` or `csv`; anything with `cells` that fit the columns is a row."""
    if form == "csv":
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([columns, *(row.cells() for row in rows)])
        return stream.getvalue()
    table = Table(*columns, box=box.MARKDOWN)
    for row in rows:
        table.add_row(*row.cells())
    console = Console(file=io.StringIO(), width=400, color_system=None)
    console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines() if line.strip())


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
