"""Masks as pictures: a folder a finding, a flat folder, or a manifest with a `mask` column (the phantom's).

Pixels that are not zero lie inside. Only lossless files are masks: a JPEG has grey around every border.
"""

from __future__ import annotations

from pathlib import Path

from cxrkeras.data.annotations.boxes import FINDING, IMAGE
from cxrkeras.data.annotations.marks import Mark, Reading, record_size
from cxrkeras.data.annotations.regions import Runs, runs_of
from cxrkeras.data.annotations.rows import chosen_column, read_rows
from cxrkeras.data.images import decode_film
from cxrkeras.errors import DataError, FilmError

MASK = "mask"
MANIFEST = "manifest.csv"
LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")
# A lesion never fills a film; a film taken for a mask nearly does.
_SUSPICIOUS_SHARE = 0.9


def read_mask_folder(folder: Path, finding: str | None) -> Reading:
    """Read `manifest.csv` with a column `mask`, else `<Finding>/<film>.png`, else `<film>.png`.

    Args:
        folder: absolute.
        finding: the finding of all masks, for a flat folder.

    Raises:
        DataError: no masks, a mask that cannot be read, or a flat folder without `finding`.
    """
    manifest = folder / MANIFEST
    if manifest.is_file() and MASK in read_rows(manifest)[0]:
        return read_mask_table(manifest)
    inside = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    by_finding = {entry.name: _masks_in(entry) for entry in inside if entry.is_dir()}
    by_finding = {name: files for name, files in by_finding.items() if files}
    if by_finding:
        pairs = [(name, file) for name, files in by_finding.items() for file in files]
    else:
        pairs = [(finding, file) for file in _masks_in(folder)]
    if not pairs:
        raise DataError(
            f"{folder} holds no masks. Expected FINDING/FILM.png, FILM.png, or a {MANIFEST} with a column {MASK}; "
            f"lossless files only ({', '.join(LOSSLESS)}). Boxes and outlines are read from their file: --boxes FILE."
        )
    if not by_finding and not finding:
        raise DataError(
            f"the {len(pairs)} masks in {folder} lie in no finding's folder. Expected FINDING/FILM.png; "
            "sort them, or name the finding of all with --finding."
        )
    triples = [(file.stem, name, file) for name, file in pairs]
    return _reading(triples, _unread(folder, inside, {file for _, file in pairs}), folder)


def _unread(folder: Path, inside: list[Path], used: set[Path]) -> list[str]:
    """A notice of the files that are no masks, in the folder and in its folders."""
    files = [entry for entry in inside if entry.is_file()]
    files += [entry for sub in inside if sub.is_dir() for entry in sorted(sub.iterdir()) if entry.is_file()]
    others = [file.relative_to(folder) for file in files if file not in used]
    return [f"Files in {folder} that are no masks are not read: {len(others)}, first {others[0]}."] if others else []


def read_mask_table(file: Path) -> Reading:
    """Read a table of films with the mask of each in a column `mask`, relative to the table; empty where none.

    Raises:
        DataError: a missing column, masks that do not exist (all are listed), or one that cannot be read.
    """
    columns, rows = read_rows(file)
    image = chosen_column(columns, IMAGE, "image", file)
    named = chosen_column(columns, FINDING, "finding (label)", file)
    marked = [row for row in rows if row.values[MASK]]
    absent = [row.values[MASK] for row in marked if not (file.parent / row.values[MASK]).is_file()]
    if absent:
        raise DataError(
            f"{len(absent)} of {len(marked)} masks listed in {file} do not exist: {', '.join(absent)}. "
            f"Expected paths relative to {file.parent}; correct them or empty the fields."
        )
    without = len(rows) - len(marked)
    notices = [f"{without} of {len(rows)} films of {file.name} have no mask and count as not annotated."]
    triples = [(row.text(image), row.text(named), file.parent / row.values[MASK]) for row in marked]
    return _reading(triples, notices if without else [], file)


def _masks_in(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in LOSSLESS and entry.is_file() and not entry.name.startswith(".")
    )


def _reading(triples: list[tuple[str, str, Path]], notices: list[str], source: Path) -> Reading:
    marks, sizes, full = [], {}, []
    for image, finding, file in triples:
        where = f"mask {file}"
        mask = _mask(file)
        record_size(sizes, image, mask.size, where)
        marks.append(Mark(image, finding, "", mask, where))
        if sum(mask.counts[1::2]) > _SUSPICIOUS_SHARE * sum(mask.counts):
            full.append(file.name)
    if full:
        notices = [
            *notices,
            f"{len(full)} of {len(marks)} masks in {source} cover more than {_SUSPICIOUS_SHARE:.0%} of their picture, "
            f"first {full[0]}; check that they are masks and not films.",
        ]
    files = tuple(file for _, _, file in triples)
    return Reading(tuple(marks), sizes, "the masks themselves", notices=tuple(notices), files=files)


def _mask(file: Path) -> Runs:
    if file.suffix.lower() not in LOSSLESS:
        raise DataError(
            f"mask {file} is not lossless, so its borders are uncertain. Expected {', '.join(LOSSLESS)}; "
            "make it again as PNG."
        )
    try:
        return runs_of(decode_film(file) > 0)
    except FilmError as error:
        raise DataError(f"mask {file} is not usable: {error}") from error
