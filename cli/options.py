"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import click


class Pair(click.ParamType):
    """Two comma-separated numbers."""

    name = "A,B"

    def __init__(self, kind: type, expected: str) -> None:
        self._kind, self._expected = kind, expected

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        try:
            if len(parts) != 2:
                raise ValueError
            return self._kind(parts[0]), self._kind(parts[1])
        except ValueError:
            self.fail(f"'{value}' is not two numbers. Expected {self._expected}.")


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


class Bytes(click.ParamType):
    """A size such as `512M` or `1G`, in bytes."""

    name = "SIZE"
    _units: ClassVar[dict[str, int]] = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, int):
            return value
        size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
        if size is None or not float(size[1]):
            self.fail(f"'{value}' is no size. Expected bytes, or a number with K, M or G, e.g. 512M.")
        return int(float(size[1]) * self._units[size[2].upper()])


class Setting(click.ParamType):
    """`NAME=VALUE`, an option of a method, read as the type it has in the registry."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        from cxrkeras.cams.registry import checked_option

        name, sign, text = str(value).partition("=")
        if not (name and sign):
            self.fail(f"'{value}' is not NAME=VALUE. Example: weighting=softmax.")
        return checked_option(name.strip(), text.strip())


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


class Names(click.ParamType):
    """A comma list of names."""

    name = "NAMES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(",") if name.strip())
        return names or self.fail("no name in it. Expected a comma list, e.g. Edema,Atelectasis.")


def positive_options(function: Callable) -> Callable:
    """One finding of a table as one of two classes: `--positive`, `--negative`."""
    for option in reversed(
        [
            click.option(
                "--positive", metavar="FINDING",
                help="Of a table of findings (NIH, TorchXRayVision, CheXpert, labels joined by |): this one, and no "
                "FINDING, as two classes.",
            ),
            click.option(
                "--negative", metavar="FINDING", help='With --positive: only films with this one, e.g. "No Finding".'
            ),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def finding_options(function: Callable) -> Callable:
    """How a table with several findings a film is read: `--findings`, `--positive`, `--uncertain`, `--blank`, …"""
    function = positive_options(function)
    for option in reversed(
        [
            click.option(
                "--findings", type=Names(), metavar="all|NAMES",
                help="CSV columns of findings that may stand together (1, 0, −1, blank), trained with a sigmoid each.  "
                "[CheXpert: the competition's five; all: every one of the table]",
            ),
            click.option(
                "--uncertain", type=click.Choice(["ignore", "zeros", "ones"]),
                help="What −1 becomes: unknown, negative or positive.  [ignore]",
            ),
            click.option(
                "--blank", type=click.Choice(["zeros", "ignore"]), help="What a blank becomes.  [zeros; "
                "ignore in TorchXRayVision tables]",
            ),
            click.option(
                "--views", type=click.Choice(["frontal", "all"]), help="Which views of a CheXpert table.  [frontal]",
            ),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def map_options(function: Callable) -> Callable:
    """What makes a map: `--method`, `--layer`, `--engine`, `--max-channels`."""
    for option in reversed(
        [
            click.option("--method", metavar="NAMES", help="Comma list of methods, or all (the six CAMs)."),
            click.option(
                "--layer", default="head_input", show_default=True, metavar="NAME|ROLE",
                help="Layer to explain at: a name, or head_input, last_conv, stride8, stride16, stride32; "
                "a comma list for layercam and ms-gradcam++.",
            ),
            click.option(
                "--engine", type=click.Choice(["cxrkeras", "tf-keras-vis"]), default="cxrkeras", show_default=True,
                help="Whose implementation makes the maps; tf-keras-vis replays that package's own, defects included.",
            ),
            click.option(
                "--on", type=click.Choice(["logit", "probability", "margin"]), default="logit", show_default=True,
                help="What gradient methods explain; margin is the logit above the other classes.",
            ),
            click.option(
                "--max-channels", type=click.IntRange(2), metavar="N",
                help="Sample N channels for ScoreCAM (status approximate) instead of all of them.",
            ),
            click.option(
                "--tolerance", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="T",
                help="Sample ScoreCAM's channels until the 95 % half-width is T of the map's maximum.",
            ),
            click.option(
                "--memory-budget", type=Bytes(), metavar="SIZE",
                help="Memory for ScoreCAM's masked films, e.g. 512M; changes no map.  [1G]",
            ),
            click.option(
                "--option", "given", type=Setting(), multiple=True, metavar="NAME=VALUE",
                help="An option of a method, e.g. weighting=softmax, ig_steps=100; may be repeated.",
            ),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def popped_map_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Take what `map_options` added out of a command's options, as keywords of `workflow.map_options.map_options`."""
    given = dict(options.pop("given"))
    for name in ("max_channels", "tolerance"):
        if (value := options.pop(name)) is not None:
            given[name] = value
    return {"given": given, **{name: options.pop(name) for name in ("layer", "engine", "on", "memory_budget")}}


