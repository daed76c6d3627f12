"""Statistics shared by every metric: exact AUC, calibration, patient bootstrap and jackknife.

Arrays in, numbers out; knows no map, model, file or run.
"""

from cxrkeras.stats.auc import Auc, exact_auc, resampled_auc, resampled_aucs
from cxrkeras.stats.bootstrap import (
    Interval,
    bootstrapped_mean,
    patient_bootstrap,
    percentile_interval,
    resampled_means,
    two_sided_p,
)
from cxrkeras.stats.classification import confusion_matrix, expected_calibration_error, sensitivity_specificity
from cxrkeras.stats.holm import holm
from cxrkeras.stats.jackknife import jackknife_stderr, t_interval
from cxrkeras.stats.permutation import PermutationTest, permutation_test, sign_flip_test
from cxrkeras.stats.predictions import class_indices, class_probabilities, patient_codes

__all__ = [
    "Auc",
    "Interval",
    "PermutationTest",
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
    "percentile_interval",
    "permutation_test",
    "resampled_auc",
    "resampled_aucs",
    "resampled_means",
    "sensitivity_specificity",
    "sign_flip_test",
    "t_interval",
    "two_sided_p",
]
