"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


class Pair(click.ParamType):
    """Two comma-separated numbers, one per stage."""

    name = "A,B"

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        try:
            if len(parts) != 2:
                raise ValueError
            return self._kind(parts[0]), self._kind(parts[1])
        except ValueError:
            example = "15,15" if self._kind is int else "1e-3,1e-5"
            self.fail(f"'{value}' is not two numbers. Expected transfer learning,fine-tuning, e.g. {example}.")


class Grid(click.ParamType):
    """A side in cells, or `native`."""

    name = "N|native"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in (None, "native"):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"'{value}' is no grid. Expected a number of cells, e.g. 56, or native.")


def run_option(function: Callable) -> Callable:
    """`--run`."""
    return click.option(
        "--run", metavar="NAME|PATH", help="Run directory, or its name under ./artifacts. Default: the newest run."
    )(function)


def data_options(function: Callable) -> Callable:
    """`--data` and the columns that read it."""
    for option in reversed(
        [
            click.option("--data", metavar="DIR|CSV", help="Folder (split/class or class folders) or CSV manifest."),
            click.option("--split-column", metavar="NAME", help="CSV column that holds the split."),
            click.option("--label-column", metavar="NAME", help="CSV column that holds the class."),
            click.option("--patient-column", metavar="NAME", help="CSV column that holds the patient."),
        ]
    ):
        function = option(function)
    return function


def map_options(function: Callable) -> Callable:
    """What makes a map: `--method`, `--layer`, `--engine`, `--max-channels`."""
    for option in reversed(
        [
            click.option("--method", metavar="NAMES", help="Comma list of methods, or all (the six CAMs)."),
            click.option(
                "--layer", default="head_input", show_default=True, metavar="NAME|ROLE",
                help="Layer to explain at: a name, or head_input, last_conv, stride8, stride16, stride32.",
            ),
            click.option(
                "--engine", type=click.Choice(["cxrkeras"]), default="cxrkeras", show_default=True,
                help="Whose implementation makes the maps.",
            ),
            click.option(
                "--max-channels", type=click.IntRange(2), metavar="N",
                help="Sample N channels for ScoreCAM (status approximate) instead of all of them.",
            ),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def checked_methods(spec: str | None) -> str | None:
    """The methods as typed, refused at once if one does not exist."""
    if spec is not None:
        from cxrkeras.cams.registry import method_names

        method_names(spec)
    return spec


class Renamed(click.ParamType):
    """`THEIRS=OURS`, a label of outside films in the run's words."""

    name = "THEIRS=OURS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        theirs, sign, ours = str(value).partition("=")
        if not (theirs and sign and ours):
            self.fail(f"'{value}' is not THEIRS=OURS. Example: NO_FINDING=NORMAL.")
        return theirs, ours


def selection_options(function: Callable) -> Callable:
    """Which films: `--split`, `--limit`, `--map-class`, and `--out` for where results go."""
    for option in reversed(
        [
            click.option("--split", metavar="NAME", help="Split of the films. Default: test; with --data, all films."),
            click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N films per class."),
            click.option(
                "--map-class", type=Renamed(), multiple=True, metavar="THEIRS=OURS",
                help="A label of --data in the run's words; may be repeated.",
            ),
            click.option(
                "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
                help="Write results there, laid out like a run, instead of into the run.",
            ),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def open_run(name: str | None, reporter: Any) -> Any:
    """The run to work on; says which one when none was named."""
    from cxrkeras.run import Run

    run = Run.open(name)
    if name is None:
        reporter.notice(f"run: {run.path} (the newest; choose with --run)")
    return run
