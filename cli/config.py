"""`cxrkeras config`."""

from __future__ import annotations

import click


@click.group()
def config() -> None:
    """Look at configurations."""


@config.command("show")
@click.argument("name", required=False)
def show(name: str | None) -> None:
    """Print a configuration with every default spelled out: NAME is a shipped one, a YAML file or a run directory.

    Without NAME: the defaults, and the names of the shipped configurations.
    """
    from pathlib import Path

    from cxrkeras.config import dump_yaml, load_config, shipped

    if name is None:
        click.echo(f"# defaults; shipped configurations: {', '.join(shipped())}")
    elif (Path(name) / "config.yaml").is_file():
        name = str(Path(name) / "config.yaml")
    click.echo(dump_yaml(load_config(name)), nl=False)
