"""Delete-one jackknife: from the values without each unit to a standard error and an interval.

Knows neither what a unit is (here always a patient) nor what was measured.
"""

from __future__ import annotations

import numpy as np
from scipy import stats


def jackknife_stderr(left_out: np.ndarray) -> float:
    """Return √((G−1)/G · Σ(v_g − mean)²).

    Args:
        left_out: ``[G]`` the statistic without unit g.

    Returns:
        NaN when G < 3 or one of the values is NaN.
    """
    count = len(left_out)
    if count < 3:
        return float("nan")
    return float(np.sqrt((count - 1) / count * np.sum((left_out - left_out.mean()) ** 2)))


def t_interval(
    value: float, stderr: float, units: int, *, level: float = 0.95, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[float, float]:
    """Return value ± t·stderr with units − 1 degrees of freedom, clipped to the bounds.

    Args:
        value: the estimate.
        stderr: its standard error; NaN gives a NaN interval.
        units: number of independent units G.
        level: coverage aimed at.
        bounds: smallest and largest possible value.
    """
    if np.isnan(value) or np.isnan(stderr) or units < 2:
        return float("nan"), float("nan")
    reach = stats.t.ppf(0.5 + level / 2, units - 1) * stderr
    low, high = np.clip([value - reach, value + reach], *bounds)
    return float(low), float(high)
