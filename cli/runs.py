"""`cxrkeras runs`."""

from __future__ import annotations

import click
from cxrkeras_cli.output import format_option, print_table


@click.command()
@format_option
def runs(form: str) -> None:
    """List the runs under ./artifacts, newest first."""
    from cxrkeras.workflow.runs import runs_table

    print_table(runs_table(), form)
