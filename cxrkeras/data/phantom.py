"""The phantom: a seeded set of procedural frontal chest films with the mask and box of every lesion.

The embedded data set of the first run, the demo and most tests, and the only one whose truth is known exactly.
Everything is a pure function of the options. Imports no TensorFlow; the drawing is in `phantom_anatomy` and
`phantom_lesions`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
from PIL import Image

from cxrkeras.data.glyph import GLYPH_HEIGHT, GLYPH_WIDTH, glyph
from cxrkeras.data.phantom_anatomy import cast_chest, draw_anatomy, draw_pose, expose
from cxrkeras.data.phantom_lesions import cast_lesion, draw_lesion
from cxrkeras.errors import DataError, UsageError, unknown
from cxrkeras.store import atomic_directory, cache_directory, check_writable, key8

CLASSES = ("normal", "lobar", "interstitial", "effusion", "nodule")
SPLITS = ("train", "val", "test")
SHORTCUTS = ("tag", "exposure", "sex")
COLUMNS = ("path", "label", "patient", "split", "sex", "mask", "box_x", "box_y", "box_w", "box_h", "shortcut")

# Part of the cache key: raise it with every change of a pixel.
GENERATOR_VERSION = 3

FILMS_PER_PATIENT = (1, 3)
TAG_CORNER = 0.05  # of the side, from the left and from the top
TAG_HEIGHT = 0.11  # of the side
EXPOSURE_GAMMA = 0.75  # a planted film's grey levels are raised to this power: brighter
MIN_SIZE = 64
_PLAN, _PATIENT, _LESION, _FILM, _SHORTCUT = range(5)


@dataclass(frozen=True)
class PhantomOptions:
    """Everything that decides the bytes of a phantom; see `generate_phantom`."""

    films: int = 400
    classes: int = 2
    seed: int = 0
    size: int = 128
    splits: tuple[float, float, float] = (0.60, 0.15, 0.25)
    shortcut: str | None = None
    shortcut_probability: float = 0.0

    def __post_init__(self) -> None:
        if not 2 <= self.classes <= len(CLASSES):
            raise UsageError(
                f"the phantom has {', '.join(CLASSES)}. Expected classes from 2 to {len(CLASSES)}, "
                f"received {self.classes}; the first ones in this order are used."
            )
        if self.seed < 0:
            raise UsageError(f"a seed counts from 0. Expected 0 or more, received {self.seed}.")
        if self.size < MIN_SIZE:
            raise UsageError(
                f"ribs and small lesions vanish on small films. Expected a size of {MIN_SIZE} px or more, "
                f"received {self.size}; films are resized when they are read."
            )
        if len(self.splits) != len(SPLITS) or min(self.splits) < 0 or abs(sum(self.splits) - 1) > 1e-6:
            raise UsageError(
                f"splits are the shares of {', '.join(SPLITS)}. Expected three numbers from 0 that sum to 1, "
                f"received {tuple(self.splits)}; for example 0.6, 0.15, 0.25."
            )
        if self.shortcut is not None and self.shortcut not in SHORTCUTS:
            raise unknown("shortcut", self.shortcut, SHORTCUTS)
        if not 0 <= self.shortcut_probability <= 1:
            raise UsageError(
                "shortcut_probability is the share of positive films. Expected 0 to 1, "
                f"received {self.shortcut_probability}."
            )
        if self.shortcut is None and self.shortcut_probability > 0:
            raise UsageError(
                f"shortcut_probability {self.shortcut_probability} without a shortcut plants nothing. "
                f"Expected shortcut to be one of: {', '.join(SHORTCUTS)}."
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in use, `normal` first."""
        return CLASSES[: self.classes]


@dataclass(frozen=True)
class _Film:
    patient: int
    number: int
    label: str
    split: str

    @property
    def name(self) -> str:
        return f"p{self.patient:04d}_{self.number}.png"


