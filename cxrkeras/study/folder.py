"""What a study and other results over several runs have in common: facts, tables, runs and a report in one directory.

The only place that knows where these lie in it. It computes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from cxrkeras.errors import RunError
from cxrkeras.run import resolve_path
from cxrkeras.run_paths import figure_path, table_path
from cxrkeras.store import one_at_a_time, write_json
from cxrkeras.tables import read_csv, write_csv


class Folder:
    """A directory of tables over several runs.

    Args:
        path: the directory.
        kind: names its settings, `<kind>.yaml`, and its facts, `<kind>.json`.
        kept: what stays where the facts are removed, for the error of facts that cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], kind: str, kept: str) -> None:
        self.path, self._kind, self._kept = Path(path), kind, kept

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.resolve().name

    @property
    def _yaml(self) -> Path:
        return self.path / f"{self._kind}.yaml"

    @property
    def _json(self) -> Path:
        return self.path / f"{self._kind}.json"

    @property
    def info(self) -> dict[str, Any]:
        """Facts beside the settings: states, times, versions, hashes; empty before the first."""
        try:
            return json.loads(self._json.read_text(encoding="utf-8")) if self._json.exists() else {}
        except (OSError, json.JSONDecodeError) as error:
            raise RunError(f"{self._json} cannot be read ({error}). Remove it; {self._kept}.") from error

    def update_info(self, **values: Any) -> None:
        """Merge values into the facts; several processes may."""
        with one_at_a_time(self.path):
            write_json(self._json, {**self.info, **values})

    def run_path(self, name: str) -> Path:
        """Directory of one of its runs."""
        return self.path / "runs" / name

    def tables_path(self, name: str) -> Path:
        """A table: `headline`, `findings`, `cells`, …, or `results`, `reliance`, `sources`, …"""
        return table_path(self.path, name)

    def table(self, name: str, text: tuple[str, ...] = ()) -> pd.DataFrame | None:
        """A stored table with the columns in `text` as text, or None."""
        file = self.tables_path(name)
        return read_csv(file, text) if file.exists() else None

    def write_table(self, name: str, frame: pd.DataFrame) -> None:
        """Store a table."""
        write_csv(self.tables_path(name), frame)

    def figure_path(self, name: str, kind: str = "png") -> Path:
        """A figure; `kind` is `png` or `svg`."""
        return figure_path(self.path, name, kind)

    @property
    def report_path(self) -> Path:
        """The report, one file."""
        return self.path / "report.html"

    @property
    def report_folder(self) -> Path:
        """The report's figures and tables as files of their own."""
        return self.path / "report"


def folder_path(name_or_path: str | os.PathLike[str], kinds: Iterable[str]) -> Path:
    """A bare name is a directory under `./artifacts`; anything with a separator, or that is of a kind, is a path."""
    held = any((Path(name_or_path) / f"{kind}.yaml").is_file() for kind in kinds)
    return Path(name_or_path) if held and os.fspath(name_or_path) else resolve_path(name_or_path)
