"""`cxrkeras study`."""

from __future__ import annotations

import click
from cxrkeras_cli.options import data_options, positive_options
from cxrkeras_cli.output import format_option, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow

SHOWN = [
    "backbone", "seed", "method", "checkpoint", "recommendation", "auc", "macro", "macro_stderr", "min_excess",
    "min_coverage", "native_grid", "n_films", "randomisation", "status",
]  # fmt: skip


@click.command()
@click.option("--config", metavar="NAME|FILE", help="A shipped study (see `cxrkeras config show`) or YAML.")
@data_options
@positive_options
@click.option("--run", metavar="NAME|PATH", help="The study's name under ./artifacts, or path.  [the config's name]")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Runs at a time.")
@click.option("--dry-run", is_flag=True, help="Show the cells, forwards and expected time; write nothing.")
@click.option("--no-report", is_flag=True, help="Leave the HTML report out.")
@format_option
@click.pass_context
def study(
    ctx: click.Context, config: str | None, run: str | None, jobs: int, dry_run: bool, no_report: bool, form: str,
    data: str | None, **columns,
) -> None:  # fmt: skip
    """Backbones × seeds × methods × checkpoints: train, score, analyse, check, and compare, in one directory.

    A study may also cross weight sources, recipes and label fractions, and judge the maps against expert marks
    (study.weights, recipes, fractions, localize in the YAML, see `cxrkeras config show kermany-fractions`).
    Repeating the command goes on where it was stopped: nothing is trained or scored twice. A cell that fails is
    listed, the others go on, and the exit code is 1. Without --config, --run names a study to go on with.

    \b
    Examples:
      cxrkeras study --config smoke-study
      cxrkeras study --config kermany-study --data chest_xray/ --dry-run
      cxrkeras study --config my-study.yaml --data films.csv --split-column fold --run my-study --jobs 3
    """
    if config is None and run is None:
        raise click.UsageError("name a study with --config, or one to go on with by --run.")
    show = reporter(ctx)
    origin, name = _origin(config, run)
    load_tensorflow()
    from cxrkeras.workflow.study.config import resolved_study, without_report
    from cxrkeras.workflow.study.plan import study_plan
    from cxrkeras.workflow.study.study import run_study

    wanted = resolved_study(origin, data, **columns)
    if dry_run:
        print_table(study_plan(wanted, name, show), form, title=f"{name}: what is to be done; nothing was written")
        return
    result = run_study(without_report(wanted) if no_report else wanted, name, jobs=jobs, reporter=show)
    _print_result(result, form)
    if len(result.failed):
        for row in result.failed.itertuples():
            place = " ".join(str(part) for part in (row.run, row.work, row.split, row.method) if part)
            epoch = "" if str(row.epoch) == "<NA>" else f" epoch {row.epoch}"
            click.echo(f"failed: {place}{epoch}: {row.error}", err=True)
        click.echo(
            f"Error: {len(result.failed)} of {len(result.cells)} cells failed. Repeat the command to try them again.",
            err=True,
        )
        ctx.exit(1)


def _origin(config: str | None, run: str | None):
    from pathlib import Path

    from cxrkeras.study import Study, load_study

    if config is None:
        found = Study.open(run)
        return found.config, found.path
    # a wrong name ends here, before TensorFlow is loaded
    load_study(config)
    return config, run if run is not None else Path(config).stem


def _print_result(result, form: str) -> None:
    if form != "table":
        print_table(result.headline, form)
        return
    title = f"{result.study.path}: every method at its checkpoint (consistent is not correct)"
    shown = [*SHOWN[:1], *result.study.config.study.axes, *SHOWN[1:]]
    shown += ["watermark"] if "watermark" in result.headline else []
    print_table(result.headline[shown], form, title=title)
    if result.fractions is not None:
        title = "by label fraction, at the best validation AUC: mean, standard deviation and range over seeds"
        print_table(result.fractions.drop(columns=["mean_zero", "n_degenerate"]), form, title=title)
    information = result.findings["kind"] == "class_gap"
    for row in result.findings[~information].itertuples():
        click.echo(f"{row.run}: {row.sentence}")
    if information.any():
        click.echo(
            f"and {information.sum()} differences between classes, in {result.study.tables_path('findings').name}"
        )
    click.echo(f"tables: {result.study.tables_path('headline').parent}")
    if result.report is not None:
        click.echo(f"report: {result.report.resolve()}")
