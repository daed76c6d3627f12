"""`cxrkeras compare`."""

from __future__ import annotations

from pathlib import Path

import click
from cxrkeras_cli.options import checked_methods, data_options, open_run, run_option, selection_options
from cxrkeras_cli.output import format_option, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow


@click.command()
@run_option
@click.option("--epoch", default="last", show_default=True, metavar="N|best|last", help="Which checkpoint.")
@click.option("--method", metavar="NAMES", help="Comma list of methods that tf-keras-vis has, or all (four).")
@click.option(
    "--layer", default="head_input", show_default=True, metavar="NAME|ROLE",
    help="Layer given to both engines; by default each takes its own.",
)  # fmt: skip
@click.option(
    "--max-channels", type=click.IntRange(2), metavar="N", help="ScoreCAM channels, each engine in its own way."
)
@click.option("--threshold", type=click.FloatRange(0, 1), metavar="T", help="Confidence a gold film needs.  [0.7]")
@data_options
@selection_options
@format_option
@click.pass_context
def compare(
    ctx: click.Context, run: str | None, epoch: str, method: str | None, layer: str, max_channels: int | None,
    threshold: float | None, form: str, out: Path | None, **options,
) -> None:  # fmt: skip
    """As published, as corrected: tf-keras-vis' own maps against this package's, on the same films.

    For each method both have: the correlation of the two maps of a film and the overlap of their strongest fifth of
    cells (median and 5 % to 95 % of the films), the C-Score from either, and which conclusions change.

    \b
    Examples:
      cxrkeras compare
      cxrkeras compare --run kermany-resnet --epoch best --method gradcam,gradcam++,layercam
    """
    show = reporter(ctx)
    checked_methods(method)
    opened_run = open_run(run, show)
    number = opened_run.resolve_epoch(epoch)
    load_tensorflow()
    from cxrkeras.workflow.compare import compare_selection, printed_comparison
    from cxrkeras.workflow.map_options import map_options
    from cxrkeras.workflow.opened import OpenRun
    from cxrkeras.workflow.selection import select

    opened = OpenRun(opened_run)
    selection = select(opened, out=out, reporter=show, **options)
    given = {} if max_channels is None else {"max_channels": max_channels}
    wanted = map_options(opened, selection, layer=layer, given=given)
    compared = compare_selection(opened, number, selection, method, wanted, {"threshold": threshold}, reporter=show)
    if form == "table":
        title = f"{opened.run.name}, epoch {number}, split {selection.split}: tf-keras-vis (published) / cxrkeras"
        print_table(printed_comparison(compared.table), form, title=title)
    else:
        print_table(compared.table, form)
    for sentence in compared.conclusions:
        click.echo(sentence, err=form != "table")
