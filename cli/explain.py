"""`cxrkeras explain`."""

from __future__ import annotations

from pathlib import Path

import click
from cxrkeras_cli.options import checked_methods, data_options, map_options, open_run, run_option, selection_options
from cxrkeras_cli.output import format_option, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow


@click.command()
@run_option
@click.option("--epoch", default="last", show_default=True, metavar="N|best|last", help="Which checkpoint.")
@map_options
@click.option(
    "--target", metavar="label|predicted|CLASS",
    help="Which class is explained. Default: the film's label; for --image, the predicted class.",
)  # fmt: skip
@click.option(
    "--image",
    multiple=True,
    metavar="FILE|DIR",
    help="Films from outside the run, without labels; may be repeated.",
)
@data_options
@selection_options
@click.option(
    "--overlays", type=click.IntRange(0), default=100, show_default=True, metavar="N",
    help="Write at most N overlay pictures a method (the contact sheet shows up to 48 films).",
)  # fmt: skip
@format_option
@click.pass_context
def explain(ctx: click.Context, run: str | None, epoch: str, form: str, out: Path | None, **options) -> None:
    """Explain a checkpoint: native heat maps, overlays and a contact sheet a method.

    Without --method: the five cheap methods, and ScoreCAM where it is affordable (at most 20,000 forwards). Films
    that already have maps are not computed again.

    \b
    Examples:
      cxrkeras explain --method scorecam
      cxrkeras explain --run kermany-resnet --epoch best --method gradcam++,layercam --image film.png
    """
    load_tensorflow()
    show = reporter(ctx)
    method, layer, engine = checked_methods(options.pop("method")), options.pop("layer"), options.pop("engine")
    channels, target, pictures = options.pop("max_channels"), options.pop("target"), options.pop("overlays")
    opened_run = open_run(run, show)
    number = opened_run.resolve_epoch(epoch)
    load_tensorflow()
    from cxrkeras.workflow.evidence import map_options as make_options
    from cxrkeras.workflow.explain import explain_selection
    from cxrkeras.workflow.opened import OpenRun
    from cxrkeras.workflow.selection import select

    opened = OpenRun(opened_run)
    selection = select(opened, out=out, reporter=show, **options)
    wanted = make_options(opened, selection, target=target, layer=layer, engine=engine, max_channels=channels)
    table = explain_selection(opened, number, selection, method, wanted, overlays=pictures, reporter=show)
    if form != "table":
        print_table(table, form)
        return
    title = f"{opened.run.name}, epoch {number}, {len(selection)} films"
    print_table(table.drop(columns=["maps", "contact_sheet"]), form, title=title)
    for sheet in table["contact_sheet"]:
        click.echo(sheet)
