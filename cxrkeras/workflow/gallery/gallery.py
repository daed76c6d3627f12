"""Gallery: the same films explained by several models or methods, on one page, with the numbers under every map.

The films are those of the first model; every other reads the same files in its own way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from cxrkeras.cams.registry import METHODS, method_names
from cxrkeras.data.images import decode_film
from cxrkeras.errors import TargetError, UsageError, did_you_mean
from cxrkeras.events import SILENT, Reporter
from cxrkeras.render.gallery import GalleryRow, check_page, save_gallery
from cxrkeras.store import atomic_path, check_writable, key8
from cxrkeras.tables import write_csv
from cxrkeras.workflow.gallery.films import Marks, Shown, shown_films
from cxrkeras.workflow.gallery.maps import (
    NOT_MARKED,
    Explained,
    cell_of,
    explained_films,
    numbers_of,
)
from cxrkeras.workflow.localize.models import Model, check_trained, films_in_run, model_of
from cxrkeras.workflow.localize.pictures import NOT_TRAINED
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.selection import Selection

DEFAULT = "gradcam++"
NOTE = "IoU: after Otsu's threshold. Hit: the peak lies inside the expert's marks. Mass: share of the map inside."


@dataclass(frozen=True)
class Gallery:
    """A written gallery.

    Attributes:
        picture: the PNG; the table lies beside it as CSV.
        table: a row per film, model and method.
    """

    picture: Path
    table: pd.DataFrame


def gallery(
    models: Sequence[Model],
    selection: Selection,
    methods: Sequence[str],
    settings: Mapping[str, Any],
    *,
    target: str | None = None,
    marks: Marks | None = None,
    limit: int | None = None,
    every: bool = False,
    allow_untrained: bool = False,
    out: Path | None = None,
    reporter: Reporter = SILENT,
) -> Gallery:
    """Explain the same films by every model with every method, and write the page and its numbers.

    Args:
        models: checkpoints; the films are a selection of the first one's run.
        selection: films to choose from.
        methods: registry names.
        settings: further fields of `MapOptions`, alike for all models.
        target: class that is explained; None: each film's label, or the class it is marked for.
        marks: expert marks, drawn as outlines and scored against.
        limit: films a class; None: eight in all.
        every: take every film of the selection.
        allow_untrained: take models whose head was never trained, and say so across the page.
        out: PNG file or folder; None: in the first run.
        reporter: told of progress.

    Raises:
        UsageError: more than a page holds, a column twice, or a class that a run does not know.
        RunError: a model whose head was never trained.
        TargetError: a film's class is not known.
    """
    trained = [check_trained(one.opened, allow_untrained=allow_untrained, reporter=reporter) for one in models]
    names = _column_names(models, methods, trained)
    first = models[0].opened
    if target is not None and target not in first.classes:
        raise TargetError(
            f"a comparison explains one class by name. Received --target {target}; run {first.run.name} has "
            f"{', '.join(first.classes)}.{did_you_mean(target, first.classes)}"
        )
    shown = shown_films(first, selection, target, marks, limit, every, reporter)
    check_page(len(shown.ids), len(names))
    file = _target_file(models, shown, methods, settings, out)
    check_writable(file.parent)
    # every run is asked for its classes before any map is made
    read = [shown.selection if one.opened is first else _read_by(one, shown, first, reporter) for one in models]
    found = {}
    for place, (model, films) in enumerate(zip(models, read, strict=True)):
        for method, of_films in explained_films(model, films, shown.classes, methods, settings, reporter).items():
            found[place, method] = of_films
    rows, table = _rows(models, trained, names, shown, found)
    with atomic_path(file) as partial:
        save_gallery(
            partial, rows, list(names.values()), title=_title(models, methods, selection, len(rows)),
            watermark="" if all(trained) else NOT_TRAINED, note=NOTE if marks else "",
        )  # fmt: skip
    write_csv(file.with_suffix(".csv"), table)
    return Gallery(file, table)


def printed_gallery(table: pd.DataFrame) -> pd.DataFrame:
    """The numbers in the columns a reader needs; those of the marks only where there are some."""
    columns = ["image", "class", "marked", "run", "epoch", "method", "prob", "iou", "hit", "mass", "status"]
    if (table["status"] == NOT_MARKED).all():
        columns = [name for name in columns if name not in ("marked", "iou", "hit", "mass", "status")]
    return table[[name for name in columns if name in table]]


def _read_by(model: Model, shown: Shown, first: OpenRun, reporter: Reporter) -> Selection:
    return films_in_run(shown.selection, tuple(dict.fromkeys(shown.classes)), first, model.opened, reporter)


def _rows(
    models: Sequence[Model],
    trained: Sequence[bool],
    names: Mapping[tuple[int, str], str],
    shown: Shown,
    found: Mapping[tuple[int, str], Sequence[Explained]],
) -> tuple[list[GalleryRow], pd.DataFrame]:
    """The rows of the page, and a row per film, model and method of the table."""
    rows, table = [], []
    for i, file in enumerate(shown.files):
        picture = decode_film(file, bits=models[0].opened.config.data.bits)
        truth, cells = shown.truth(i), {}
        for (place, method), of_films in found.items():
            region = models[place].opened.film_region(picture.shape)
            numbers = numbers_of(of_films[i], truth, region)
            cells[names[place, method]] = cell_of(of_films[i], numbers, picture.shape, region)
            table.append(_about(shown, i, models[place], trained[place], method) | numbers)
        caption = [f"class {shown.classes[i]}", *(f"marked {finding}" for finding in shown.marked[i])]
        rows.append(GalleryRow(picture, Path(shown.ids[i]).name, truth, cells, tuple(caption)))
    return rows, pd.DataFrame(table)


def _about(shown: Shown, i: int, model: Model, trained: bool, method: str) -> dict[str, Any]:
    return {
        "image": shown.ids[i],
        "patient": shown.patients[i],
        "class": shown.classes[i],
        "marked": ", ".join(shown.marked[i]),
        "run": model.opened.run.name,
        "epoch": model.epoch,
        "trained": "yes" if trained else "no",
        "method": method,
    }


def _column_names(
    models: Sequence[Model], methods: Sequence[str], trained: Sequence[bool]
) -> dict[tuple[int, str], str]:
    names = {}
    for place, (model, good) in enumerate(zip(models, trained, strict=True)):
        for method in methods:
            parts = [model.name] if len(models) > 1 else []
            parts += [method] if len(methods) > 1 or not parts else []
            names[place, method] = "\n".join([*parts, *([] if good else [NOT_TRAINED])])
    twice = sorted({name.partition("\n")[0] for name in names.values() if list(names.values()).count(name) > 1})
    if twice:
        raise UsageError(
            f"columns of a comparison have to differ. Received twice: {', '.join(twice)}. Name another run, or another "
            "epoch of it as RUN@EPOCH."
        )
    return names


def _title(models: Sequence[Model], methods: Sequence[str], selection: Selection, n: int) -> str:
    where = f"of split {selection.split}" if selection.inside else "from outside the run"
    films = f"{n} film{'s' if n > 1 else ''} {where}"
    if len(models) == 1:
        return f"{models[0].name}: {films}"
    return f"{methods[0]}: {films}" if len(methods) == 1 else films


def _target_file(
    models: Sequence[Model], shown: Shown, methods: Sequence[str], settings: Mapping[str, Any], out: Path | None
) -> Path:
    if out is not None and out.suffix.lower() == ".png":
        return out
    made = [[one.name for one in models], shown.ids, shown.classes, list(methods), repr(sorted(settings.items()))]
    key = key8([*made, "" if shown.annotated is None else shown.annotated.annotations])
    runs = "-".join(dict.fromkeys(one.opened.run.name for one in models))
    name = f"{runs[:60]}--{'-'.join(methods)[:60]}--{key}"
    if out is None:
        return models[0].opened.run.gallery_path(name)
    if out.suffix and not out.is_dir():
        raise UsageError(f"--out of a comparison is a folder or a PNG file. Received {out}. End it with .png.")
    return out / f"{name}.png"


def gallery_methods(spec: str | None, models: Sequence[Model], reporter: Reporter = SILENT) -> tuple[str, ...]:
    """The methods as named; without a name gradcam++ for several models, those of one forward for one.

    Raises:
        MethodError: an unknown name.
    """
    if spec is not None:
        return method_names(spec)
    if len(models) > 1:
        reporter.notice(f"method: {DEFAULT} (choose with --method).")
        return (DEFAULT,)
    return tuple(name for name in method_names("all") if METHODS[name].in_the_forward)


def checkpoints(texts: Sequence[str], epoch: str) -> list[Model]:
    """Checkpoints as typed, `RUN` or `RUN@EPOCH`, each run opened once; those that name no epoch take `epoch`.

    Raises:
        CxrKerasError: as `model_of`.
    """
    opened: dict[Path, OpenRun] = {}
    found = []
    for text in texts:
        model = model_of(text if "@" in text.rpartition("/")[2] else f"{text}@{epoch}")
        path = model.opened.run.path.resolve()
        found.append(replace(model, opened=opened.setdefault(path, model.opened)))
    return found
