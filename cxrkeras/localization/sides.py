"""What a report says against where the map lies: the share of a map on the stated side and in the stated third.

The patient's left is the right half of a frontal film. Arrays and words in, numbers out; knows no report and no file.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cxrkeras.errors import unknown
from cxrkeras.localization.comparison import above, paired_tests, resamples_needed
from cxrkeras.localization.metrics import DEGENERATE, NAN, OK, Region, mass_share, scaled_map
from cxrkeras.localization.rows import checked
from cxrkeras.stats import holm

LEFT, RIGHT, BILATERAL = "left", "right", "bilateral"
SIDES = (LEFT, RIGHT, BILATERAL)
ZONES = ("upper", "mid", "lower")
NOTHING_STATED = "nothing_stated"
# even and a multiple of three: the midline and the thirds fall between cells
GRID = 192
STATEMENT_GROUP = ["finding", "class", "method", "stated"]
STATEMENT_COLUMNS = (
    *STATEMENT_GROUP, "share", "ci_low", "ci_high", "chance", "p", "p_holm", "above",
    "n", "n_patients", "n_degenerate", "status",
)  # fmt: skip


def statement_shares(
    heat: np.ndarray, side: str = "", zone: str = "", *, region: Region | None = None
) -> dict[str, float | str]:
    """Return the share of a map's mass that lies where a report says the finding is.

    Args:
        heat: raw map ``[h, w]`` of a film that was not flipped.
        side: `left` or `right` of the patient, `bilateral`, or empty.
        zone: `upper`, `mid` or `lower` third of the film, or empty.
        region: the part of the map that the film fills, as in `film_localization`.

    Returns:
        `stated`: ``side``, ``zone``, ``side+zone`` or empty; `share`: of the map scaled to 0..1, inside what was
        stated; `chance`: its share of the picture, 1/2, 1/3 or 1/6; `status`: ``ok``, ``degenerate``, ``bilateral``
        (states no side, not scored) or ``nothing_stated``. NaN unless ``ok``.

    Raises:
        UsageError: another word for a side or zone.

    Example:
        >>> heat = np.zeros((8, 8))
        >>> heat[:, 6] = 1
        >>> statement_shares(heat, "left")["share"]
        1.0
    """
    if side and side not in SIDES:
        raise unknown("side", side, SIDES)
    if zone and zone not in ZONES:
        raise unknown("zone", zone, ZONES)
    stated = "+".join(name for name, word in (("side", side), ("zone", zone)) if word)
    row: dict[str, float | str] = {"stated": stated, "share": NAN, "chance": NAN, "status": OK}
    if side == BILATERAL or not stated:
        return row | {"status": BILATERAL if stated else NOTHING_STATED}
    scaled = scaled_map(heat, (GRID, GRID), region)
    inside = _stated_area(side, zone)
    row |= {"chance": float(inside.mean())}
    return row | ({"status": DEGENERATE} if scaled is None else {"share": mass_share(scaled, inside)})


def statement_table(films: pd.DataFrame, *, n_resamples: int | None = None, seed: int = 0) -> pd.DataFrame:
    """Return the mean share of each finding, method and kind of statement, beside chance.

    Args:
        films: a row per film: `image`, `patient`, `finding`, `class`, `method` and what `statement_shares` returns.
            Rows that state nothing that can be scored are left out.
        n_resamples, seed: as in `chance_table`.

    Returns:
        `STATEMENT_COLUMNS`. `share` with a percentile interval over resampled patients; `p` two-sided that it is
        chance, `p_holm` corrected over all rows, `above` ``yes`` where it is significantly more. `n_degenerate` maps
        without contrast are not in `n`. `status`: ``ok``, ``too_few_patients`` (below 10), ``no_film``.

    Raises:
        ScoreInputError: a column is missing, or a film stands twice.
    """
    checked(films, ["image", "patient", *STATEMENT_GROUP, "share", "chance", "status"])
    scored = checked(films[films["status"].isin([OK, DEGENERATE])], [], ["image", *STATEMENT_GROUP])
    groups = list(scored.groupby(STATEMENT_GROUP, sort=False, dropna=False))
    n_resamples = n_resamples or resamples_needed(len(groups))
    rows = []
    for key, own in groups:
        chance = float(own["chance"].iloc[0])
        differences = own["share"].to_numpy(np.float64)[:, None] - chance
        (found,) = paired_tests(differences, own["patient"].to_numpy(), n_resamples, seed)
        difference = found.pop("difference")
        rows.append(
            dict(zip(STATEMENT_GROUP, key, strict=True))
            | found
            | {
                "share": chance + difference,
                "ci_low": chance + found["ci_low"],
                "ci_high": chance + found["ci_high"],
                "chance": chance,
                "n_degenerate": int((own["status"] == DEGENERATE).sum()),
            }
        )
    table = pd.DataFrame(rows, columns=list(STATEMENT_COLUMNS))
    table["p_holm"] = holm(table["p"].to_numpy(np.float64))
    table["above"] = above(table["p_holm"], table["share"] - table["chance"])
    return table


def _stated_area(side: str, zone: str) -> np.ndarray:
    """Where a finding is said to be, bool ``[GRID, GRID]``."""
    rows = np.arange(GRID) * len(ZONES) // GRID
    down = rows == ZONES.index(zone) if zone else np.ones(GRID, bool)
    half = np.arange(GRID) >= GRID // 2
    across = {LEFT: half, RIGHT: ~half}.get(side, np.ones(GRID, bool))
    return np.outer(down, across)
