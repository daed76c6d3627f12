"""`cxrkeras report`."""

from __future__ import annotations

import click
from cxrkeras_cli.options import open_run, run_option
from cxrkeras_cli.output import format_option, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow


@click.command()
@run_option
@click.option("--study", metavar="NAME|PATH", help="A study instead of a run: its directory or name under ./artifacts.")
@click.option("--split", metavar="NAME", help="Split to report on.  [test; of a study its own]")
@format_option
@click.pass_context
def report(ctx: click.Context, run: str | None, study: str | None, split: str | None, form: str) -> None:
    """One HTML file with everything measured on a run or a study, and a viewer of the evidence.

    The file needs no network and no other file. Figures (PNG, SVG) and tables (CSV) go into the folder beside it. The
    analysis over the checkpoints is made where it is missing; what else is missing is named on the page, with the
    command that makes it.

    \b
    Examples:
      cxrkeras report
      cxrkeras report --run kermany-resnet --split val
      cxrkeras report --study kermany-study
    """
    show = reporter(ctx)
    if study is not None and (run is not None or split is not None):
        raise click.UsageError("--study names its runs and its split itself: leave out --run and --split.")
    if study is not None:
        from cxrkeras.study import Study

        subject = Study.open(study)
    else:
        subject = open_run(run, show)
    load_tensorflow()
    import pandas as pd

    from cxrkeras.run_paths import figure_path, table_path
    from cxrkeras.workflow.report.report import report_run, report_study

    page = (
        report_study(subject, reporter=show)
        if study is not None
        else report_run(subject, split or "test", reporter=show)
    )
    beside = subject.report_folder if study is not None else subject.report_folder(split or "test")
    figures = len(list(figure_path(beside, "x", "svg").parent.glob("*.svg")))
    tables = len(list(table_path(beside, "x").parent.glob("*.csv")))
    megabytes = page.stat().st_size / 1e6
    row = {"report": str(page), "megabytes": round(megabytes, 3), "figures": figures, "tables": tables}
    print_table(pd.DataFrame([{**row, "beside": str(beside)}]), form)
