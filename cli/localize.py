"""`cxrkeras localize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cxrkeras_cli.options import (
    Setting,
    checked_methods,
    data_options,
    marks_options,
    open_run,
    run_option,
    selection_options,
)
from cxrkeras_cli.output import format_option, json_rows, print_json, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow

if TYPE_CHECKING:
    from cxrkeras.workflow.localize.localize import Localization

_SETTINGS = (
    "threshold", "tolerance", "cutoff", "bootstrap", "chance", "draws", "human", "statements", "overlays",
    "allow_untrained",
)  # fmt: skip
_FILE = click.Path(path_type=Path)


class ThresholdRule(click.ParamType):
    """A rule that turns a map into a mask."""

    name = "otsu|fixed:T|top:Q|tuned"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from cxrkeras.errors import UsageError
        from cxrkeras.localization import parse_threshold

        if value != "tuned":
            try:
                parse_threshold(value)
            except UsageError as error:
                self.fail(str(error))
        return value


@click.command()
@run_option
@click.option("--epoch", default="last", show_default=True, metavar="N|best|last", help="Which checkpoint.")
@click.option("--method", metavar="NAMES",
              help="Comma list (also saliency, ig), or all.  [the five that need no forward a channel]")  # fmt: skip
@click.option("--option", "given", type=Setting(), multiple=True, metavar="NAME=VALUE",
              help="An option of a method, e.g. ig_baseline=black; may be repeated.")  # fmt: skip
@marks_options
@click.option("--threshold", type=ThresholdRule(), default="otsu", show_default=True,
              help="How a map becomes a mask; tuned takes the best of .2 to .8 on --tune-on.")  # fmt: skip
@click.option("--tune-on", type=_FILE, metavar="FILE", help="Marks of validation films of other patients.")
@click.option("--tolerance", type=click.FloatRange(0), default=0.0, show_default=True, metavar="PX",
              help="How far from the mark a peak still hits, in pixels of the annotation.")  # fmt: skip
@click.option("--slice", "slice_", type=click.Choice(["tp", "full"]), default="tp", show_default=True,
              help="Marked films whose label is the class, or every film that was read.")  # fmt: skip
@click.option("--cutoff", type=click.FloatRange(0, 1), metavar="P", help="Probability below which the mask is empty.")
@click.option("--negatives-read", is_flag=True, help="Films without a mark were read and are free of the findings.")
@click.option("--annotators", type=click.Choice(["union", "each"]), default="union", show_default=True,
              help="All annotators' marks together, or each alone.")  # fmt: skip
@click.option("--views", type=click.Choice(["frontal", "all"]), default="frontal", show_default=True,
              help="Whether lateral films take part, where a view column tells them.")  # fmt: skip
@click.option("--bootstrap", type=click.Choice(["patient", "image"]), default="patient", show_default=True,
              help="What intervals resample; image is as CheXlocalize does.")  # fmt: skip
@click.option("--chance/--no-chance", default=True, show_default=True,
              help="Also what area, centre, other patients' masks and random networks score.")  # fmt: skip
@click.option("--draws", type=click.IntRange(1), default=3, show_default=True, metavar="N", help="Random networks.")
@click.option("--against", multiple=True, metavar="RUN[@EPOCH]", help="Another model on the same films; repeatable.")
@click.option("--human", type=_FILE, metavar="FILE", help="CSV of human performance, to compare with.")
@click.option("--statements", type=_FILE, metavar="CSV", help="image,finding,side,zone as reports name them.")
@click.option("--allow-untrained", is_flag=True, help="Take a run whose head was never trained, and mark it.")
@click.option("--image", multiple=True, metavar="FILE|DIR", help="Films from outside the run; may be repeated.")
@data_options
@selection_options
@click.option("--overlays", type=click.IntRange(0), default=2, show_default=True, metavar="N",
              help="Draw N films with the expert's outline for each finding and method.")  # fmt: skip
@format_option
@click.pass_context
def localize(
    ctx: click.Context, run: str | None, epoch: str, method: str | None, boxes: Path | None, masks: Path | None,
    finding: str | None, findings: tuple[tuple[str, str], ...], box_size: tuple[int, int] | None, tune_on: Path | None,
    slice_: str, negatives_read: bool, annotators: str, views: str, against: tuple[str, ...],
    given: tuple[tuple[str, Any], ...], form: str, **options,
) -> None:  # fmt: skip
    """Whether the maps lie where experts marked the finding, beside what knows nothing would reach.

    IoU, pointing game (hit), share of the map inside (mass) and more, film by film, with intervals over patients.
    Beside them: the area of the mark, a Gaussian in the middle, the other patients' mean mask, and networks whose
    weights were drawn anew. A finding is explained by the class of its name, or by --map. Missing maps are computed.
    On the phantom its own masks are used.

    \b
    Examples:
      cxrkeras localize
      cxrkeras localize --run nih --boxes BBox_List_2017.csv --map "Infiltration=PNEUMONIA"
      cxrkeras localize --run nih --boxes boxes.csv --map "Lung Opacity=PNEUMONIA" --method gradcam++,saliency,ig
      cxrkeras localize --run nih --boxes boxes.csv --against kermany@best
      cxrkeras localize --run chex --boxes gt_segmentations_test.json --threshold tuned --tune-on gt_val.json
    """
    show = reporter(ctx)
    settings = {name: options.pop(name) for name in _SETTINGS}
    if boxes and masks:
        raise click.UsageError("--boxes and --masks both give the expert's marks: name one.")
    if (finding or box_size) and not (boxes or masks):
        raise click.UsageError("--finding and --box-size describe marks: give them with --boxes or --masks.")
    if (settings["threshold"] == "tuned") != (tune_on is not None):
        raise click.UsageError("--threshold tuned and --tune-on FILE go together: what is tuned, and on which marks.")
    if (slice_ == "full") != (settings["cutoff"] is not None):
        raise click.UsageError(
            "--slice full and --cutoff P go together: below P the classifier says no, and the mask is empty."
        )
    checked_methods(method)
    opened_run = open_run(run, show)
    number = opened_run.resolve_epoch(epoch)
    load_tensorflow()
    from cxrkeras.cams.registry import method_names
    from cxrkeras.data.annotations import read_annotations
    from cxrkeras.workflow.localize.films import annotated_films, own_masks
    from cxrkeras.workflow.localize.localize import METHODS, LocalizeSettings
    from cxrkeras.workflow.localize.localize import localize as work
    from cxrkeras.workflow.localize.models import model_of
    from cxrkeras.workflow.localize.tuning import tuning_films
    from cxrkeras.workflow.map_options import MapOptions
    from cxrkeras.workflow.opened import OpenRun
    from cxrkeras.workflow.selection import select

    opened = OpenRun(opened_run)
    selection = select(opened, reporter=show, **options)
    if boxes or masks:
        annotations = read_annotations(boxes or masks, box_size=box_size, finding=finding)
    else:
        annotations = own_masks(opened, selection)
        negatives_read = True
        show.notice(f"marks: the masks of the films themselves ({annotations.source}).")
    truth = annotated_films(
        opened, selection, annotations, dict(findings), slice=slice_, annotators=annotators, views=views,
        negatives_read=negatives_read, reporter=show,
    )  # fmt: skip
    tuning = None
    if tune_on is not None:
        marks = read_annotations(tune_on, box_size=box_size, finding=finding)
        tuning = tuning_films(opened, truth, marks, show)
    found = work(
        opened, number, truth, METHODS if method is None else method_names(method),
        MapOptions(seed=opened.config.training.seed, given=dict(given)), LocalizeSettings(**settings), tuning=tuning,
        against=[model_of(text) for text in against], reporter=show,
    )  # fmt: skip
    _print(found, form, f"{opened_run.name}, epoch {number}, split {selection.split}")
    show.notice(f"tables and figure: {found.figure.parent}")


def _print(found: Localization, form: str, title: str) -> None:
    from cxrkeras.workflow.localize.printed import (
        MARKS,
        printed_comparisons,
        printed_readers,
        printed_summary,
        sentences,
        way_words,
    )

    told = sentences(found.summary, found.chance)
    if form == "json":
        print_json({name: json_rows(table) for name, table in found.tables().items() if "films" not in name})
    elif form == "csv":
        print_table(found.summary, form)
    else:
        untrained = ", HEAD NOT TRAINED" if "no" in set(found.summary["trained"]) else ""
        click.echo(f"{title}{untrained}: {way_words(found.summary.iloc[0].astype(str))}\n")
        for about, table in printed_summary(found.summary, found.chance).items():
            print_table(table, form, title=about)
        for name, table in printed_comparisons(found.comparisons).items():
            print_table(table, form, title=f"difference of {name} on the same films")
        if len(found.statements):
            shown = ["finding", "method", "stated", "share", "ci_low", "ci_high", "chance", "above", "n", "n_patients"]
            print_table(found.statements[shown], form, title="mass where the report says the finding is")
        if len(found.readers):
            print_table(printed_readers(found.readers), form, title="how far the annotators agree")
        if len(found.chance):
            click.echo(MARKS)
    for sentence in told:
        click.echo(sentence, err=form != "table")
