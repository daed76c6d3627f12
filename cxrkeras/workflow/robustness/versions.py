"""Films with and without an artefact as a model gets them, and how much of it is left to see there."""

from __future__ import annotations

from typing import Any

import numpy as np

from cxrkeras.data.filmset import FilmSet, film_versions
from cxrkeras.robustness import Planted, Sampled, film_alterations

# Root mean square difference, in grey levels of 255, under which an artefact counts as invisible.
VISIBLE = 0.1
_LOOKED_AT = 64
# grey levels that a filter's rounding may leave where it changes nothing
_CHANGED = 1e-3


def confounded_versions(
    films: FilmSet,
    confounder: Planted,
    *,
    image_size: int | tuple[int, int],
    as_study: bool = False,
    seed: int = 0,
) -> FilmSet:
    """Every film without (row i) and with (row n + i) the artefact, see `data.filmset.film_versions`.

    Args:
        films: n films as their files are.
        confounder: a planted one.
        image_size: side, or ``(H, W)``, of the model's input in pixels.
        as_study: let filter and noise act at the study's size, before the resize.
        seed: draws what is random.

    Raises:
        UsageError: films that are altered already.
    """
    size = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    return film_versions(films, *film_alterations(confounder, size, as_study=as_study, seed=seed))


def visibility(versions: FilmSet | None, confounder: Planted | Sampled) -> dict[str, Any]:
    """How much of an artefact the model's input shows.

    Args:
        versions: of `confounded_versions`; None for a confounder that changes no pixel.
        confounder: the confounder.

    Returns:
        `rms`, the root mean square difference in grey levels of 255 between films with and without the artefact, over
        all pixels of up to 64 films; `area`, the share of their pixels that differ; `n_films`; `status`: `ok`,
        `invisible` (rms under 0.1) or `no_pixels_changed`.
    """
    if versions is None or not confounder.planted:
        return {"rms": np.nan, "area": np.nan, "n_films": 0, "status": "no_pixels_changed"}
    n = len(versions) // 2
    rows = np.unique(np.linspace(0, n - 1, min(n, _LOOKED_AT)).round().astype(int))
    without, with_it = (versions.store.get(versions.indices[rows + start]) for start in (0, n))
    difference = with_it.astype(np.float64) - without
    rms = float(np.sqrt(np.mean(difference**2)))
    return {
        "rms": rms,
        "area": float(np.mean(np.abs(difference) > _CHANGED)),
        "n_films": len(rows),
        "status": "ok" if rms >= VISIBLE else "invisible",
    }
