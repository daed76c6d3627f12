"""`cxrkeras evaluate`."""

from __future__ import annotations

from pathlib import Path

import click
from cxrkeras_cli.options import data_options, open_run, run_option, selection_options
from cxrkeras_cli.output import format_option, json_rows, print_json, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow


@click.command()
@run_option
@click.option("--epoch", default="best", show_default=True, metavar="N|best|last", help="Which checkpoint.")
@data_options
@selection_options
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the bootstrap.")
@format_option
@click.pass_context
def evaluate(ctx: click.Context, run: str | None, epoch: str, seed: int, form: str, out: Path | None, **films) -> None:
    """How well a checkpoint classifies: AUC with its interval over patients, rates, confusion, calibration.

    Where a film may have several findings: the same per finding, over the films where it is known, and their mean.

    With --out DIR the tables and the predictions are written there too. CSV prints the summary row only.
    """
    load_tensorflow()
    show = reporter(ctx)
    opened_run = open_run(run, show)
    number = opened_run.resolve_epoch(epoch)
    load_tensorflow()
    from cxrkeras.run import Run
    from cxrkeras.workflow.evaluate import evaluate as work
    from cxrkeras.workflow.evaluate import save_evaluation
    from cxrkeras.workflow.opened import OpenRun
    from cxrkeras.workflow.selection import select

    opened = OpenRun(opened_run)
    selection = select(opened, out=out, reporter=show, **films)
    result = work(opened, number, selection, seed=seed, reporter=show)
    if out is not None:
        save_evaluation(Run(out), number, selection.split, result)
    if form == "json":
        tables = {name: json_rows(getattr(result, name)) for name in ("summary", "per_class", "confusion")}
        print_json({**tables, "summary": tables["summary"][0]})
        return
    print_table(result.summary, form, title=f"{opened.run.name}, epoch {number}")
    if form == "table":
        print_table(result.per_class, form, title="per class")
        if len(result.confusion):
            print_table(result.confusion, form, title="films by true class (rows) and predicted class (columns)")
