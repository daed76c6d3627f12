"""`cxrkeras export`."""

from __future__ import annotations

import click
from cxrkeras_cli.options import open_run, run_option
from cxrkeras_cli.output import reporter
from cxrkeras_cli.tensorflow import load_tensorflow


@click.command()
@run_option
@click.option("--epoch", default="best", show_default=True, metavar="N|best|last", help="Which checkpoint.")
@click.option("--out", required=True, metavar="FILE.keras", help="File to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.pass_context
def export(ctx: click.Context, run: str | None, epoch: str, out: str, overwrite: bool) -> None:
    """Write a checkpoint as a plain Keras model: films in 0..255 in, probabilities out, preprocessing inside."""
    load_tensorflow()
    opened_run = open_run(run, reporter(ctx))
    number = opened_run.resolve_epoch(epoch)
    load_tensorflow()
    from cxrkeras.workflow.export import export as work
    from cxrkeras.workflow.opened import OpenRun

    opened = OpenRun(opened_run)
    file = work(opened, number, out, overwrite=overwrite)
    click.echo(f"{file}: {opened.run.name}, epoch {number}, classes {', '.join(opened.classes)}")
