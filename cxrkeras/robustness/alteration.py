"""A planted artefact as the film store applies it: to one film, of one version, at one size.

Knows no store and no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cxrkeras.data.splits import seeded_rank
from cxrkeras.robustness.confounders import Planted
from cxrkeras.store import key8

_GREY = (0.0, 255.0)  # of decoded films


@dataclass(frozen=True)
class PlantedAlteration:
    """One version of a film under a confounder; a `data.films.Alteration`.

    Attributes:
        confounder: a planted one.
        touched: with the artefact; without it films get what the confounder does to all.
        at: size in pixels (height, width) at which it acts; None: the film's own.
        seed: with the film's name, draws what is random.
    """

    confounder: Planted
    touched: bool
    at: tuple[int, int] | None
    seed: int = 0

    @cached_property
    def key(self) -> str:
        """Stands for everything that decides the pixels: `<name>-<8 hex>`."""
        causes = {
            "parameters": self.confounder.parameters,
            "touched": self.touched,
            "at": self.at,
            "seed": self.seed if self.confounder.random else None,
        }
        return f"{self.confounder.kind_name}-{key8(causes)}"

    def __call__(self, film: np.ndarray, name: str) -> np.ndarray:
        """The altered film, float32 ``[h, w]`` in 0..255; `name` is the SHA-256 of its file."""
        version = self.confounder.touched if self.touched else self.confounder.untouched
        return version(film, value_range=_GREY, seed=seeded_rank(self.seed, name))


def film_alterations(
    confounder: Planted, size: tuple[int, int], *, as_study: bool = False, seed: int = 0
) -> tuple[PlantedAlteration | None, PlantedAlteration]:
    """What is done to films without and with the artefact.

    A marker acts on the film in its own size. Filter and noise act at the size of the model's input, because the
    antialiased resize would take away most of what they do to a larger film; or, as the study did, before it. Films
    without the artefact then go through the same size: one resize more would be a shortcut of its own.

    Args:
        confounder: a planted one.
        size: of the model's input in pixels (height, width).
        as_study: let filter and noise act at the study's 1024 and 512 pixels.
        seed: draws what is random.

    Returns:
        (untouched, touched); untouched is None where films without the artefact stay as they are.
    """
    at = None
    if confounder.study_side is not None:
        at = (confounder.study_side,) * 2 if as_study else size
    versions = [PlantedAlteration(confounder, touched, at, seed) for touched in (False, True)]
    return (versions[0] if alters_all_films(confounder, as_study=as_study) else None), versions[1]


def alters_all_films(confounder: Planted, *, as_study: bool = False) -> bool:
    """Whether films without the artefact, too, are not what their files show at the model's input."""
    return confounder.alters_all or (as_study and confounder.study_side is not None)
