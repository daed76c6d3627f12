"""Semantic drift: how the maps of the same films changed between two checkpoints. Arrays in, tables out."""
