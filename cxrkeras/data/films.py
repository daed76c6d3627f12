"""Films by number: decoded when first asked for, and kept in memory where they fit.

Knows no labels and no TensorFlow. Grey stays one channel here; the pipeline repeats it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from cxrkeras.data.images import Resize, check_pixel_options, decode_film, resize_film
from cxrkeras.errors import UsageError

MEMORY_BUDGET = 2 * 1024**3
_THREADS = min(8, os.cpu_count() or 1)


class Alteration(Protocol):
    """Something that is done to a film between its decoding and its last resize.

    Attributes:
        key: stands for everything that decides the altered pixels, beside the film's own.
        at: size in pixels (height, width) at which it acts; None: the film's own.
    """

    @property
    def key(self) -> str: ...

    @property
    def at(self) -> tuple[int, int] | None: ...

    def __call__(self, film: np.ndarray, name: str) -> np.ndarray:
        """The altered film, a new float32 ``[h, w]`` in 0..255; `name` is the SHA-256 of its file."""
        ...


class FilmStore:
    """Decoded films of one size.

    Args:
        files: one file per film; a film's number is its place in this list.
        size: `(height, width)` in pixels.
        resize: `squash` or `pad`, see `decode_film`.
        bits: used bits of 16-bit files, see `decode_film`.
        memory_budget: bytes. If all films fit they are kept after their first decoding, else none is.
        alterations: what is done to each film, None for nothing; None: nothing to any.
        names: SHA-256 of each file, which alterations are told.

    Raises:
        UsageError: an unknown `resize`, impossible `bits` or `size`, or alterations that do not match the films.
    """

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]],
        size: tuple[int, int],
        *,
        resize: Resize = "squash",
        bits: int | None = None,
        memory_budget: int = MEMORY_BUDGET,
        alterations: Sequence[Alteration | None] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        check_pixel_options(resize, bits)
        if len(size) != 2 or min(size) < 1:
            raise UsageError(
                f"a film size is (height, width) in pixels. Expected two positive counts, received {size}."
            )
        self.files = tuple(Path(file) for file in files)
        self.size = (int(size[0]), int(size[1]))
        self.resize: Resize = resize
        self.bits = bits
        self.alterations = tuple(alterations) if alterations is not None and any(alterations) else None
        self._names = tuple(map(str, names or ()))
        if self.alterations and not len(self.alterations) == len(self._names) == len(self.files):
            raise UsageError(
                "altered films need an alteration or None, and the name of its file, for each. Received "
                f"{len(self.files)} films, {len(self.alterations)} alterations and {len(self._names)} names."
            )
        shape = (len(self.files), *self.size)
        fits = 4 * int(np.prod(shape, dtype=np.int64)) <= memory_budget
        # Untouched pages of an empty array cost nothing, so a store may cover more films than are ever asked for.
        self._kept = np.empty(shape, dtype=np.float32) if fits else None
        self._decoded = np.zeros(len(self.files), dtype=bool)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def keeps(self) -> bool:
        """Whether films stay in memory after their first decoding."""
        return self._kept is not None

    def get(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return films by number.

        Args:
            indices: numbers ``[B]``, repeats allowed.

        Returns:
            float32 ``[B, H, W]`` in 0..255, a copy.

        Raises:
            FilmError: a film cannot be read.
        """
        wanted = self._checked(indices)
        if self._kept is not None:
            self.preload(wanted)
            return self._kept[wanted]
        numbers, places = np.unique(wanted, return_inverse=True)
        films = np.empty((len(numbers), *self.size), dtype=np.float32)
        self._decode(numbers, films)
        self._decoded[numbers] = True
        return films[places]

    def preload(self, indices: Sequence[int] | np.ndarray) -> None:
        """Decode every film that was not decoded before, and keep it if the store keeps films.

        A store that keeps none decodes them here too, once: a broken film is then named before hours of work.

        Raises:
            FilmError: a film cannot be read.
        """
        wanted = np.unique(self._checked(indices))
        missing = wanted[~self._decoded[wanted]]
        self._decode(missing, None)
        self._decoded[missing] = True

    def _checked(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        numbers = np.asarray(indices, dtype=np.intp)
        if numbers.size and (numbers.min() < 0 or numbers.max() >= len(self)):
            raise UsageError(
                f"film numbers must lie in 0..{len(self) - 1}. Received {numbers.min()}..{numbers.max()}; "
                "a batch marks padding with −1, which is no film."
            )
        return numbers

    def _film(self, number: int) -> np.ndarray:
        alteration = self.alterations[number] if self.alterations else None
        if alteration is None:
            return decode_film(self.files[number], self.size, self.resize, self.bits)
        film = decode_film(self.files[number], alteration.at, self.resize, self.bits)
        return resize_film(alteration(film, self._names[number]), self.size, self.resize)

    def _decode(self, numbers: np.ndarray, films: np.ndarray | None) -> None:
        """Decode into `films` ``[len(numbers), H, W]``, or into the kept films where there are any."""

        def decode(place: int) -> None:
            film = self._film(numbers[place])
            if films is not None:
                films[place] = film
            elif self._kept is not None:
                self._kept[numbers[place]] = film

        if len(numbers) < 2:
            for place in range(len(numbers)):
                decode(place)
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            try:
                list(pool.map(decode, range(len(numbers))))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
