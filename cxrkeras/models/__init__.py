"""Backbones, weight sources and the classifier; knows no run and no training."""
