"""JSON annotations with COCO's run lengths: CheXlocalize's segmentations, and COCO's own instances.

Knows how these files are laid out; what a mark covers and what is refused is said elsewhere (see `regions`, `marks`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat, PositiveInt, TypeAdapter

from cxrkeras.data.annotations.layout import checked_layout
from cxrkeras.data.annotations.marks import Mark, Reading, Size, record_size
from cxrkeras.data.annotations.regions import Box, Polygon, Shape
from cxrkeras.data.annotations.rle import runs
from cxrkeras.errors import DataError

_Side = Annotated[FiniteFloat, Field(ge=0)]


class _RunLengths(BaseModel):
    size: tuple[PositiveInt, PositiveInt]
    counts: str | list[int]


class _Picture(BaseModel):
    id: int | str
    file_name: str
    width: PositiveInt
    height: PositiveInt


class _Category(BaseModel):
    id: int | str
    name: str


class _Instance(BaseModel):
    image_id: int | str
    category_id: int | str
    bbox: tuple[FiniteFloat, FiniteFloat, _Side, _Side] | None = None
    segmentation: _RunLengths | list[list[FiniteFloat]] | None = None


class _Instances(BaseModel):
    images: list[_Picture]
    annotations: list[_Instance]
    categories: list[_Category]


_Segmentations = TypeAdapter(dict[str, dict[str, _RunLengths]])


def read_segmentations(values: Any, file: Path) -> Reading:
    """Read CheXlocalize's `{image: {finding: {"size": [h, w], "counts": …}}}`.

    An empty mask says that the film was read and the finding was not there.

    Raises:
        DataError: another layout, broken run lengths, or runs that do not fill their size.
    """
    marks, sizes = [], {}
    for image, masks in checked_layout(_Segmentations, values, file).items():
        for finding, mask in masks.items():
            where = f"{file.name}, '{finding}' of '{image}'"
            record_size(sizes, image, mask.size, where)
            marks.append(Mark(image, finding, "", runs(mask.size, mask.counts, where), where))
    return Reading(tuple(marks), sizes, "the masks themselves")


def read_instances(values: Any, file: Path) -> Reading:
    """Read COCO's `{"images": …, "annotations": …, "categories": …}`; the category is the finding.

    An annotation's segmentation counts where it has one, else its box.

    Raises:
        DataError: another layout, an unknown image or category, or an annotation without a place.
    """
    layout = checked_layout(TypeAdapter(_Instances), values, file)
    pictures = {picture.id: picture for picture in layout.images}
    categories = {category.id: category.name for category in layout.categories}
    marks, sizes = [], {}
    for number, instance in enumerate(layout.annotations):
        where = f"{file.name}, annotation {number}"
        for kind, key, known in (
            ("image", instance.image_id, pictures),
            ("category", instance.category_id, categories),
        ):
            if key not in known:
                raise DataError(
                    f"{where} belongs to {kind} {key!r}, which the file does not list. Expected one of its "
                    f"{len(known)}; restore the file."
                )
        picture = pictures[instance.image_id]
        size = (picture.height, picture.width)
        record_size(sizes, picture.file_name, size, where)
        finding = categories[instance.category_id]
        marks += [Mark(picture.file_name, finding, "", shape, where) for shape in _shapes(instance, size, where)]
    without = len(set(pictures) - {instance.image_id for instance in layout.annotations})
    notices = [f"{without} of {len(pictures)} images of {file.name} have no annotation."] if without else []
    return Reading(tuple(marks), sizes, "the list of images", notices=tuple(notices))


def _shapes(instance: _Instance, size: Size, where: str) -> Iterator[Shape]:
    drawn = instance.segmentation
    if isinstance(drawn, _RunLengths):
        if drawn.size != size:
            raise DataError(
                f"{where} has a mask of {drawn.size[1]}×{drawn.size[0]}. Expected {size[1]}×{size[0]}, the size of its "
                "image; correct one of them."
            )
        yield runs(size, drawn.counts, where)
    elif drawn:
        for flat in drawn:
            if not flat or len(flat) % 2:
                raise DataError(
                    f"{where} has an outline of {len(flat)} numbers. Expected pairs x, y; restore the file."
                )
            yield Polygon(tuple(zip(flat[::2], flat[1::2], strict=True)))
    elif instance.bbox:
        yield Box(*instance.bbox)
    else:
        raise DataError(f"{where} has neither a segmentation nor a bbox. Expected one of them; take it out.")
