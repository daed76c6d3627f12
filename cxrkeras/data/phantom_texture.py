"""Textures that are fixed to the phantom's body: smooth noise and the tree of lung vessels.

A texture is a square grid over body coordinates −1.3..1.3. Knows no anatomy beyond where the hila are.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

TEXTURE_SIDE = 160
_TEXTURE_REACH = 1.3


def smooth_noise(rng: np.random.Generator, side: int, wavelength: float) -> np.ndarray:
    """Gaussian noise of unit deviation, smooth at `wavelength` grid cells, ``[side, side]``."""
    noise = ndimage.gaussian_filter(rng.standard_normal((side, side)), wavelength / 4, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def sample(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Read a texture that is fixed to the body at body coordinates, bilinearly; the shape is that of `x`."""
    cells = (texture.shape[0] - 1) / (2 * _TEXTURE_REACH)
    return ndimage.map_coordinates(
        texture, [(y + _TEXTURE_REACH) * cells, (x + _TEXTURE_REACH) * cells], order=1, mode="nearest"
    )


def vessel_tree(rng: np.random.Generator) -> np.ndarray:
    """Lung vessels that branch and fade from both hila, about 0..1, ``[TEXTURE_SIDE, TEXTURE_SIDE]``."""
    tree = np.zeros((TEXTURE_SIDE, TEXTURE_SIDE))
    cells = (TEXTURE_SIDE - 1) / (2 * _TEXTURE_REACH)
    for sign in (-1, 1):
        hilum = np.array([sign * rng.uniform(0.19, 0.25), rng.uniform(-0.10, 0.02)])
        for angle in np.linspace(-1.35, 1.35, 9) + rng.normal(0, 0.12, 9):
            _grow(tree, rng, hilum, angle, sign, rng.uniform(0.35, 0.55), 1.0, cells)
        grid_y, grid_x = np.mgrid[: tree.shape[0], : tree.shape[1]] / cells - _TEXTURE_REACH
        away = ((grid_x - hilum[0]) / 0.09) ** 2 + ((grid_y - hilum[1]) / 0.14) ** 2
        tree += 0.5 * np.exp(-away)
    return ndimage.gaussian_filter(tree, 0.6)


def _grow(
    tree: np.ndarray,
    rng: np.random.Generator,
    start: np.ndarray,
    angle: float,
    sign: int,
    length: float,
    width: float,
    cells: float,
) -> None:
    steps = max(2, int(length * cells * 1.5))
    bend = angle + np.cumsum(rng.normal(0, 0.05, steps))
    path = start + np.cumsum(np.stack([sign * np.cos(bend), np.sin(bend)], axis=1), axis=0) * length / steps
    column, row = np.round((path + _TEXTURE_REACH) * cells).astype(int).T
    keep = (column >= 0) & (column < tree.shape[1]) & (row >= 0) & (row < tree.shape[0])
    fade = width * np.linspace(1, 0.25, steps)
    np.maximum.at(tree, (row[keep], column[keep]), fade[keep])
    if width > 0.5:
        for share in (0.35, 0.65):
            twig = angle + rng.choice([-1, 1]) * rng.uniform(0.3, 0.8)
            _grow(tree, rng, path[int(share * steps)], twig, sign, 0.5 * length, 0.6 * width * (1 - share / 2), cells)
