"""`cxrkeras clean`."""

from __future__ import annotations

import click
from cxrkeras_cli.options import open_run, run_option
from cxrkeras_cli.output import format_option, print_table, reporter


@click.command()
@run_option
@click.option("--keep", required=True, metavar="EPOCHS", help="Comma list of epochs, best or last.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@format_option
@click.pass_context
def clean(ctx: click.Context, run: str | None, keep: str, dry_run: bool, form: str) -> None:
    """Remove checkpoints of a complete run, all but the named ones; scores, maps and predictions stay.

    \b
    Example: cxrkeras clean --run kermany-resnet --keep best,last
    """
    from cxrkeras.workflow.runs import clean as work

    named = [part.strip() for part in keep.split(",") if part.strip()]
    print_table(work(open_run(run, reporter(ctx)), named, dry_run), form)
