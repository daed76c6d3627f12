"""What an expert marked: boxes, outlines and masks, and the pixels they cover.

NumPy and Pillow only; knows no file format, no film and no model. Coordinates are pixels of the picture that the marks
were drawn in, x to the right and y down from its upper left corner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw

from cxrkeras.errors import DataError

# Sums and products of decimal numbers are off by 1e-13; a millionth of a pixel is not a pixel more.
_DECIMALS = 6


@dataclass(frozen=True)
class Box:
    """An upright rectangle, in pixels: `x`, `y` its upper left corner, `w`, `h` its sides.

    It covers every pixel that it touches: rows floor(y) to ceil(y + h) − 1, columns floor(x) to ceil(x + w) − 1.
    """

    x: float
    y: float
    w: float
    h: float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """`(left, top, right, bottom)`."""
        return tuple(round(v, _DECIMALS) for v in (self.x, self.y, self.x + self.w, self.y + self.h))

    @property
    def has_area(self) -> bool:
        """Whether both sides are longer than nothing."""
        return self.w > 0 and self.h > 0

    def draw(self, canvas: np.ndarray) -> None:
        """Set the covered pixels of a bool ``[H, W]``; what lies outside is cut off."""
        left, top, right, bottom = self.extent
        rows = slice(max(0, math.floor(top)), max(0, math.ceil(bottom)))
        canvas[rows, max(0, math.floor(left)) : max(0, math.ceil(right))] = True


@dataclass(frozen=True)
class Polygon:
    """A closed outline of points `(x, y)`.

    It covers what Pillow's `ImageDraw.polygon` fills with the outline drawn, as CheXlocalize does: a point names the
    pixel it lies in, and the pixels on the border belong to the polygon.
    """

    points: tuple[tuple[float, float], ...]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """`(left, top, right, bottom)` of the points."""
        x, y = zip(*self.points, strict=True)
        return tuple(round(v, _DECIMALS) for v in (min(x), min(y), max(x), max(y)))

    @property
    def has_area(self) -> bool:
        """Whether the points do not lie on one line."""
        if len(self.points) < 3:
            return False
        away = np.array(self.points) - np.array(self.points[0])
        return bool(np.linalg.svd(away, compute_uv=False)[1] > 10.0**-_DECIMALS)

    def draw(self, canvas: np.ndarray) -> None:
        """Set the covered pixels of a bool ``[H, W]``; what lies outside is cut off."""
        height, width = canvas.shape
        picture = Image.new("1", (width, height))
        ImageDraw.Draw(picture).polygon(list(self.points), outline=1, fill=1)
        canvas |= np.asarray(picture)


@dataclass(frozen=True)
class Runs:
    """A mask as run lengths down its columns: outside, inside, outside, … (the order of COCO).

    Attributes:
        size: `(height, width)`; the counts sum to their product.
        counts: pixels of each run.
    """

    size: tuple[int, int]
    counts: tuple[int, ...]

    @property
    def is_empty(self) -> bool:
        """Whether no pixel lies inside."""
        return not any(self.counts[1::2])

    def draw(self, canvas: np.ndarray) -> None:
        """Set the covered pixels of a bool ``[H, W]`` of the mask's own size."""
        inside = np.arange(len(self.counts)) % 2 == 1
        canvas |= np.repeat(inside, self.counts).reshape(self.size[::-1]).T


Shape = Box | Polygon | Runs


def runs_of(mask: np.ndarray) -> Runs:
    """The run lengths of a bool mask ``[H, W]``."""
    line = np.asarray(mask, bool).T.ravel()
    edges = np.flatnonzero(np.diff(line, prepend=False)).tolist()
    counts = np.diff([0, *edges, line.size])
    return Runs(tuple(mask.shape), tuple(int(count) for count in counts))


@dataclass(frozen=True)
class Region:
    """Where one annotator saw one finding on one film.

    Attributes:
        image: the film as the annotations name it; see `match.matched_films`.
        finding: canonical name; see `names.canonical_finding`.
        annotator: who marked it, empty where not said.
        size: `(height, width)` in pixels of the picture that the marks are in; None where nothing says it.
        shapes: the marks; none means that the film was read and nothing was marked.
    """

    image: str
    finding: str
    annotator: str
    size: tuple[int, int] | None
    shapes: tuple[Shape, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the film was read and nothing was marked."""
        return all(isinstance(shape, Runs) and shape.is_empty for shape in self.shapes)

    def mask(self) -> np.ndarray:
        """The union of the marks, bool ``[H, W]`` at `size`; what lies outside the picture is cut off.

        Raises:
            DataError: the size is unknown.
        """
        if self.size is None:
            raise DataError(
                f"the marks of '{self.finding}' on '{self.image}' are in pixels of a picture of unknown size. "
                "Expected its height and width; state it with --box-size."
            )
        canvas = np.zeros(self.size, dtype=bool)
        for shape in self.shapes:
            shape.draw(canvas)
        return canvas


@dataclass(frozen=True)
class Annotations:
    """Everything that one source marks.

    Attributes:
        regions: one per film, finding and annotator, in the order of the source.
        notices: what the user should know about how they were read, a sentence each.
        source: the file or folder they were read from.
        sha256: of the file, or of all files that were read, as 64 hex digits.
    """

    regions: tuple[Region, ...]
    notices: tuple[str, ...]
    source: str
    sha256: str

    def __len__(self) -> int:
        return len(self.regions)

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The films as the source names them, each once, in its order."""
        return tuple(dict.fromkeys(region.image for region in self.regions))

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """The findings, sorted."""
        return tuple(sorted({region.finding for region in self.regions}))

    @cached_property
    def annotators(self) -> tuple[str, ...]:
        """Who marked, sorted; an empty name where the source does not say."""
        return tuple(sorted({region.annotator for region in self.regions}))
