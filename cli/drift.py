"""`cxrkeras drift`."""

from __future__ import annotations

import click
from cxrkeras_cli.options import checked_methods, open_run, run_option
from cxrkeras_cli.output import format_option, json_rows, print_json, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow

_OF_A_STUDY = ("study", "first", "last", "split", "form")


@click.command()
@run_option
@click.option("--from", "first", metavar="N|best", help="Checkpoint before.  [the last of transfer learning]")
@click.option("--to", "last", metavar="N|best|last", help="Checkpoint after.  [the last]")
@click.option(
    "--method", default="layercam,gradcam++", show_default=True, metavar="NAMES", help="Comma list of methods, or all."
)
@click.option(
    "--iou-rule", type=click.Choice(["top", "half-max"]), default="top", show_default=True,
    help="Cells whose overlap is taken: the strongest fifth, or those of at least half the maximum.",
)  # fmt: skip
@click.option("--correlation", type=click.Choice(["pearson", "spearman"]), default="pearson", show_default=True,
              help="Which correlation of the two maps.")  # fmt: skip
@click.option("--ssim", is_flag=True, help="Also the structural similarity (needs scikit-image).")
@click.option("--floor", metavar="NAME|PATH", help="A run with another seed: drift beside the difference to it.")
@click.option("--study", metavar="NAME|PATH", help="Stored drift of a study's runs, and where rankings reverse.")
@click.option("--split", metavar="NAME", help="Split of the films.  [test, or the study's]")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N films per class.")
@format_option
@click.pass_context
def drift(
    ctx: click.Context, run: str | None, first: str | None, last: str | None, method: str, iou_rule: str,
    correlation: str, ssim: bool, floor: str | None, study: str | None, split: str | None, limit: int | None, form: str,
) -> None:  # fmt: skip
    """Semantic drift: how the maps of the same films changed between two checkpoints.

    On films that are correct at both: how far the centre and the peak of the map moved (in diagonals), how far its
    strongest cells still overlap, how it correlates and whether it became more concentrated, with intervals over
    patients. Missing maps are computed. A map that moved is not a worse map: a retraining moves it too (--floor).

    \b
    Examples:
      cxrkeras drift
      cxrkeras drift --run kermany-resnet --from 15 --to 30 --method layercam,gradcam++
      cxrkeras drift --run kermany-resnet --floor kermany-resnet-seed1
      cxrkeras drift --study kermany-study
    """
    show = reporter(ctx)
    if study is not None:
        _show_study(ctx, study, first, last, split, form)
        return
    checked_methods(method)
    opened_run = open_run(run, show)
    epochs = [None if which is None else opened_run.resolve_epoch(which) for which in (first, last)]
    other_run = None if floor is None else open_run(floor, show)
    load_tensorflow()
    from cxrkeras.drift.metrics import DriftOptions
    from cxrkeras.workflow.drift.drift import drift as work
    from cxrkeras.workflow.drift.films import checkpoints
    from cxrkeras.workflow.drift.floor import drift_floor
    from cxrkeras.workflow.drift.tables import printed_floor, printed_summary
    from cxrkeras.workflow.evidence import Evidence, chosen_methods
    from cxrkeras.workflow.map_options import map_options
    from cxrkeras.workflow.opened import OpenRun
    from cxrkeras.workflow.selection import select

    options = DriftOptions(iou_rule, correlation, ssim)
    before, after = checkpoints(opened_run, *epochs)
    opened = OpenRun(opened_run)
    selection = select(opened, split=split, limit=limit, reporter=show)
    wanted = map_options(opened, selection)
    names = chosen_methods(method, opened, after, selection, wanted, show)
    evidence = dict.fromkeys(names, Evidence(selection, wanted))
    result = work(opened, evidence, before, after, options=options, reporter=show)
    title = f"{opened_run.name}, epoch {before} to {after}, split {selection.split}: drift of films correct at both"
    if other_run is None:
        print_table(printed_summary(result.summary) if form == "table" else result.summary, form, title=title)
        return
    beside = drift_floor(opened, OpenRun(other_run), evidence, before, after, options=options, reporter=show)
    if form == "json":
        print_json({"summary": json_rows(result.summary), "floor": json_rows(beside)})
    elif form == "csv":
        print_table(beside, form)
    else:
        print_table(printed_summary(result.summary), form, title=title)
        print_table(printed_floor(beside), form, title=f"amount of drift beside the difference to {other_run.name}")


def _show_study(
    ctx: click.Context, name: str, first: str | None, last: str | None, split: str | None, form: str
) -> None:
    for given in ctx.params:
        typed = ctx.get_parameter_source(given) is click.core.ParameterSource.COMMANDLINE
        if typed and given not in _OF_A_STUDY:
            raise click.UsageError(f"--study shows what is stored: leave out --{given.replace('_', '-')}.")
    from cxrkeras.errors import RunError
    from cxrkeras.study import Study

    opened = Study.open(name)
    runs, settings = opened.runs(), opened.config.study
    if not runs:
        raise RunError(f"study {opened.name} has no runs yet. Start it with: cxrkeras study.")
    for flag, which in (("--from", first), ("--to", last)):
        if which is not None and not which.isdigit():
            raise click.UsageError(f"with --study, {flag} is an epoch that all runs have; received '{which}'.")
    before = settings.drift.from_epoch if first is None else int(first)
    after = settings.drift.to_epoch if last is None else int(last)
    load_tensorflow()
    from cxrkeras.workflow.drift.drift import study_drift
    from cxrkeras.workflow.drift.tables import SUMMARY, printed_reversals, printed_summary, stored_drift

    split, show = split or settings.split, reporter(ctx)
    summary = stored_drift(runs, SUMMARY, split, before, after, reporter=show)
    found = study_drift(runs, split, before, after)
    if form == "json":
        print_json({"summary": json_rows(summary), "reversals": json_rows(found)})
    elif form == "csv":
        print_table(found, form)
    else:
        title = f"{opened.name}, split {split}: drift of films correct at both"
        print_table(printed_summary(summary), form, title=title)
        yes, told = (int((found[name] == word).sum()) for name, word in (("reversed", "yes"), ("status", "ok")))
        print_table(printed_reversals(found), form, title=f"rankings that reverse: {yes} of {told} that can be told")
