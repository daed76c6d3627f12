"""What is said about a run's checkpoints: a record of each finding, with its numbers and a sentence for a clinician.

Words only: whether something is found is decided in `dissociation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from cxrkeras.consistency.history import Checkpoint, MethodState
from cxrkeras.consistency.paired import Change

GOLD_LIST_COLLAPSE = "gold_list_collapse"
ATTRIBUTION_COLLAPSE = "attribution_collapse"
CLASS_MASKING = "class_masking"
CLASS_GAP = "class_gap"
EARLY_WARNING = "early_warning"
MISSED_FALL = "missed_fall"
INFORMATION = (CLASS_GAP,)
HIT, PENDING, FALSE_ALARM, MISS = "hit", "pending", "false_alarm", "miss"
MACRO = "macro"


@dataclass(frozen=True)
class Finding:
    """Something that a reader of the checkpoints should know.

    Attributes:
        kind: `gold_list_collapse`, `attribution_collapse`, `class_masking`, `class_gap` (information),
            `early_warning` or `missed_fall`.
        run: the run's name.
        method: whose maps; empty where the maps play no part.
        class_name: the class, or `macro` for the mean over classes; empty where it is the AUC alone.
        checkpoint: epoch of the checkpoint; of an episode the first.
        outcome: of an early warning `hit`, `pending` or `false_alarm`; of a missed fall `miss`; else empty.
        sentence: what was found, with its numbers.
        evidence: the numbers.
    """

    kind: str
    run: str
    method: str
    class_name: str
    checkpoint: int
    outcome: str
    sentence: str
    evidence: Mapping[str, Any]

    @property
    def information(self) -> bool:
        """Whether it informs only and speaks against nothing."""
        return self.kind in INFORMATION


def gold_list_collapse(
    run: str, point: Checkpoint, name: str, before: Checkpoint, best_auc: float, threshold: float
) -> Finding:
    """The gold list of a class has nearly emptied while the AUC says that all is well."""
    now, then, limit = point.gold[name], before.gold[name], point.largest_threshold
    remedy = (
        f"All classes would stay defined up to a threshold of {limit:.2f}."
        if not isnan(limit)
        else "No threshold would keep all classes defined."
    )
    return Finding(
        GOLD_LIST_COLLAPSE,
        run,
        "",
        name,
        point.epoch,
        "",
        f"Epoch {point.epoch}, class {name}: the model is hardly ever confident and right any more. Of the films of "
        f"this class {_percent(now.coverage)} reach confidence {threshold:g} ({now.n_patients} patients), after "
        f"{_percent(then.coverage)} at epoch {before.epoch}, while the AUC is {point.auc:.3f} (best {best_auc:.3f}). "
        f"A consistency score here would rest on these few films. {remedy}",
        {
            "coverage": now.coverage,
            "n_patients": now.n_patients,
            "earlier_epoch": before.epoch,
            "earlier_coverage": then.coverage,
            "auc": point.auc,
            "best_auc": best_auc,
            "threshold": threshold,
            "largest_threshold": limit,
        },
    )


def attribution_collapse(
    run: str,
    method: str,
    point: Checkpoint,
    state: MethodState,
    fall: tuple[int, Change] | None,
    n_showing: int,
    n_methods: int,
) -> Finding:
    """A method's maps have come apart at the checkpoint with the best AUC, those of most other methods have not.

    Args:
        run, method, point, state: whose, where, and the method there.
        fall: epoch of its own best checkpoint and the change since, where that is what was found; None where the
            share of degenerate maps is.
        n_showing, n_methods: methods that show it, of how many.
    """
    reasons, evidence = [], {"auc": point.auc, "macro": state.macro, "degenerate_share": state.degenerate_share}
    if fall is not None:
        epoch, change = fall
        reasons.append(f"their consistency is {_fallen(change)} than at epoch {epoch}, its best, {_same_films(change)}")
        evidence |= {"earlier_epoch": epoch, **_numbers(change)}
    else:
        reasons.append(f"{_percent(state.degenerate_share)} of the maps in the gold lists are blank or flat")
    others = n_methods - n_showing
    return Finding(
        ATTRIBUTION_COLLAPSE,
        run,
        method,
        MACRO,
        point.epoch,
        "",
        f"Epoch {point.epoch}, {method}: at the best AUC ({point.auc:.3f}) the maps of this method have come apart: "
        f"{reasons[0]}. {others} of {n_methods} methods do not show this, so it speaks against the method rather than "
        "the model.",
        evidence | {"n_methods": n_methods, "n_showing": n_showing},
    )


def class_masking(
    run: str, method: str, epochs: tuple[int, int], macro: Change, moved: Mapping[str, Change]
) -> Finding:
    """The mean over classes stood still while classes moved.

    Args:
        run, method: whose.
        epochs: the two consecutive checkpoints.
        macro: the change of the mean.
        moved: the classes that moved, the furthest first.
    """
    first = next(iter(moved))
    parts = [
        f"{name} {change.change:+.3f} ({change.score_from:.3f} to {change.score_to:.3f})"
        for name, change in moved.items()
    ]
    return Finding(
        CLASS_MASKING,
        run,
        method,
        first,
        epochs[1],
        "",
        f"Epoch {epochs[1]}, {method}: the mean over classes hardly moved since epoch {epochs[0]} "
        f"({macro.change:+.3f}) and hides a change of {', '.join(parts)}, on the same films. Read the classes, not the "
        "mean.",
        {
            "earlier_epoch": epochs[0],
            "macro_change": macro.change,
            "classes": {name: _numbers(change) for name, change in moved.items()},
        },
    )


def class_gap(run: str, method: str, point: Checkpoint, state: MethodState, low: str, high: str) -> Finding:
    """Two classes are explained with very different consistency."""
    lowest, highest = state.classes[low].score, state.classes[high].score
    return Finding(
        CLASS_GAP,
        run,
        method,
        low,
        point.epoch,
        "",
        f"Epoch {point.epoch}, {method}: the maps of {high} are more consistent ({highest:.3f}) than those of {low} "
        f"({lowest:.3f}).",
        {"low": low, "high": high, "score_low": lowest, "score_high": highest, "gap": highest - lowest},
    )


@dataclass(frozen=True)
class Episode:
    """Consecutive early warnings of one method.

    Attributes:
        points: the checkpoints that warn.
        earlier: for each the epoch it is compared with.
        changes: for each the change since then.
        outcome: `hit`, `pending` or `false_alarm`.
        warned: of a hit, the first checkpoint whose warning came true.
        fall: of a hit, the checkpoint at which the AUC had fallen.
        lead: of a hit, checkpoints between the two.
    """

    points: Sequence[Checkpoint]
    earlier: Sequence[int]
    changes: Sequence[Change]
    outcome: str
    warned: Checkpoint | None = None
    fall: Checkpoint | None = None
    lead: int | None = None


def early_warning(run: str, method: str, episode: Episode, within: int) -> Finding:
    """Consistency fell while the AUC held: once more, and whether the AUC followed.

    Args:
        run, method: whose.
        episode: the warning.
        within: checkpoints within which the AUC had to fall.
    """
    first, change, earlier = episode.points[0], episode.changes[0], episode.earlier[0]
    epochs = [point.epoch for point in episode.points]
    lasting = f", lasting to epoch {epochs[-1]}" if len(epochs) > 1 else ""
    if episode.outcome == HIT:
        after = (
            f"The AUC then fell from {episode.warned.auc:.3f} (epoch {episode.warned.epoch}) to {episode.fall.auc:.3f} "
            f"(epoch {episode.fall.epoch}), {_count(episode.lead, 'checkpoint')} later: the warning came true."
        )
    elif episode.outcome == PENDING:
        after = "Too few checkpoints follow to tell whether the AUC falls too."
    else:
        after = f"The AUC did not fall within the next {_count(within, 'checkpoint')}: a false alarm."
    return Finding(
        EARLY_WARNING,
        run,
        method,
        MACRO,
        first.epoch,
        episode.outcome,
        f"Epoch {first.epoch}, {method}: early warning{lasting}. The consistency of the maps is {_fallen(change)} than "
        f"at epoch {earlier}, {_same_films(change)}, while the AUC held ({first.auc:.3f}). {after}",
        {
            "epochs": epochs,
            "earlier_epoch": earlier,
            **_numbers(change),
            "auc": first.auc,
            "fall_epoch": episode.fall.epoch if episode.fall else None,
            "fall_auc": episode.fall.auc if episode.fall else None,
            "lead": episode.lead,
        },
    )


def missed_fall(run: str, method: str, before: Checkpoint, fall: Checkpoint, n_judged: int) -> Finding:
    """The AUC fell and no warning came before.

    Args:
        run, method: whose warning was missed.
        before: the checkpoint the AUC fell from.
        fall: the first checkpoint after the fall.
        n_judged: checkpoints before it at which a warning was possible.
    """
    judged = (
        f"no warning came before it (one was possible at {_count(n_judged, 'checkpoint')})"
        if n_judged
        else "at no checkpoint shortly before it could a warning be judged"
    )
    return Finding(
        MISSED_FALL,
        run,
        method,
        "",
        fall.epoch,
        MISS,
        f"Epoch {fall.epoch}, {method}: the AUC fell from {before.auc:.3f} (epoch {before.epoch}) to {fall.auc:.3f}, "
        f"and {judged}.",
        {"earlier_epoch": before.epoch, "earlier_auc": before.auc, "auc": fall.auc, "n_judged": n_judged},
    )


def comparisons_sentence(n_comparisons: int, stderrs: float) -> str:
    """How many differences were looked at, which is what a single one has to be read against."""
    return (
        f"{_count(n_comparisons, 'difference')} between checkpoints {'was' if n_comparisons == 1 else 'were'} looked "
        f"at; one counts from {stderrs:g} standard errors. The more are looked at, the likelier one counts by chance."
    )


def _numbers(change: Change) -> dict[str, float | int]:
    return {
        "score_from": change.score_from,
        "score_to": change.score_to,
        "change": change.change,
        "stderr": change.stderr,
        "n_films": change.n_films,
        "n_patients": change.n_patients,
    }


def _fallen(change: Change) -> str:
    relative = 1 - change.score_to / change.score_from
    return f"{_percent(relative)} lower ({change.score_to:.3f} against {change.score_from:.3f})"


def _same_films(change: Change) -> str:
    return (
        f"on the same {_count(change.n_films, 'film')} of {_count(change.n_patients, 'patient')} "
        f"(a difference of {-change.change:.3f} ± {change.stderr:.3f})"
    )


def _percent(share: float) -> str:
    return "none" if isnan(share) else f"{100 * share:.0f} %"


def _count(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
