"""What commands print: tables to stdout (table, JSON or CSV), progress and notices to stderr."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from cxrkeras.events import Advance, Reporter

WIDEST_TEXT = 70
if TYPE_CHECKING:
    import pandas as pd


class ConsoleReporter(Reporter):
    """Notices as lines and tasks as progress bars with the remaining time, on stderr."""

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._progress: Any = None
        self._depth = 0

    def notice(self, text: str) -> None:
        if text:
            self._console.print(text, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def task(self, label: str, total: int) -> Iterator[Advance]:
        with self._bars() as bars:
            task = bars.add_task(label, total=max(total, 1), detail="")

            def advance(n: int = 1, detail: str = "") -> None:
                bars.update(task, advance=n, **({"detail": detail} if detail else {}))

            try:
                yield advance
            finally:
                bars.remove_task(task)

    @contextlib.contextmanager
    def _bars(self) -> Iterator[Any]:
        from rich import progress

        if self._progress is None:
            self._progress = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(bar_width=30),
                progress.MofNCompleteColumn(),
                progress.TimeElapsedColumn(),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[detail]}", markup=False),
                console=self._console,
                transient=True,
                disable=not self._console.is_terminal,
            )
            self._progress.start()
        self._depth += 1
        try:
            yield self._progress
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._progress.stop()
                self._progress = None


def reporter(ctx: click.Context) -> ConsoleReporter:
    """The reporter of this invocation."""
    return ConsoleReporter(quiet=bool((ctx.obj or {}).get("quiet")))


def format_option(function: Callable) -> Callable:
    """`--format table|json|csv`."""
    return click.option(
        "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True,
        help="How the result is printed on stdout.",
    )(function)  # fmt: skip


def print_table(frame: pd.DataFrame, form: str, title: str = "") -> None:
    """Print a frame to stdout; undefined numbers show as NaN (JSON: null), never as 0."""
    if form == "csv":
        click.echo(frame.to_csv(index=False), nl=False)
    elif form == "json":
        print_json(json_rows(frame))
    else:
        _print_rich(frame, title)


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain JSON values; NaN becomes null."""
    return json.loads(frame.to_json(orient="records", double_precision=15, force_ascii=False))


def _print_rich(frame: pd.DataFrame, title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in frame.columns:
        numeric = frame[column].dtype.kind in "if"
        table.add_column(
            Text(str(column)), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold",
            max_width=None if numeric else WIDEST_TEXT,
        )  # fmt: skip
    for row in frame.itertuples(index=False, name=None):
        table.add_row(*(Text(_cell(value)) for value in row))
    # Never narrower than its content: a terminal may wrap a line, but a column must not vanish.
    endless = Console(file=sys.stdout, highlight=False, width=10_000)
    width = Measurement.get(endless, endless.options, table).maximum
    Console(file=sys.stdout, highlight=False, width=max(width, len(title), 1)).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:.3f}"
    return "NaN" if str(value) == "<NA>" else str(value)
