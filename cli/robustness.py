"""`cxrkeras robustness`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from cxrkeras_cli.options import checked_methods, data_options, positive_options
from cxrkeras_cli.output import format_option, json_rows, print_json, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow
from cxrkeras_cli.train import EPOCHS, RATES

if TYPE_CHECKING:
    from cxrkeras.workflow.robustness.robustness import RobustnessResult

# one row a film and map: too long for a screen, and stored
_NOT_SHOWN = "map_films"


@click.command()
@click.option("--config", metavar="NAME|FILE", help="A shipped configuration (see `cxrkeras config show`) or YAML.")
@data_options
@positive_options
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N films per class and split.")
@click.option("--backbone", metavar="NAME", help="Backbone of sources that name none.  [the configuration's]")
@click.option("--image-size", type=int, metavar="N", help="Side of the input, of all sources.  [a run's, or native]")
@click.option(
    "--sources", metavar="LIST",
    help="Comma list of weights, each [NAME=][BACKBONE:]WEIGHTS[:PREPROCESS] with WEIGHTS imagenet, random, "
    "run:NAME[@EPOCH] or a file.  [the configuration's]",
)  # fmt: skip
@click.option(
    "--confounders", metavar="LIST",
    help="Comma list of tag, lowpass, noise, column:NAME=VALUE; with parameters tag:x=.8,y=.1.  [tag,lowpass]",
)  # fmt: skip
@click.option("--p", "shares", metavar="LIST", help="Shares of positive films that carry it.  [0,.1,.2,.5,.8,1]")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, metavar="N", help="How many seeds.")
@click.option(
    "--mode", type=click.Choice(["probe", "finetune"]), default="probe", show_default=True,
    help="probe: a linear probe on frozen features, seconds; finetune: every arm is a run of both stages.",
)  # fmt: skip
@click.option(
    "--val", type=click.Choice(["iid", "clean"]), default="iid", show_default=True,
    help="Validation films confounded as train, or not at all.",
)  # fmt: skip
@click.option("--as-study", is_flag=True, help="Low-pass at 1024 px and noise at 512 px, before the resize.")
@click.option("--method", metavar="NAMES|none", help="How maps are made.  [the CAMs without forwards of their own]")
@click.option("--epochs", type=EPOCHS, metavar="TL,FT", help="With --mode finetune: epochs of both stages.")
@click.option("--learning-rate", type=RATES, metavar="TL,FT", help="With --mode finetune: Adam's rate in each stage.")
@click.option("--run", metavar="NAME|PATH", help="Directory to make or go on with.  [robustness-<films>]")
@click.option("--dry-run", is_flag=True, help="Show the arms, trainings and forwards; write nothing.")
@format_option
@click.pass_context
def robustness(
    ctx: click.Context, config: str | None, sources: str | None, confounders: str | None, shares: str | None,
    seeds: int, mode: str, positive: str | None, negative: str | None, val: str, as_study: bool, method: str | None,
    run: str | None, dry_run: bool, form: str, **settings,
) -> None:  # fmt: skip
    """Does it lean on a shortcut? Weight sources × confounders × p × seeds, and what the maps do meanwhile.

    In training a share p of the positive films carries the confounder, and no negative one. On the test films it sits
    where it did in training (iid), on the wrong class (reversed), on the right one (aligned), nowhere (clean), or on
    half of each (neutral). Reliance is what the AUC loses from clean to reversed, beyond what it loses at p = 0.
    column:NAME=VALUE changes no pixel but chooses films, so that the value goes with the class.

    Without --data and --config it works on the embedded phantom films. --positive names the class that the confounder
    goes with (if none is named, the last that is not called normal or "no …"), or a finding of a table of findings.
    Repeating the command goes on where it was stopped; other sources, confounders or p are added to what is there.

    \b
    Examples:
      cxrkeras robustness
      cxrkeras robustness --data chest_xray/ --backbone ResNet50V2 --sources imagenet,random --dry-run
      cxrkeras robustness --data films.csv --sources own=run:kermany-resnet,random --confounders tag,column:sex=F
      cxrkeras robustness --data chest_xray/ --mode finetune --confounders tag --p 0,1 --seeds 3 --epochs 3,5
    """
    show = reporter(ctx)
    ps = None if shares is None else _numbers(shares)
    if method != "none":
        checked_methods(method)
    if mode == "probe" and (given := [name for name in ("epochs", "learning_rate") if settings[name] is not None]):
        raise click.UsageError(f"--{given[0].replace('_', '-')} is of trainings: use it with --mode finetune.")
    load_tensorflow()
    from cxrkeras.workflow.robustness.robustness import robustness as work
    from cxrkeras.workflow.robustness.robustness import robustness_plan
    from cxrkeras.workflow.robustness.settings import robustness_settings

    if config is None and settings["data"] is None:
        show.notice("no --data and no --config: the embedded phantom films (configs/phantom.yaml).")
    wanted = robustness_settings(
        config, sources=sources, confounders=confounders, ps=ps, seeds=seeds, mode=mode, positive=positive,
        negative=negative, val=val, as_study=as_study, methods=method, **settings,
    )  # fmt: skip
    if ps is not None and 0 not in ps:
        show.notice("p = 0 is added: without an arm that never saw the artefact there is nothing to compare with.")
    for candidate in wanted.candidates:
        if candidate.warning:
            show.notice(candidate.warning)
    name = wanted.name if run is None else run
    if dry_run:
        print_table(robustness_plan(wanted, show), form, title=f"{name}: what it takes; nothing was written")
        return
    result = work(wanted, name, reporter=show)
    _print_result(result, form)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise click.UsageError(f"--p '{text}' is no list of shares. Expected for example 0,.2,.5,1.") from None


def _print_result(result: RobustnessResult, form: str) -> None:
    tables = result.tables
    if form == "json":
        print_json({name: json_rows(frame) for name, frame in tables.items() if name != _NOT_SHOWN})
    elif form == "csv":
        print_table(tables["results"], form)
    else:
        _print_tables(result, form)


def _print_tables(result: RobustnessResult, form: str) -> None:
    from cxrkeras.workflow.robustness.printed import printed_tables, spoken

    for title, table in printed_tables(result.tables):
        print_table(table, form, title=f"{result.results.path}: {title}")
    for sentence in spoken(result.tables):
        click.echo(sentence)
    click.echo(f"tables: {result.results.tables_path('results').parent}")
    click.echo(f"figure: {result.results.figure_path('robustness')}")
    click.echo(f"page: cxrkeras report --run {result.results.path}")
