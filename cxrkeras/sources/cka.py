"""Linear CKA: how alike two candidates arrange the same films (Kornblith et al., ICML 2019).

Says which candidates are redundant, not which are good. Knows features only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cxrkeras.errors import ScoreInputError

PLAIN, DEBIASED = "plain", "debiased"
FEW_FILMS = 10


@dataclass(frozen=True)
class Cka:
    """A similarity of two arrangements of films.

    Attributes:
        value: 0 to 1, the debiased form also slightly below 0; 1 for equal up to rotation and scale.
        form: ``plain`` or ``debiased``.
        status: ``ok``, ``constant_features`` or ``too_few_films`` (the debiased form needs 4).
    """

    value: float
    form: str
    status: str


def linear_cka(first: ArrayLike, second: ArrayLike, form: str | None = None) -> Cka:
    """Return ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖) of centred features, or its form without the bias of few films.

    The debiased form takes U-statistics of the same three terms (Song et al. 2012; Székely and Rizzo 2014).

    Args:
        first: ``[n, d]``.
        second: ``[n, e]``, the same films.
        form: ``plain`` or ``debiased``; None is debiased for n < 10 · max(d, e), where the plain form is too high.

    Raises:
        ScoreInputError: not the same films.
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ScoreInputError(
            f"expected features [n, d] and [n, e] of the same films. Received {x.shape} and {y.shape}."
        )
    form = form or _form(x, y)
    return _cka(_products(x, form), _products(y, form), form)


def cka_table(features: Mapping[str, ArrayLike]) -> pd.DataFrame:
    """Compare every pair of candidates on the same films.

    Args:
        features: name -> ``[n, d]``.

    Returns:
        A row per pair: `first`, `second`, `cka`, `form`, `n_films`, `status`.

    Raises:
        ScoreInputError: not the same films.
    """
    values = {name: np.asarray(array, np.float64) for name, array in features.items()}
    if len({len(array) for array in values.values()}) > 1:
        raise ScoreInputError(
            "candidates are compared on the same films. Received "
            f"{', '.join(f'{name} {len(array)}' for name, array in values.items())}."
        )
    forms = {name: _form(array, array) for name, array in values.items()}
    products: dict[tuple[str, str], np.ndarray] = {}
    rows = []
    for one, other in combinations(values, 2):
        form = DEBIASED if DEBIASED in (forms[one], forms[other]) else PLAIN
        for name in (one, other):
            if (name, form) not in products:
                products[name, form] = _products(values[name], form)
        found = _cka(products[one, form], products[other, form], form)
        row = {"first": one, "second": other, "cka": found.value, "form": form, "n_films": len(values[one])}
        rows.append({**row, "status": found.status})
    return pd.DataFrame(rows, columns=["first", "second", "cka", "form", "n_films", "status"])


def _form(x: np.ndarray, y: np.ndarray) -> str:
    return DEBIASED if len(x) < FEW_FILMS * max(x.shape[1], y.shape[1]) else PLAIN


def _products(x: np.ndarray, form: str) -> np.ndarray:
    """Inner products between films: doubly centred, or centred so that their own products do not count."""
    x = x - x.mean(axis=0)
    products = x @ x.T
    if form == PLAIN or len(products) < 4:
        return products
    n = len(products)
    np.fill_diagonal(products, 0)
    means = products.sum(axis=0) / (n - 2)
    means -= means.sum() / (2 * (n - 1))
    products -= means[:, None] + means[None, :]
    np.fill_diagonal(products, 0)
    return products


def _cka(xx: np.ndarray, yy: np.ndarray, form: str) -> Cka:
    if form == DEBIASED and len(xx) < 4:
        return Cka(np.nan, form, "too_few_films")
    own = np.sum(xx**2) * np.sum(yy**2)
    if not own > 0:
        return Cka(np.nan, form, "constant_features")
    return Cka(float(np.sum(xx * yy) / np.sqrt(own)), form, "ok")
