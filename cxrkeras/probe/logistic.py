"""L2-penalised logistic regression in the space that the films span, where scikit-learn fits it fast.

With more features than films the optimum lies in the span of the films, so that the features are first rotated into
it; the penalty does not notice. Knows arrays only: no features' meaning, no fold, no choice of C.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from cxrkeras.errors import ScoreInputError

TOLERANCE, MOST_STEPS = 1e-9, 10_000


@dataclass(frozen=True)
class Spanned:
    """Centred rows along their principal axes.

    Attributes:
        coordinates: the rows ``[n, r]``, r ≤ min(n, d).
        axes: the principal axes ``[d, r]``.
    """

    coordinates: np.ndarray
    axes: np.ndarray


def spanned(rows: np.ndarray) -> Spanned:
    """Return rows with their coordinates along the principal axes.

    Args:
        rows: ``[n, d]`` float64, centred.
    """
    wide = rows.shape[1] > rows.shape[0]
    energy, axes = np.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
    kept = energy > max(energy[-1], 0) * np.finfo(np.float64).eps * len(energy)
    energy, axes = energy[kept], axes[:, kept]
    if wide:
        return Spanned(axes * np.sqrt(energy), rows.T @ (axes / np.sqrt(energy)))
    return Spanned(rows @ axes, axes)


def optima(
    data: Spanned, codes: np.ndarray, cs: Sequence[float], *, balanced: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, for each C, weights ``[d, m]`` and bias ``[m]`` that minimise ½‖w‖² + C · Σ_i loss_i.

    Logistic loss and m = 1 for two classes; softmax cross-entropy and m = k for more, whose bias, open up to a shift,
    has mean 0. The intercept is not penalised. Each fit starts from the one before.

    Args:
        data: the films.
        codes: int ``[n]`` class of each.
        cs: weights of the summed loss.
        balanced: weigh each film by n / (k · films of its class).

    Raises:
        ScoreInputError: no convergence.
    """
    model = LogisticRegression(
        solver="lbfgs",
        tol=TOLERANCE,
        max_iter=MOST_STEPS,
        warm_start=True,
        class_weight="balanced" if balanced else None,
    )
    for c in cs:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                model.set_params(C=c).fit(data.coordinates, codes)
            except ConvergenceWarning:
                raise ScoreInputError(
                    f"the probe did not converge in {MOST_STEPS} steps at C = {c:g}. Expected finite features of "
                    "ordinary size. Check them for extreme values, or take a smaller C."
                ) from None
        bias = model.intercept_
        yield data.axes @ model.coef_.T, bias - (bias.mean() if len(bias) > 1 else 0)
