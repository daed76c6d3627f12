"""The names of the files in a run directory, and nothing else: paths in, paths out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cxrkeras.tables import maps_file


def figure_path(folder: Path, name: str, kind: str) -> Path:
    """A figure of a report, in the folder beside its page; `kind` is `png` or `svg`."""
    return folder / "figures" / f"{name}.{kind}"


def table_path(folder: Path, name: str) -> Path:
    """A table of a report, in the folder beside its page."""
    return folder / "tables" / f"{name}.csv"


class RunPaths:
    """Where everything of one run is, or will be.

    Args:
        path: the directory.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def checkpoint_path(self, epoch: int) -> Path:
        """Where the weights after `epoch` are, or will be."""
        return self.path / "checkpoints" / f"epoch_{epoch:03d}.weights.h5"

    def predictions_path(self, epoch: int, split: str = "test") -> Path:
        """Predictions of a split; the evaluation split `test` has no folder of its own."""
        folder = self.path / "predictions"
        return (folder if split == "test" else folder / split) / f"epoch_{epoch:03d}.csv"

    def maps_path(self, epoch: int, split: str, method: str, parameters: dict[str, Any]) -> Path:
        """Where such maps are stored; the key stands for everything that changes them."""
        return maps_file(self.path / "maps" / f"epoch_{epoch:03d}" / split, method, parameters)

    def overlays_path(self, epoch: int, method: str) -> Path:
        """Folder of a method's pictures at one checkpoint."""
        return self.path / "overlays" / f"epoch_{epoch:03d}" / method

    @property
    def summary_path(self) -> Path:
        """The demo's figure."""
        return self.path / "summary.png"

    def evaluation_path(self, epoch: int, split: str, table: str) -> Path:
        """A table of an evaluation."""
        return self.path / "evaluation" / f"epoch_{epoch:03d}--{split}--{table}.csv"

    def comparison_path(self, epoch: int) -> Path:
        """The comparison of two engines' maps."""
        return self.path / "comparison" / f"epoch_{epoch:03d}.csv"

    def outside_path(self, name: str) -> Path:
        """Folder, laid out like a run, of results for films from outside."""
        return self.path / "outside" / name

    def scores_path(self, epoch: int) -> Path:
        """The long table of scores of one checkpoint."""
        return self.path / "scores" / f"epoch_{epoch:03d}.csv"

    def analysis_path(self, split: str, table: str) -> Path:
        """A table over all checkpoints: `auc`, `changes`, `findings`, `recommendation`, `sweep`, …"""
        return self.path / "analysis" / split / f"{table}.csv"

    def drift_path(self, first: int, second: int, split: str, table: str) -> Path:
        """A table of the drift between two checkpoints: `films` or `summary`."""
        return self.path / "drift" / f"epoch_{first:03d}-epoch_{second:03d}" / split / f"{table}.csv"

    def drift_paths(self, split: str, table: str) -> dict[tuple[int, int], Path]:
        """Where such a table is stored, by the two checkpoints it lies between, ascending."""
        found = {}
        for file in (self.path / "drift").glob(f"epoch_*-epoch_*/{split}/{table}.csv"):
            first, second = (int(part.removeprefix("epoch_")) for part in file.parents[1].name.split("-"))
            found[first, second] = file
        return dict(sorted(found.items()))

    def validity_path(self, epoch: int, split: str, table: str) -> Path:
        """A table of a validity check: `randomisation` or `perturbation`."""
        return self.path / "validity" / f"epoch_{epoch:03d}" / split / f"{table}.csv"

    def localization_path(self, epoch: int, split: str, table: str) -> Path:
        """A table of where the maps lie: `films`, `summary`, `chance`, `comparisons`, …"""
        return self.path / "localization" / f"epoch_{epoch:03d}" / split / f"{table}.csv"

    def localization_figure_path(self, epoch: int, split: str) -> Path:
        """The figure of a localization."""
        return self.localization_path(epoch, split, "summary").with_suffix(".png")

    def gallery_path(self, name: str) -> Path:
        """A page of films beside several models' or methods' maps; its numbers are in the CSV beside it."""
        return self.path / "galleries" / f"{name}.png"

    def report_path(self, split: str = "test") -> Path:
        """The report on a split, one file; the one on the evaluation split `test` is `report.html`."""
        return self.path / f"{self.report_folder(split).name}.html"

    def report_folder(self, split: str = "test") -> Path:
        """The report's figures and tables as files of their own."""
        return self.path / ("report" if split == "test" else f"report-{split}")
