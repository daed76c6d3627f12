"""`cxrkeras data`: check a folder of films, join sets of films, make phantom films."""

from __future__ import annotations

from pathlib import Path

import click
from cxrkeras_cli.options import Renamed, finding_options, positive_options
from cxrkeras_cli.output import format_option, json_rows, print_json, print_table, reporter


@click.group()
def data() -> None:
    """Check your films, join sets of them, or make phantom ones."""


@data.command("check")
@click.argument("path")
@click.option("--split-column", metavar="NAME", help="CSV column that holds the split.")
@click.option("--label-column", metavar="NAME", help="CSV column that holds the class.")
@click.option("--patient-column", metavar="NAME", help="CSV column that holds the patient.")
@finding_options
@format_option
@click.pass_context
def check(
    ctx: click.Context, path: str, form: str, findings: tuple[str, ...] | None, uncertain: str | None,
    blank: str | None, views: str | None, positive: str | None, negative: str | None, **columns: str | None,
) -> None:  # fmt: skip
    """Count films and patients, and find what would spoil a training; exit 1 on errors.

    Errors: unreadable films, the same patient or bytes across splits, a split with one class, a finding without
    positive or negative films in a split. Warnings: repeats
    inside a split, small classes, the same number across Kermany types.
    """
    from cxrkeras.data.check import check_data, findings_table
    from cxrkeras.data.findings import FindingPolicy

    given = {"uncertain": uncertain, "blank": blank, "views": views, "positive": positive, "negative": negative}
    policy = FindingPolicy(findings, **{name: value for name, value in given.items() if value is not None})
    show = reporter(ctx)
    report = check_data(path, findings=policy, reporter=show, **columns)
    problems = findings_table(report)
    for text in report.notices:
        show.notice(text)
    if form == "json":
        print_json({"ok": report.ok, "counts": json_rows(report.counts), "findings": json_rows(problems)})
    elif form == "csv":
        print_table(problems, form)
    else:
        print_table(report.counts, form, title=path)
        if report.findings:
            print_table(problems, form, title="findings")
        else:
            click.echo("no findings.")
    if not report.ok:
        ctx.exit(1)


@data.command("join")
@click.argument("sets", nargs=-1, required=True, type=Renamed("NAME=DIR|CSV", "nih=nih_cxr14/"))
@click.option("--column", default="hospital", show_default=True, metavar="NAME", help="Column that names a film's set.")
@click.option(
    "--map-class",
    type=Renamed(),
    multiple=True,
    metavar="THEIRS=OURS",
    help="A class by another name; may be repeated.",
)
@positive_options
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE", help="The CSV to write."
)
@format_option
@click.pass_context
def join(
    ctx: click.Context, sets: tuple[tuple[str, str], ...], column: str, map_class: tuple[tuple[str, str], ...],
    positive: str | None, negative: str | None, out: Path, form: str,
) -> None:  # fmt: skip
    """Join the films of several hospitals to one CSV, with a column that says whose each film is.

    Classes must be the same in every set (--map-class renames them); patients get their set's name before theirs,
    splits stay where every set has them, and of further columns those that all sets have. Films with the same bytes
    in more than one set are told. `train --data FILE` and `robustness --confounders column:hospital=nih` read it.

    
    Examples:
      cxrkeras data join kermany=chest_xray/ nih=nih/ --map-class NO_FINDING=NORMAL --out two-hospitals.csv
      cxrkeras data join a=a/ nih=Data_Entry_2017.csv --positive Pneumonia --map-class "no Pneumonia=NORMAL"
        --map-class Pneumonia=PNEUMONIA --out films.csv
    """
    from cxrkeras.workflow.join import join_sets

    show = reporter(ctx)
    joined = join_sets(
        sets, out, column=column, map_class=map_class, positive=positive, negative=negative, reporter=show
    )
    if form == "json":
        tables = {"counts": json_rows(joined.counts), "duplicates": json_rows(joined.duplicates)}
        print_json({"file": str(joined.file), **tables})
        return
    print_table(joined.counts, form, title=str(joined.file))


@data.command("phantom")
@click.option("--out", required=True, metavar="DIR", help="Folder to write; must not exist or be empty.")
@click.option("--films", type=click.IntRange(20), default=400, show_default=True, metavar="N", help="Films in all.")
@click.option("--classes", type=click.IntRange(2, 5), default=2, show_default=True, metavar="K", help="2 to 5.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="S", help="Seed.")
@click.option("--size", type=click.IntRange(64, 1024), default=128, show_default=True, help="Side in pixels.")
@click.option("--shortcut", type=click.Choice(["tag", "exposure", "sex"]), help="Plant this shortcut …")
@click.option("--shortcut-probability", type=click.FloatRange(0, 1), default=0.0, help="… with this probability.")
def phantom(out: str, **options) -> None:
    """Write a phantom data set: films, lesion masks, and a manifest with patients, splits and boxes."""
    from cxrkeras.data.phantom import generate_phantom
    from cxrkeras.errors import DataError

    if bool(options["shortcut"]) != (options["shortcut_probability"] > 0):
        raise click.UsageError("--shortcut and --shortcut-probability above 0 go together.")
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not empty. Expected a new folder for the phantom films.")
    click.echo(generate_phantom(folder, **options))
