"""`cxrkeras config`."""

from __future__ import annotations

import click


@click.group()
def config() -> None:
    """Look at configurations."""


@config.command("show")
@click.argument("name", required=False)
def show(name: str | None) -> None:
    """Print a configuration with every default spelled out: NAME is a shipped one, a YAML file, or the
    directory of a run or a study.

    Without NAME: the defaults, and the names of the shipped configurations and studies.
    """
    from pathlib import Path

    from cxrkeras.config import dump_yaml, load_config, shipped
    from cxrkeras.study import is_study, load_study

    if name is None:
        studies = [known for known in shipped() if is_study(known)]
        runs = [known for known in shipped() if known not in studies]
        click.echo(f"# defaults; shipped configurations: {', '.join(runs)}; shipped studies: {', '.join(studies)}")
        click.echo(dump_yaml(load_config()), nl=False)
        return
    for file in ("config.yaml", "study.yaml"):
        if (Path(name) / file).is_file():
            name = str(Path(name) / file)
    if is_study(name):
        click.echo(f"# a study of several runs: cxrkeras study --config {name}")
        click.echo(dump_yaml(load_study(name)), nl=False)
    else:
        click.echo(dump_yaml(load_config(name)), nl=False)
