"""`cxrkeras report`."""

from __future__ import annotations

import click
from cxrkeras_cli.options import open_run, run_option
from cxrkeras_cli.output import format_option, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow


@click.command()
@run_option
@click.option("--study", metavar="NAME|PATH", help="A study instead of a run: its directory or name under ./artifacts.")
@click.option(
    "--with",
    "beside",
    metavar="NAME|PATH",
    multiple=True,
    help="Results of `robustness` or `sources` whose section the page gets; may be repeated.",
)
@click.option("--split", metavar="NAME", help="Split to report on.  [test; of a study its own]")
@format_option
@click.pass_context
def report(
    ctx: click.Context, run: str | None, study: str | None, beside: tuple[str, ...], split: str | None, form: str
) -> None:
    """One HTML file with everything measured on a run or a study, and a viewer of the evidence.

    Of the results of `cxrkeras robustness` or `cxrkeras sources` (--run), a page of their own; --with puts their
    sections on the page of a run or study.

    The file needs no network and no other file. Figures (PNG, SVG) and tables (CSV) go into the folder beside it. The
    analysis over the checkpoints is made where it is missing; what else is missing is named on the page, with the
    command that makes it.

    \b
    Examples:
      cxrkeras report
      cxrkeras report --run kermany-resnet --split val
      cxrkeras report --study kermany-study
      cxrkeras report --run robustness-kermany
      cxrkeras report --run kermany-resnet --with robustness-kermany --with sources-kermany
    """
    show = reporter(ctx)
    if study is not None and (run is not None or split is not None):
        raise click.UsageError("--study names its runs and its split itself: leave out --run and --split.")
    from cxrkeras.study.results import Results
    from cxrkeras.workflow.report.results import report_results, stored_results

    further = [Results.open(name) for name in beside]
    found = stored_results(run)
    if found is not None:
        if split is not None:
            raise click.UsageError(f"{found.path} holds results of its own split: leave out --split.")
        page, folder = report_results(found, further, reporter=show), found.report_folder
    elif study is not None:
        from cxrkeras.study import Study

        whole = Study.open(study)
        load_tensorflow()
        from cxrkeras.workflow.report.report import report_study

        page, folder = report_study(whole, beside=further, reporter=show), whole.report_folder
    else:
        opened = open_run(run, show)
        load_tensorflow()
        from cxrkeras.workflow.report.report import report_run

        page = report_run(opened, split or "test", beside=further, reporter=show)
        folder = opened.report_folder(split or "test")
    import pandas as pd

    from cxrkeras.run_paths import figure_path, table_path

    figures = len(list(figure_path(folder, "x", "svg").parent.glob("*.svg")))
    tables = len(list(table_path(folder, "x").parent.glob("*.csv")))
    megabytes = page.stat().st_size / 1e6
    row = {"report": str(page), "megabytes": round(megabytes, 3), "figures": figures, "tables": tables}
    print_table(pd.DataFrame([{**row, "beside": str(folder)}]), form)
