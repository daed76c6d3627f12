"""`cxrkeras score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cxrkeras_cli.options import (
    Grid,
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

if TYPE_CHECKING:
    from cxrkeras.events import Reporter
    from cxrkeras.workflow.map_options import MapOptions
    from cxrkeras.workflow.opened import OpenRun
    from cxrkeras.workflow.selection import Selection


@click.command()
@run_option
@click.option("--epoch", default="last", show_default=True, metavar="N|best|last|all", help="Which checkpoints.")
@map_options
@click.option(
    "--recommend-on",
    metavar="SPLIT",
    help="With --epoch all: films to choose the recommended checkpoint on, val or test; missing maps are computed.  "
    "[val where its maps are stored, else the films that are scored]",
)
@click.option("--threshold", type=click.FloatRange(0, 1), metavar="T", help="Confidence a gold film needs.  [0.7]")
@click.option("--gamma", type=click.FloatRange(0, min_open=True), metavar="G", help="Emphasis of strong cells.  [2]")
@click.option("--grid", type=Grid(), help="Common grid the maps are compared on.  [56]")
@click.option("--pair-weights", type=click.Choice(["product", "none", "geometric", "min"]), help="Weight of a pair.")
@click.option("--macro", type=click.Choice(["strict", "skip"]), help="Whether an undefined class makes macro NaN.")
@click.option("--same-patient", type=click.Choice(["drop", "keep"]), help="Pairs of films of one patient.  [drop]")
@data_options
@selection_options
@click.option("--maps", "maps_file", metavar="FILE.npz", help="Score any framework's maps (array `maps` [n,h,w]) …")
@click.option("--predictions", metavar="CSV", help="… with this table: label, a probability column a class, patient.")
@format_option
@click.pass_context
def score(
    ctx: click.Context, run: str | None, epoch: str, form: str, out: Path | None, recommend_on: str | None,
    maps_file: str | None, predictions: str | None, **options,
) -> None:  # fmt: skip
    """The C-Score: how consistent a method's maps are across the patients of a class.

    Missing maps are computed. Without --method: the five cheap methods, and ScoreCAM where it is affordable (at most
    20,000 forwards). Consistent is not correct: read the score beside its baseline and the AUC.

    --epoch all also compares the checkpoints: where AUC and consistency part, early warnings and what became of them,
    and which checkpoint to read for each method. The tables are stored in the run under analysis/.

    \b
    Examples:
      cxrkeras score --epoch 20
      cxrkeras score --run kermany-resnet --epoch all --method gradcam++,layercam --format csv
      cxrkeras score --run kermany-resnet --epoch all --recommend-on val
      cxrkeras score --maps maps.npz --predictions predictions.csv
    """
    show = reporter(ctx)
    names = ("threshold", "gamma", "grid", "pair_weights", "macro", "same_patient")
    settings = {name: options.pop(name) for name in names}
    if maps_file or predictions:
        _score_files(ctx, maps_file, predictions, settings, form)
        return
    method, making = checked_methods(options.pop("method")), popped_map_settings(options)
    opened_run = open_run(run, show)
    epochs = opened_run.epochs() if epoch == "all" else []
    # of a run without any checkpoint, "last" says what to do about it
    epochs = epochs or [opened_run.resolve_epoch("last" if epoch == "all" else epoch)]
    if recommend_on is not None and epoch != "all":
        raise click.UsageError("--recommend-on chooses among checkpoints: use it with --epoch all.")
    load_tensorflow()
    from cxrkeras.workflow.map_options import map_options as make_options
    from cxrkeras.workflow.opened import OpenRun
    from cxrkeras.workflow.score.score import score_selection
    from cxrkeras.workflow.score.table import printed_classes, printed_globals
    from cxrkeras.workflow.selection import select

    opened = OpenRun(opened_run)
    selection = select(opened, out=out, reporter=show, **options)
    wanted = make_options(opened, selection, **making)
    if epoch == "all":
        _score_all(opened, epochs, selection, method, wanted, settings, recommend_on, options.get("limit"), form, show)
        return
    table = score_selection(opened, epochs, selection, method, wanted, settings, reporter=show)
    if form != "table":
        print_table(table, form)
        return
    (number,) = epochs
    title = f"{opened.run.name}, epoch {number}, split {selection.split}: C-Score (consistent is not correct)"
    print_table(printed_classes(table, number), form, title=title)
    print_table(printed_globals(table, number), form)


def _score_all(
    opened: OpenRun, epochs: list[int], selection: Selection, method: str | None, options: MapOptions,
    settings: dict[str, Any], recommend_on: str | None, limit: int | None, form: str, show: Reporter,
) -> None:  # fmt: skip
    from cxrkeras.workflow.analyse import analyse, methods_of_all, recommending, stored_validation
    from cxrkeras.workflow.analysis_tables import printed_checkpoints, printed_recommendation, spoken
    from cxrkeras.workflow.evidence import Evidence

    names = methods_of_all(method, opened, epochs, selection, options, show)
    evidence = dict.fromkeys(names, Evidence(selection, options))
    if recommend_on is None:
        chosen_on = stored_validation(opened, evidence, epochs, reporter=show)
    else:
        same = recommend_on == selection.split
        chosen_on = None if same else recommending(opened, evidence, recommend_on, limit=limit, reporter=show)
    found = analyse(opened, evidence, settings, epochs=epochs, recommend=chosen_on, reporter=show)
    if form != "table":
        print_table(found.scores, form)
    else:
        title = f"{opened.run.name}, split {selection.split}: C-Score by epoch (consistent is not correct), ± 95 %"
        print_table(printed_checkpoints(found.scores, found.auc), form, title=title)
    for sentence in spoken(found.findings, found.n_comparisons, found.status):
        click.echo(sentence, err=form != "table")
    if form == "table":
        notes = ", ".join(dict.fromkeys(found.recommendation["note"]))
        print_table(printed_recommendation(found.recommendation), form, title=f"Recommended checkpoints ({notes})")
    show.notice(f"tables: {selection.sink.analysis_path(selection.split, 'recommendation').parent}")


def _score_files(ctx: click.Context, maps_file: str | None, predictions: str | None, settings: dict, form: str) -> None:
    if not (maps_file and predictions):
        raise click.UsageError("--maps and --predictions go together: the maps, and whose they are.")
    allowed = {"maps_file", "predictions", "form", *settings}
    given = [
        name
        for name in ctx.params
        if name not in allowed and ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"--maps scores maps from outside a run: leave out --{given[0].replace('_', '-')}.")
    from cxrkeras.workflow.score.files import score_files
    from cxrkeras.workflow.score.table import printed_classes, printed_globals

    table = score_files(maps_file, predictions, settings)
    if form != "table":
        print_table(table, form)
        return
    table = table.assign(epoch=0, method=maps_file)
    print_table(printed_classes(table, 0), form, title=f"{maps_file}: C-Score (consistent is not correct)")
    print_table(printed_globals(table, 0), form)
