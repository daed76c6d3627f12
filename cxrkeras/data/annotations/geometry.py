"""Where a film lies in what the model sees: the inverse of `data.images`' resize.

Numbers only; opens no film.
"""

from __future__ import annotations

from cxrkeras.data.images import Resize, check_pixel_options, padded_box

Fractions = tuple[float, float, float, float]


def film_region(film_size: tuple[int, int], resize: Resize, input_size: tuple[int, int]) -> Fractions | None:
    """Which part of the model's input the film fills, for `maps.resize`.

    Args:
        film_size: `(height, width)` of the film in pixels.
        resize: `squash` fills the input; `pad` keeps the aspect ratio and adds black borders.
        input_size: `(height, width)` of the input in pixels.

    Returns:
        `(top, left, bottom, right)` as fractions of the input; None where the film fills all of it.

    Raises:
        UsageError: an unknown `resize`.

    Example:
        >>> film_region((100, 200), "pad", (224, 224))
        (0.25, 0.0, 0.75, 1.0)
    """
    check_pixel_options(resize, None)
    if resize == "squash":
        return None
    top, left, height, width = padded_box(film_size, input_size)
    if (height, width) == tuple(input_size):
        return None
    down, across = input_size
    return top / down, left / across, (top + height) / down, (left + width) / across
