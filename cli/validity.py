"""`cxrkeras validity`."""

from __future__ import annotations

from typing import Any, ClassVar

import click
from cxrkeras_cli.options import checked_methods, open_run, run_option
from cxrkeras_cli.output import format_option, json_rows, print_json, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow

_SHOWN = {
    "randomisation": (
        "method", "stage", "layers", "correlation", "correlation_low", "correlation_high", "top_iou", "n_films",
        "n_compared", "n_degenerate", "verdict",
    ),
    "perturbation": (
        "method", "metric", "auc", "ci_low", "ci_high", "chance", "difference", "difference_low", "difference_high",
        "n_films", "n_patients", "n_degenerate", "status",
    ),
}  # fmt: skip
_TITLES = {
    "randomisation": "correlation with maps after redrawing the weights down to a stage (everything decides)",
    "perturbation": "AUC of insertion (higher is better) and deletion (lower is better) beside random maps",
}


class Checks(click.ParamType):
    """A comma list of checks."""

    name = "NAMES"
    known: ClassVar[tuple[str, ...]] = ("randomisation", "insertion", "deletion")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(word.strip() for word in str(value).split(",") if word.strip()))
        if wrong := [name for name in names if name not in self.known] or ([] if names else [value]):
            self.fail(f"'{wrong[0]}' is no check. Expected a comma list of {', '.join(self.known)}.")
        return names


@click.command()
@run_option
@click.option("--epoch", default="best", show_default=True, metavar="N|best|last|recommended",
              help="Which checkpoint; recommended takes each method at its own (after score --epoch all).")  # fmt: skip
@click.option("--method", metavar="NAMES",
              help="Comma list of methods, or all.  [the five that need no forward a channel]")  # fmt: skip
@click.option("--checks", type=Checks(), default=",".join(Checks.known), show_default=True, help="Which checks.")
@click.option("--films", type=click.IntRange(1), default=50, show_default=True, metavar="N",
              help="At most N films, drawn evenly over the classes.")  # fmt: skip
@click.option("--steps", type=click.IntRange(2), default=16, show_default=True, metavar="N",
              help="Steps of insertion and deletion.")  # fmt: skip
@click.option("--baseline", type=click.Choice(["blur", "mean", "zero"]), default="blur", show_default=True,
              help="What pixels are replaced by: the film blurred, its mean grey, or black.")  # fmt: skip
@click.option("--draws", type=click.IntRange(1), default=3, show_default=True, metavar="N",
              help="Random networks, and random maps a film.")  # fmt: skip
@click.option("--max-channels", type=click.IntRange(2), metavar="N", help="Sample N channels for ScoreCAM.")
@click.option("--split", metavar="NAME", help="Split of the films.  [test]")
@format_option
@click.pass_context
def validity(
    ctx: click.Context, run: str | None, epoch: str, method: str | None, split: str | None, max_channels: int | None,
    form: str, **settings,
) -> None:  # fmt: skip
    """Validity beside consistency: what a map owes to the learned weights, and whether its pixels matter.

    Randomisation: the weights are drawn anew from the head down; a method whose maps stay the same (median
    correlation 0.9 or more after the last stage) does not explain this model. Insertion and deletion: how the
    probability of a film's label follows the pixels in the order of the map, beside random maps of the same grid;
    insertion should lie above chance and deletion below. Missing maps are computed.

    \b
    Examples:
      cxrkeras validity
      cxrkeras validity --run kermany-resnet --epoch recommended --method gradcam++,layercam
      cxrkeras validity --checks randomisation --films 20
    """
    show = reporter(ctx)
    checked_methods(method)
    opened_run = open_run(run, show)
    number = None if epoch == "recommended" else opened_run.resolve_epoch(epoch)
    load_tensorflow()
    import pandas as pd

    from cxrkeras.cams.registry import FORWARD, METHODS, method_names
    from cxrkeras.workflow.evidence import Evidence
    from cxrkeras.workflow.map_options import map_options
    from cxrkeras.workflow.opened import OpenRun
    from cxrkeras.workflow.selection import select
    from cxrkeras.workflow.validity import recommended_epochs
    from cxrkeras.workflow.validity import validity as work

    names = list(method_names(method or "all"))
    if method is None:
        names = [name for name in names if METHODS[name].kind != FORWARD]
    opened = OpenRun(opened_run)
    selection = select(opened, split=split, reporter=show)
    where = {number: names} if number else recommended_epochs(opened_run, selection.split, names, show)
    given = {} if max_channels is None else {"max_channels": max_channels}
    options = map_options(opened, selection, given=given)
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in _SHOWN}
    for at, methods in where.items():
        evidence = {name: Evidence(selection, options) for name in methods}
        result = work(opened, at, evidence, reporter=show, **settings)
        for name, tables in found.items():
            tables.append(_at(at, getattr(result, name)))
    joined = {name: pd.concat(tables, ignore_index=True) for name, tables in found.items()}
    blind = [name for name in names if not METHODS[name].class_specific]
    if blind and len(joined["randomisation"]):
        show.notice(f"{', '.join(blind)} does not read the head: unchanged at stage head by construction.")
    show.notice("consistent is not correct; a method that passes is only not refuted.")
    _print(joined, form, f"{opened_run.name}, split {selection.split}")


def _at(epoch: int, table: Any) -> Any:
    table = table.copy()
    table.insert(0, "epoch", epoch)
    return table


def _print(tables: dict[str, Any], form: str, title: str) -> None:
    made = {name: table for name, table in tables.items() if len(table)}
    if form == "json":
        print_json({name: json_rows(table) for name, table in made.items()})
        return
    if form == "csv":
        import pandas as pd

        # one table, so that what reads it need not know where the second begins
        print_table(pd.concat([table.assign(check=name) for name, table in made.items()], ignore_index=True), form)
        return
    for name, table in made.items():
        print_table(table[["epoch", *_SHOWN[name]]], form, title=f"{title}: {_TITLES[name]}")
