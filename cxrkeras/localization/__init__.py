"""Are the maps on the right place? Heat maps against expert masks: arrays in, numbers and tables out.

Needs no run, model or file: any framework's maps can be scored.

Example:
    >>> import numpy as np
    >>> from cxrkeras.localization import area_chance, film_localization
    >>> truth = np.zeros((64, 64), bool)
    >>> truth[8:24, 40:56] = True
    >>> heat = np.zeros((8, 8))
    >>> heat[1:3, 5:7] = 1
    >>> found, chance = film_localization(heat, truth), area_chance(truth)
    >>> found["hit"], round(found["iou"], 2), round(found["pixel_auroc"], 2)
    (1.0, 0.85, 1.0)
    >>> chance["hit"], chance["iou"], chance["pixel_auroc"]
    (0.0625, 0.0625, 0.5)
"""

from cxrkeras.localization.chance import AGAINST, area_chance, centre_gaussian, mean_mask_maps
from cxrkeras.localization.comparison import CHANCE_COLUMNS, COMPARISON_COLUMNS, chance_table, comparison_table
from cxrkeras.localization.metrics import FILM_KEYS, FILM_METRICS, film_localization, mask_iou
from cxrkeras.localization.readers import READER_COLUMNS, reader_table
from cxrkeras.localization.rows import BOOTSTRAPS
from cxrkeras.localization.sides import STATEMENT_COLUMNS, statement_shares, statement_table
from cxrkeras.localization.summary import SUMMARY_COLUMNS, summary_table
from cxrkeras.localization.terciles import TERCILE_COLUMNS, tercile_table
from cxrkeras.localization.thresholds import TUNED, Threshold, parse_threshold
from cxrkeras.localization.tune import tuned_threshold

__all__ = [
    "AGAINST",
    "BOOTSTRAPS",
    "CHANCE_COLUMNS",
    "COMPARISON_COLUMNS",
    "FILM_KEYS",
    "FILM_METRICS",
    "READER_COLUMNS",
    "STATEMENT_COLUMNS",
    "SUMMARY_COLUMNS",
    "TERCILE_COLUMNS",
    "TUNED",
    "Threshold",
    "area_chance",
    "centre_gaussian",
    "chance_table",
    "comparison_table",
    "film_localization",
    "mask_iou",
    "mean_mask_maps",
    "parse_threshold",
    "reader_table",
    "statement_shares",
    "statement_table",
    "summary_table",
    "tercile_table",
    "tuned_threshold",
]
