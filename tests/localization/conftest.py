"""Scored films by the dozen, without a model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from cxrkeras.localization import FILM_METRICS


def scored_films(n: int, *, method: str = "gradcam", finding: str = "Mass", seed: int = 0, **columns) -> pd.DataFrame:
    """`n` films of `n` patients with random metrics; any column can be given."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "image": [f"{finding}{i}.png" for i in range(n)],
            "patient": [f"p{i}" for i in range(n)],
            "finding": finding,
            "class": finding.upper(),
            "annotator": "union",
            "method": method,
            "area_gt": rng.uniform(0.02, 0.2, n),
            "status": "ok",
        }
    )
    return table.assign(**{metric: rng.uniform(0.2, 0.8, n) for metric in FILM_METRICS}).assign(**columns)


@pytest.fixture
def films() -> Callable[..., pd.DataFrame]:
    """Makes scored films."""
    return scored_films
