"""`cxrkeras explain`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from cxrkeras_cli.options import (
    Pair,
    checked_methods,
    data_options,
    map_options,
    open_run,
    popped_map_settings,
    run_option,
    selection_options,
)
from cxrkeras_cli.output import format_option, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow


@click.command()
@run_option
@click.option("--epoch", default="last", show_default=True, metavar="N|best|last", help="Which checkpoint.")
@click.option(
    "--model",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE.keras",
    help="Explain a model of your own instead of a run's checkpoint; with --image or --data.",
)
@click.option("--classes", metavar="FILE", help="Class names of --model, one a line. Default: 0, 1, …")
@click.option("--image-size", type=click.IntRange(8), metavar="N", help="Side in pixels, if --model leaves it open.")
@click.option(
    "--pixel-range",
    type=Pair(float, "black,white, e.g. 0,1"),
    default="0,255",
    show_default=True,
    metavar="BLACK,WHITE",
    help="What --model takes for black and white, e.g. 0,1 or -1,1.",
)
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
def explain(
    ctx: click.Context, run: str | None, epoch: str, file: Path | None, form: str, out: Path | None, **options
) -> None:
    """Explain a checkpoint, or a model of your own: native heat maps, overlays and a contact sheet a method.

    Without --method: the five cheap methods, and ScoreCAM where it is affordable (at most 20,000 forwards). Films
    that already have maps are not computed again.

    \b
    Examples:
      cxrkeras explain --method scorecam
      cxrkeras explain --run kermany-resnet --epoch best --method gradcam++,layercam --image film.png
      cxrkeras explain --model mine.keras --pixel-range 0,1 --method layercam --image films/
    """
    show = reporter(ctx)
    method, making = checked_methods(options.pop("method")), popped_map_settings(options)
    target, pictures = options.pop("target"), options.pop("overlays")
    own = {name: options.pop(name) for name in ("classes", "image_size", "pixel_range")}
    if file is None:
        _refuse(ctx, own, "describes --model, which was not given")
        opened_run = open_run(run, show)
        number = opened_run.resolve_epoch(epoch)
    else:
        _refuse(ctx, ("run", "epoch"), "belongs to a run: leave it out with --model")
        if not (options["image"] or options["data"]):
            raise click.UsageError("--model needs films: name them with --image FILE|DIR or --data DIR|CSV.")
    load_tensorflow()
    from cxrkeras.workflow.explain import explain_selection
    from cxrkeras.workflow.map_options import map_options as make_options
    from cxrkeras.workflow.opened import OpenRun
    from cxrkeras.workflow.selection import select
    from cxrkeras.workflow.user_model import EPOCH, OpenModel

    if file is None:
        opened = OpenRun(opened_run)
    else:
        opened, number = OpenModel(file, out=out, **own), EPOCH
        out = opened.run.path
    selection = select(opened, out=out, reporter=show, **options)
    wanted = make_options(opened, selection, target=target, **making)
    table = explain_selection(opened, number, selection, method, wanted, overlays=pictures, reporter=show)
    if form != "table":
        print_table(table, form)
        return
    name = f"{opened.run.name}, epoch {number}" if file is None else file.name
    title = f"{name}, {len(selection)} films"
    print_table(table.drop(columns=["maps", "contact_sheet"]), form, title=title)
    for sheet in table["contact_sheet"]:
        click.echo(sheet)


def _refuse(ctx: click.Context, names: Iterable[str], reason: str) -> None:
    for name in names:
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} {reason}.")
