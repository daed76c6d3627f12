"""A directory of results over several weight sources: what `robustness` and `sources` write, and the report on it.

Knows these file names and computes nothing. Its settings stand in one YAML, named for the kind.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
import yaml

from cxrkeras.errors import RunError, did_you_mean
from cxrkeras.run import ARTIFACTS, resolve_path
from cxrkeras.run_paths import figure_path, table_path
from cxrkeras.store import check_writable, one_at_a_time, write_json, write_text
from cxrkeras.tables import read_csv, write_csv

Kind = Literal["robustness", "sources"]


class Results:
    """A directory of results.

    Args:
        path: the directory; use `Results.open` or `Results.create` rather than this.
        kind: the command that made it.
    """

    def __init__(self, path: str | os.PathLike[str], kind: Kind) -> None:
        self.path, self.kind = Path(path), kind

    def __repr__(self) -> str:
        return f"Results({str(self.path)!r}, {self.kind!r})"

    @classmethod
    def create(cls, kind: Kind, name_or_path: str | os.PathLike[str], fixed: dict[str, Any]) -> Results:
        """Make a directory of results, or take up the one that is there.

        Args:
            kind: the command.
            name_or_path: name under `./artifacts`, or path.
            fixed: what all its results share, as plain values; what may grow from call to call stays out of it.

        Raises:
            RunError: the directory holds something else, or results with other settings.
        """
        results = cls(results_path(name_or_path), kind)
        if results._yaml.is_file() and results._begun:
            if told := _differences(results.settings, fixed):
                raise RunError(
                    f"{results.path} was started with other settings: {told}. Repeat the command that started it, or "
                    "choose another --run."
                )
            check_writable(results.path)
            return results
        if results._yaml.is_file():
            # a command that failed before it measured anything binds nobody to its settings
            return results._settled(fixed)
        strange = [file.name for file in results.path.iterdir()] if results.path.exists() else []
        if strange := sorted(name for name in strange if not name.startswith(".")):
            raise RunError(
                f"{results.path} exists and holds no results of `cxrkeras {kind}` (but {', '.join(strange[:3])}). "
                "Expected a new name, or an empty directory."
            )
        return results._settled(fixed)

    @classmethod
    def open(cls, name_or_path: str | os.PathLike[str]) -> Results:
        """Open existing results by path or by their name under `./artifacts`.

        Raises:
            RunError: there are none.
        """
        path = results_path(name_or_path)
        for kind in get_args(Kind):
            if cls(path, kind)._yaml.is_file():
                return cls(path, kind)
        found = results_names()
        listed = f" Results under {ARTIFACTS}/: {', '.join(sorted(found))}." if found else ""
        raise RunError(
            f"no results at {path} (it has neither {' nor '.join(f'{kind}.yaml' for kind in get_args(Kind))})."
            f"{listed}{did_you_mean(path.name, found)} `cxrkeras robustness` and `cxrkeras sources` make them."
        )

    @property
    def _begun(self) -> bool:
        """Whether a table or a run is there."""
        folders = (self.tables_path("any").parent, self.run_path("any").parent)
        return any(folder.is_dir() and any(folder.iterdir()) for folder in folders)

    def _settled(self, fixed: dict[str, Any]) -> Results:
        """The directory with these settings and no facts beside them."""
        check_writable(self.path)
        self._json.unlink(missing_ok=True)
        write_text(self._yaml, yaml.safe_dump(fixed, sort_keys=False, allow_unicode=True))
        return self

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.resolve().name

    @property
    def _yaml(self) -> Path:
        return self.path / f"{self.kind}.yaml"

    @property
    def _json(self) -> Path:
        return self.path / f"{self.kind}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """What all its results share."""
        try:
            return yaml.safe_load(self._yaml.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise RunError(f"{self._yaml} cannot be read ({error}). Results need it; restore it.") from error

    @property
    def info(self) -> dict[str, Any]:
        """Facts beside the settings: versions, times, hashes; empty before the first."""
        try:
            return json.loads(self._json.read_text(encoding="utf-8")) if self._json.exists() else {}
        except (OSError, json.JSONDecodeError) as error:
            raise RunError(f"{self._json} cannot be read ({error}). Remove it; the tables stay.") from error

    def update_info(self, **values: Any) -> None:
        """Merge values into the facts; several processes may."""
        with one_at_a_time(self.path):
            write_json(self._json, {**self.info, **values})

    def tables_path(self, name: str) -> Path:
        """A table: `results`, `reliance`, `sources`, `cka`, …"""
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

    def run_path(self, name: str) -> Path:
        """Directory of a run that was trained for these results."""
        return self.path / "runs" / name

    @property
    def report_path(self) -> Path:
        """The report, one file."""
        return self.path / "report.html"

    @property
    def report_folder(self) -> Path:
        """The report's figures and tables as files of their own."""
        return self.path / "report"


def results_names() -> list[str]:
    """Names of the directories of results under `./artifacts`."""
    return [file.parent.name for kind in get_args(Kind) for file in ARTIFACTS.glob(f"*/{kind}.yaml")]


def results_path(name_or_path: str | os.PathLike[str]) -> Path:
    """A bare name is a directory under `./artifacts`; anything with a separator, or that holds results, is a path."""
    holds = any((Path(name_or_path) / f"{kind}.yaml").is_file() for kind in get_args(Kind))
    return Path(name_or_path) if holds and os.fspath(name_or_path) else resolve_path(name_or_path)


def _differences(stored: dict[str, Any], wanted: dict[str, Any]) -> str:
    names = [name for name in {**stored, **wanted} if stored.get(name) != wanted.get(name)]
    return "; ".join(f"{name} stored {stored.get(name)!r}, received {wanted.get(name)!r}" for name in names)
