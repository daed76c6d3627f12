"""CheXlocalize's outlines: JSON with the polygons that radiologists drew.

Knows how the file is laid out; what a polygon covers is said in `regions`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveInt, TypeAdapter

from cxrkeras.data.annotations.layout import checked_layout
from cxrkeras.data.annotations.marks import Mark, Reading
from cxrkeras.data.annotations.regions import Polygon


class _Outlines(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, list[list[tuple[FiniteFloat, FiniteFloat]]]] = Field(init=False)

    img_size: tuple[PositiveInt, PositiveInt]


_Drawn = TypeAdapter(dict[str, _Outlines])


def read_outlines(values: Any, file: Path) -> Reading:
    """Read `{image: {"img_size": [h, w], finding: [[[x, y], …], …]}}`; a finding may have several outlines.

    Raises:
        DataError: another layout, or single points instead of outlines.
    """
    marks, sizes = [], {}
    for image, drawn in checked_layout(_Drawn, values, file).items():
        sizes[image] = drawn.img_size
        for finding, outlines in (drawn.__pydantic_extra__ or {}).items():
            where = f"{file.name}, '{finding}' of '{image}'"
            shapes = [Polygon(tuple(points)) for points in outlines] or [None]
            marks += [Mark(image, finding, "", shape, where) for shape in shapes]
    return Reading(tuple(marks), sizes, "img_size")
