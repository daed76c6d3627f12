"""Do two methods show the same thing? The largest difference between their maps of the same films.

GradCAM++ at pooling + Dense ranks nearly like LayerCAM (with normalised alphas it is LayerCAM): two rows of a score
table are then one piece of evidence. NumPy only; knows no method by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cxrkeras.maps import degenerate, min_max

SAME = 0.02


@dataclass(frozen=True)
class Neighbour:
    """The method whose maps are nearest.

    Attributes:
        method: its name.
        difference: largest absolute difference of any cell of any film after min-max, 0 to 1; NaN where no film has
            a map with contrast.
    """

    method: str
    difference: float

    @property
    def same(self) -> bool:
        """Whether the two are one piece of evidence."""
        return self.difference <= SAME


def largest_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return max |minmax(first) − minmax(second)| over all cells, 0 to 1, of films where either map has contrast.

    Args:
        first, second: raw maps ``[n, h, w]`` of the same films on the same grid.

    Returns:
        NaN where no film has a map with contrast: two blank maps are not the same evidence, they are none.
    """
    shown = ~(degenerate(first) & degenerate(second))
    if not shown.any():
        return float("nan")
    return float(np.abs(min_max(first[shown]) - min_max(second[shown])).max())


def nearest(maps: Mapping[str, np.ndarray]) -> dict[str, Neighbour]:
    """For each method the one whose maps differ least from its own, among those on the same grid.

    Args:
        maps: method name -> raw maps ``[n, h, w]`` of the same films.

    Returns:
        Method name -> its neighbour; a method alone on its grid is left out.
    """
    found = {}
    for name, values in maps.items():
        others = [
            Neighbour(other, largest_difference(values, theirs))
            for other, theirs in maps.items()
            if other != name and theirs.shape == values.shape
        ]
        if others:
            found[name] = min(others, key=lambda near: (np.isnan(near.difference), near.difference))
    return found
