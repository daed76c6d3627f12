"""`cxrkeras`: the group, its lazily imported commands, and where errors become one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys

import click

from cxrkeras._version import __version__
from cxrkeras.errors import CxrKerasError, did_you_mean

# name -> (module, attribute); a command's module is imported only when the command is named or listed.
COMMANDS = {
    "train": "cxrkeras_cli.train:train",
    "explain": "cxrkeras_cli.explain:explain",
    "score": "cxrkeras_cli.score:score",
    "study": "cxrkeras_cli.study:study",
    "fractions": "cxrkeras_cli.fractions:fractions",
    "compare": "cxrkeras_cli.compare:compare",
    "drift": "cxrkeras_cli.drift:drift",
    "validity": "cxrkeras_cli.validity:validity",
    "localize": "cxrkeras_cli.localize:localize",
    "robustness": "cxrkeras_cli.robustness:robustness",
    "sources": "cxrkeras_cli.sources:sources",
    "report": "cxrkeras_cli.report:report",
    "evaluate": "cxrkeras_cli.evaluate:evaluate",
    "export": "cxrkeras_cli.export:export",
    "demo": "cxrkeras_cli.demo:demo",
    "data": "cxrkeras_cli.data:data",
    "runs": "cxrkeras_cli.runs:runs",
    "config": "cxrkeras_cli.config:config",
    "clean": "cxrkeras_cli.clean:clean",
}


class LazyGroup(click.Group):
    """A group that imports a command when it is needed, and suggests the nearest name for a mistyped one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        return getattr(importlib.import_module(module), attribute)

    def resolve_command(self, ctx: click.Context, args: list[str]):
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(
                f"no such command '{args[0]}'. Expected one of: {', '.join(COMMANDS)}.{did_you_mean(args[0], COMMANDS)}"
            )
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="cxrkeras")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no notices on stderr.")
@click.pass_context
def cli(ctx: click.Context, debug: bool, quiet: bool) -> None:
    """Train chest X-ray classifiers, explain every checkpoint, and measure whether the explanations can be trusted.

    Start with `cxrkeras demo`, or with your own folder: `cxrkeras train --data chest_xray/`.
    """
    ctx.obj = {"debug": debug, "quiet": quiet}


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    arguments = sys.argv[1:] if args is None else args
    debug = "--debug" in arguments
    try:
        sys.exit(cli.main(args=arguments, prog_name="cxrkeras", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("stopped; what was finished is kept. Repeat the command to go on (train: with --resume).", err=True)
        sys.exit(1)
    except CxrKerasError as error:
        if debug:
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        reason = " ".join(str(error).split())[:400]
        click.echo(
            f"Error: unexpected {type(error).__name__}: {reason}. `cxrkeras --debug …` shows where; please report it.",
            err=True,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
