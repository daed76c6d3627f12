"""The lesions of the phantom: where each kind lies, how dense it is, and its exact mask.

A lesion belongs to a patient: its place and texture are drawn once and follow the body from film to film.
Knows no files, splits or shortcuts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cxrkeras.data.phantom_anatomy import Anatomy, Chest, Pose, lung_point
from cxrkeras.data.phantom_texture import TEXTURE_SIDE, sample, smooth_noise

# Attenuation a lesion adds at full strength; aerated lung takes 0.34 to 0.62 off the body's.
LOBAR_DENSITY = 0.12  # on average; most of what a lobe shows is its patches
LOBAR_PATCHES = 0.24  # either way of the average, so that a place's mean grey level says little
INTERSTITIAL_DENSITY = 0.17
EFFUSION_DENSITY = 0.42
NODULE_DENSITY = 0.26

LOBAR_SHARE = (0.045, 0.095)  # of the film's area
NODULE_RADIUS = (0.055, 0.085)  # half film widths
EFFUSION_LEVEL = (0.60, 0.85)  # down the lung


@dataclass(frozen=True)
class Lesion:
    """What all films of one patient share of a lesion.

    Attributes:
        kind: class name.
        side: 1 for the image's left lung, 2 for its right.
        across: 0 at the mediastinum .. 1 at the ribs.
        down: 0 at the apex .. 1 at the diaphragm.
        extent: size of the kind's own measure, 0 (smallest) .. 1 (largest).
        strength: factor on the density.
        stretch: ratio of the axes.
        angle: of the long axis, radians.
        shape: slow texture that makes the outline irregular.
        grain: fast texture of the inside.
    """

    kind: str
    side: int
    across: float
    down: float
    extent: float
    strength: float
    stretch: float
    angle: float
    shape: np.ndarray
    grain: np.ndarray


def draw_lesion(kind: str, rng: np.random.Generator) -> Lesion | None:
    """Draw a patient's lesion; None for `normal`."""
    drawn = Lesion(
        kind=kind,
        side=int(rng.integers(1, 3)),
        across=rng.uniform(0.15, 0.85),
        down=rng.uniform(0.15, 0.90),
        extent=rng.uniform(0, 1),
        strength=rng.uniform(0.8, 1.2),
        stretch=rng.uniform(1.0, 1.7),
        angle=rng.uniform(0, np.pi),
        shape=smooth_noise(rng, TEXTURE_SIDE, 40.0),
        grain=smooth_noise(rng, TEXTURE_SIDE, 6.0),
    )
    return None if kind == "normal" else drawn


def cast_lesion(lesion: Lesion | None, chest: Chest, anatomy: Anatomy, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Compute what a lesion adds to one film.

    Args:
        lesion: from `draw_lesion`.
        chest: the healthy film, ``[size, size]``.
        anatomy: the patient.
        pose: the exposure.

    Returns:
        Added attenuation as float64 and the lesion's mask as bool, both ``[size, size]``.
    """
    if lesion is None:
        return np.zeros_like(chest.air), np.zeros(chest.air.shape, bool)
    return _CAST[lesion.kind](lesion, chest, anatomy, pose)


def _lobar(lesion: Lesion, chest: Chest, anatomy: Anatomy, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    away = _distance(lesion, chest, anatomy, pose) * np.exp(0.18 * sample(lesion.shape, chest.x, chest.y))
    lung = chest.sides == lesion.side
    share = LOBAR_SHARE[0] + lesion.extent * (LOBAR_SHARE[1] - LOBAR_SHARE[0])
    wanted = min(round(share * lung.size), int(0.8 * lung.sum()))
    edge = np.sort(away[lung])[max(wanted - 1, 0)] if wanted else 0.0
    mask = lung & (away <= edge)
    inside = 1 / (1 + np.exp((away - edge) / 0.03))
    patches = np.tanh(sample(lesion.grain, chest.x, chest.y))
    density = lesion.strength * (LOBAR_DENSITY + LOBAR_PATCHES * patches)
    return density * inside * chest.air * _on_side(lesion, chest), mask


def _interstitial(lesion: Lesion, chest: Chest, anatomy: Anatomy, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    level = lung_point(anatomy, pose, lesion.side, 0.5, 0.25 + 0.5 * lesion.down)[1]
    spread = 0.30 + 0.25 * lesion.extent
    away = np.abs(chest.y - level) / spread + 0.12 * sample(lesion.shape, chest.x, chest.y)
    inside = 1 / (1 + np.exp((away - 1) / 0.08))
    mask = (chest.sides > 0) & (away <= 1)
    net = np.exp(-((sample(lesion.grain, chest.x, chest.y) / 0.35) ** 2))
    return INTERSTITIAL_DENSITY * lesion.strength * net * inside * chest.air, mask


def _effusion(lesion: Lesion, chest: Chest, anatomy: Anatomy, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    down = EFFUSION_LEVEL[1] - lesion.extent * (EFFUSION_LEVEL[1] - EFFUSION_LEVEL[0])
    level = lung_point(anatomy, pose, lesion.side, 0.5, down)[1]
    width = np.clip(np.abs(chest.x) / anatomy.chest, 0, 1.1)
    below = chest.y - level + 0.22 * (width**3 - 0.35)
    mask = (chest.sides == lesion.side) & (below >= 0)
    inside = 1 / (1 + np.exp(-below / 0.018))
    return EFFUSION_DENSITY * lesion.strength * inside * chest.air * _on_side(lesion, chest), mask


def _nodule(lesion: Lesion, chest: Chest, anatomy: Anatomy, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    radius = NODULE_RADIUS[0] + lesion.extent * (NODULE_RADIUS[1] - NODULE_RADIUS[0])
    lung = chest.sides == lesion.side
    row, column = _nearest_lung_pixel(_distance(lesion, chest, anatomy, pose), lung)
    away = np.hypot(chest.x - chest.x[row, column], chest.y - chest.y[row, column])
    mask = lung & (away <= radius)
    inside = 1 / (1 + np.exp((away - radius) / 0.010))
    return NODULE_DENSITY * lesion.strength * inside * chest.air * _on_side(lesion, chest), mask


def _distance(lesion: Lesion, chest: Chest, anatomy: Anatomy, pose: Pose) -> np.ndarray:
    centre_x, centre_y = lung_point(anatomy, pose, lesion.side, lesion.across, lesion.down)
    u, v = chest.x - centre_x, chest.y - centre_y
    cos, sin = np.cos(lesion.angle), np.sin(lesion.angle)
    axis = np.sqrt(lesion.stretch)
    return np.hypot((cos * u + sin * v) / axis, (cos * v - sin * u) * axis)


def _nearest_lung_pixel(away: np.ndarray, lung: np.ndarray) -> tuple[int, int]:
    """The place nearest the drawn one that lies well inside visible lung: the heart may cover the drawn one."""
    margin = ndimage.binary_erosion(lung, iterations=max(1, lung.shape[0] // 32))
    candidates = margin if margin.any() else lung
    flat = int(np.argmin(np.where(candidates, away, np.inf)))
    return flat // away.shape[1], flat % away.shape[1]


def _on_side(lesion: Lesion, chest: Chest) -> np.ndarray:
    return (chest.x < 0) if lesion.side == 1 else (chest.x >= 0)


_CAST: dict[str, Callable[[Lesion, Chest, Anatomy, Pose], tuple[np.ndarray, np.ndarray]]] = {
    "lobar": _lobar,
    "interstitial": _interstitial,
    "effusion": _effusion,
    "nodule": _nodule,
}
