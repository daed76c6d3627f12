"""`cxrkeras fractions`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from cxrkeras_cli.options import data_options, finding_options
from cxrkeras_cli.output import format_option, print_table, reporter


class Shares(click.ParamType):
    """Comma-separated shares, each more than 0 and at most 1."""

    name = "F,F,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            shares = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            shares = (0.0,)
        if not all(0 < share <= 1 for share in shares):
            self.fail(f"'{value}' is no list of shares. Expected each more than 0 and at most 1, e.g. .01,.1,1.")
        return shares


@click.command()
@click.option("--config", metavar="NAME|FILE", help="A configuration whose films and splits are taken.")
@data_options
@finding_options
@click.option("--drop-shared", is_flag=True, default=None, help="Drop training films of patients that are in test.")
@click.option(
    "--of", type=click.Choice(["train"]), default="train", show_default=True, help="Split that is shared out."
)
@click.option("--fractions", type=Shares(), default=".01,.1,1", show_default=True, help="Shares of its patients.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, metavar="N", help="Draws of each.")
@click.option("--scale-val/--whole-val", default=None, help="Shrink validation in the same way.  [whole]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR",
              help="Folder for the manifests and fractions.csv.")  # fmt: skip
@format_option
@click.pass_context
def fractions(
    ctx: click.Context, config: str | None, data: str | None, fractions: tuple[float, ...], seeds: int, of: str,
    out: Path, form: str, **settings,
) -> None:  # fmt: skip
    """Label fractions: nested, stratified shares of the training patients, for label efficiency.

    Writes one manifest a fraction and seed, fraction-F-seedK.csv, which `train --data FILE` reads as it is, and
    fractions.csv, which counts the films, patients and positives of each. Whole patients are drawn, stratified by
    class, and a smaller fraction of a seed lies in the larger one. The test films are untouched; validation stays
    whole unless --scale-val. Without --data and --config: the embedded phantom films.

    \b
    Examples:
      cxrkeras fractions --data chest_xray/ --of train --fractions .01,.1,1 --seeds 5 --out fractions/
      cxrkeras train --data fractions/fraction-0.1-seed0.csv
      cxrkeras train --data chest_xray/ --fraction .1 --fraction-seed 0
    """
    from cxrkeras.workflow.fractions import TABLE, fraction_settings, write_fractions

    show = reporter(ctx)
    wanted = fraction_settings(config, data, settings)
    if data is None and config is None:
        show.notice("no --data and no --config: fractions of the embedded phantom films.")
    made = write_fractions(wanted, fractions, seeds, out, reporter=show)
    print_table(made.table, form, title=f"{made.folder / TABLE}: train, a row a fraction, seed and class")
