"""A linear probe on frozen features: the smallest classifier that says what a backbone already tells apart.

Arrays in, arrays out; knows no network, no film and no artefact.
"""

from cxrkeras.probe.folds import OutOfFold, out_of_fold
from cxrkeras.probe.linear import PROBE_CS, Probe, chosen_probe, class_log_odds, fit_probe

__all__ = [
    "PROBE_CS",
    "OutOfFold",
    "Probe",
    "chosen_probe",
    "class_log_odds",
    "fit_probe",
    "out_of_fold",
]
