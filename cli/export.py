"""`cxrkeras export`."""

from __future__ import annotations

import click
from cxrkeras_cli.options import open_run, run_option
from cxrkeras_cli.output import reporter


@click.command()
@run_option
@click.option("--epoch", default="best", show_default=True, metavar="N|best|last", help="Which checkpoint.")
@click.option("--out", required=True, metavar="FILE.keras", help="File to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.pass_context
def export(ctx: click.Context, run: str | None, epoch: str, out: str, overwrite: bool) -> None:
    """Write a checkpoint as a plain Keras model: films in 0..255 in, probabilities out, preprocessing inside."""
    from cxrkeras.workflow.export import export as work
    from cxrkeras.workflow.opened import OpenRun

    opened = OpenRun(open_run(run, reporter(ctx)))
    number = opened.run.resolve_epoch(epoch)
    file = work(opened, number, out, overwrite=overwrite)
    click.echo(f"{file}: {opened.run.name}, epoch {number}, classes {', '.join(opened.classes)}")
