"""What accompanies the marks: the sides and zones that reports name, how far annotators agree, and human readers.

Hands maps and tables to the pure metrics of `localization`; stores nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxrkeras.data.annotations import canonical_finding, matched_films, read_statements
from cxrkeras.data.images import picture_size
from cxrkeras.errors import DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.localization import FILM_METRICS, reader_table, statement_shares, statement_table
from cxrkeras.tables import read_csv
from cxrkeras.workflow.evidence import ensure
from cxrkeras.workflow.localize.films import AnnotatedFilms, enlarged
from cxrkeras.workflow.localize.matching import FRONTAL, frontal_films, mapped_findings
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun


def stated_tables(
    opened: OpenRun,
    epoch: int,
    truth: AnnotatedFilms,
    file: Path,
    methods: Sequence[str],
    options: MapOptions,
    reporter: Reporter = SILENT,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Share of the maps' mass where reports state the finding, for every frontal film that has a statement.

    Args:
        opened: the run.
        epoch: epoch of the checkpoint.
        truth: the annotated films; statements may be about any film that they were taken from.
        file: table of statements.
        methods: registry names.
        options: how the maps are made.
        reporter: told what was left out.

    Returns:
        As `localization.statement_table`, and its films.

    Raises:
        DataError: no statement is about one of the films.
    """
    stated, whole = read_statements(file), truth.whole
    for text in stated.attrs.get("notices", ()):
        reporter.notice(text)
    known = {name: to for name, to in truth.findings.items() if name in set(stated["finding"])}
    mapped = mapped_findings(stated["finding"], opened.classes, known, reporter)
    place = matched_films(stated["image"], whole.films.ids.tolist())
    frontal = frontal_films(whole, FRONTAL, reporter)
    kept = stated[stated["finding"].isin(set(mapped)) & stated["image"].isin(set(place))]
    kept = kept.assign(row=kept["image"].map(place).astype(int))
    kept = kept[frontal[kept["row"]]]
    reporter.notice(f"statements: {len(stated)}; about a frontal film of the selection: {len(kept)}.")
    if kept.empty:
        raise DataError(
            f"none of the {len(stated)} statements in {file} is about a frontal film of split '{whole.split}'. "
            "Expected the films' ids or file names in column image."
        )
    rows = []
    for name, own in kept.groupby("finding", sort=False):
        films = whole.take(own["row"].to_numpy())
        maps = ensure(opened, epoch, films, methods, replace(options, target=mapped[name]), reporter)
        patients = films.patients_or_films
        for at, (side, zone) in enumerate(zip(own["side"], own["zone"], strict=True)):
            region = opened.film_region(picture_size(films.films.store.files[films.films.indices[at]]))
            about = {"image": str(films.films.ids[at]), "patient": str(patients[at]), "finding": name}
            about |= {"class": mapped[name], "side": side, "zone": zone}
            for method in methods:
                shares = statement_shares(maps[method].values[at], side, zone, region=region)
                rows.append({**about, "method": method, **shares})
    films = pd.DataFrame(rows)
    return statement_table(films), films


def readers_of(truth: AnnotatedFilms, bootstrap: str) -> pd.DataFrame:
    """IoU of every two annotators on the films that both marked, as `localization.reader_table`.

    Args:
        truth: the films; a union still knows its annotators.
        bootstrap: what is resampled.
    """
    return reader_table(_readings(truth), bootstrap=bootstrap)


def _readings(truth: AnnotatedFilms) -> Iterator[tuple[str, str, dict[str, np.ndarray]]]:
    by_film: dict[tuple[str, str, str], list] = {}
    for member in truth.members:
        by_film.setdefault((member.finding, member.image, member.patient), []).extend(member.regions)
    for (finding, _, patient), regions in by_film.items():
        if len({region.annotator for region in regions}) < 2:
            continue
        size = max((region.size for region in regions), key=lambda shape: shape[0] * shape[1])
        masks: dict[str, np.ndarray] = {}
        for region in regions:
            masks[region.annotator] = masks.get(region.annotator, False) | enlarged(region.mask(), size)
        yield finding, patient, masks


def human_readers(truth: AnnotatedFilms, file: Path) -> pd.DataFrame:
    """Human performance film by film: `image` (the film's id), `finding`, and the metrics that the file has.

    Args:
        truth: the annotated films.
        file: CSV `image, finding` and one or more of the metrics of a film, such as `iou` and `hit`.

    Raises:
        DataError: a column is missing, or no row is about an annotated film.
    """
    table = read_csv(file, text=("image", "finding"))
    metrics = [name for name in FILM_METRICS if name in table]
    if {"image", "finding"} - set(table.columns) or not metrics:
        raise DataError(
            f"{file} is no table of human performance. Expected columns image, finding and one or more of "
            f"{', '.join(FILM_METRICS)}; received {', '.join(map(str, table.columns))}."
        )
    wrong = [name for name in metrics if table[name].dtype.kind not in "if"]
    if wrong:
        raise DataError(f"{file}: column {wrong[0]} holds words. Expected numbers, or empty fields.")
    canonical = {canonical_finding(name): name for name in truth.findings}
    ids = truth.selection.films.ids.tolist()
    place = matched_films(table["image"], ids)
    table = table.assign(
        image=[ids[place[image]] if image in place else "" for image in table["image"]],
        finding=[canonical.get(canonical_finding(name), "") for name in table["finding"]],
    )
    table = table[(table["image"] != "") & (table["finding"] != "")]
    if table.empty:
        raise DataError(f"{file} holds no annotated film of these findings: {', '.join(truth.findings)}.")
    return table[["image", "finding", *metrics]]
