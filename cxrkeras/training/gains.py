"""What follows from the validation AUC so far: the learning rate, when to stop, which checkpoint is the best.

Pure functions of the stored history, so that a resumed run decides what an uninterrupted one would. An epoch gains if
its AUC is above that of every earlier one; NaN gains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def plateau_rate(base: float, aucs: Sequence[float], factor: float, patience: int) -> float:
    """The learning rate of the next epoch: `base`, times `factor` after every `patience` epochs without a gain.

    Args:
        base: the stage's rate.
        aucs: validation AUC of the stage's epochs so far.
        factor: in (0, 1).
        patience: epochs; counted anew after a gain and after each reduction.
    """
    best, waited, rate = float("-inf"), 0, base
    for auc in aucs:
        if auc > best:
            best, waited = auc, 0
            continue
        waited += 1
        if waited == patience:
            rate, waited = rate * factor, 0
    return rate


def is_exhausted(aucs: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` epochs of a stage brought no gain."""
    best, waited = float("-inf"), 0
    for auc in aucs:
        best, waited = (auc, 0) if auc > best else (best, waited + 1)
    return waited >= patience


def best_epoch(aucs: Mapping[int, float]) -> int | None:
    """The epoch of the highest AUC, ties to the earliest; None where no AUC is defined."""
    best = None
    for epoch in sorted(aucs):
        if aucs[epoch] > (float("-inf") if best is None else aucs[best]):
            best = epoch
    return best
