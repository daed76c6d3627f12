"""Robustness: weight sources × confounders × shares × seeds, as probes or as trainings, in one directory."""
