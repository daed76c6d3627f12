"""What an explanation is: frozen results with raw native maps and their statuses.

NumPy only; knows no model and no gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cxrkeras.maps import degenerate

MIN_GRID = 3
# the first that applies names the map
PRECEDENCE = ("degenerate", "grid_too_coarse", "uninformative", "approximate", "ambiguous_sign")


@dataclass(frozen=True)
class MethodResult:
    """Maps of one method.

    Attributes:
        method: registry name.
        values: raw maps at the native grid, float32 ``[n, h, w]``.
        status: per map `ok` or the first of `degenerate`, `grid_too_coarse`, `uninformative`, `approximate`,
            `ambiguous_sign` that applies, str ``[n]``.
        layer: tapped layer, a comma list where there are several.
        extras: further arrays, one row per map.
        parameters: everything that changes the maps, plain JSON values.
    """

    method: str
    values: np.ndarray
    status: np.ndarray
    layer: str
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def rows(self, rows: slice) -> MethodResult:
        """Return the maps of some of the films."""
        extras = {key: value[rows] for key, value in self.extras.items()}
        return replace(self, values=self.values[rows], status=self.status[rows], extras=extras)


@dataclass(frozen=True)
class Explanation:
    """Maps of several methods for the same films, with what the model answered in the same forward.

    Attributes:
        probabilities: float32 ``[n, n_classes]``; a single sigmoid unit gives the two columns (1 − s, s).
        logits: float32 ``[n, n_classes]``; a single unit z gives (−z, z). NaN where the model's output is made of
            probabilities (an average of softmaxes) and so has none.
        targets: class explained by each map, int ``[n]``; −1 where a score function was explained. With several outputs
            and none chosen, probabilities and logits have no columns.
        results: method name -> its maps, in the order asked for.
    """

    probabilities: np.ndarray
    logits: np.ndarray
    targets: np.ndarray
    results: Mapping[str, MethodResult]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, method: str) -> MethodResult:
        return self.results[method]

    def rows(self, rows: slice) -> Explanation:
        """Return the explanation of some of the films."""
        results = {name: result.rows(rows) for name, result in self.results.items()}
        return Explanation(self.probabilities[rows], self.logits[rows], self.targets[rows], results)


def concatenated(parts: Sequence[Explanation]) -> Explanation:
    """Join explanations of consecutive films by the same explainer."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    results = {}
    for name, result in first.results.items():
        same = [part.results[name] for part in parts]
        results[name] = replace(
            result,
            values=np.concatenate([r.values for r in same]),
            status=np.concatenate([r.status for r in same]),
            extras={key: np.concatenate([r.extras[key] for r in same]) for key in result.extras},
        )
    return Explanation(
        probabilities=np.concatenate([part.probabilities for part in parts]),
        logits=np.concatenate([part.logits for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        results=results,
    )


def statuses(values: np.ndarray, flags: Mapping[str, np.ndarray]) -> np.ndarray:
    """Name the state of each map.

    Args:
        values: raw maps ``[n, h, w]``.
        flags: status name -> bool ``[n]``, as reported by the method.

    Returns:
        str ``[n]``, `ok` where nothing applies.
    """
    coarse = np.full(len(values), min(values.shape[1:]) < MIN_GRID)
    applies = {"degenerate": degenerate(values), "grid_too_coarse": coarse, **flags}
    conditions = [np.asarray(applies.get(name, np.zeros(len(values))), bool) for name in PRECEDENCE]
    return np.select(conditions, PRECEDENCE, default="ok").astype("<U16")


def method_result(
    method: str, arrays: Mapping[str, np.ndarray], layer: str, parameters: Mapping[str, Any]
) -> MethodResult:
    """Sort what a method returned into maps, statuses and extras.

    Args:
        method: registry name.
        arrays: `values` ``[n, h, w]`` and further arrays ``[n, …]``; those named like a status are its flags.
        layer: tapped layer.
        parameters: everything that changes the maps.
    """
    flags = {key: value for key, value in arrays.items() if key in PRECEDENCE}
    extras = {key: value for key, value in arrays.items() if key not in (*PRECEDENCE, "values")}
    values = arrays["values"]
    return MethodResult(method, values, statuses(values, flags), layer, extras, parameters)
