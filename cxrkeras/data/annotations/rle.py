"""COCO's run lengths: the compressed text that CheXlocalize and COCO files hold, read without pycocotools.

Knows the code only; which finding a mask belongs to is the reader's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from cxrkeras.data.annotations.regions import Runs
from cxrkeras.errors import DataError

_OFFSET, _BITS, _MORE, _SIGN = 48, 5, 0x20, 0x10


def decoded_counts(text: str) -> list[int]:
    """The run lengths of a compressed COCO string.

    Each character holds five bits above `'0'`, lowest group first; the sixth bit says that another follows, the fifth
    of the last one is the sign. From the fourth run on, what is stored is the difference to the run two before.

    Raises:
        ValueError: a character outside the code, or an unfinished number.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - _OFFSET
        if not 0 <= bits < 2 * _MORE:
            raise ValueError(f"character {character!r}")
        value |= (bits & (_MORE - 1)) << shift
        shift += _BITS
        if bits & _MORE:
            continue
        if bits & _SIGN:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("it ends within a number")
    return counts


def runs(size: tuple[int, int], counts: str | Sequence[int], where: str) -> Runs:
    """A mask from COCO's `size` and `counts`, compressed or plain.

    Args:
        size: `(height, width)` in pixels.
        counts: run lengths down the columns, or their compressed text.
        where: for messages.

    Raises:
        DataError: broken text, a negative run, or runs that do not fill the size.
    """
    try:
        lengths = decoded_counts(counts) if isinstance(counts, str) else list(counts)
    except ValueError as error:
        raise DataError(
            f"{where}: the run lengths cannot be read ({error}). Expected COCO's compressed text; restore the file."
        ) from None
    height, width = size
    if min(lengths, default=0) < 0 or sum(lengths) != height * width:
        raise DataError(
            f"{where}: the run lengths fill {sum(lengths)} pixels. Expected {height * width} for size [{height}, "
            f"{width}] (height, width); the mask belongs to a picture of another size."
        )
    return Runs((height, width), tuple(lengths))
