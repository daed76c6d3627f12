"""Films and heat as files small enough to travel inside a page.

Arrays in, bytes out. Knows no page.
"""

from __future__ import annotations

import io

import numpy as np
from matplotlib import colormaps
from PIL import Image

from cxrkeras.render.overlay import COLOURS, overlay

QUALITY = 82


def film_jpeg(film: np.ndarray) -> bytes:
    """A grey film ``[H, W]``, 0..255, as JPEG."""
    return _jpeg(Image.fromarray(np.rint(np.clip(film, 0, 255)).astype(np.uint8)))


def overlay_jpeg(film: np.ndarray, heat: np.ndarray) -> bytes:
    """A film ``[H, W]`` under its raw map ``[h, w]`` as JPEG; see `overlay.overlay`."""
    return _jpeg(Image.fromarray(overlay(film, heat)))


def sheet_jpeg(png: bytes, widest: int = 1500) -> bytes:
    """A large PNG as JPEG of at most `widest` pixels across."""
    with Image.open(io.BytesIO(png)) as sheet:
        picture = sheet.convert("RGB")
    if picture.width > widest:
        picture = picture.resize((widest, round(picture.height * widest / picture.width)), Image.Resampling.LANCZOS)
    return _jpeg(picture)


def colour_table() -> bytes:
    """The heat colours as 256 × 3 bytes, from no heat to most."""
    return np.rint(colormaps[COLOURS](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8).tobytes()


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()
