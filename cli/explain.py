"""`cxrkeras explain`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from cxrkeras_cli.options import (
    Pair,
    checked_methods,
    data_options,
    films_options,
    map_options,
    marks_options,
    open_run,
    popped_map_settings,
    run_option,
)
from cxrkeras_cli.output import ConsoleReporter, format_option, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow

_OF_A_COMPARISON = ("boxes", "masks", "finding", "findings", "box_size", "allow_untrained")
_OF_A_MODEL = ("classes", "image_size", "pixel_range")
_ALONE = ("run", "file", *_OF_A_MODEL, "overlays")
_FLAGS = {"file": "model", "findings": "map"}


@click.command()
@click.argument("more", nargs=-1, metavar="[RUN_B …]")
@run_option
@click.option("--epoch", default="last", show_default=True, metavar="N|best|last", help="Which checkpoint.")
@click.option(
    "--compare", multiple=True, metavar="RUN_A",
    help="Films beside the maps of several runs, on one page: --compare RUN_A RUN_B …, each RUN or RUN@EPOCH.",
)  # fmt: skip
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
@films_options
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR",
    help="Write results there, laid out like a run; with --compare, a folder or PNG file for the page.",
)  # fmt: skip
@marks_options
@click.option("--allow-untrained", is_flag=True, help="With --compare: also runs whose head was never trained; marked.")
@click.option(
    "--overlays", type=click.IntRange(0), default=100, show_default=True, metavar="N",
    help="Write at most N overlay pictures a method (the contact sheet shows up to 48 films).",
)  # fmt: skip
@format_option
@click.pass_context
def explain(
    ctx: click.Context, more: tuple[str, ...], run: str | None, epoch: str, compare: tuple[str, ...], file: Path | None,
    form: str, out: Path | None, **options,
) -> None:  # fmt: skip
    """Explain a checkpoint, or a model of your own: native heat maps, overlays and a contact sheet a method.

    Without --method: the five cheap methods, and ScoreCAM where it is affordable (at most 20,000 forwards). Films
    that already have maps are not computed again.

    With --compare: the same films beside the maps of several runs, checkpoints or methods on one page, the explained
    class named; --boxes or --masks outline what experts marked and put IoU, hit and mass under every map. A CSV beside
    the page holds the numbers. Its options, from --boxes to --allow-untrained, belong to --compare.

    \b
    Examples:
      cxrkeras explain --method scorecam
      cxrkeras explain --run kermany-resnet --epoch best --method gradcam++,layercam --image film.png
      cxrkeras explain --model mine.keras --pixel-range 0,1 --method layercam --image films/
      cxrkeras explain --compare nih-random nih-kermany@best --boxes boxes.csv --map "Lung Opacity=PNEUMONIA"
    """
    show = reporter(ctx)
    if compare:
        _refuse(ctx, _ALONE, "explains one run or model: leave it out with --compare")
        _compare(show, (*compare, *more), epoch, form, out, options)
        return
    if more:
        raise click.UsageError(f"'{more[0]}' stands alone. A run is named with --run, several with --compare A B.")
    _refuse(ctx, _OF_A_COMPARISON, "belongs to --compare; cxrkeras localize scores whole splits against marks")
    for name in _OF_A_COMPARISON:
        options.pop(name)
    if out is not None and out.is_file():
        raise click.UsageError(f"--out {out} is a file. Expected a folder.")
    method, making = checked_methods(options.pop("method")), popped_map_settings(options)
    target, pictures = options.pop("target"), options.pop("overlays")
    own = {name: options.pop(name) for name in _OF_A_MODEL}
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
            raise click.UsageError(f"--{_FLAGS.get(name, name).replace('_', '-')} {reason}.")


def _compare(
    show: ConsoleReporter, runs: tuple[str, ...], epoch: str, form: str, out: Path | None, options: dict[str, Any]
) -> None:
    method, making = checked_methods(options.pop("method")), popped_map_settings(options)
    boxes, masks, finding, findings, size, untrained = (options.pop(name) for name in _OF_A_COMPARISON)
    target, limit = options.pop("target"), options.pop("limit")
    if target == "predicted":
        raise click.UsageError("--compare explains one class a film for all: --target CLASS, or the film's label.")
    if boxes and masks:
        raise click.UsageError("--boxes and --masks both give the expert's marks: name one.")
    if options["image"] and limit:
        raise click.UsageError("--image names the films itself: leave out --limit.")
    if (finding or findings or size) and not (boxes or masks):
        raise click.UsageError("--finding, --map and --box-size describe marks: give them with --boxes or --masks.")
    for name in (*_ALONE, "form"):
        options.pop(name, None)
    load_tensorflow()
    from cxrkeras.data.annotations import read_annotations
    from cxrkeras.workflow.gallery.films import Marks
    from cxrkeras.workflow.gallery.gallery import checkpoints, gallery, gallery_methods, printed_gallery
    from cxrkeras.workflow.selection import select

    models = checkpoints(runs, epoch)
    selection = select(models[0].opened, reporter=show, **options)
    marked = boxes or masks
    marks = Marks(read_annotations(marked, box_size=size, finding=finding), dict(findings)) if marked else None
    made = gallery(
        models, selection, gallery_methods(method, models, show), making, target=None if target == "label" else target,
        marks=marks, limit=limit, every=bool(options["image"]), allow_untrained=untrained, out=out, reporter=show,
    )  # fmt: skip
    if form != "table":
        print_table(made.table, form)
        return
    print_table(printed_gallery(made.table), form, title=", ".join(dict.fromkeys(one.name for one in models)))
    click.echo(made.picture)
    click.echo(made.picture.with_suffix(".csv"))
