"""One entrance for all kinds of annotations: what a file or folder is, is seen from its content.

Knows which reader serves which kind; the readers know the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

from cxrkeras.data.annotations.boxes import is_nih_list, read_boxes, read_nih_list
from cxrkeras.data.annotations.coco import read_instances, read_segmentations
from cxrkeras.data.annotations.marks import Reading, Size, checked_size, regions_of
from cxrkeras.data.annotations.masks import MANIFEST, MASK, read_mask_folder, read_mask_table
from cxrkeras.data.annotations.names import canonical_finding
from cxrkeras.data.annotations.polygons import read_outlines
from cxrkeras.data.annotations.regions import Annotations
from cxrkeras.data.annotations.rows import read_rows
from cxrkeras.errors import DataError, UsageError, did_you_mean, unknown
from cxrkeras.store import sha256_file


def read_annotations(
    path: str | os.PathLike[str], *, box_size: int | Size | None = None, finding: str | None = None
) -> Annotations:
    """Read what experts marked, whatever the form.

    A CSV table of boxes; NIH's `BBox_List_2017.csv`; CheXlocalize's segmentations (run lengths) or outlines (polygons)
    in JSON; COCO instances in JSON; a table of films with a `mask` column; a folder of mask pictures.

    Args:
        path: file or folder.
        box_size: side, or `(height, width)`, of the picture that the boxes were drawn in; None to read it.
        finding: only this finding's marks; for sources that name none, the finding of all marks.

    Returns:
        One region per image, finding and annotator.

    Raises:
        DataError: nothing there, an unknown kind, broken content, or boxes whose reference size nothing says.
        UsageError: `box_size` is none, or nobody marked `finding`.

    Example:
        >>> truth = read_annotations("BBox_List_2017.csv")  # doctest: +SKIP
        >>> truth.regions[0].mask().mean()  # doctest: +SKIP
    """
    source = Path(path).expanduser().absolute()
    stated = checked_size(box_size)
    reading = _of_finding(_reading(source, finding), finding, source)
    regions, notices = regions_of(reading, stated, str(source))
    return Annotations(regions, tuple(notices), str(source), _digest(source, reading))


def _reading(source: Path, finding: str | None) -> Reading:
    if source.is_dir():
        return read_mask_folder(source, finding)
    if not source.is_file():
        siblings = [entry.name for entry in source.parent.iterdir()] if source.parent.is_dir() else []
        raise DataError(
            f"no annotations at {source}: it does not exist. Expected a file or a folder of masks."
            f"{did_you_mean(source.name, siblings)}"
        )
    if _first_character(source) in "{[":
        return _json_reading(source)
    if is_nih_list(source):
        return read_nih_list(source)
    if MASK in read_rows(source)[0]:
        return read_mask_table(source)
    return read_boxes(source, finding)


def _of_finding(reading: Reading, finding: str | None, source: Path) -> Reading:
    """The marks of one finding, whatever it is called."""
    if finding is None or not reading.marks:
        return reading
    wanted = canonical_finding(finding).casefold()
    chosen = tuple(mark for mark in reading.marks if canonical_finding(mark.finding).casefold() == wanted)
    if not chosen:
        raise unknown(f"finding of {source}", finding, sorted({mark.finding for mark in reading.marks}), UsageError)
    return replace(reading, marks=chosen)


def _json_reading(file: Path) -> Reading:
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON ({error}). Restore it.") from error
    if isinstance(values, dict) and {"images", "annotations", "categories"} <= set(values):
        return read_instances(values, file)
    firsts = [value for value in values.values() if isinstance(value, dict)] if isinstance(values, dict) else []
    if any("img_size" in value for value in firsts):
        return read_outlines(values, file)
    if any(isinstance(mask, dict) and "counts" in mask for value in firsts for mask in value.values()):
        return read_segmentations(values, file)
    raise DataError(
        f"{file} is JSON of an unknown layout. Expected {{image: {{finding: {{size, counts}}}}}} (run lengths), "
        "{image: {img_size, finding: [[[x, y], …]]}} (outlines), or COCO's images, annotations and categories."
    )


def _first_character(file: Path) -> str:
    """The first character that is not blank, or a blank where there is none."""
    try:
        with open(file, encoding="utf-8-sig") as stream:
            return stream.read(1000).lstrip()[:1] or " "
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise DataError(
            f"annotations {file} cannot be read ({reason}). Expected CSV or JSON, or a folder of masks."
        ) from error


def _digest(source: Path, reading: Reading) -> str:
    """SHA-256 of the source, or of the names and hashes of all files that it consists of."""
    if not reading.files:
        return sha256_file(source)
    folder = source if source.is_dir() else source.parent
    tables = [source] if source.is_file() else [folder / MANIFEST] if (folder / MANIFEST).is_file() else []
    listed = {os.path.relpath(file, folder): sha256_file(file) for file in (*tables, *reading.files)}
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()
