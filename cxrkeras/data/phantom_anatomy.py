"""The healthy part of a phantom film: one patient's anatomy, one exposure's pose, and the attenuation they cast.

Coordinates are the body's: x and y run −1..1 over a film taken in the reference pose, x grows to the right of the
image (the patient's left), y downwards; `X` is the distance from the midline on either side. Attenuation is in
arbitrary units, about 1 for the abdomen. Knows no lesions, labels, files or shortcuts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cxrkeras.data.phantom_texture import TEXTURE_SIDE, sample, smooth_noise, vessel_tree

# How far apart films of one class are: wide enough that the grey level of a place says little about the label.
POSE_ROTATION = 7.0  # degrees, either way
POSE_SHIFT = 0.10  # half film widths, either way
POSE_SCALE = (0.88, 1.08)
_SOFT_EDGE = 0.014
_HAZE_SIDE = 40
# Uneven aeration of any film, in attenuation: as large as a lobe's mean density, so that it hides it from a linear eye.
HAZE_DENSITY = 0.07


@dataclass(frozen=True)
class Anatomy:
    """What all films of one patient share; lengths in half film widths."""

    sex: str
    chest: float
    apex: float
    apex_x: float
    widest: float
    dome: float
    dome_lift: float
    dome_drop: float
    mediastinum: float
    heart: tuple[float, float, float, float, float]
    knob: float
    spine: float
    scoliosis: float
    rib_spacing: float
    rib_phase: float
    rib_slope: float
    rib_density: float
    clavicle: float
    clavicle_tilt: float
    shoulder: float
    thickness: float
    breast: tuple[float, float, float]
    gas: float
    tissue: np.ndarray
    vessels: np.ndarray


@dataclass(frozen=True)
class Pose:
    """What differs between two films of one patient: position, breath, exposure."""

    rotation: float
    shift: tuple[float, float]
    scale: float
    breath: float
    aeration: float
    haze: np.ndarray
    gain: float
    gamma: float
    bias: float
    tilt: tuple[float, float]
    noise: float


@dataclass(frozen=True)
class Chest:
    """One film before its lesion and its exposure.

    Attributes:
        x: body coordinate of each pixel, ``[size, size]``.
        y: the same, downwards.
        attenuation: what the healthy chest takes out of the beam, ``[size, size]``.
        air: share of the beam path that is lung, 0..1, ``[size, size]``.
        sides: aerated lung that nothing hides: 1 in the image's left lung, 2 in its right, else 0, ``[size, size]``.
    """

    x: np.ndarray
    y: np.ndarray
    attenuation: np.ndarray
    air: np.ndarray
    sides: np.ndarray


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw one patient."""
    chest = rng.uniform(0.68, 0.80)
    return Anatomy(
        sex=str(rng.choice(["F", "M"])),
        chest=chest,
        apex=rng.uniform(-0.80, -0.70),
        apex_x=rng.uniform(0.30, 0.36),
        widest=rng.uniform(0.15, 0.40),
        dome=rng.uniform(0.34, 0.52),
        dome_lift=rng.uniform(0.0, 0.07),
        dome_drop=rng.uniform(0.16, 0.28),
        mediastinum=rng.uniform(0.12, 0.18),
        heart=(
            rng.uniform(0.10, 0.17),
            rng.uniform(0.22, 0.34),
            rng.uniform(0.34, 0.47),
            rng.uniform(0.25, 0.32),
            rng.uniform(0.45, 0.85),
        ),
        knob=rng.uniform(0.02, 0.06),
        spine=rng.uniform(0.075, 0.10),
        scoliosis=rng.normal(0, 0.02),
        rib_spacing=rng.uniform(0.135, 0.175),
        rib_phase=rng.uniform(0, 1),
        rib_slope=rng.uniform(0.15, 0.40),
        rib_density=rng.uniform(0.08, 0.14),
        clavicle=rng.uniform(-0.70, -0.60),
        clavicle_tilt=rng.uniform(0.0, 0.22),
        shoulder=rng.uniform(-0.97, -0.82),
        thickness=rng.uniform(0.85, 1.10),
        breast=(rng.uniform(0.10, 0.22), rng.uniform(0.38, 0.48), rng.uniform(0.22, 0.32)),
        gas=rng.uniform(-0.10, 0.12),
        tissue=smooth_noise(rng, TEXTURE_SIDE, 14.0),
        vessels=vessel_tree(rng),
    )


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw one exposure."""
    return Pose(
        rotation=np.deg2rad(rng.uniform(-POSE_ROTATION, POSE_ROTATION)),
        shift=(rng.uniform(-POSE_SHIFT, POSE_SHIFT), rng.uniform(-POSE_SHIFT, POSE_SHIFT)),
        scale=rng.uniform(*POSE_SCALE),
        breath=rng.uniform(-0.05, 0.05),
        aeration=rng.uniform(0.34, 0.62),
        haze=smooth_noise(rng, _HAZE_SIDE, 16.0),
        gain=rng.uniform(0.72, 0.98),
        gamma=rng.uniform(0.85, 1.45),
        bias=rng.uniform(-0.04, 0.12),
        tilt=(rng.normal(0, 0.05), rng.normal(0, 0.05)),
        noise=rng.uniform(0.010, 0.022),
    )


def cast_chest(anatomy: Anatomy, pose: Pose, size: int) -> Chest:
    """Compute the healthy chest of one film.

    Args:
        anatomy: the patient.
        pose: the exposure.
        size: side of the square film in pixels.
    """
    x, y = body_coordinates(pose, size)
    X = np.abs(x)
    inner, outer, bottom = _lung_borders(anatomy, pose, x, y, X)
    above = bottom - y
    lung = _inside(np.minimum(outer - X, X - inner)) * _inside(above)
    body = _body(anatomy, x, y, X)
    heart, mediastinum = _heart(anatomy, pose, x, y), _mediastinum(anatomy, x, y)
    spine = _spine(anatomy, x, y)
    hidden = np.maximum(heart, mediastinum)
    air = lung * (1 - hidden)
    depth = pose.aeration * (0.75 + 0.25 * np.clip(np.minimum(outer - X, X - inner) / 0.2, 0, 1))
    cage = _inside(outer + 0.05 - X, 0.02) * body

    attenuation = anatomy.thickness * body * (0.66 + 0.04 * sample(anatomy.tissue, x, y))
    attenuation -= depth * air * (1 - 0.10 * sample(anatomy.tissue, y, x))
    attenuation += body * (0.24 * _inside(-above, 0.02) * _inside(outer + 0.02 - X, 0.05))
    attenuation += 0.17 * heart + 0.07 * mediastinum * body + 0.11 * spine * body
    attenuation += air * (0.11 * sample(anatomy.vessels, x, y) + HAZE_DENSITY * sample(pose.haze, x, y))
    attenuation += anatomy.rib_density * _ribs(anatomy, x, y, X) * cage
    attenuation += 0.11 * _clavicles(anatomy, y, X) * body
    attenuation += 0.07 * np.exp(-(((X - outer) / 0.018) ** 2)) * body * _inside(0.75 - y, 0.1)
    attenuation -= 0.13 * np.exp(-((x / 0.035) ** 2)) * _inside(-0.42 - y, 0.05) * body
    if anatomy.gas > 0:
        attenuation -= 0.16 * _inside(anatomy.gas - np.hypot(x - 0.38, (y - anatomy.dome - 0.17) * 1.4), 0.02)
    if anatomy.sex == "F":
        attenuation += _breasts(anatomy, y, X) * body
    sides = np.where(air > 0.5, np.where(x < 0, 1, 2), 0)
    return Chest(x, y, np.maximum(attenuation, 0), air, sides)


def expose(attenuation: np.ndarray, pose: Pose, rng: np.random.Generator) -> np.ndarray:
    """Turn attenuation into grey levels: scatter, the film's curve, uneven beam, quantum noise.

    Args:
        attenuation: ``[size, size]``, lesion included.
        pose: the exposure.
        rng: draws the noise.

    Returns:
        Grey levels 0..255 as float64 ``[size, size]``, dense parts bright.
    """
    size = attenuation.shape[0]
    along = np.linspace(-1, 1, size)
    beam = 1 + pose.tilt[0] * along[None, :] + pose.tilt[1] * along[:, None]
    blurred = 0.9 * ndimage.gaussian_filter(attenuation, 0.003 * size)
    blurred += 0.1 * ndimage.gaussian_filter(attenuation, 0.08 * size)
    grey = pose.bias + pose.gain * np.clip(blurred * beam, 0, None) ** pose.gamma
    grain = ndimage.gaussian_filter(rng.standard_normal((size, size)), 0.5)
    grey = grey + pose.noise * grain * np.sqrt(0.4 + np.clip(grey, 0, 1))
    return 255 * np.clip(grey, 0, 1)


def body_coordinates(pose: Pose, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Body coordinates x and y of every pixel centre, each ``[size, size]``."""
    along = (np.arange(size) + 0.5) * 2 / size - 1
    u, v = np.meshgrid(along - pose.shift[0], along - pose.shift[1])
    cos, sin = np.cos(pose.rotation) / pose.scale, np.sin(pose.rotation) / pose.scale
    return cos * u + sin * v, cos * v - sin * u


