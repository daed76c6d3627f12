"""Where AUC and consistency part over the checkpoints of a run: collapses, masking, early warnings and misses.

Every rule and every threshold is here. Reads a plain `History`; knows no map, model, run directory or file. An
undefined number compares false, so nothing is found where nothing could be measured. A difference of consistency is
always that of the common gold list and counts from three standard errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import isnan

from cxrkeras.consistency import findings as say
from cxrkeras.consistency.findings import Episode, Finding
from cxrkeras.consistency.history import Checkpoint, History
from cxrkeras.consistency.paired import Change, Changes

OK, TOO_FEW = "ok", "too_few_checkpoints"
# A number that is printed as the threshold is at the threshold, whatever its last bit.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Thresholds:
    """Every threshold of the findings and of the recommendation.

    Attributes:
        fewest_checkpoints: below, nothing is judged.
        fewest_patients: patients in every gold list of a checkpoint that others are compared with.
        stderrs: standard errors from which a difference of consistency counts.
        collapse_coverage: gold-list collapse: coverage below this …
        collapse_after: … after a checkpoint with at least this …
        collapse_auc: … while the AUC is within this of the run's best.
        attribution_methods: attribution collapse: methods needed to tell a method from the model.
        attribution_fall: relative fall below its own best from which a method has collapsed …
        attribution_degenerate: … or share of degenerate maps above which it has …
        attribution_share: … while less than this share of the methods has.
        masking_macro: class masking: change of the mean below this …
        masking_class: … and of a class above this.
        gap: difference between two classes above which it is told.
        warning_fall: early warning: relative fall of consistency from which it is one …
        warning_auc: … while the AUC lost at most this since the checkpoint before.
        fall_auc: loss of AUC from which it has fallen …
        fall_within: … within so many checkpoints.
        recommend_auc: recommendation: AUC within this of the best …
        recommend_coverage: … with at least this coverage in every class.
        recommend_stderrs: standard errors within which two checkpoints tie.
    """

    fewest_checkpoints: int = 3
    fewest_patients: int = 10
    stderrs: float = 3.0
    collapse_coverage: float = 0.10
    collapse_after: float = 0.20
    collapse_auc: float = 0.02
    attribution_methods: int = 3
    attribution_fall: float = 0.25
    attribution_degenerate: float = 0.20
    attribution_share: float = 0.5
    masking_macro: float = 0.02
    masking_class: float = 0.05
    gap: float = 0.15
    warning_fall: float = 0.15
    warning_auc: float = 0.01
    fall_auc: float = 0.05
    fall_within: int = 3
    recommend_auc: float = 0.01
    recommend_coverage: float = 0.5
    recommend_stderrs: float = 1.0


THRESHOLDS = Thresholds()


@dataclass(frozen=True)
class Compared:
    """Two checkpoints of a method, compared.

    Attributes:
        method: whose maps.
        earlier, later: their epochs.
        changes: what changed on the common gold list.
    """

    method: str
    earlier: int
    later: int
    changes: Changes


@dataclass(frozen=True)
class Dissociation:
    """What was found over the checkpoints of a run.

    Attributes:
        status: `ok`, or `too_few_checkpoints`.
        findings: by kind, method and checkpoint.
        compared: every pair of checkpoints that was compared.
    """

    status: str
    findings: tuple[Finding, ...]
    compared: tuple[Compared, ...]

    @property
    def n_comparisons(self) -> int:
        """Differences of consistency that could be tested: classes and their mean, over all pairs compared."""
        tested = (change for pair in self.compared for change in (*pair.changes.classes.values(), pair.changes.macro))
        return sum(not isnan(change.stderr) for change in tested)


def dissociation(history: History, thresholds: Thresholds = THRESHOLDS) -> Dissociation:
    """Return what is to be said about the checkpoints of a run.

    Args:
        history: the checkpoints on one split.
        thresholds: when something is found.

    Returns:
        Status `too_few_checkpoints` and no finding where the history has fewer than three.
    """
    if len(history.checkpoints) < thresholds.fewest_checkpoints:
        return Dissociation(TOO_FEW, (), ())
    judge = _Judge(history, thresholds)
    found = [
        *judge.gold_list_collapses(),
        *judge.attribution_collapses(),
        *(finding for method in history.methods for finding in judge.class_masking(method)),
        *(finding for method in history.methods for finding in judge.class_gaps(method)),
        *(finding for method in history.methods for finding in judge.warnings(method)),
    ]
    return Dissociation(OK, tuple(found), tuple(judge.compared.values()))


def at_least(value: float, bound: float) -> bool:
    """Whether value ≥ bound, rounding aside; false for NaN."""
    return value >= bound - ROUNDING


def above(value: float, bound: float) -> bool:
    """Whether value > bound, rounding aside; false for NaN."""
    return value > bound + ROUNDING


class _Judge:
    def __init__(self, history: History, thresholds: Thresholds) -> None:
        self.history, self.points, self.limits = history, history.checkpoints, thresholds
        self.compared: dict[tuple[str, int, int], Compared] = {}

    def changes(self, method: str, earlier: Checkpoint, later: Checkpoint) -> Changes:
        key = method, earlier.epoch, later.epoch
        if key not in self.compared:
            self.compared[key] = Compared(*key, self.history.changes(*key))
        return self.compared[key].changes

    def counts(self, change: Change) -> bool:
        return at_least(abs(change.change), self.limits.stderrs * change.stderr)

    def has_fallen(self, change: Change, relative: float) -> bool:
        """Whether a score fell by a share of itself, and the difference counts."""
        fallen = at_least((1 - relative) * change.score_from, change.score_to) and change.change < 0
        return fallen and self.counts(change)

    def gold_list_collapses(self) -> Iterator[Finding]:
        best = self.history.best
        for index, point in enumerate(self.points):
            if best is None or not at_least(point.auc, best.auc - self.limits.collapse_auc):
                continue
            for name in point.gold:
                before = self._collapsed_from(index, name)
                if before is not None:
                    yield say.gold_list_collapse(
                        self.history.run, point, name, before, best.auc, self.history.threshold
                    )

    def _collapsed_from(self, index: int, name: str) -> Checkpoint | None:
        """The last checkpoint from which the gold list of a class has collapsed; None where it has not."""
        gold = self.points[index].gold[name]
        full = [p for p in self.points[:index] if at_least(p.gold[name].coverage, self.limits.collapse_after)]
        if not above(self.limits.collapse_coverage, gold.coverage):
            # A class of one patient is undefined from the start: nothing has collapsed there.
            full = [] if gold.defined else [p for p in full if p.gold[name].defined]
        return full[-1] if full else None

    def attribution_collapses(self) -> Iterator[Finding]:
        point = self.history.best
        if point is None or len(point.methods) < self.limits.attribution_methods:
            return
        falls: dict[str, tuple[int, Change] | None] = {}
        for method, state in point.methods.items():
            fall = self._own_fall(method, point)
            if fall is not None or above(state.degenerate_share, self.limits.attribution_degenerate):
                falls[method] = fall
        if not above(self.limits.attribution_share * len(point.methods), len(falls)):
            return
        for method, fall in falls.items():
            yield say.attribution_collapse(
                self.history.run, method, point, point.methods[method], fall, len(falls), len(point.methods)
            )

    def _own_fall(self, method: str, point: Checkpoint) -> tuple[int, Change] | None:
        own_best = self._most_consistent(method, self.points)
        if own_best is None or own_best is point:
            return None
        earlier, later = sorted((own_best, point), key=lambda one: one.epoch)
        change = self.changes(method, earlier, later).macro
        # The best may come after: the fall is then read backwards.
        change = change if later is point else _reversed(change)
        return (own_best.epoch, change) if self.has_fallen(change, self.limits.attribution_fall) else None

    def _most_consistent(self, method: str, among: tuple[Checkpoint, ...]) -> Checkpoint | None:
        """The checkpoint with the highest macro score of those with enough patients in every gold list."""
        eligible = [
            point
            for point in among
            if (state := point.methods.get(method)) is not None
            and not isnan(state.macro)
            and state.fewest_patients >= self.limits.fewest_patients
        ]
        return max(eligible, key=lambda point: point.methods[method].macro, default=None)

    def class_masking(self, method: str) -> Iterator[Finding]:
        for before, point in pairwise(self.points):
            if method not in before.methods or method not in point.methods:
                continue
            changes = self.changes(method, before, point)
            if not above(self.limits.masking_macro, abs(changes.macro.change)):
                continue
            moved = {
                str(name): change
                for name, change in changes.classes.items()
                if above(abs(change.change), self.limits.masking_class) and self.counts(change)
            }
            if moved:
                furthest = dict(sorted(moved.items(), key=lambda item: -abs(item[1].change)))
                yield say.class_masking(self.history.run, method, (before.epoch, point.epoch), changes.macro, furthest)

    def class_gaps(self, method: str) -> Iterator[Finding]:
        for point, state in self.history.of(method):
            scores = {name: one.score for name, one in state.classes.items() if not isnan(one.score)}
            if len(scores) < 2:
                continue
            low, high = min(scores, key=scores.__getitem__), max(scores, key=scores.__getitem__)
            if above(scores[high] - scores[low], self.limits.gap):
                yield say.class_gap(self.history.run, method, point, state, low, high)

    def warnings(self, method: str) -> Iterator[Finding]:
        """The episodes of early warning, then the falls of AUC that none came before."""
        warned, judged = self._warned(method)
        come_true = {index: self._fall_after(index) for index in warned}
        for episode in _runs(sorted(warned)):
            yield say.early_warning(
                self.history.run, method, self._episode(episode, warned, come_true), self.limits.fall_within
            )
        for fall in _runs([i for i in range(len(self.points)) if self._fallen_from(i)]):
            if not any(index < fall[0] and set(self._falls_from(index)) & set(fall) for index in warned):
                before = self._fallen_from(fall[0])
                within = range(max(0, fall[0] - self.limits.fall_within), fall[0])
                yield say.missed_fall(
                    self.history.run,
                    method,
                    max((self.points[i] for i in before), key=lambda point: point.auc),
                    self.points[fall[0]],
                    len(judged & set(within)),
                )

    def _warned(self, method: str) -> tuple[dict[int, tuple[int, Change]], set[int]]:
        """Positions that warn, with the epoch compared with and the change; and those that could be judged."""
        warned, judged = {}, set()
        for index, (before, point) in enumerate(pairwise(self.points), start=1):
            earlier = self._most_consistent(method, self.points[:index])
            if earlier is None or method not in point.methods:
                continue
            change = self.changes(method, earlier, point).macro
            if not any(map(isnan, (change.stderr, point.auc, before.auc))):
                judged.add(index)
            held = at_least(point.auc, before.auc - self.limits.warning_auc)
            if held and self.has_fallen(change, self.limits.warning_fall):
                warned[index] = earlier.epoch, change
        return warned, judged

    def _episode(
        self, indices: list[int], warned: dict[int, tuple[int, Change]], come_true: dict[int, int | None]
    ) -> Episode:
        shown = {
            "points": [self.points[i] for i in indices],
            "earlier": [warned[i][0] for i in indices],
            "changes": [warned[i][1] for i in indices],
        }
        true = next((i for i in indices if come_true[i] is not None), None)
        if true is not None:
            fall = come_true[true]
            return Episode(**shown, outcome=say.HIT, warned=self.points[true], fall=self.points[fall], lead=fall - true)
        remaining = len(self.points) - 1 - indices[-1]
        return Episode(**shown, outcome=say.PENDING if remaining < self.limits.fall_within else say.FALSE_ALARM)

    def _falls_from(self, index: int) -> list[int]:
        """Positions soon after this one at which the AUC has fallen below it."""
        bound = self.points[index].auc - self.limits.fall_auc
        soon = range(index + 1, min(index + 1 + self.limits.fall_within, len(self.points)))
        return [later for later in soon if at_least(bound, self.points[later].auc)]

    def _fall_after(self, index: int) -> int | None:
        return next(iter(self._falls_from(index)), None)

    def _fallen_from(self, index: int) -> list[int]:
        """Positions shortly before this one that its AUC has fallen below."""
        return [before for before in range(index) if index in self._falls_from(before)]


def _reversed(change: Change) -> Change:
    return Change(
        change.score_to,
        change.score_from,
        -change.change,
        change.stderr,
        change.n_films,
        change.n_patients,
        change.status,
    )


def _runs(indices: list[int]) -> list[list[int]]:
    """Ascending numbers cut where one is missing."""
    return [
        [index for _, index in group] for _, group in groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0])
    ]