def checked_methods(spec: str | None) -> str | None:
    """The methods as typed, refused at once if one does not exist."""
    if spec is not None:
        from cxrkeras.cams.registry import method_names

        method_names(spec)
    return spec


class Renamed(click.ParamType):
    """A name of theirs and the run's word for it, such as `THEIRS=OURS`.

    Args:
        name: how help and errors write it.
        example: one that is right.
    """

    def __init__(self, name: str = "THEIRS=OURS", example: str = "NO_FINDING=NORMAL") -> None:
        self.name, self._example = name, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        theirs, sign, ours = (part.strip() for part in str(value).partition("="))
        if not (theirs and sign and ours):
            self.fail(f"'{value}' is not {self.name}. Example: \"{self._example}\".")
        return theirs, ours


def films_options(function: Callable) -> Callable:
    """Which films: `--split`, `--limit`, `--positive`, `--map-class`."""
    function = positive_options(function)
    for option in reversed(
        [
            click.option("--split", metavar="NAME", help="Split of the films. Default: test; with --data, all films."),
            click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N films per class."),
            click.option(
                "--map-class", type=Renamed(), multiple=True, metavar="THEIRS=OURS",
                help="A label of --data in the run's words; may be repeated.",
            ),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def selection_options(function: Callable) -> Callable:
    """Which films, and `--out` for where results go."""
    out = click.option(
        "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
        help="Write results there, laid out like a run, instead of into the run.",
    )  # fmt: skip
    return films_options(out(function))


class Size(click.ParamType):
    """A side, or width and height, in pixels; becomes (height, width)."""

    name = "N|WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        sides = re.fullmatch(r"(\d+)(?:[x×](\d+))?", str(value).strip())
        if sides is None or not all(int(side) for side in sides.groups() if side):
            self.fail(f"'{value}' is no size in pixels. Expected a side, e.g. 1024, or width x height, e.g. 2828x2320.")
        return int(sides[2] or sides[1]), int(sides[1])


def marks_options(function: Callable) -> Callable:
    """What experts marked: `--boxes` or `--masks`, and how it is read."""
    for option in reversed(
        [
            click.option(
                "--boxes", type=click.Path(path_type=Path), metavar="FILE",
                help="Expert marks: CSV of boxes, BBox_List_2017.csv, CheXlocalize or COCO json.",
            ),
            click.option(
                "--masks", type=click.Path(path_type=Path), metavar="DIR",
                help="Expert marks as PNG: DIR/FINDING/FILM.png, or see --finding.",
            ),
            click.option(
                "--finding", metavar="NAME", help="Only this finding; names that of marks which name none."
            ),
            click.option(
                "--map", "findings", type=Renamed("FINDING=CLASS", "Lung Opacity=PNEUMONIA"), multiple=True,
                help="Which class stands for a finding of another name; may be repeated.",
            ),
            click.option(
                "--box-size", type=Size(), help="Size of the pictures that boxes are measured in, where it is not read."
            ),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def open_run(name: str | None, reporter: Any) -> Any:
    """The run to work on; says which one when none was named."""
    from cxrkeras.errors import RunError
    from cxrkeras.run import Run

    try:
        run = Run.open(name)
    except RunError as error:
        if members := _members(name):
            raise RunError(f"{name} is a study. Name one of its runs, e.g. --run {members[0].path}.") from error
        raise
    if name is None:
        reporter.notice(f"run: {run.path} (the newest; choose with --run)")
    return run


def _members(name: str | None) -> list[Any]:
    """The runs of a study of this name; none where it is no study."""
    from cxrkeras.errors import CxrKerasError
    from cxrkeras.study import Study

    try:
        return [] if name is None else Study.open(name).runs()
    except CxrKerasError:
        return []
