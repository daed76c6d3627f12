"""`cxrkeras sources`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cxrkeras_cli.options import Renamed, data_options, positive_options
from cxrkeras_cli.output import format_option, json_rows, print_json, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Renamed("NAME=DIR", "nih=nih_images/")
FILE = Renamed("NAME=FILE.npz", "convirt=features.npz")
EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option(
    "--candidate", "candidates", multiple=True, metavar="NAME=BACKBONE:WEIGHTS[:PREPROCESS]",
    help="Weights to compare: imagenet, random, run:NAME[@EPOCH] or a file; may be repeated.",
)  # fmt: skip
@click.option("--backbone", metavar="NAME", help="Backbone of candidates that name none.")
@click.option("--config", metavar="NAME|FILE", help="A configuration whose films are taken.")
@data_options
@positive_options
@click.option("--resize", type=click.Choice(["squash", "pad"]), help="How a film is brought to the square input.")
@click.option("--bits", type=click.IntRange(8, 16), help="True depth of 16-bit films, e.g. 12.")
@click.option(
    "--split", "part", type=click.Choice(["train", "all"]), default="train", show_default=True,
    help="train: train and validation films; the test films are left for the truth.",
)  # fmt: skip
@click.option("--max-images", type=click.IntRange(4), default=2000, show_default=True, metavar="N",
              help="Films at most, drawn as whole patients.")  # fmt: skip
@click.option("--image-size", type=click.IntRange(32, 1024), metavar="N",
              help="Side of the input.  [each candidate's own]")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N",
              help="Draws films, folds, resamples and random weights.")  # fmt: skip
@click.option("--card", "cards", type=EXISTING, multiple=True, metavar="FILE.yaml",
              help="Source cards: what a candidate was trained on; a card named target is the films' own.")  # fmt: skip
@click.option("--source-images", type=FOLDER, multiple=True, metavar="NAME=DIR",
              help="Images that a candidate was trained on, for similarities.")  # fmt: skip
@click.option("--extractor", metavar="FILE", help="Weights of InceptionV3 for KID, or BACKBONE:WEIGHTS of another.")
@click.option("--features", type=FILE, multiple=True, metavar="NAME=FILE.npz",
              help="A candidate that is not Keras: arrays features [n, d] and images [n].")  # fmt: skip
@click.option("--check-preprocess", is_flag=True, help="Input statistics under every preprocessing; applies nothing.")
@click.option("--truth", type=EXISTING, metavar="FILE.csv",
              help="Measured fine-tuning (candidate and auc, or run): agreement and regret.")  # fmt: skip
@click.option("--reduce", metavar="pca:N", help="Fit LogME and H-score on N principal components of each candidate.")
@click.option("--no-robustness", "robustness", is_flag=True, default=True, flag_value=False,
              help="Leave out the AUCs under planted artefacts.")  # fmt: skip
@click.option("--include-seen", is_flag=True, help="Rank candidates that saw the target films too.")
@click.option("--glossary", is_flag=True, help="Print what each word means and how it is computed, and stop.")
@click.option("--run", "folder", metavar="NAME|PATH", help="Directory of results.  [sources-<data>]")
@format_option
@click.pass_context
def sources(ctx: click.Context, glossary: bool, form: str, **options: Any) -> None:
    """Which weights to start from: candidates compared on frozen features, with their uncertainty.

    Patient-grouped probe AUC with its interval, rank interval and ties, LogME, H-score, how alike the candidates'
    features are, source cards, and what a planted artefact does to each. It never names a winner: fine-tune the top
    two. Without --data and --config: the embedded phantom films.

    \b
    Examples:
      cxrkeras sources --candidate scratch=compact:random --candidate ours=compact:run:phantom
      cxrkeras sources --data chest_xray/ --candidate imagenet=ResNet50:imagenet --candidate scratch=ResNet50:random
      cxrkeras sources --data chest_xray/ --backbone ResNet50 --candidate imagenet --candidate random --truth truth.csv
      cxrkeras sources --glossary
    """
    if glossary:
        from cxrkeras.sources.glossary import glossary_table

        _print_glossary(glossary_table(), form)
        return
    show = reporter(ctx)
    for name in ("source_images", "features"):
        options[name] = _by_name(name, options[name])
    if not options["candidates"] and not options["features"]:
        raise click.UsageError(
            "nothing to compare: expected --candidate, at least once. Example: cxrkeras sources "
            "--candidate scratch=compact:random --candidate ours=compact:run:NAME (see --help)."
        )
    load_tensorflow()
    from cxrkeras.workflow.sources.printed import printed_tables
    from cxrkeras.workflow.sources.settings import sources_settings
    from cxrkeras.workflow.sources.sources import sources as work

    if options["data"] is None and options["config"] is None:
        show.notice("no --data and no --config: compared on the embedded phantom films.")
    result = work(sources_settings(options.pop("config"), **options), reporter=show)
    if form == "json":
        print_json({name: json_rows(table) for name, table in result.tables.items()})
        return
    if form == "csv":
        print_table(result.tables["sources"], form)
        return
    for title, table in printed_tables(result.tables):
        print_table(table, form, title=title)
    for sentence in result.sentences:
        click.echo(sentence)
    if result.commands:
        click.echo(f"\nTo fine-tune the top {len(result.commands)}; give their test AUCs with --truth FILE.csv:")
        for command in result.commands:
            click.echo(f"  {command}")


def _print_glossary(glossary: pd.DataFrame, form: str) -> None:
    if form != "table":
        print_table(glossary, form)
        return
    for row in glossary.itertuples():
        click.echo(click.wrap_text(f"{row.term}: {row.definition}", 110))
        click.echo(click.wrap_text(row.computed_as, 110, initial_indent="    ", subsequent_indent="    "))


def _by_name(option: str, pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise click.UsageError(f"--{option.replace('_', '-')} names a candidate twice. Expected each once.")
    return found
