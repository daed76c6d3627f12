"""A directory of results over several weight sources: what `robustness` and `sources` write, and the report on it.

Computes nothing. Its settings stand in one YAML, named for the kind.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from cxrkeras.errors import RunError, did_you_mean
from cxrkeras.run import ARTIFACTS
from cxrkeras.store import check_writable, write_text
from cxrkeras.study.folder import Folder, folder_path

Kind = Literal["robustness", "sources"]


class Results(Folder):
    """A directory of results.

    Args:
        path: the directory; use `Results.open` or `Results.create` rather than this.
        kind: the command that made it.
    """

    def __init__(self, path: str | os.PathLike[str], kind: Kind) -> None:
        super().__init__(path, kind, "the tables stay")
        self.kind = kind

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
    def settings(self) -> dict[str, Any]:
        """What all its results share."""
        try:
            return yaml.safe_load(self._yaml.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise RunError(f"{self._yaml} cannot be read ({error}). Results need it; restore it.") from error


def results_names() -> list[str]:
    """Names of the directories of results under `./artifacts`."""
    return [file.parent.name for kind in get_args(Kind) for file in ARTIFACTS.glob(f"*/{kind}.yaml")]


def results_path(name_or_path: str | os.PathLike[str]) -> Path:
    """Where results of a name or path are, see `folder_path`."""
    return folder_path(name_or_path, get_args(Kind))


def _differences(stored: dict[str, Any], wanted: dict[str, Any]) -> str:
    names = [name for name in {**stored, **wanted} if stored.get(name) != wanted.get(name)]
    return "; ".join(f"{name} stored {stored.get(name)!r}, received {wanted.get(name)!r}" for name in names)
