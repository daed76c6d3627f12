"""How long work tells its caller where it stands, without knowing whether anybody shows it.

The command line hands in a reporter that draws; everywhere else the silent one is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Advance = Callable[..., None]


class Reporter:
    """Silent reporter; subclasses show what they are told."""

    def notice(self, text: str) -> None:
        """One line the user should know."""

    @contextlib.contextmanager
    def task(self, label: str, total: int) -> Iterator[Advance]:
        """A piece of work of `total` units; yields `advance(n=1, detail="")`."""
        yield lambda n=1, detail="": None


SILENT = Reporter()