def lung_point(anatomy: Anatomy, pose: Pose, side: int, across: float, down: float) -> tuple[float, float]:
    """Body coordinates of a place in a lung, so that a lesion keeps its place from film to film.

    Args:
        anatomy: the patient.
        pose: the exposure, whose breath moves the diaphragm.
        side: 1 for the image's left lung, 2 for its right.
        across: 0 at the mediastinum .. 1 at the ribs.
        down: 0 at the apex .. 1 at the diaphragm.
    """
    sign = -1.0 if side == 1 else 1.0
    y = anatomy.apex + down * (anatomy.dome + pose.breath - anatomy.apex)
    row = np.full((1,), y)
    inner, outer, _ = _lung_borders(anatomy, pose, np.full((1,), sign * 0.4), row, np.full((1,), 0.4))
    return sign * float(inner[0] + across * (outer[0] - inner[0])), float(y)


def _inside(distance: np.ndarray, edge: float = _SOFT_EDGE) -> np.ndarray:
    return 0.5 * (1 + np.tanh(distance / (2 * edge)))


def _lung_borders(
    anatomy: Anatomy, pose: Pose, x: np.ndarray, y: np.ndarray, X: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    up = np.clip((anatomy.widest - y) / (anatomy.widest - anatomy.apex), 0, 1)
    outer = anatomy.apex_x + (anatomy.chest - anatomy.apex_x) * (1 - up**2.4) ** (1 / 2.0)
    inner = anatomy.apex_x - (anatomy.apex_x - 0.06) * (1 - up**4) ** (1 / 3)
    inner = np.maximum(inner, 0.04)
    dome = anatomy.dome + pose.breath + anatomy.dome_lift * 0.5 * (1 + np.tanh(x / 0.1))
    reach = (X - 0.36) / (anatomy.chest - 0.36)
    bottom = dome + anatomy.dome_drop * np.where(reach > 0, reach**2, 0.25 * reach**2)
    return inner, outer, bottom


def _body(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, X: np.ndarray) -> np.ndarray:
    flank = anatomy.chest + 0.10 + 0.42 / (1 + np.exp((y + 0.55) / 0.07))
    shoulder = anatomy.shoulder + 0.30 * np.clip(X - 0.22, 0, None) ** 1.5
    torso = _inside(np.minimum(flank - X, y - shoulder), 0.02)
    neck = _inside(0.26 - X, 0.02) * _inside(-0.5 - y, 0.05)
    round_off = np.sqrt(np.clip(1 - (X / (flank + 0.03)) ** 4, 0.12, 1))
    return np.maximum(torso * round_off, 0.9 * neck)


def _heart(anatomy: Anatomy, pose: Pose, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    centre_x, centre_y, half_w, half_h, tilt = anatomy.heart
    u, v = x - centre_x, y - centre_y - pose.breath
    along, across = u * np.cos(tilt) + v * np.sin(tilt), v * np.cos(tilt) - u * np.sin(tilt)
    radius = np.sqrt((along / half_w) ** 2 + (across / half_h) ** 2 + 1e-12)
    return _inside((1 - radius) * min(half_w, half_h))


def _mediastinum(anatomy: Anatomy, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    root = 0.10 / (1 + np.exp(-(y - anatomy.heart[1] + 0.28) / 0.07))
    band = _inside(anatomy.mediastinum + root - np.abs(x - 0.02))
    knob = np.hypot((x - anatomy.mediastinum + 0.02) * 1.5, y + 0.32)
    return np.maximum(band, _inside(anatomy.knob + 0.05 - knob))


def _spine(anatomy: Anatomy, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    column = _inside(anatomy.spine - np.abs(x - anatomy.scoliosis * np.sin(2.5 * y)), 0.012)
    return column * (0.85 + 0.15 * np.cos(2 * np.pi * (y / 0.125 + anatomy.rib_phase)))


def _ribs(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, X: np.ndarray) -> np.ndarray:
    span = X / anatomy.chest
    back = (y - 0.08 * (1 - span) - 0.30 * span**3 + 0.10 * span) / anatomy.rib_spacing
    front = (y - anatomy.rib_slope * (1 - span) + 0.35) / (1.35 * anatomy.rib_spacing)
    ribs = _bands(back + anatomy.rib_phase, 0.21) + 0.40 * _bands(front + anatomy.rib_phase, 0.24) * (span > 0.35)
    return ribs * _inside(y - anatomy.apex - 0.02, 0.02) * _inside(0.80 - y, 0.05) * _inside(X - 0.07, 0.02)


def _bands(phase: np.ndarray, half: float) -> np.ndarray:
    away = np.abs(phase - np.round(phase))
    shaft = _inside(half - away, 0.035)
    cortex = np.exp(-(((away - half + 0.03) / 0.05) ** 2))
    return 0.75 * shaft + 0.45 * cortex


def _clavicles(anatomy: Anatomy, y: np.ndarray, X: np.ndarray) -> np.ndarray:
    centre = anatomy.clavicle - anatomy.clavicle_tilt * X + 0.035 * np.sin(7 * X)
    away = np.abs(y - centre)
    shaft = 0.7 * _inside(0.030 - away, 0.008) + 0.5 * np.exp(-(((away - 0.026) / 0.010) ** 2))
    return shaft * _inside(X - 0.08, 0.015) * _inside(0.80 - X, 0.02)


def _breasts(anatomy: Anatomy, y: np.ndarray, X: np.ndarray) -> np.ndarray:
    low, centre, radius = anatomy.breast
    away = np.hypot((X - centre) * 0.9, y - low)
    rim = np.clip((y - low) / radius, 0, 1)
    return 0.26 * _inside(radius - away, 0.010) * (0.35 + 0.65 * rim)
