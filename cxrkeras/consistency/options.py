"""The constants of the C-Score, checked once and stored with every result."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from cxrkeras.errors import UsageError, unknown

PAIR_WEIGHTS = ("product", "none", "geometric", "min")
MACROS = ("strict", "skip")
SAME_PATIENT = ("drop", "keep")
DECISIONS = ("argmax", "threshold")


@dataclass(frozen=True)
class Options:
    """How a C-Score is computed.

    Attributes:
        threshold: smallest confidence τ of a gold film, 0..1.
        gamma: emphasis exponent γ > 0.
        grid: common grid in cells, a side or ``(H, W)``, or ``"native"``.
        pair_weights: ``product`` p_i·p_j, ``geometric`` √(p_i·p_j), ``min`` or ``none``.
        macro: ``strict`` (NaN if a class is undefined) or ``skip`` (mean of the rest).
        max_pairs: pairs drawn per class when there are more than twice as many.
        seed: seed of the drawn pairs.
        same_patient: ``drop`` pairs of one patient, or ``keep`` them.
        decision: a film counts as correct where its class is the most probable one (``argmax``), or where the
            probability of its class is at least one half (``threshold``: findings that may stand together).

    Raises:
        UsageError: an unknown option value or a number out of range.
    """

    threshold: float = 0.7
    gamma: float = 2.0
    grid: int | tuple[int, int] | str = 56
    pair_weights: str = "product"
    macro: str = "strict"
    max_pairs: int = 2_000_000
    seed: int = 0
    same_patient: str = "drop"
    decision: str = "argmax"

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("pair_weights", self.pair_weights, PAIR_WEIGHTS),
            ("macro", self.macro, MACROS),
            ("same_patient", self.same_patient, SAME_PATIENT),
            ("decision", self.decision, DECISIONS),
        ):
            if value not in known:
                raise unknown(kind, value, known)
        if not (isinstance(self.threshold, Real) and 0 <= self.threshold <= 1):
            raise UsageError(f"threshold is a confidence: expected 0 to 1. Received {self.threshold!r}.")
        if not (isinstance(self.gamma, Real) and 0 < self.gamma < float("inf")):
            raise UsageError(f"gamma is an exponent: expected a number above 0. Received {self.gamma!r}.")
        if not (isinstance(self.max_pairs, Integral) and self.max_pairs >= 2):
            raise UsageError(f"max_pairs counts pairs: expected a whole number >= 2. Received {self.max_pairs!r}.")
        if not (isinstance(self.seed, Integral) and self.seed >= 0):
            raise UsageError(f"seed: expected a whole number >= 0. Received {self.seed!r}.")
        self._check_grid()

    def _check_grid(self) -> None:
        if isinstance(self.grid, str):
            if self.grid != "native":
                raise unknown("grid", self.grid, ("native", "a side in cells", "(H, W)"))
            return
        sides = tuple(self.grid) if isinstance(self.grid, tuple | list) else (self.grid,)
        if len(sides) not in (1, 2) or not all(isinstance(side, Integral) and side >= 3 for side in sides):
            raise UsageError(f"grid: expected 'native', a side or (H, W) of at least 3 cells. Received {self.grid!r}.")

    def grid_for(self, native: tuple[int, int]) -> tuple[int, int]:
        """Return the common grid ``(H, W)`` for maps of the native grid."""
        if isinstance(self.grid, str):
            return native
        height, width = (self.grid, self.grid) if isinstance(self.grid, Integral) else (self.grid[0], self.grid[-1])
        return int(height), int(width)

    def as_parameters(self, native: tuple[int, int]) -> dict[str, Any]:
        """Return all constants and the native grid as plain JSON values."""
        return {
            "threshold": float(self.threshold),
            "gamma": float(self.gamma),
            "grid": self.grid if isinstance(self.grid, str) else list(self.grid_for(native)),
            "pair_weights": self.pair_weights,
            "macro": self.macro,
            "max_pairs": int(self.max_pairs),
            "seed": int(self.seed),
            "same_patient": self.same_patient,
            "decision": self.decision,
            "native_grid": list(native),
        }
