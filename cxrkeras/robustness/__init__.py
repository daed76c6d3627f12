"""Does a classifier lean on a shortcut? Artefacts that can be planted, who carries them, and what that does to answers.

Arrays in, arrays and tables out; knows no network, no file and no run.
"""

from cxrkeras.robustness.alteration import PlantedAlteration, alters_all_films, film_alterations
from cxrkeras.robustness.answers import ArmAnswers, TestFilms
from cxrkeras.robustness.assignment import SPLITS, assign, assignment_notice, planted_split, sampled_split
from cxrkeras.robustness.comparison import COMPARISON_COLUMNS, comparison_table
from cxrkeras.robustness.confounders import Confounder, Planted, parse_confounder
from cxrkeras.robustness.control import ARTEFACT_ONLY, CONTROL_COLUMNS, control_answers, control_table
from cxrkeras.robustness.hidden import HIDDEN_COLUMNS, hidden_table, hidden_words
from cxrkeras.robustness.map_measures import MAP_COLUMNS, MAP_FILM_COLUMNS, mass_table
from cxrkeras.robustness.measures import (
    PREDICTION_COLUMNS,
    RESULT_COLUMNS,
    predictions_table,
    results_table,
    youden_threshold,
)
from cxrkeras.robustness.planted import LowPass, PoissonNoise, Tag
from cxrkeras.robustness.sampled import Sampled
from cxrkeras.robustness.summaries import RELIANCE_COLUMNS, reliance_table

__all__ = [
    "ARTEFACT_ONLY",
    "COMPARISON_COLUMNS",
    "CONTROL_COLUMNS",
    "HIDDEN_COLUMNS",
    "MAP_COLUMNS",
    "MAP_FILM_COLUMNS",
    "PREDICTION_COLUMNS",
    "RELIANCE_COLUMNS",
    "RESULT_COLUMNS",
    "SPLITS",
    "ArmAnswers",
    "Confounder",
    "LowPass",
    "Planted",
    "PlantedAlteration",
    "PoissonNoise",
    "Sampled",
    "Tag",
    "TestFilms",
    "alters_all_films",
    "assign",
    "assignment_notice",
    "comparison_table",
    "control_answers",
    "control_table",
    "film_alterations",
    "hidden_table",
    "hidden_words",
    "mass_table",
    "parse_confounder",
    "planted_split",
    "predictions_table",
    "reliance_table",
    "results_table",
    "sampled_split",
    "youden_threshold",
]
