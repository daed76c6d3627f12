"""What the checkpoints of one run were like: the plain record that findings and recommendations are read from.

Numbers only; knows no map, model, run directory or file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isnan

from cxrkeras.consistency.paired import Changes

NAN = float("nan")
FEWEST_IN_A_PAIR = 2


@dataclass(frozen=True)
class GoldState:
    """A class's gold list in the whole evaluation split at one checkpoint; the maps play no part.

    Attributes:
        coverage: share of the class's films that are gold, 0 to 1; NaN without films.
        n_patients: patients in the gold list.
    """

    coverage: float
    n_patients: int

    @property
    def defined(self) -> bool:
        """Whether a score over pairs of patients exists."""
        return self.n_patients >= FEWEST_IN_A_PAIR


@dataclass(frozen=True)
class ClassState:
    """A method's score of one class at one checkpoint, on the films the method has.

    Attributes:
        score: C-Score, 0 to 1; NaN when undefined.
        coverage: share of the films that are gold.
        n_gold, n_patients, n_degenerate: films and patients in the gold list, and how many of its maps are degenerate.
        excess, excess_stderr: score minus baseline, and its standard error.
        status: `ok` or a reason.
    """

    score: float
    coverage: float
    n_gold: int
    n_patients: int
    n_degenerate: int = 0
    excess: float = NAN
    excess_stderr: float = NAN
    status: str = "ok"


@dataclass(frozen=True)
class MethodState:
    """A method at one checkpoint.

    Attributes:
        macro: mean C-Score over classes; NaN when undefined.
        classes: class name -> its state.
    """

    macro: float
    classes: Mapping[str, ClassState]

    @property
    def fewest_patients(self) -> int:
        """Patients in the smallest gold list."""
        return min(state.n_patients for state in self.classes.values())

    @property
    def degenerate_share(self) -> float:
        """Share of the gold films' maps that are degenerate; NaN without gold films."""
        gold = sum(state.n_gold for state in self.classes.values())
        return sum(state.n_degenerate for state in self.classes.values()) / gold if gold else NAN


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint on the evaluation split.

    Attributes:
        epoch: its epoch.
        auc: exact AUC on the whole split; NaN when a class is absent.
        gold: class name -> its gold list in the whole split.
        methods: method name -> its state.
        largest_threshold: the largest τ at which every class is still defined; NaN when there is none.
    """

    epoch: int
    auc: float
    gold: Mapping[str, GoldState]
    methods: Mapping[str, MethodState]
    largest_threshold: float = NAN


@dataclass(frozen=True)
class History:
    """The checkpoints of a run on one split, ascending.

    Attributes:
        run: the run's name.
        checkpoints: ascending by epoch.
        changes: `(method, earlier epoch, later epoch)` -> the change of its C-Score on the common gold list.
        threshold: confidence τ of a gold film.
    """

    run: str
    checkpoints: tuple[Checkpoint, ...]
    changes: Callable[[str, int, int], Changes] = field(repr=False)
    threshold: float = 0.7

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Every method that some checkpoint has, in order of appearance."""
        return tuple(dict.fromkeys(name for point in self.checkpoints for name in point.methods))

    @property
    def best(self) -> Checkpoint | None:
        """The checkpoint with the highest AUC, ties to the earliest; None where no AUC is defined."""
        known = [point for point in self.checkpoints if not isnan(point.auc)]
        return max(known, key=lambda point: (point.auc, -point.epoch)) if known else None

    def at(self, epoch: int) -> Checkpoint:
        """The checkpoint of an epoch."""
        return next(point for point in self.checkpoints if point.epoch == epoch)

    def of(self, method: str) -> list[tuple[Checkpoint, MethodState]]:
        """The checkpoints that have the method, with its state."""
        return [(point, point.methods[method]) for point in self.checkpoints if method in point.methods]
