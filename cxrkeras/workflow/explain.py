"""Explain: maps for selected films, and pictures of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cxrkeras.cams.registry import METHODS
from cxrkeras.events import SILENT, Reporter
from cxrkeras.maps import Maps
from cxrkeras.render.overlay import caption, contact_sheet, save_overlay
from cxrkeras.store import atomic_path, check_writable, key8
from cxrkeras.workflow.evidence import chosen_methods, ensure
from cxrkeras.workflow.map_options import MapOptions, positive_parts
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.predictions import keep_predictions
from cxrkeras.workflow.selection import Selection

SHEET_FILMS = 48
# share of Δz that integrated gradients may miss before it is said
WIDE_GAP = 0.05
LONGEST_NAME = 180  # bytes; file systems end at 255


def explain_selection(
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    methods: str | None,
    options: MapOptions,
    *,
    overlays: int = 100,
    reporter: Reporter = SILENT,
) -> pd.DataFrame:
    """Make maps for the selected films, store them, and draw them.

    Args:
        opened: the run.
        epoch: epoch of a stored checkpoint; 0 for a model that has none.
        selection: the films.
        methods: comma list, `all`, or None for what is affordable.
        options: how the maps are made.
        overlays: at most this many overlay pictures a method.
        reporter: told of progress.

    Returns:
        A row a method: method, layer, grid, films, how many maps are degenerate or carry another status, and the
        files written. Where a film may have several findings and the target is its label, a row a finding and method.
    """
    check_writable(selection.sink.path)
    names = chosen_methods(methods, opened, epoch, selection, options, reporter)
    parts = positive_parts(opened, selection, options)
    if not opened.several or options.target != "label":
        return _explained(opened, epoch, selection, names, options, overlays, reporter)
    unexplained = len(selection) - len({image for films, _ in parts for image in films.films.ids})
    if unexplained:
        reporter.notice(f"{unexplained} of {len(selection)} films have no positive finding and get no map.")
    tables = [
        _explained(opened, epoch, films, names, own, overlays, reporter).assign(target=own.target)
        for films, own in parts
    ]
    table = pd.concat(tables, ignore_index=True)
    return table[["target", *(name for name in table if name != "target")]]


def _explained(
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    names: list[str],
    options: MapOptions,
    overlays: int,
    reporter: Reporter,
) -> pd.DataFrame:
    all_maps = ensure(opened, epoch, selection, names, options, reporter)
    keep_predictions(opened, epoch, selection, all_maps[names[0]].probabilities)
    rows = []
    for name in names:
        maps = all_maps[name]
        warn_of_gaps(maps, reporter)
        folder = selection.sink.overlays_path(epoch, pictures_name(maps, selection, options, keyed=not epoch))
        written = _draw(folder, maps, selection, epoch or None, overlays, reporter)
        other = [status for status in maps.status if status not in ("ok", "degenerate")]
        rows.append(
            {
                "method": name,
                "layer": maps.layer,
                "grid": f"{maps.grid[0]}×{maps.grid[1]}",
                "n_maps": len(maps),
                "n_degenerate": int((maps.status == "degenerate").sum()),
                "other_status": ", ".join(f"{n} {s}" for s, n in pd.Series(other, dtype=str).value_counts().items()),
                "overlays": written,
                "maps": str(selection.sink.maps_path(epoch, selection.split, name, maps.parameters)),
                "contact_sheet": str(folder / "contact_sheet.png"),
            }
        )
    return pd.DataFrame(rows)


def warn_of_gaps(maps: Maps, reporter: Reporter) -> None:
    """Say how many integrated gradients miss the difference they should add up to."""
    gaps = maps.extras.get("counted_gap", np.zeros(0))
    wide = int((gaps > WIDE_GAP).sum())
    if wide:
        reporter.notice(
            f"{maps.method}: {wide} of {len(maps)} maps miss the difference they should add up to by more than "
            f"{WIDE_GAP:.0%} (median {np.nanmedian(gaps):.1%}). Take more steps: --option ig_steps=800."
        )


def pictures_name(maps: Maps, selection: Selection, options: MapOptions, *, keyed: bool = False) -> str:
    """Folder name of a method's pictures: the method, and whatever is not the default, so that none overwrites another.

    Another target than the label, another split than `test`, another engine, layer or option stand apart; with `keyed`
    whatever else is among the maps' parameters does, too.
    """
    target = "" if options.target == "label" else f"@{options.target}"
    split = f"--{selection.split}" if selection.inside and selection.split != "test" else ""
    engine = "" if options.engine == "cxrkeras" else f"--{options.engine}"
    method = METHODS[maps.method]
    default = (
        (options.layer == "head_input" or method.at_input)
        and (options.on == "logit" or not method.explains_score)
        and not any(name in method.defaults for name in options.given)
    )
    return f"{maps.method}{target}{split}{engine}" + ("" if default and not keyed else f"--{key8(maps.parameters)}")


def spread_over_classes(labels: np.ndarray, n: int) -> np.ndarray:
    """Up to `n` positions that take the classes in turn, in order within each, int ``[≤ n]``."""
    place = np.zeros(len(labels), int)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = np.arange(len(members))
    return np.lexsort((labels, place))[:n]


def _draw(folder: Path, maps: Maps, selection: Selection, epoch: int | None, n: int, reporter: Reporter) -> int:
    films = selection.films
    names = [maps.classes[target] for target in maps.targets]
    shown = maps.probabilities[np.arange(len(maps)), maps.targets]
    drawn = spread_over_classes(films.labels, n)
    if len(drawn) < len(films):
        reporter.notice(f"{maps.method}: {len(drawn)} of {len(films)} overlays are drawn; --overlays N draws more.")
    with reporter.task(f"draw {maps.method}", len(drawn) + 1) as advance:
        for row in drawn:
            pixels = films.store.get([films.indices[row]])[0]
            with atomic_path(folder / f"{flat_name(films.ids[row])}.png") as partial:
                save_overlay(
                    partial,
                    pixels,
                    maps.values[row],
                    class_name=names[row],
                    probability=float(shown[row]),
                    method=maps.method,
                    layer=maps.layer,
                    epoch=epoch,
                    status=str(maps.status[row]),
                    title=str(films.ids[row]),
                )
            advance(1)
        page = np.sort(spread_over_classes(films.labels, SHEET_FILMS))
        page = page[np.argsort(films.labels[page], kind="stable")]
        facts = [maps.method, f"layer {maps.layer}", *([f"epoch {epoch}"] if epoch else []), selection.split]
        title = f"{', '.join(facts)}: {len(page)} of {len(films)} films"
        with atomic_path(folder / "contact_sheet.png") as partial:
            contact_sheet(
                partial,
                list(films.store.get(films.indices[page])),
                list(maps.values[page]),
                [caption(names[row], float(shown[row])) for row in page],
                title=title,
                statuses=[str(maps.status[row]) for row in page],
            )
        advance(1)
    return len(drawn)


def flat_name(image: str) -> str:
    """A film id as one file name: folders stay readable and distinct, and no name is too long for a file system."""
    name = str(image).replace("%", "%25").replace("__", "%5F%5F").replace("/", "__")
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return name.encode()[:LONGEST_NAME].decode(errors="ignore") + "-" + key8(str(image))
