"""Boxes in CSV files: the generic table, and NIH's `BBox_List_2017.csv` with its own header.

Knows columns; what a box covers and what is refused is said elsewhere (see `regions`, `marks`).
"""

from __future__ import annotations

from pathlib import Path

from cxrkeras.data.annotations.marks import Mark, Reading, Size, record_size
from cxrkeras.data.annotations.regions import Box
from cxrkeras.data.annotations.rows import Row, cells, chosen_column, read_rows
from cxrkeras.data.images import picture_size
from cxrkeras.errors import DataError

IMAGE = ("path", "image", "image_index")
FINDING = ("finding", "label")
_BOX = ("x", "y", "w", "h")
_FRACTIONS = tuple(f"{name}_frac" for name in _BOX)
_SIZES = (("image_width", "image_height"), ("width", "height"))
_NIH_HEADER = ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"]
_NIH_SIZE = (1024, 1024)


def is_nih_list(file: Path) -> bool:
    """Whether a table has the header of `BBox_List_2017.csv`, whose bracket holds commas."""
    return cells(file)[0][1][:6] == _NIH_HEADER


def read_nih_list(file: Path) -> Reading:
    """Read `BBox_List_2017.csv`: six fields by position, pixels of the original 1024×1024 films.

    Raises:
        DataError: a row with fewer than six fields, or a box that is none.
    """
    columns = ("image", "finding", *_BOX)
    marks = []
    for number, line in cells(file)[1:]:
        where = f"{file.name} line {number}"
        if len(line) < len(columns) or any(line[len(columns) :]):
            raise DataError(
                f"{where} has {sum(map(bool, line))} values. Expected six: image, finding, x, y, w, h; restore the row."
            )
        row = Row(where, dict(zip(columns, line, strict=False)))
        marks.append(Mark(row.text("image"), row.text("finding"), "", _box(row), where))
    sizes = {mark.image: _NIH_SIZE for mark in marks}
    return Reading(tuple(marks), sizes, "the NIH list, which gives boxes in its original films", binding=False)


def read_boxes(file: Path, finding: str | None) -> Reading:
    """Read a table with a box a row: `path|image|image_index, finding|label, x, y, w, h`.

    `annotator`, `image_width, image_height` (or `width, height`) and `x_frac, y_frac, w_frac, h_frac` are used where
    present; other columns are ignored. A row with four empty coordinates says that the film was read and
    nothing was marked. Without size columns the size is that of the picture which the row names, if it
    lies beside the table.

    Args:
        file: the table.
        finding: the finding of all boxes, for a table without such a column.

    Raises:
        DataError: a missing column, or a value that is none.
    """
    columns, rows = read_rows(file)
    image = chosen_column(columns, IMAGE, "image", file)
    named = _finding_column(columns, finding, file)
    _check_box_columns(columns, file)
    sides = next((pair for pair in _SIZES if set(pair) <= set(columns)), None)
    marks, sizes = [], {}
    for row in rows:
        name = row.text(image)
        if sides:
            record_size(sizes, name, _stated_size(row, sides), row.where)
        box = _box(row) if any(row.values[side] for side in _BOX) else None
        label = row.text(named) if named else finding
        marks.append(Mark(name, label, row.values.get("annotator", ""), box, row.where, _fractions(row)))
    _check_pixels(marks, file)
    if sides:
        return Reading(tuple(marks), sizes, f"the columns {sides[0]} and {sides[1]}")
    return Reading(tuple(marks), _picture_sizes(marks, file.parent), "the pictures beside the table", binding=False)


def _finding_column(columns: tuple[str, ...], finding: str | None, file: Path) -> str | None:
    """The column that names the finding; None where there is none and the user names one for all rows."""
    if finding is not None and not any(name in columns for name in FINDING):
        return None
    return chosen_column(columns, FINDING, "finding (label)", file)


def _check_box_columns(columns: tuple[str, ...], file: Path) -> None:
    missing = [name for name in _BOX if name not in columns]
    if missing:
        hint = " width and height are read as the size of the picture, not of the box;" if "width" in columns else ""
        raise DataError(
            f"{file} has no column {', '.join(missing)}. Expected x, y (upper left corner), w, h in pixels; received "
            f"{', '.join(column for column in columns if column)}.{hint} rename the columns."
        )


def _box(row: Row) -> Box:
    box = Box(*(row.number(name) for name in _BOX))
    if box.w < 0 or box.h < 0:
        raise DataError(
            f"{row.where}: the box has the sides {box.w:g} and {box.h:g}. Expected w and h from 0, with x and y the "
            "upper left corner; correct the row."
        )
    return box


def _fractions(row: Row) -> Box | None:
    if not all(row.values.get(name) for name in _FRACTIONS):
        return None
    return Box(*(row.number(name) for name in _FRACTIONS))


def _stated_size(row: Row, sides: tuple[str, str]) -> Size:
    width, height = (row.number(side) for side in sides)
    if min(width, height) < 1 or width % 1 or height % 1:
        raise DataError(
            f"{row.where}: the picture is {width:g} by {height:g}. Expected whole pixels in {sides[0]} and {sides[1]}; "
            "correct the row."
        )
    return int(height), int(width)


def _check_pixels(marks: list[Mark], file: Path) -> None:
    """Boxes that all lie within the first pixel are fractions, which this table does not hold."""
    corners = [max(mark.shape.extent[2:]) for mark in marks if mark.shape and mark.shape.has_area]
    if corners and max(corners) <= 1:
        raise DataError(
            f"all {len(corners)} boxes of {file} end at 1 or before. Expected x, y, w, h in pixels, received "
            "fractions; multiply them by the width and height of the pictures."
        )


def _picture_sizes(marks: list[Mark], folder: Path) -> dict[str, Size]:
    images = dict.fromkeys(mark.image for mark in marks)
    return {image: picture_size(folder / image) for image in images if (folder / image).is_file()}
