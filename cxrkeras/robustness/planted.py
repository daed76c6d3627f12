"""Artefacts that are planted in pixels: a marker, a low-pass filter and the noise of fewer photons.

Each is a pure function of the image and a seed, for any size and pixel type. Constants are those of the study "Source
Matters" (arXiv 2403.04484). Knows no label, no file and no split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import floor
from typing import Any, ClassVar

import numpy as np
from scipy import fft

from cxrkeras.data.glyph import GLYPH_HEIGHT, GLYPH_WIDTH, glyph
from cxrkeras.errors import UsageError
from cxrkeras.robustness.pixels import Range, as_pixels, pixel_range

Seed = int | Sequence[int]
# positions given as decimal fractions of a side must not fall a pixel short
_EPSILON = 1e-9


class _Planted:
    """What planted artefacts have in common.

    `study_side` is the side of the square picture that the study acted on, None for the film's own size; `alters_all`
    says whether films without the artefact are changed too, `random` whether a seed is used.
    """

    kind_name: ClassVar[str]
    planted: ClassVar[bool] = True
    alters_all: ClassVar[bool] = False
    random: ClassVar[bool] = False
    study_side: ClassVar[int | None] = None

    @property
    def name(self) -> str:
        """The artefact, with every parameter that is not the study's."""
        ours, theirs = self.parameters, type(self)().parameters
        changed = [f"{field}={value:g}" for field, value in ours.items() if value != theirs[field]]
        return f"{self.kind_name}:{','.join(changed)}" if changed else self.kind_name

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter by name."""
        return asdict(self)

    def untouched(self, image: np.ndarray, *, value_range: Range | None = None, seed: Seed = 0) -> np.ndarray:
        """The image as films without the artefact are: a copy."""
        pixel_range(image, value_range)
        return image.copy()

    def region(self, shape: tuple[int, int]) -> np.ndarray | None:
        """Where the artefact is, bool ``[h, w]``; None where it covers the film."""
        return None


@dataclass(frozen=True)
class Tag(_Planted):
    """A letter R near the upper left corner, as markers of a side or a device are.

    Attributes:
        x, y: left and top of the letter, as shares of width and height.
        height: of the font, as a share of the image's height; a cell of the 5×7 letter is
            max(1, floor(height·H/7)) pixels.
        value: its grey, 0 black to 1 white of the image's range.

    Example:
        >>> import numpy as np
        >>> int((Tag().touched(np.zeros((224, 224), np.uint8)) > 0).sum())
        72
    """

    x: float = 200 / 1024
    y: float = 200 / 1024
    height: float = 64 / 1024
    value: float = 1.0

    kind_name: ClassVar[str] = "tag"
    level: ClassVar[str] = "environment"
    kind: ClassVar[str] = "external"

    def __post_init__(self) -> None:
        inside = 0 <= self.x < 1 and 0 <= self.y < 1 and 0 < self.height <= 1 and 0 <= self.value <= 1
        if not inside:
            raise UsageError(
                "x, y, height and value of a tag are shares of the image's sides and of white. Expected 0 to 1, "
                f"height above 0; received x={self.x:g}, y={self.y:g}, height={self.height:g}, value={self.value:g}."
            )

    def touched(self, image: np.ndarray, *, value_range: Range | None = None, seed: Seed = 0) -> np.ndarray:
        """The image with the letter; all other pixels keep their bits.

        Args:
            image: ``[h, w]`` or ``[h, w, 1 or 3]``, integers or floats.
            value_range: (black, white), see `pixel_range`.
            seed: unused.

        Returns:
            A new array of the same shape and type.

        Raises:
            UsageError: the letter would reach beyond the image, or an image that `pixel_range` refuses.
        """
        low, high = pixel_range(image, value_range)
        top, left, step = self._place(image.shape[:2])
        white = np.array(low + self.value * (high - low))
        tagged = image.copy()
        letter = tagged[top : top + GLYPH_HEIGHT * step, left : left + GLYPH_WIDTH * step]
        letter[glyph(step)] = as_pixels(white, image, (low, high))
        return tagged

    def region(self, shape: tuple[int, int]) -> np.ndarray:
        """The box around the letter, bool ``[h, w]``."""
        top, left, step = self._place(shape)
        box = np.zeros(shape, bool)
        box[top : top + GLYPH_HEIGHT * step, left : left + GLYPH_WIDTH * step] = True
        return box

    def _place(self, shape: tuple[int, int]) -> tuple[int, int, int]:
        height, width = shape
        step = max(1, floor(self.height * height / GLYPH_HEIGHT + _EPSILON))
        top, left = floor(self.y * height + _EPSILON), floor(self.x * width + _EPSILON)
        if top + GLYPH_HEIGHT * step > height or left + GLYPH_WIDTH * step > width:
            raise UsageError(
                f"the tag of {GLYPH_HEIGHT * step}×{GLYPH_WIDTH * step} pixels at row {top}, column {left} reaches "
                f"beyond the image of {height}×{width}. Expected it inside; use a smaller x, y or height."
            )
        return top, left, step


@dataclass(frozen=True)
class LowPass(_Planted):
    """A hard low-pass filter, as denoising is: frequencies up to a share of Nyquist's stay, in every direction.

    Attributes:
        cutoff: share of the Nyquist frequency, equal in cycles a pixel along both sides.
    """

    cutoff: float = 500 / 1024

    kind_name: ClassVar[str] = "lowpass"
    level: ClassVar[str] = "environment"
    kind: ClassVar[str] = "imaging"
    study_side: ClassVar[int | None] = 1024

    def __post_init__(self) -> None:
        if not 0 < self.cutoff <= 2:
            raise UsageError(
                "a cutoff is a share of the Nyquist frequency. Expected more than 0 and at most 2 (√2 keeps even the "
                f"corners), received {self.cutoff:g}."
            )

    def touched(self, image: np.ndarray, *, value_range: Range | None = None, seed: Seed = 0) -> np.ndarray:
        """The filtered image, clipped to its range; integers are rounded.

        Args:
            image: ``[h, w]`` or ``[h, w, 1 or 3]``, integers or floats.
            value_range: (black, white), see `pixel_range`.
            seed: unused.

        Returns:
            A new array of the same shape and type.

        Raises:
            UsageError: an image that `pixel_range` refuses.
        """
        limits = pixel_range(image, value_range)
        return as_pixels(self.filtered(image), image, limits)

    def filtered(self, image: np.ndarray) -> np.ndarray:
        """The filtered image before clipping and rounding, float32 for float32 images, else float64."""
        single = image.dtype in (np.float16, np.float32)
        values = image.astype(np.float32 if single else np.float64)
        # measured from one of its pixels, a constant image comes back bit for bit
        origin = values[:1, :1]
        height, width = image.shape[:2]
        spectrum = fft.rfft2(values - origin, axes=(0, 1))
        kept = _disk(height, width, self.cutoff)
        spectrum *= kept if image.ndim == 2 else kept[..., None]
        return fft.irfft2(spectrum, s=(height, width), axes=(0, 1), overwrite_x=True) + origin


@dataclass(frozen=True)
class PoissonNoise(_Planted):
    """Photon noise of a CT exposure: `n_base` photons on all images, `n_conf` on those with the artefact.

    A model of CT that acts on grey levels of chest films, whose effect is below one grey level. Both versions of an
    image count the same photons as far as the smaller number goes, so that their difference is the artefact alone.

    Attributes:
        n_base: photons a detector element without the artefact.
        n_conf: photons a detector element with it.
        window: Hounsfield units of black and white.
        mu: attenuation of water and of air, a centimetre.
    """

    n_base: float = 2e7
    n_conf: float = 1.5e7
    window: tuple[float, float] = (-1200.0, 800.0)
    mu: tuple[float, float] = (0.1837, 0.1662)

    kind_name: ClassVar[str] = "noise"
    level: ClassVar[str] = "environment"
    kind: ClassVar[str] = "imaging"
    alters_all: ClassVar[bool] = True
    random: ClassVar[bool] = True
    study_side: ClassVar[int | None] = 512

    def __post_init__(self) -> None:
        if not (0 < self.n_base <= 1e15 and 0 < self.n_conf <= 1e15):
            raise UsageError(
                "n_base and n_conf count photons. Expected more than 0 and at most 1e15, "
                f"received {self.n_base:g} and {self.n_conf:g}."
            )
        if not (self.window[0] < self.window[1] and self.mu[0] > self.mu[1]):
            raise UsageError(
                "window is (black, white) in Hounsfield units and mu (water, air). Expected black below white and "
                f"water above air, received {self.window} and {self.mu}."
            )

    def touched(self, image: np.ndarray, *, value_range: Range | None = None, seed: Seed = 0) -> np.ndarray:
        """The image with the noise of `n_conf` photons.

        Integers get a uniform fraction of a level before and are truncated after, as in the study; floats do not.

        Args:
            image: ``[h, w]`` or ``[h, w, 1]``, or RGB ``[h, w, 3]`` with equal channels; integers or floats.
            value_range: (black, white), see `pixel_range`.
            seed: draws the noise; the same one gives the matching `untouched` image.

        Returns:
            A new array of the same shape and type.

        Raises:
            UsageError: coloured pixels, or an image that `pixel_range` refuses.
        """
        return self._exposed(image, value_range, seed, self.n_conf)

    def untouched(self, image: np.ndarray, *, value_range: Range | None = None, seed: Seed = 0) -> np.ndarray:
        """The image with the noise of `n_base` photons, which films without the artefact have; see `touched`."""
        return self._exposed(image, value_range, seed, self.n_base)

    def _exposed(self, image: np.ndarray, value_range: Range | None, seed: Seed, photons: float) -> np.ndarray:
        low, high = limits = pixel_range(image, value_range)
        grey = _one_channel(image).astype(np.float64)
        rng = np.random.default_rng(seed)
        integer = np.issubdtype(image.dtype, np.integer)
        if integer:
            grey += rng.uniform(size=grey.shape)
        (black, white), (water, air) = self.window, self.mu
        hounsfield = black + (grey - low) / (high - low) * (white - black)
        through = np.exp(-(hounsfield * (water - air) / 1000 + water))
        fewer, more = sorted((self.n_base, self.n_conf))
        counts = rng.poisson(through * fewer)
        if photons > fewer:
            counts = counts + rng.poisson(through * (more - fewer))
        with np.errstate(divide="ignore"):
            attenuation = -np.log(counts / photons)
        hounsfield = (attenuation - water) / (water - air) * 1000
        grey = low + (hounsfield - black) / (white - black) * (high - low)
        return np.broadcast_to(as_pixels(grey, image, limits, truncate=integer), image.shape).copy()


@lru_cache(maxsize=16)
def _disk(height: int, width: int, cutoff: float) -> np.ndarray:
    """Frequencies of a real spectrum that stay, bool ``[height, width // 2 + 1]``."""
    down, across = 2 * fft.fftfreq(height), 2 * fft.rfftfreq(width)
    return np.hypot(down[:, None], across[None, :]) <= cutoff + 1e-9


def _one_channel(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        return image
    if not (image == image[..., :1]).all():
        raise UsageError("photon noise is modelled on grey. Expected one channel or three equal ones, received colour.")
    return image[..., :1]
