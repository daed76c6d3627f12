"""Which checkpoint of a method to read: the highest excess in the worst class among those with nearly the best AUC.

Reads a plain `History` and what was found in it; knows no map, model, run directory or file. It says which checkpoint
is the safest to read, not that its maps are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from cxrkeras.consistency.dissociation import OK, THRESHOLDS, Dissociation, Thresholds, at_least
from cxrkeras.consistency.findings import ATTRIBUTION_COLLAPSE, EARLY_WARNING, GOLD_LIST_COLLAPSE
from cxrkeras.consistency.history import NAN, Checkpoint, History, MethodState

RECOMMENDED, NONE = "recommended", "none"


@dataclass(frozen=True)
class Standing:
    """What a method was measured at, at one checkpoint on one split.

    Attributes:
        auc: exact AUC.
        min_excess, min_excess_stderr: the lowest excess of any class, and its standard error; NaN when the excess of
            a class is undefined.
        min_coverage: lowest coverage of any class.
        macro: mean C-Score over classes.
    """

    auc: float = NAN
    min_excess: float = NAN
    min_excess_stderr: float = NAN
    min_coverage: float = NAN
    macro: float = NAN


@dataclass(frozen=True)
class Recommendation:
    """The checkpoint recommended for a method.

    Attributes:
        method: the method.
        checkpoint: its epoch, or None.
        status: `recommended` or `none`.
        reason: why this one, or what speaks against each.
        standing: the numbers it was chosen by.
    """

    method: str
    checkpoint: int | None
    status: str
    reason: str
    standing: Standing


def recommendations(
    history: History, found: Dissociation, thresholds: Thresholds = THRESHOLDS
) -> tuple[Recommendation, ...]:
    """Return the recommended checkpoint of every method.

    Of the checkpoints within 0.01 of the best AUC, with a coverage of at least 0.5 in every class, no gold-list
    collapse, no attribution collapse of the method and no warning, the one with the highest minimum over classes of
    the excess; within one standard error of it the higher AUC, then the earlier.

    Args:
        history: the checkpoints on the split to choose on.
        found: what was found in that history.
        thresholds: the limits.
    """
    return tuple(_recommended(history, found, method, thresholds) for method in history.methods)


def standing(point: Checkpoint, method: str) -> Standing:
    """What a method was measured at, at a checkpoint; NaN where the checkpoint does not have the method."""
    state = point.methods.get(method)
    if state is None:
        return Standing(auc=point.auc)
    worst = _worst_class(state)
    return Standing(
        auc=point.auc,
        min_excess=NAN if worst is None else state.classes[worst].excess,
        min_excess_stderr=NAN if worst is None else state.classes[worst].excess_stderr,
        min_coverage=min(one.coverage for one in state.classes.values()),
        macro=state.macro,
    )


def _recommended(history: History, found: Dissociation, method: str, thresholds: Thresholds) -> Recommendation:
    if found.status != OK:
        reason = (
            f"{found.status}: {len(history.checkpoints)} of at least {thresholds.fewest_checkpoints} checkpoints, so "
            "nothing could be judged"
        )
        return Recommendation(method, None, NONE, reason, Standing())
    against = {point.epoch: _against(history, found, point, method, thresholds) for point in history.checkpoints}
    standings = {point.epoch: standing(point, method) for point in history.checkpoints if not against[point.epoch]}
    if not standings:
        reason = "; ".join(f"epoch {epoch}: {', '.join(reasons)}" for epoch, reasons in against.items())
        return Recommendation(method, None, NONE, reason, Standing())
    leader = max(standings, key=lambda epoch: standings[epoch].min_excess)
    best = standings[leader]
    # Without a standard error only an equal excess is a tie.
    reach = 0.0 if isnan(best.min_excess_stderr) else thresholds.recommend_stderrs * best.min_excess_stderr
    tied = {epoch: one for epoch, one in standings.items() if at_least(one.min_excess, best.min_excess - reach)}
    chosen = max(tied, key=lambda epoch: (tied[epoch].auc, -epoch))
    return Recommendation(method, chosen, RECOMMENDED, _why(chosen, leader, tied, standings), standings[chosen])


def _why(chosen: int, leader: int, tied: dict[int, Standing], standings: dict[int, Standing]) -> str:
    one, others = standings[chosen], [epoch for epoch in tied if epoch != chosen]
    rule = "higher AUC" if all(one.auc > tied[epoch].auc for epoch in others) else "equal AUC, earlier"
    if len(standings) == 1:
        why = f"the only checkpoint that qualifies (lowest excess of any class {one.min_excess:.3f})"
    elif not others:
        why = f"highest lowest-class excess ({one.min_excess:.3f}) of {len(standings)} checkpoints that qualify"
    elif chosen == leader:
        why = (
            f"lowest-class excess {one.min_excess:.3f}, within one standard error of epoch "
            f"{', '.join(map(str, others))}; {rule}"
        )
    else:
        lead = standings[leader]
        why = (
            f"lowest-class excess {one.min_excess:.3f} ties with epoch {leader} ({lead.min_excess:.3f} ± "
            f"{lead.min_excess_stderr:.3f}); {rule}"
        )
    if one.min_excess <= 0:
        why += "; beware: in one class maps are no more alike within the class than across classes"
    return why


def _against(
    history: History, found: Dissociation, point: Checkpoint, method: str, thresholds: Thresholds
) -> list[str]:
    """What speaks against a checkpoint, in words; nothing where it qualifies."""
    best, here, reasons = history.best, standing(point, method), []
    if best is None or isnan(point.auc):
        reasons.append("AUC undefined")
    elif not at_least(point.auc, best.auc - thresholds.recommend_auc):
        reasons.append(f"AUC {point.auc:.3f} is more than {thresholds.recommend_auc:g} below the best {best.auc:.3f}")
    state = point.methods.get(method)
    if state is None:
        return [*reasons, "no maps"]
    short = [
        f"{name} {one.coverage:.2f}"
        for name, one in state.classes.items()
        if not at_least(one.coverage, thresholds.recommend_coverage)
    ]
    if short:
        reasons.append(f"coverage below {thresholds.recommend_coverage:g} ({', '.join(short)})")
    if isnan(here.min_excess):
        undefined = [f"{name}: {one.status}" for name, one in state.classes.items() if isnan(one.excess)]
        reasons.append(f"excess undefined ({', '.join(undefined)})")
    for finding in found.findings:
        epochs = finding.evidence.get("epochs", [finding.checkpoint])
        own = finding.method in ("", method) and point.epoch in epochs
        if own and finding.kind in (GOLD_LIST_COLLAPSE, ATTRIBUTION_COLLAPSE, EARLY_WARNING):
            of = f" of {finding.class_name}" if finding.kind == GOLD_LIST_COLLAPSE else ""
            reasons.append(finding.kind.replace("_", " ") + of)
    return reasons


def _worst_class(state: MethodState) -> str | None:
    """The class with the lowest excess; None where one is undefined."""
    if any(isnan(one.excess) for one in state.classes.values()):
        return None
    return min(state.classes, key=lambda name: state.classes[name].excess)