def generate_phantom(
    out: str | os.PathLike[str],
    *,
    films: int = 400,
    classes: int = 2,
    seed: int = 0,
    size: int = 128,
    splits: tuple[float, float, float] = (0.60, 0.15, 0.25),
    shortcut: str | None = None,
    shortcut_probability: float = 0.0,
) -> Path:
    """Write a phantom: `images/*.png` (8-bit grey), `masks/*.png` (0/255, lesions only) and `manifest.csv`.

    Where tags are planted, `tags.csv` lists their boxes in the form that `localize --boxes` reads.

    A patient has one label, one anatomy and one lesion place over 1 to 3 films; poses, exposures and noise differ.
    Splits are patient-grouped and hold the same share of every class. Shortcuts are planted per split on
    exactly round-half-up(p·n) of the n positive films, on no `normal` one; those of a smaller p are among those of a
    larger p, and everything else keeps its pixels. `tag` is a corner marker (see `tag_box`), `exposure` a brighter
    curve, `sex` female anatomy for that share of the positive patients (every other patient is F or M evenly).

    Args:
        out: new or empty directory.
        films: number of films over all classes.
        classes: 2 to 5, the first ones of normal, lobar, interstitial, effusion, nodule.
        seed: draws everything.
        size: side of the square films in pixels.
        splits: shares of train, val and test.
        shortcut: None, `tag`, `exposure` or `sex`.
        shortcut_probability: share of the positive films that carry the shortcut, 0 to 1.

    Returns:
        Path of `manifest.csv`: path, label, patient, split, sex, mask, box_x, box_y, box_w, box_h (pixels of the
        film; mask and box are empty where there is no lesion) and shortcut (1 where planted).

    Raises:
        UsageError: options that make no sense.
        DataError: `out` already holds files.
        RunError: `out` cannot be written.

    Example:
        >>> generate_phantom("phantom", films=40)  # doctest: +SKIP
        PosixPath('phantom/manifest.csv')
    """
    options = PhantomOptions(films, classes, seed, size, tuple(splits), shortcut, shortcut_probability)
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            f"{out} already exists and is not an empty directory. Expected a new or empty one; "
            "choose another place, or remove it first."
        )
    plan = _plan(options)
    planted = _planted(options, plan)
    with atomic_directory(out) as partial:
        (partial / "images").mkdir()
        (partial / "masks").mkdir()
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            rows = list(pool.map(lambda film: _write_film(partial, film, options, film in planted), plan))
        frame = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("path")
        boxes = ["box_x", "box_y", "box_w", "box_h"]
        frame[boxes] = frame[boxes].astype("Int64")
        frame.to_csv(partial / "manifest.csv", index=False, lineterminator="\n")
        if options.shortcut == "tag":
            tags = tag_table(frame.loc[frame["shortcut"] == 1, "path"], options.size)
            tags.to_csv(partial / "tags.csv", index=False, lineterminator="\n")
    return out / "manifest.csv"


def cached_phantom(**options: object) -> Path:
    """Return the manifest of a phantom in the user's cache, generating it the first time.

    Args:
        **options: those of `generate_phantom`, without `out`.

    Returns:
        Path of `manifest.csv` under `$CXRKERAS_CACHE` (else the user's cache directory) `/phantom/<key>/`.

    Raises:
        UsageError: options that make no sense.
        RunError: the cache cannot be written.
    """
    chosen = PhantomOptions(**options)
    home = cache_directory() / "phantom" / key8({"generator": GENERATOR_VERSION, **asdict(chosen)})
    manifest = home / "manifest.csv"
    if manifest.exists():
        return manifest
    check_writable(home.parent)
    with filelock.FileLock(home.parent / f".{home.name}.lock"):
        if not manifest.exists():
            generate_phantom(home, **asdict(chosen))
    return manifest


def tag_box(size: int) -> tuple[int, int, int, int]:
    """Box ``(x, y, w, h)`` of the tag shortcut on a film of `size` pixels, in pixels."""
    corner, step = round(TAG_CORNER * size), _tag_step(size)
    return corner, corner, step * GLYPH_WIDTH, step * GLYPH_HEIGHT


def tag_table(paths: Iterable[str], size: int) -> pd.DataFrame:
    """The tags on films of `size` pixels as boxes: path, finding (`tag`), x, y, w, h, image_width, image_height."""
    paths = list(paths)
    x, y, width, height = tag_box(size)
    return pd.DataFrame(
        {"path": paths, "finding": "tag", "x": x, "y": y, "w": width, "h": height, "image_width": size,
         "image_height": size}
    )  # fmt: skip


