"""One film file to grey levels: every pixel kind that chest films come in, on one scale.

Pillow and NumPy only; knows no labels, no batches and no TensorFlow. Nothing is rounded after decoding, so a
16-bit film keeps its depth through the resize.
"""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from cxrkeras.errors import FilmError, UsageError, unknown

Resize = Literal["squash", "pad"]
# Raise it when the same file and options would decode to other pixels: caches and map keys hold it.
PIXELS_VERSION = 1
RESIZES = ("squash", "pad")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp")
# EXIF's tag of the orientation, and its values for a picture that lies on its side
_ORIENTATION, _LYING = 0x0112, (5, 6, 7, 8)
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_SIXTEEN_BIT_RAW = ("LA;16B", "RGB;16B", "RGBA;16B")


def decode_film(
    path: str | os.PathLike[str],
    size: tuple[int, int] | None = None,
    resize: Resize = "squash",
    bits: int | None = None,
) -> np.ndarray:
    """Read one film as grey levels on the 8-bit scale, upright, without rounding.

    Colour becomes luma (ITU-R BT.601), transparency is laid over black, EXIF orientation is applied.

    Args:
        path: a JPEG, PNG or other raster file with one image in it.
        size: `(height, width)` in pixels; None keeps the film's own.
        resize: `squash` fills `size` and ignores the aspect ratio; `pad` keeps it and adds black borders.
            Bilinear, antialiased.
        bits: how many bits of a 16-bit file are in use: values are divided by (2^bits − 1)/255, None means 16
            (/ 257). 8-bit files ignore it.

    Returns:
        float32 ``[height, width]`` in 0..255.

    Raises:
        FilmError: the file is missing, truncated, not an image, holds several, or exceeds `bits`.
        UsageError: an unknown `resize`, or `bits` outside 8..16.
    """
    check_pixel_options(resize, bits)
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise FilmError(f"film {path} holds {image.n_frames} images. Expected one; save the wanted one alone.")
            _refuse_lost_bits(image, path, bits)
            image.load()
            grey = _grey(ImageOps.exif_transpose(image), path, bits or 16)
    except FilmError:
        raise
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more for broken bytes.
        raise FilmError(
            f"film {path} cannot be read ({_reason(error)}). Expected a whole JPEG or PNG file; "
            "restore it or take it out. `cxrkeras data check` lists every such film."
        ) from error
    return resize_film(grey, size, resize) if size else grey


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """``(height, width)`` of a picture in pixels, upright, from its header.

    Raises:
        FilmError: the file is missing or not an image.
    """
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            lying = picture.getexif().get(_ORIENTATION) in _LYING
    except Exception as error:
        raise FilmError(
            f"picture {path} cannot be read ({_reason(error)}), so its size is unknown. Expected a whole JPEG or PNG "
            "file; restore it or take it out."
        ) from error
    return (width, height) if lying else (height, width)


def check_pixel_options(resize: str, bits: int | None) -> None:
    """Fail on options that no film can be read with.

    Raises:
        UsageError: an unknown `resize`, or `bits` outside 8..16.
    """
    if resize not in RESIZES:
        raise unknown("resize", resize, RESIZES)
    if bits is not None and not 8 <= bits <= 16:
        raise UsageError(
            f"bits says how many bits of a 16-bit film are in use. Expected 8 to 16, received {bits}; "
            "leave it out for films that use all 16."
        )


def _grey(image: Image.Image, path: str | os.PathLike[str], bits: int) -> np.ndarray:
    if image.mode in _DEEP_MODES:
        return _from_deep(np.asarray(image), path, bits)
    if image.mode == "F":
        raise FilmError(
            f"film {path} holds floating-point pixels, whose range is unknown. Expected 8- or 16-bit pixels; "
            "save it as a 16-bit PNG."
        )
    if image.has_transparency_data:
        pixels = np.asarray(image.convert("RGBA"), dtype=np.float32)
        return _luma(pixels) * (pixels[..., 3] / 255)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"), dtype=np.float32)
    return _luma(np.asarray(image.convert("RGB"), dtype=np.float32))


def _from_deep(values: np.ndarray, path: str | os.PathLike[str], bits: int) -> np.ndarray:
    most = 2**bits - 1
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > most:
        raise FilmError(
            f"film {path} has values {low}..{high}. Expected 0..{most} for {bits} bits; "
            + ("name the true depth with --bits." if low >= 0 and high <= 65535 else "save it as a 16-bit PNG.")
        )
    return (values * (255 / most)).astype(np.float32)


def _luma(pixels: np.ndarray) -> np.ndarray:
    """BT.601 luma of ``[h, w, 3 or 4]``, written so that equal channels give exactly their value."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return green + np.float32(0.299) * (red - green) + np.float32(0.114) * (blue - green)


def resize_film(grey: np.ndarray, size: tuple[int, int], resize: Resize = "squash") -> np.ndarray:
    """Bring a film to a size, bilinear and antialiased; one that has it already is returned as it is.

    Args:
        grey: float32 ``[h, w]``.
        size: `(height, width)` in pixels.
        resize: `squash` or `pad`, see `decode_film`.
    """
    height, width = size
    if resize == "squash":
        return _bilinear(grey, height, width)
    top, left, inner_height, inner_width = padded_box(grey.shape, size)
    padded = np.zeros(size, dtype=np.float32)
    padded[top : top + inner_height, left : left + inner_width] = _bilinear(grey, inner_height, inner_width)
    return padded


def padded_box(film_size: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where `pad` puts a film: ``(top, left, height, width)`` in pixels of the padded picture.

    Args:
        film_size: `(height, width)` of the film in pixels.
        size: `(height, width)` of the padded picture in pixels.
    """
    scale = min(wanted / own for wanted, own in zip(size, film_size, strict=True))
    height, width = (max(1, min(side, round(own * scale))) for side, own in zip(size, film_size, strict=True))
    return (size[0] - height) // 2, (size[1] - width) // 2, height, width


def _bilinear(grey: np.ndarray, height: int, width: int) -> np.ndarray:
    if grey.shape == (height, width):
        return grey
    return np.array(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def _refuse_lost_bits(image: Image.Image, path: str | os.PathLike[str], bits: int | None) -> None:
    """Pillow keeps only the high byte of 16-bit colour, which is almost nothing of a film of fewer bits."""
    raw = image.tile[0].args if image.tile else None
    if bits not in (None, 16) and (raw if isinstance(raw, str) else "") in _SIXTEEN_BIT_RAW:
        raise FilmError(
            f"film {path} stores {bits} bits in 16-bit colour, of which only the high byte can be read. "
            "Expected one grey channel; save it as a 16-bit grey PNG."
        )


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "not an image that Pillow knows" if "cannot identify image file" in text else " ".join(text.split())
