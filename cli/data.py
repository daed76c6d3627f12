"""`cxrkeras data`: check a folder of films, make phantom films."""

from __future__ import annotations

import click
from cxrkeras_cli.options import finding_options
from cxrkeras_cli.output import format_option, json_rows, print_json, print_table, reporter


@click.group()
def data() -> None:
    """Check your films, or make phantom ones."""


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
    blank: str | None, views: str | None, **columns: str | None,
) -> None:  # fmt: skip
    """Count films and patients, and find what would spoil a training; exit 1 on errors.

    Errors: unreadable films, the same patient or bytes across splits, a split with one class, a finding without
    positive or negative films in a split. Warnings: repeats
    inside a split, small classes, the same number across Kermany types.
    """
    from cxrkeras.data.check import check_data, findings_table
    from cxrkeras.data.findings import FindingPolicy

    given = {"names": findings, "uncertain": uncertain, "blank": blank, "views": views}
    policy = FindingPolicy(**{name: value for name, value in given.items() if value is not None})
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
    from pathlib import Path

    from cxrkeras.data.phantom import generate_phantom
    from cxrkeras.errors import DataError

    if bool(options["shortcut"]) != (options["shortcut_probability"] > 0):
        raise click.UsageError("--shortcut and --shortcut-probability above 0 go together.")
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not empty. Expected a new folder for the phantom films.")
    click.echo(generate_phantom(folder, **options))
