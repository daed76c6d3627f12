"""`cxrkeras demo`."""

from __future__ import annotations

import click
from cxrkeras_cli.output import format_option, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow


@click.command()
@click.option("--run", metavar="NAME|PATH", help="Name under ./artifacts, or path, of the demo's run.  [demo]")
@format_option
@click.pass_context
def demo(ctx: click.Context, run: str | None, form: str) -> None:
    """The whole way on embedded phantom films: train, explain with six methods, score, one figure; a few minutes."""
    load_tensorflow()
    from cxrkeras.workflow.demo import demo as work
    from cxrkeras.workflow.runs import checkpoint_table
    from cxrkeras.workflow.score.table import printed_classes, printed_globals

    made, scores, figure = work(run, reporter(ctx))
    best = made.resolve_epoch("best")
    if form != "table":
        print_table(scores, form)
        return
    print_table(checkpoint_table(made), form, title=f"{made.path}: stored checkpoints")
    print_table(printed_classes(scores, best), form, title=f"epoch {best} (best): C-Score (consistent is not correct)")
    print_table(printed_globals(scores, best), form)
    click.echo(f"figure: {figure.resolve()}")
