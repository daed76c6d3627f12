"""Which films carry an artefact, and which films are chosen so that a column goes with the class.

Labels, shares and seeds in, rows out; knows no pixels and no files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cxrkeras.data.splits import seeded_rank
from cxrkeras.errors import DataError, UsageError, unknown

SPLITS = ("iid", "reversed", "aligned", "clean", "neutral")
SAMPLED_SPLITS = ("iid", "reversed", "aligned", "neutral")
_NEGATIVES = 1  # stream of the neutral split's negative films


def assign(positive: np.ndarray, p: float, seed: int | Sequence[int]) -> np.ndarray:
    """Who carries the artefact: round-half-up(p·n) of the n positive films, drawn without replacement.

    Films of a smaller p are among those of a larger one. Each split is drawn by a call of its own.

    Args:
        positive: whether each film is of the positive class, bool ``[n]``.
        p: share of the positive films.
        seed: decides the order in which films are taken.

    Returns:
        bool ``[n]``; no negative film is in it.

    Raises:
        UsageError: p outside 0..1.

    Example:
        >>> assign(np.array([True, False, True, True]), 1 / 3, seed=0).sum()
        np.int64(1)
    """
    _check_share(p)
    films = np.flatnonzero(positive)
    order = np.random.default_rng(seed).permutation(len(films))
    applied = np.zeros(len(positive), bool)
    applied[films[order[: _share_of(p, len(films))]]] = True
    return applied


def assignment_notice(positive: np.ndarray, p: float) -> str:
    """What to say where p of the positive films is less than one film; empty elsewhere."""
    _check_share(p)
    n = int(np.sum(positive))
    if p == 0 or n * p >= 1:
        return ""
    if _share_of(p, n) == 0:
        return f"{p:g} of {n} positive films is less than half a film: nothing applied."
    return f"{p:g} of {n} positive films is less than one: one film carries it, a share of {1 / n:.3g}."


def planted_split(split: str, positive: np.ndarray, p: float, seed: int | Sequence[int]) -> np.ndarray:
    """Who carries a planted artefact in a test design.

    Args:
        split: `iid` (as in training: a share p of the positive films, no negative one), `reversed` (all negative
            films, no positive one), `aligned` (all positive films, no negative one), `clean` (none) or `neutral` (half
            of each class, which separates damage to the image from the shortcut).
        positive: whether each film is of the positive class, bool ``[n]``.
        p: share of the positive films in `iid`.
        seed: as in `assign`.

    Returns:
        bool ``[n]``.

    Raises:
        UsageError: p outside 0..1, or an unknown split.
    """
    _check_share(p)
    positive = np.asarray(positive, bool)
    if split == "iid":
        return assign(positive, p, seed)
    if split == "reversed":
        return ~positive
    if split == "aligned":
        return positive.copy()
    if split == "clean":
        return np.zeros(len(positive), bool)
    if split == "neutral":
        negatives = [*([seed] if isinstance(seed, int | np.integer) else seed), _NEGATIVES]
        return assign(positive, 0.5, seed) | assign(~positive, 0.5, negatives)
    raise unknown("split", split, SPLITS)


def sampled_split(
    split: str,
    positive: np.ndarray,
    has: np.ndarray,
    p: float,
    seed: int,
    patients: Sequence[str] | np.ndarray | None = None,
) -> np.ndarray:
    """Which films to take so that having a value goes with the class.

    Every split has as many positive films as the scarcer of the two kinds of them, and likewise negative ones,
    whatever p; so splits and shares differ in nothing but the films' values. Films are taken patient after patient in
    an order that the seed and the patient's name decide; a larger p takes the films of a smaller one that have the
    value, and more, and leaves out some of those without.

    Args:
        split: `iid` (a share p of the positive films has the value, no negative one), `reversed` (negative films have
            it, positive ones do not), `aligned` (the other way round) or `neutral` (half of each class). There is no
            clean split.
        positive: whether each film is of the positive class, bool ``[n]``.
        has: whether each film has the value, bool ``[n]``.
        p: share of the positive films in `iid`.
        seed: decides the order of the patients.
        patients: patient ids ``[n]``; None counts every film as its own patient.

    Returns:
        Row numbers, ascending, int ``[k]``.

    Raises:
        UsageError: p outside 0..1, or an unknown split.
        DataError: one of the four kinds of films is missing.
    """
    _check_share(p)
    if split not in SAMPLED_SPLITS:
        raise unknown("split of a sampled confounder", split, SAMPLED_SPLITS)
    positive, has = np.asarray(positive, bool), np.asarray(has, bool)
    cells = {side: (np.flatnonzero(rows & has), np.flatnonzero(rows & ~has))
             for side, rows in (("positive", positive), ("negative", ~positive))}  # fmt: skip
    sizes = {side: min(map(len, pair)) for side, pair in cells.items()}
    if min(sizes.values()) == 0:
        (ph, pn), (nh, nn) = cells.values()
        raise DataError(
            "a sampled confounder needs films of both classes with and without the value. Received "
            f"{len(ph)} positive with it, {len(pn)} positive without, {len(nh)} negative with it, {len(nn)} negative "
            "without; choose another column, value or class, or add films."
        )
    shares = {"iid": (p, 0.0), "reversed": (0.0, 1.0), "aligned": (1.0, 0.0), "neutral": (0.5, 0.5)}[split]
    chosen = []
    for (side, (with_it, without)), share in zip(cells.items(), shares, strict=True):
        count = _share_of(share, sizes[side])
        chosen += [_by_patient(with_it, patients, seed)[:count]]
        chosen += [_by_patient(without, patients, seed)[: sizes[side] - count]]
    return np.sort(np.concatenate(chosen))


def _by_patient(rows: np.ndarray, patients: Sequence[str] | np.ndarray | None, seed: int) -> np.ndarray:
    """Rows with the films of a patient together, patients in seeded order."""
    names = [str(row) if patients is None else str(patients[row]) for row in rows]
    return np.array(sorted(rows, key=dict(zip(rows, _ranks(names, seed), strict=True)).__getitem__), np.intp)


def _ranks(names: Sequence[str], seed: int) -> list[tuple[int, str]]:
    return [(seeded_rank(seed, name), name) for name in names]


def _share_of(p: float, n: int) -> int:
    """p·n to the nearest whole number, halves upwards, whatever binary digits p has."""
    return min(n, math.floor(p * n + 0.5 + 1e-9))


def _check_share(p: float) -> None:
    if not 0 <= p <= 1:
        raise UsageError(f"p is the share of positive films with the artefact. Expected 0 to 1, received {p}.")