def _plan(options: PhantomOptions) -> list[_Film]:
    rng = np.random.default_rng([options.seed, _PLAN])
    groups = []
    for order, label in enumerate(options.class_names):
        wanted = options.films // options.classes + (order < options.films % options.classes)
        val, test = (round(share * wanted) for share in options.splits[1:])
        counts = dict(zip(SPLITS, (wanted - val - test, val, test), strict=True))
        for (split, count), share in zip(counts.items(), options.splits, strict=True):
            if share > 0 and count < 1:
                raise UsageError(
                    f"{options.films} films leave class '{label}' without any in split '{split}'. "
                    f"Expected at least one; ask for more films or fewer classes than {options.classes}."
                )
            while count > 0:
                size = min(count, int(rng.integers(FILMS_PER_PATIENT[0], FILMS_PER_PATIENT[1] + 1)))
                groups.append((label, split, size))
                count -= size
    numbers = rng.permutation(len(groups)) + 1
    return [
        _Film(int(patient), number, label, split)
        for patient, (label, split, size) in zip(numbers, groups, strict=True)
        for number in range(1, size + 1)
    ]


def _planted(options: PhantomOptions, plan: list[_Film]) -> set[_Film]:
    chosen: set[_Film] = set()
    if options.shortcut is None:
        return chosen
    for order, split in enumerate(SPLITS):
        positive = [film for film in plan if film.split == split and film.label != CLASSES[0]]
        # Sex belongs to the patient, the other shortcuts to the film.
        by_unit: dict[object, list[_Film]] = {}
        for film in positive:
            by_unit.setdefault(film.patient if options.shortcut == "sex" else film, []).append(film)
        units = list(by_unit.values())
        ranks = np.random.default_rng([options.seed, _SHORTCUT, order]).permutation(len(units))
        count = int(np.floor(options.shortcut_probability * len(units) + 0.5))
        chosen.update(film for unit in ranks[:count] for film in units[unit])
    return chosen


def _write_film(folder: Path, film: _Film, options: PhantomOptions, planted: bool) -> dict[str, object]:
    anatomy = draw_anatomy(np.random.default_rng([options.seed, _PATIENT, film.patient]))
    if planted and options.shortcut == "sex":
        anatomy = replace(anatomy, sex="F")
    lesion = draw_lesion(film.label, np.random.default_rng([options.seed, _LESION, film.patient]))
    rng = np.random.default_rng([options.seed, _FILM, film.patient, film.number])
    pose = draw_pose(rng)
    chest = cast_chest(anatomy, pose, options.size)
    added, mask = cast_lesion(lesion, chest, anatomy, pose)
    grey = expose(chest.attenuation + added, pose, rng)
    if planted and options.shortcut == "exposure":
        grey = 255 * (grey / 255) ** EXPOSURE_GAMMA
    pixels = np.round(grey).astype(np.uint8)
    if planted and options.shortcut == "tag":
        _stamp_tag(pixels)
    Image.fromarray(pixels).save(folder / "images" / film.name)
    row: dict[str, object] = {
        "path": f"images/{film.name}",
        "label": film.label,
        "patient": f"p{film.patient:04d}",
        "split": film.split,
        "sex": anatomy.sex,
        "shortcut": int(planted),
    }
    if mask.any():
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(folder / "masks" / film.name)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        row |= {
            "mask": f"masks/{film.name}",
            "box_x": int(columns[0]),
            "box_y": int(rows[0]),
            "box_w": int(columns[-1] - columns[0] + 1),
            "box_h": int(rows[-1] - rows[0] + 1),
        }
    return row


def _stamp_tag(pixels: np.ndarray) -> None:
    x, y, width, height = tag_box(pixels.shape[0])
    pixels[y : y + height, x : x + width][glyph(_tag_step(pixels.shape[0]))] = 255


def _tag_step(size: int) -> int:
    return max(1, round(TAG_HEIGHT * size / GLYPH_HEIGHT))
