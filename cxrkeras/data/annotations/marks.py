"""From single marks to regions: names folded, sizes settled, bad marks refused, odd ones counted.

Every reader of a format ends here, so the rules are the same for all of them. Knows no file format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrkeras.data.annotations.names import canonical_findings
from cxrkeras.data.annotations.regions import Box, Region, Runs, Shape
from cxrkeras.errors import DataError, UsageError

Size = tuple[int, int]


@dataclass(frozen=True)
class Mark:
    """One mark as a format gives it.

    Attributes:
        image, finding, annotator: as written.
        shape: what was drawn; None where the film was read and nothing was marked.
        where: the place in the source, for messages.
        fractions: the same box as fractions of the picture, where the source gives both.
    """

    image: str
    finding: str
    annotator: str
    shape: Shape | None
    where: str
    fractions: Box | None = None


@dataclass(frozen=True)
class Reading:
    """What a format says.

    Attributes:
        marks: in the order of the source.
        sizes: `(height, width)` of the picture that each image's marks are in, as far as known.
        sized_by: who says so, as the end of a sentence ("the pictures beside the table").
        binding: whether a stated size that differs is a contradiction; else it wins.
        notices: about the reading.
        files: files that were read besides the source itself.
    """

    marks: tuple[Mark, ...]
    sizes: dict[str, Size]
    sized_by: str
    binding: bool = True
    notices: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def record_size(sizes: dict[str, Size], image: str, size: Size, where: str) -> None:
    """Note the size of an image's picture.

    Raises:
        DataError: the source gave another size for the same image before.
    """
    before = sizes.setdefault(image, size)
    if before != size:
        raise DataError(
            f"{where}: '{image}' has a picture of {pixels(size)} here and of {pixels(before)} elsewhere. "
            "Expected one size per image; correct one of them."
        )


def pixels(size: Size) -> str:
    """`width×height`, as radiologists write it."""
    return f"{size[1]}×{size[0]}"


def checked_size(box_size: int | Size | None) -> Size | None:
    """A stated reference size as `(height, width)`.

    Raises:
        UsageError: no whole positive numbers.
    """
    if box_size is None:
        return None
    sides = tuple(box_size) if isinstance(box_size, Sequence) else (box_size, box_size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise UsageError(
            f"--box-size is the size of the picture that the boxes are in. Expected one side or height and width in "
            f"pixels, received {box_size}."
        )
    return sides


def regions_of(reading: Reading, stated: Size | None, source: str) -> tuple[tuple[Region, ...], list[str]]:
    """The regions of a reading, one per image, finding and annotator, and what the user should know.

    Args:
        reading: what the format says.
        stated: reference size that the user stated, `(height, width)`.
        source: for messages.

    Raises:
        DataError: nothing marked, a size that is unknown or contradicted, a box wholly outside its picture.
    """
    if not reading.marks:
        raise DataError(f"{source} marks nothing. Expected at least one box, outline or mask; check the file.")
    names, notices = canonical_findings(mark.finding for mark in reading.marks)
    sizes, more = _settled_sizes(reading, stated, source)
    marks = [mark for mark in reading.marks if _has_area(mark.shape)]
    flat = [mark for mark in reading.marks if not _has_area(mark.shape)]
    clipped = [mark for mark in marks if _reaches_beyond(mark, sizes[mark.image], source)]
    for mark in marks:
        _check_fractions(mark, sizes[mark.image])
    if not marks:
        raise DataError(f"none of the {len(flat)} marks in {source} has an area. Expected w and h above 0.")
    shapes: dict[tuple[str, str, str], list[Shape]] = {}
    for mark in marks:
        shapes.setdefault((mark.image, names[mark.finding], mark.annotator), []).extend(
            [mark.shape] if mark.shape else []
        )
    regions = tuple(Region(*key, sizes[key[0]], tuple(drawn)) for key, drawn in shapes.items())
    total, empty = len(reading.marks), sum(region.is_empty for region in regions)
    counted = (
        (len(flat), "marks have no area and are left out", flat[:1]),
        (len(clipped), "marks reach beyond their picture and are clipped", clipped[:1]),
    )
    notices += [
        *more,
        *(f"{n} of {total} {text}, first {first[0].where} ('{first[0].image}')." for n, text, first in counted if n),
    ]
    if empty:
        notices.append(f"{empty} of {len(regions)} regions are empty: those films were read and nothing was marked.")
    return regions, [*reading.notices, *notices]


def _settled_sizes(reading: Reading, stated: Size | None, source: str) -> tuple[dict[str, Size], list[str]]:
    images = dict.fromkeys(mark.image for mark in reading.marks)
    if stated is None:
        missing = [image for image in images if image not in reading.sizes]
        if missing:
            raise DataError(
                f"nothing in {source} says how large the pictures are that its boxes were drawn in, for {len(missing)} "
                f"of {len(images)} images, first '{missing[0]}'. Expected columns image_width and image_height, or the "
                "pictures beside the table; state the size with --box-size."
            )
        sizes = {image: reading.sizes[image] for image in images}
        return sizes, [f"The marks are in pixels of {_listed(sizes)}, read from {reading.sized_by}."]
    others = {image: size for image in images if (size := reading.sizes.get(image, stated)) != stated}
    if others and reading.binding:
        image, size = next(iter(others.items()))
        raise DataError(
            f"--box-size {pixels(stated)} contradicts {reading.sized_by} for {len(others)} of {len(images)} images, "
            f"first '{image}' with {pixels(size)}. Leave --box-size out."
        )
    notice = f"The marks are in pixels of pictures of {pixels(stated)}, as stated."
    if others:
        notice = f"{notice[:-1]}; {reading.sized_by} say {_listed(others)}."
    return dict.fromkeys(images, stated), [notice]


def _listed(sizes: dict[str, Size]) -> str:
    counts = Counter(sizes.values()).most_common()
    shown = ", ".join(f"{pixels(size)} ({count})" for size, count in counts[:3])
    return f"pictures of {shown}" + (f" and {len(counts) - 3} more sizes" if len(counts) > 3 else "")


def _has_area(shape: Shape | None) -> bool:
    """False for a mark that was drawn with nothing inside; a mask without a pixel inside says that on purpose."""
    return shape is None or isinstance(shape, Runs) or shape.has_area


def _reaches_beyond(mark: Mark, size: Size, source: str) -> bool:
    if mark.shape is None or isinstance(mark.shape, Runs):
        return False
    (height, width), (left, top, right, bottom) = size, mark.shape.extent
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        raise DataError(
            f"{mark.where}: the mark on '{mark.image}' lies at x {left:g} to {right:g}, y {top:g} to {bottom:g}, "
            f"wholly outside its picture of {pixels(size)}. Expected coordinates in pixels of that picture; state "
            f"the size they were drawn in with --box-size, or correct {source}."
        )
    return left < 0 or top < 0 or right > width or bottom > height


def _check_fractions(mark: Mark, size: Size) -> None:
    """Fail where a box and its own fractions belong to pictures of another size."""
    if mark.fractions is None or not isinstance(mark.shape, Box):
        return
    sides = (size[1], size[0], size[1], size[0])
    for side, own, fraction in zip(sides, mark.shape.extent, mark.fractions.extent, strict=True):
        # fractions of three decimals are off by half a thousandth of the side
        if abs(own - fraction * side) > 1 + side / 1000:
            raise DataError(
                f"{mark.where}: the box on '{mark.image}' and its fractions do not agree in a picture of "
                f"{pixels(size)}: {own:g} px is not {fraction:g} of {side}. State the size that the boxes were drawn "
                "in with --box-size."
            )
