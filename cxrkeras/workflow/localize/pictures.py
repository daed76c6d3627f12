"""Pictures of a localization: overlays with what the expert marked, and the figure of intervals beside chance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxrkeras.events import SILENT, Reporter
from cxrkeras.render.localization import save_localization_figure
from cxrkeras.render.overlay import save_overlay
from cxrkeras.store import atomic_path
from cxrkeras.workflow.explain import flat_name, pictures_name
from cxrkeras.workflow.localize.maps import FilmMaps
from cxrkeras.workflow.map_options import MapOptions

NOT_TRAINED = "head not trained"


def draw_overlays(
    maps: FilmMaps,
    films: pd.DataFrame,
    epoch: int,
    options: MapOptions,
    n: int,
    *,
    watermark: str = "",
    reporter: Reporter = SILENT,
) -> int:
    """Draw overlays with the expert's outline and the numbers under them, `n` films a finding and method.

    Args:
        maps: of the films.
        films: as `maps.film_rows`.
        epoch: of the checkpoint.
        options: how the maps were made.
        n: the first films of each finding and annotator.
        watermark: a warning across every picture.
        reporter: told of progress.

    Returns:
        How many pictures were written.
    """
    chosen = _first_members(maps, n)
    rows = films.set_index(["image", "finding", "annotator", "method"])
    with reporter.task("draw overlays", len(chosen) * len(maps.methods)) as advance:
        for i in chosen:
            for method in maps.methods:
                member = maps.truth.members[i]
                row = rows.loc[(member.image, member.finding, member.annotator, method)]
                _draw(_folder(maps, i, method, epoch, options), maps, i, method, row, epoch, watermark)
                advance(1)
    return len(chosen) * len(maps.methods)


def draw_figure(file: Path, summary: pd.DataFrame, chance: pd.DataFrame, title: str, *, watermark: str = "") -> None:
    """Draw intervals beside chance."""
    with atomic_path(file) as partial:
        save_localization_figure(partial, summary, chance, title=title, watermark=watermark)


def _first_members(maps: FilmMaps, n: int) -> list[int]:
    taken: dict[tuple[str, str], int] = {}
    chosen = []
    for i, member in enumerate(maps.truth.members):
        key = member.finding, member.annotator
        if member.marked and taken.get(key, 0) < n:
            taken[key] = taken.get(key, 0) + 1
            chosen.append(i)
    return chosen


def _folder(maps: FilmMaps, i: int, method: str, epoch: int, options: MapOptions) -> Path:
    member, selection = maps.truth.members[i], maps.truth.selection
    own = maps.of_class[member.class_name][method]
    name = pictures_name(own, selection, replace(options, target=member.class_name)) + "--localization"
    parts = [member.finding] if maps.truth.annotators == "union" else [member.finding, member.annotator or "unnamed"]
    return selection.sink.overlays_path(epoch, name) / re.sub(r"[^\w.+-]+", "_", "--".join(parts))


def _draw(folder: Path, maps: FilmMaps, i: int, method: str, row: pd.Series, epoch: int, watermark: str) -> None:
    member, films = maps.truth.members[i], maps.truth.selection.films
    own, place = maps.of_class[member.class_name][method], maps.place(i)
    with atomic_path(folder / f"{flat_name(member.image)}.png") as partial:
        save_overlay(
            partial,
            films.store.get([films.indices[member.row]])[0],
            own.values[place],
            class_name=member.class_name,
            probability=maps.probability(i),
            method=method,
            layer=own.layer,
            epoch=epoch,
            status=str(own.status[place]),
            title=member.image,
            outline=_on_the_input(maps.truth.truth(i), maps.regions[i]),
            lines=_lines(member.finding, member.annotator, row),
            watermark=watermark,
        )


def _lines(finding: str, annotator: str, row: pd.Series) -> Sequence[str]:
    by = "" if annotator in ("", "union") else f" by {annotator}"
    numbers = ", ".join(f"{words} {row[name]:.3f}" for name, words in (("iou", "IoU"), ("mass", "mass inside")))
    hit = "NaN" if np.isnan(row["hit"]) else "yes" if row["hit"] else "no"
    return [f"marked{by}: {finding}, {row['area_gt']:.1%} of the film. {numbers}, peak inside: {hit}"]


def _on_the_input(truth: np.ndarray, region: tuple[float, float, float, float] | None) -> np.ndarray:
    """A truth of the film as a truth of the model's input, which a padded film does not fill."""
    if region is None:
        return truth
    top, left, bottom, right = region
    height, width = (round(side / share) for side, share in zip(truth.shape, (bottom - top, right - left), strict=True))
    whole = np.zeros((height, width), bool)
    first, second = round(top * height), round(left * width)
    part = truth[: height - first, : width - second]
    whole[first : first + part.shape[0], second : second + part.shape[1]] = part
    return whole
