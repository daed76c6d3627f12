"""Statistics shared by every metric: exact AUC, calibration, patient bootstrap and jackknife.

Arrays in, numbers out; knows no map, model, file or run.
"""

from cxrkeras.stats.auc import Auc, exact_auc, resampled_auc
from cxrkeras.stats.bootstrap import Interval, bootstrapped_mean, patient_bootstrap, resampled_means
from cxrkeras.stats.classification import confusion_matrix, expected_calibration_error, sensitivity_specificity
from cxrkeras.stats.holm import holm
from cxrkeras.stats.jackknife import jackknife_stderr, t_interval
from cxrkeras.stats.predictions import class_indices, class_probabilities, patient_codes

__all__ = [
    "Auc",
    "Interval",
    "bootstrapped_mean",
    "class_indices",
    "class_probabilities",
    "confusion_matrix",
    "exact_auc",
    "expected_calibration_error",
    "holm",
    "jackknife_stderr",
    "patient_bootstrap",
    "patient_codes",
    "resampled_auc",
    "resampled_means",
    "sensitivity_specificity",
    "t_interval",
]
