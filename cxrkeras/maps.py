"""Heat maps as data: the container and the operations every metric shares.

NumPy only; below every metric and every engine. A map is **raw** (not normalised) and at its **native** grid;
normalising and resizing happen when a map is rendered or scored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Maps:
    """Heat maps of one method for a set of films.

    Attributes:
        values: raw maps at the native grid, float32 ``[n, h, w]``.
        images: film ids, one per map (the manifest's ``path``).
        targets: class index explained by each map, int ``[n]``.
        layer: name of the tapped layer (comma list for multi-scale).
        method: method name as in the registry.
        classes: class names; ``targets`` index into them.
        status: per map ``ok`` or the reason it needs care (``degenerate``, ``ambiguous_sign``, ``uninformative``, …).
        probabilities: the model's probabilities for each film, float32 ``[n, n_classes]``.
        parameters: everything that changes the maps, plain JSON values.
        extras: further arrays with one row per map (for example ScoreCAM's channels used).
    """

    values: np.ndarray
    images: np.ndarray
    targets: np.ndarray
    layer: str
    method: str
    classes: tuple[str, ...]
    status: np.ndarray
    probabilities: np.ndarray
    parameters: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def grid(self) -> tuple[int, int]:
        """Native grid ``(h, w)``."""
        return int(self.values.shape[1]), int(self.values.shape[2])
