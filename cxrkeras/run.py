"""A run directory: the names and schemas of everything one training produced.

It reads and writes tables and arrays under the names of `run_paths`; it computes nothing.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from cxrkeras._version import __version__
from cxrkeras.config import Config, dump_yaml, parse_config
from cxrkeras.errors import CheckpointError, RunError, UsageError, did_you_mean
from cxrkeras.maps import Maps
from cxrkeras.run_paths import RunPaths
from cxrkeras.store import NPZ_ERRORS, atomic_path, check_writable, not_writable, read_npz, write_json, write_text
from cxrkeras.tables import (
    HISTORY_COLUMNS,
    load_maps,
    read_csv,
    read_scores,
    replace_rows,
    write_csv,
)

ARTIFACTS = Path("artifacts")
_CHECKPOINT = re.compile(r"epoch_(\d+)\.weights\.h5$")


class Run(RunPaths):
    """One run directory.

    Args:
        path: the directory; use `Run.open` or `Run.create` rather than this.
    """

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    def create(cls, path: str | os.PathLike[str], config: Config) -> Run:
        """Make a fresh run directory.

        Raises:
            RunError: the directory holds another run or foreign files, or cannot be written.
        """
        cls.check_free(path)
        run = cls(path)
        check_writable(run.path)
        write_text(run.path / "config.yaml", dump_yaml(config))
        run.update_info(state="running", created=_now(), versions=_versions(), seed=config.training.seed)
        return run

    @classmethod
    def check_free(cls, path: str | os.PathLike[str]) -> None:
        """Make sure that a new run can go to `path`.

        Raises:
            RunError: it holds another run, or files that are not ours.
        """
        run = cls(path)
        try:
            if not run.path.exists():
                return
        except OSError as error:
            raise not_writable(run.path, error) from error
        # a start that was killed leaves no more than hidden files and config.yaml
        if run.path.is_dir() and all(p.name.startswith(".") or p.name == "config.yaml" for p in run.path.iterdir()):
            return
        if not run._json.exists():
            raise RunError(f"{run.path} exists and is not a cxrkeras run. Expected a new name, or an empty directory.")
        step = "add --resume to go on" if run.state == "running" else "choose another --run"
        raise RunError(f"{run.path} already holds a run (state: {run.state}); {step}. Nothing was changed.")

    @classmethod
    def open(cls, path: str | os.PathLike[str] | None = None) -> Run:
        """Open an existing run by path or by its name under `./artifacts`; None opens the newest one.

        Raises:
            RunError: there is no such run.
        """
        if path is None:
            return newest_run()
        run = cls(resolve_path(path))
        if not run._json.is_file():
            names = [other.name for other in all_runs()]
            known = f" Runs under {ARTIFACTS}/: {', '.join(names)}." if names else f" No runs under {ARTIFACTS}/ yet."
            raise RunError(
                f"no run at {run.path} (it has no run.json).{known}{did_you_mean(Path(path).name, names)}"
                " `cxrkeras runs` lists them; `cxrkeras train` makes one."
            )
        return run

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.resolve().name

    @property
    def _json(self) -> Path:
        return self.path / "run.json"

    @property
    def info(self) -> dict[str, Any]:
        """What `run.json` holds: versions, seed, state, times, classes, weight source and its hash."""
        try:
            return json.loads(self._json.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise RunError(f"{self._json} cannot be read ({error}). Restore it, or train again.") from error

    def update_info(self, **values: Any) -> None:
        """Merge values into `run.json`."""
        write_json(self._json, {**(self.info if self._json.exists() else {}), **values})

    @property
    def state(self) -> str:
        """`running` until training has ended, then `complete`."""
        return str(self.info.get("state", "unknown"))

    @property
    def config(self) -> Config:
        """The resolved configuration."""
        file = self.path / "config.yaml"
        try:
            return parse_config(yaml.safe_load(file.read_text(encoding="utf-8")), str(file))
        except OSError as error:
            raise RunError(f"{file} cannot be read ({error.strerror}). A run needs it; restore or retrain.") from error

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the model's outputs."""
        return tuple(self.info["classes"])

    @property
    def several(self) -> bool:
        """Whether a film may have several of the classes, which are findings then."""
        return self.info.get("activation", "softmax") == "sigmoid"

    def manifest(self) -> pd.DataFrame:
        """The films as split: `path, label, split, sha256` and further columns, ids and labels as text."""
        return read_csv(self.path / "manifest.csv", text=("path", "label", "split", "patient", "sha256"))

    def write_manifest(self, frame: pd.DataFrame) -> None:
        """Store the films as split."""
        write_csv(self.path / "manifest.csv", frame)

    def history(self) -> pd.DataFrame:
        """A row an epoch; empty before the first."""
        file = self.path / "history.csv"
        return read_csv(file) if file.exists() else pd.DataFrame(columns=HISTORY_COLUMNS)

    @property
    def head_trained(self) -> bool:
        """Whether any epoch was trained; a run of epochs 0,0 keeps the random head it started with."""
        return not self.history().empty

    def write_history(self, frame: pd.DataFrame) -> None:
        """Store the history, whole."""
        write_csv(self.path / "history.csv", frame[HISTORY_COLUMNS])

    def epochs(self) -> list[int]:
        """Epochs that have a checkpoint, ascending."""
        found = (_CHECKPOINT.match(file.name) for file in (self.path / "checkpoints").glob("epoch_*.weights.h5"))
        return sorted(int(match.group(1)) for match in found if match)

    def resolve_epoch(self, which: int | str) -> int:
        """Turn an epoch number, `best` or `last` into the epoch of a stored checkpoint.

        `best` is the stored checkpoint with the highest validation AUC, ties to the earliest.

        Raises:
            CheckpointError: the run has no such checkpoint, or no validation AUC for `best`.
        """
        stored = self.epochs()
        if not stored:
            raise CheckpointError(f"{self.path} has no checkpoint yet. Train it further: cxrkeras train --resume.")
        if which == "last":
            return stored[-1]
        if which == "best":
            history = self.history()
            aucs = history[history["epoch"].isin(stored)].dropna(subset=["val_auc"])
            if aucs.empty:
                raise CheckpointError(
                    f"{self.path} has no validation AUC for its checkpoints, so none is the best. "
                    f"Name an epoch: {', '.join(map(str, stored))}, or last."
                )
            return int(aucs.sort_values(["val_auc", "epoch"], ascending=[False, True])["epoch"].iloc[0])
        try:
            epoch = int(which)
        except ValueError:
            raise UsageError(f"epoch '{which}' is not an epoch. Expected a number, best or last.") from None
        if epoch not in stored:
            raise CheckpointError(
                f"{self.path} has no checkpoint for epoch {epoch}. "
                f"Stored: {', '.join(map(str, stored))}; or use best or last."
            )
        return epoch

    def predictions(self, epoch: int, split: str = "test") -> pd.DataFrame | None:
        """Stored predictions `image, label, probability_<class>…`, or None."""
        file = self.predictions_path(epoch, split)
        return read_csv(file, text=("image", "label", "patient")) if file.exists() else None

    def write_predictions(self, epoch: int, split: str, frame: pd.DataFrame) -> None:
        """Store a split's predictions."""
        write_csv(self.predictions_path(epoch, split), frame)

    def find_maps(self, epoch: int, split: str, method: str, parameters: dict[str, Any]) -> Maps | None:
        """Stored maps made with exactly these parameters, or None."""
        return load_maps(self.maps_path(epoch, split, method, parameters))

    def scores(self, epoch: int | None = None) -> pd.DataFrame:
        """Stored scores of one epoch, or of all."""
        files = (
            [self.scores_path(epoch)] if epoch is not None else sorted(self.scores_path(0).parent.glob("epoch_*.csv"))
        )
        frames = [read_scores(file) for file in files if file.exists()]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def write_scores(self, epoch: int, frame: pd.DataFrame) -> Path:
        """Store scores, replacing only the rows that were made with the same parameters."""
        file = self.scores_path(epoch)
        replace_rows(file, frame)
        return file

    @property
    def _resume_file(self) -> Path:
        return self.path / "state" / "state.npz"

    def write_resume(self, epoch: int, optimizer: dict[str, np.ndarray]) -> None:
        """Replace the one rolling copy of optimizer and epoch, in one file, so that it is never absent."""
        with atomic_path(self._resume_file) as partial, open(partial, "wb") as stream:
            np.savez(stream, epoch=np.array(epoch), **optimizer)

    def read_resume(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """Epoch and optimizer to go on from, or None where no checkpoint was reached.

        Raises:
            RunError: the state exists but cannot be read.
        """
        if not self._resume_file.exists():
            return None
        try:
            arrays = read_npz(self._resume_file)
            return int(arrays.pop("epoch")), arrays
        except NPZ_ERRORS as error:
            raise RunError(
                f"{self._resume_file} cannot be read ({error}). Remove the file to start again from epoch 1."
            ) from error

    def remove_resume(self) -> None:
        """Drop the rolling state of a finished run."""
        shutil.rmtree(self._resume_file.parent, ignore_errors=True)

    def drop_checkpoint(self, epoch: int) -> None:
        """Remove a checkpoint and its predictions, those on the validation films aside: they belong to the history."""
        known = self.info.get("checkpoints", {})
        self.update_info(checkpoints={name: digest for name, digest in known.items() if name != str(epoch)})
        self.checkpoint_path(epoch).unlink(missing_ok=True)
        self.forget_predictions(epoch)

    def forget_predictions(self, epoch: int) -> None:
        """Drop predictions of an epoch whose weights are about to be written anew."""
        for file in (self.path / "predictions").rglob(self.predictions_path(epoch).name):
            if file != self.predictions_path(epoch, "val"):
                file.unlink()


def resolve_path(name_or_path: str | os.PathLike[str]) -> Path:
    """A bare name is a directory under `./artifacts`; anything with a separator, or that is a run, is a path."""
    text = os.fspath(name_or_path)
    if not text:
        raise UsageError("--run is empty. Expected a name or a path.")
    bare = os.sep not in text and "/" not in text and text not in (".", "..")
    if bare and not (Path(text) / "run.json").is_file():
        return ARTIFACTS / text
    return Path(text)


def all_runs() -> list[Run]:
    """Runs under `./artifacts`, newest first; those whose `run.json` cannot be read come last."""

    def age(run: Run) -> tuple[str, str]:
        try:
            return str(run.info.get("created", "")), run.name
        except RunError:
            return "", run.name

    return sorted((Run(file.parent) for file in ARTIFACTS.glob("*/run.json")), key=age, reverse=True)


def newest_run() -> Run:
    """The newest run under `./artifacts`.

    Raises:
        RunError: there is none.
    """
    runs = all_runs()
    if not runs:
        raise RunError(f"no runs under {ARTIFACTS.resolve()}. Expected at least one; `cxrkeras train` makes one.")
    return runs[0]


def fresh_name(stem: str) -> Path:
    """A directory under `./artifacts` that does not exist yet."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    path = ARTIFACTS / f"{stem}-{stamp}"
    count = 2
    while path.exists():
        path = ARTIFACTS / f"{stem}-{stamp}-{count}"
        count += 1
    return path


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def _versions() -> dict[str, str]:
    packages = ("tensorflow", "keras", "tf-keras-vis", "numpy", "pandas", "scikit-learn")
    return {"cxrkeras": __version__, "python": platform.python_version()} | {p: metadata.version(p) for p in packages}
